use super::tests::{Bench, NOW, WORDS, bench, by, passphrase};
use super::*;
use crate::base::Sensitive;
use crate::base::SystemEntropy;
use crate::base::limits::SHARES_MAX;
use crate::keyring::{SlotKind, SlotState, slots_of};
use std::fs;

impl Bench {
    pub(in crate::keyring) fn deal(
        &mut self,
        split: (u8, u8),
        replaces: Option<SlotId>,
    ) -> Result<DealtShares, KeyringError> {
        let split = ShareSplit::new(split.0, split.1).unwrap();
        let path = self.path();
        self.ring.deal_slot(&path, split, replaces, NOW, &SystemEntropy)
    }

    pub(in crate::keyring) fn confirm(&mut self, shares: &SlotKey) -> Result<SlotView, KeyringError> {
        let (path, opened_by) = (self.path(), self.key_file());
        self.ring.confirm_slot(&path, shares, &by(&opened_by))
    }

    fn ids(&self) -> Vec<SlotId> {
        slots_of(&self.path()).unwrap().iter().map(|slot| slot.id).collect()
    }
}

/// The shares at these places, as people type them in.
pub(in crate::keyring) fn typed(dealt: &DealtShares, places: &[usize]) -> SlotKey {
    let lines: Vec<String> =
        places.iter().map(|place| dealt.shares[*place].text().expose().clone()).collect();
    let shares = Share::read(&Sensitive::new(lines.join("\n").into_bytes())).unwrap();
    SlotKey::Shares(Shares::together(shares).unwrap())
}

