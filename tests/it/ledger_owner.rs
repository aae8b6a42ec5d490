//! The ledger in PostgreSQL belongs to one data directory: a copy of it, and read-only mode, claim nothing.

use std::fs;

use keyward::database::{Claimant, LogUse};
use keyward::ledger::AppendError;

use crate::copies::replace_by_copy;
use crate::ledger_move::Moving;
use crate::sealing::verb;
use crate::support::ledger_bed::{Bed, Recorder, draft, fill, wait};
use crate::support::ledger_database::{DatabaseBed, OWNER};

/// Who may write, and whose directory it is.
const CLAIM: &str =
    "SELECT coalesce(encode(writer, 'hex'), ''), coalesce(encode(owner, 'hex'), '') FROM keyward.head";
/// The same, with how often it was written to, also without an entry.
const CLAIM_AND_WRITES: &str = "SELECT coalesce(encode(writer, 'hex'), ''), coalesce(encode(owner, 'hex'), ''), confirmations \
                                FROM keyward.head";
/// The copy of the data directory of every test's broker.
const COPY: Claimant = Claimant { lock: 2, is_adopted: false };

fn claim(bed: &DatabaseBed) -> String {
    bed.pair.primary.sql_of(&bed.database, CLAIM)
}

#[test]
fn neither_a_copy_nor_read_only_mode_claims_the_ledger() {
    for (purpose, claimant) in [(LogUse::Serve, COPY), (LogUse::Look, OWNER), (LogUse::Look, COPY)] {
        // Given a broker that serves, when the copy opens the same ledger
        let bed = DatabaseBed::new();
        let original = bed.open(Box::new(Recorder::default())).unwrap();
        fill(&original, 2);
        let before = claim(&bed);
        let (target, recorder) = (bed.pair.broker(&bed.database), Recorder::default());
        let copy = bed.site.open_as(target, purpose, claimant, Box::new(recorder.clone())).unwrap();
        // Then the copy shows everything, writes nothing, and leaves the claim where it is
        assert_eq!((copy.head().seq, recorder.taken().len(), copy.read(1, 9).unwrap().len()), (2, 2, 2));
        assert_eq!(wait(copy.append(draft("of the copy", b""))).unwrap_err(), AppendError::Unwritten);
        copy.close();
        assert_eq!(claim(&bed), before, "{purpose:?} {claimant:?}");
        // And the original continues
        fill(&original, 1);
        assert_eq!(original.head().seq, 3);
    }
}

#[test]
fn an_adopted_copy_takes_the_ledger_from_the_original() {
    let bed = DatabaseBed::new();
    fill(&bed.open(Box::new(Recorder::default())).unwrap(), 1);
    let open = |claimant| {
        let target = bed.pair.broker(&bed.database);
        bed.site.open_as(target, LogUse::Serve, claimant, Box::new(Recorder::default())).unwrap()
    };
    let adopted = open(Claimant { is_adopted: true, ..COPY });
    fill(&adopted, 1);
    drop(adopted);
    // The order is used up, and the original is the copy now.
    let original = open(OWNER);
    assert_eq!(wait(original.append(draft("late", b""))).unwrap_err(), AppendError::Unwritten);
    drop(original);
    fill(&open(COPY), 1);
}

#[test]
fn a_started_copy_of_the_data_leaves_the_ledger_alone() {
    // Given a broker with a ledger in the database, and a copy of its data directory
    let mut moving = Moving::begin();
    moving.configure();
    moving.good(2);
    moving.good(3);
    moving.process.serve();
    moving.process.good(&["secret", "put", "before"], b"value");
    moving.process.stop();
    let claimed = |moving: &Moving| moving.pair.primary.sql_of("keyward", CLAIM_AND_WRITES);
    let puts = |moving: &Moving, name: &str| {
        moving.process.run_as("operator", &["secret", "put", name], b"value").status.success()
    };
    let before = claimed(&moving);
    let data = moving.process.path("data");
    replace_by_copy(&data);
    // When the copy is started, then it is in read-only mode, and the claim stays
    moving.process.serve();
    assert!(!puts(&moving, "of-the-copy"));
    moving.process.stop();
    assert_eq!(claimed(&moving), before);
    // And a move from the copy is refused
    let config = moving.process.config();
    let args = ["ledger", "move", "--to", "files", "--config", &config];
    let output = moving.process.run_as("operator", &args, b"");
    let why = String::from_utf8(output.stderr).unwrap();
    assert!(why.contains("ledger_database_unusable"), "{why}");
    let (_, fix) = why.split_once("fix: ").unwrap();
    assert!(fix.contains("`keyward adopt`") && fix.contains("repeat the move"), "{why}");
    // And it leaves no mark of a move
    assert!(!moving.process.path("data/ledger-move-to-files").exists());
    // When the original is started, then it serves
    let (copied, original) = (data.with_extension("copy"), data.with_extension("original"));
    fs::rename(&data, &copied).unwrap();
    fs::rename(&original, &data).unwrap();
    moving.process.serve();
    assert!(puts(&moving, "of-the-original"));
    moving.process.stop();
    // When the copy is adopted, then it serves, and the original does not
    fs::rename(&data, &original).unwrap();
    fs::rename(&copied, &data).unwrap();
    assert_eq!(verb(&moving.process, &["adopt"], b"").0, Some(0));
    moving.process.serve();
    assert!(puts(&moving, "of-the-adopted-copy"));
    moving.process.stop();
    fs::rename(&data, &copied).unwrap();
    fs::rename(&original, &data).unwrap();
    moving.process.serve();
    assert!(!puts(&moving, "late"));
    moving.process.stop();
}