fn refused<T: std::fmt::Debug>(done: Result<T, KeyringError>) -> ShareError {
    match done {
        Err(KeyringError::Share(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn shares_open_a_slot_only_after_its_confirmation() {
    let mut bench = bench();
    let dealt = bench.deal((2, 3), None).unwrap();
    let (id, some) = (dealt.slot.id, typed(&dealt, &[0, 2]));
    assert_eq!((dealt.slot.kind, dealt.slot.state), (SlotKind::Shares, SlotState::Unconfirmed));
    assert_eq!(slots_of(&bench.path()).unwrap()[1], dealt.slot);
    assert_eq!(refused(bench.open(&some)), ShareError::Unconfirmed(id));
    let file = fs::read_to_string(bench.path()).unwrap();
    assert_eq!(file.matches("wrapped_root").count(), 1, "there is nothing yet that shares could open");

    let confirmed = bench.confirm(&some).unwrap();
    assert_eq!(confirmed, SlotView { state: SlotState::Opens, ..dealt.slot });
    for enough in [&[0, 1][..], &[1, 2], &[2, 0], &[0, 1, 2]] {
        assert_eq!(bench.open(&typed(&dealt, enough)).unwrap(), bench.ring.ledger());
    }
    let (_, by) = Keyring::open_by(&bench.path(), &some).unwrap();
    assert_eq!(by, confirmed);
    assert!(bench.open(&bench.file).is_ok());
    assert_eq!(refused(bench.confirm(&some)), ShareError::NothingWaits, "once");
}

#[test]
fn a_slot_that_waits_for_its_shares_is_not_relied_upon() {
    let mut bench = bench();
    let only = bench.ids()[0];
    let dealt = bench.deal((2, 2), None).unwrap();
    let before = fs::read(bench.path()).unwrap();
    assert!(matches!(bench.remove(only), Err(KeyringError::LastSlot)));
    assert_eq!(refused(bench.deal((2, 2), None)), ShareError::Waits(dealt.slot.id));
    assert_eq!(refused(bench.add(&typed(&dealt, &[0, 1]))), ShareError::NothingWaits, "no way round it");
    assert_eq!(fs::read(bench.path()).unwrap(), before);

    assert_eq!(bench.remove(dealt.slot.id).unwrap(), dealt.slot);
    assert_eq!(refused(bench.confirm(&typed(&dealt, &[0, 1]))), ShareError::NothingWaits);
    assert_eq!(refused(bench.open(&typed(&dealt, &[0, 1]))), ShareError::OtherSlot(dealt.slot.id));
    let dealt = bench.deal((2, 2), None).unwrap();
    bench.confirm(&typed(&dealt, &[0, 1])).unwrap();
    assert!(bench.remove(only).is_ok(), "now it is");
    assert!(bench.open(&typed(&dealt, &[0, 1])).is_ok());
}

#[test]
fn a_slot_is_rekeyed_to_shares_after_confirmation_and_from_them_at_once() {
    let mut bench = bench();
    let only = bench.ids()[0];
    let missing = SlotId::mint(NOW, &SystemEntropy);
    assert!(matches!(bench.deal((2, 3), Some(missing)), Err(KeyringError::NoSuchSlot)));
    let dealt = bench.deal((2, 3), Some(only)).unwrap();
    assert!(bench.open(&bench.file).is_ok(), "until then the one before opens");
    bench.confirm(&typed(&dealt, &[1, 2])).unwrap();
    assert_eq!(bench.ids(), [dealt.slot.id]);
    assert!(matches!(bench.open(&bench.file), Err(KeyringError::WrongKey)));

    // To other shares, and the first ones are of no use any more.
    let again = bench.deal((2, 2), Some(dealt.slot.id)).unwrap();
    bench.confirm(&typed(&again, &[0, 1])).unwrap();
    assert_eq!(refused(bench.open(&typed(&dealt, &[0, 1]))), ShareError::OtherSlot(dealt.slot.id));
    bench.rekey(again.slot.id, &passphrase(WORDS)).unwrap();
    assert!(bench.open(&passphrase(WORDS)).is_ok());
    assert_eq!(refused(bench.open(&typed(&again, &[0, 1]))), ShareError::OtherSlot(again.slot.id));
}

#[test]
fn shares_of_a_slot_that_was_removed_meanwhile_still_make_one() {
    let mut bench = bench();
    let first = bench.ids()[0];
    bench.add(&passphrase(WORDS)).unwrap();
    let dealt = bench.deal((2, 2), Some(first)).unwrap();
    bench.remove(first).unwrap();
    bench.confirm(&typed(&dealt, &[0, 1])).unwrap();
    assert_eq!(bench.ids().len(), 2);
    assert!(bench.open(&typed(&dealt, &[0, 1])).is_ok() && bench.open(&passphrase(WORDS)).is_ok());
}

#[test]
fn a_full_keyring_takes_shares_in_a_slots_place_and_not_beside_it() {
    let mut bench = bench();
    let directory = bench.directory.path().to_owned();
    let key = |n: usize| SlotKey::create_file(&directory.join(format!("{n}.key")), &SystemEntropy).unwrap();
    for n in 1..SLOTS_MAX - 1 {
        bench.add(&key(n)).unwrap();
    }
    let dealt = bench.deal((2, 2), None).unwrap();
    let last = bench.add(&key(SLOTS_MAX - 1)).unwrap();
    assert!(matches!(bench.confirm(&typed(&dealt, &[0, 1])), Err(KeyringError::SlotsFull)));
    bench.remove(dealt.slot.id).unwrap();
    assert!(matches!(bench.deal((2, 2), None), Err(KeyringError::SlotsFull)));
    let dealt = bench.deal((SHARES_MAX, SHARES_MAX), Some(last.id)).unwrap();
    let all: Vec<usize> = (0..usize::from(SHARES_MAX)).collect();
    bench.confirm(&typed(&dealt, &all)).unwrap();
    assert_eq!(bench.ids().len(), SLOTS_MAX);
    assert!(bench.open(&typed(&dealt, &all)).is_ok());
}

#[test]
fn shares_of_another_keyring_confirm_and_open_nothing() {
    let (mut bench, mut other) = (bench(), bench());
    let (dealt, foreign) = (bench.deal((2, 3), None).unwrap(), other.deal((2, 3), None).unwrap());
    let foreign = typed(&foreign, &[0, 1]);
    assert_eq!(refused(bench.confirm(&foreign)), ShareError::NothingWaits);
    bench.confirm(&typed(&dealt, &[0, 1])).unwrap();
    assert!(matches!(refused(bench.open(&foreign)), ShareError::OtherSlot(_)));
}

/// Hazard KEY-11.
#[test]
fn a_keyring_that_asks_for_fewer_shares_is_not_believed() {
    for (from, to) in [
        ("\"threshold\":3", "\"threshold\":2"),
        ("\"threshold\":3", "\"threshold\":1"),
        ("\"threshold\":3", "\"threshold\":17"),
        ("\"kind\":\"shares\"", "\"kind\":\"key-file\""),
    ] {
        let mut bench = bench();
        let dealt = bench.deal((3, 5), None).unwrap();
        bench.confirm(&typed(&dealt, &[0, 1, 2])).unwrap();
        bench.tamper(from, to);
        for key in [&bench.file, &typed(&dealt, &[0, 1, 2])] {
            assert!(matches!(bench.open(key), Err(KeyringError::Altered(_))), "{to}");
        }
    }
}

#[test]
fn shares_are_written_for_their_owner_alone_and_read_back() {
    use std::os::unix::fs::MetadataExt;

    let mut bench = bench();
    let dealt = bench.deal((2, 3), None).unwrap();
    let directory = bench.directory.path().join("new/shares");
    let (files, shares) = dealt.to_files(&directory).unwrap();
    assert_eq!(files.len(), 3);
    assert_eq!(fs::metadata(&directory).unwrap().mode() & 0o777, 0o700);
    assert!(files.iter().all(|file| fs::metadata(file).unwrap().mode() & 0o777 == 0o600));
    bench.confirm(&shares).unwrap();
    assert!(bench.open(&typed(&dealt, &[0, 1])).is_ok());

    // Nothing is written over, and what was written before it was noticed goes.
    fs::remove_file(&files[0]).unwrap();
    let kept = fs::read(&files[1]).unwrap();
    assert!(matches!(dealt.to_files(&directory), Err(KeyringError::SlotFile { .. })));
    assert!(!files[0].exists());
    assert_eq!(fs::read(&files[1]).unwrap(), kept);
}

/// Every state that kill -9 can leave behind between the first byte of a slot of shares and its last.
#[test]
fn a_kill_at_any_step_of_dealing_and_confirming_leaves_what_opened_before() {
    let mut bench = bench();
    let (path, temporary) = (bench.path(), bench.path().with_extension("new"));
    let only = bench.ids()[0];
    let before = fs::read(&path).unwrap();
    let dealt = bench.deal((2, 3), Some(only)).unwrap();
    let waiting = fs::read(&path).unwrap();
    let some = typed(&dealt, &[0, 1]);
    bench.confirm(&some).unwrap();
    let after = fs::read(&path).unwrap();
    let file = bench.key_file();
    let cuts = |whole: &[u8]| [0, 1, whole.len() / 2, whole.len() - 1, whole.len()];

    for cut in cuts(&waiting) {
        fs::write(&path, &before).unwrap();
        fs::write(&temporary, &waiting[..cut]).unwrap();
        assert!(bench.open(&bench.file).is_ok() && bench.open(&some).is_err(), "dealing, cut at {cut}");
        bench.reopen(&file);
        let again = bench.deal((2, 3), Some(only)).unwrap();
        bench.confirm(&typed(&again, &[0, 1])).unwrap();
        assert!(bench.open(&typed(&again, &[1, 2])).is_ok() && !temporary.exists(), "and done again");
    }
    for cut in cuts(&after) {
        fs::write(&path, &waiting).unwrap();
        fs::write(&temporary, &after[..cut]).unwrap();
        assert!(bench.open(&bench.file).is_ok() && bench.open(&some).is_err(), "confirming, cut at {cut}");
        bench.reopen(&file);
        bench.confirm(&typed(&dealt, &[1, 2])).unwrap();
        assert!(bench.open(&some).is_ok() && bench.open(&bench.file).is_err(), "and done again");
        assert!(!temporary.exists());
    }
    fs::write(&path, &after).unwrap();
    assert!(bench.open(&some).is_ok() && bench.open(&bench.file).is_err(), "renamed");
}
