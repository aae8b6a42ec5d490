//! A broker whose ledger is moved from files to PostgreSQL and back, by the commands and the page.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use serde_json::Value;

use crate::guides::{blocks, fenced, said, shell};
use crate::support::ledger_database::Pair;
use crate::support::process::Process;
use crate::support::waiting::wait_until;

const PAGE: &str = "how-to/postgresql-ledger.md";

/// A broker with files, and an empty database beside it that is prepared as the page says.
pub(crate) struct Moving {
    pub(crate) pair: Pair,
    pub(crate) process: Process,
    files: String,
}

impl Moving {
    pub(crate) fn begin() -> Self {
        let (pair, process) = (Pair::start(), Process::init("info"));
        let files = fs::read_to_string(process.config()).unwrap();
        let moving = Self { pair, process, files };
        let port = moving.pair.primary.port.to_string();
        let environment = [
            ("PGHOST", "127.0.0.1"),
            ("PGPORT", port.as_str()),
            ("PGUSER", "postgres"),
            ("PGPASSWORD", crate::support::postgres::ADMIN_PASSWORD),
            ("OWNER_PASSWORD", "the-owner-of-the-page"),
            ("BROKER_PASSWORD", "the-broker-of-the-page"),
        ];
        let roles = shell(moving.process.dir.path(), &blocks(PAGE)[0], &environment);
        assert!(roles.status.success(), "{}", said(&roles));
        let here = moving.process.dir.path().display().to_string();
        let password = blocks(PAGE)[1].replace("/var/lib/keyward", &here);
        let password = shell(moving.process.dir.path(), &password, &environment);
        assert!(password.status.success(), "{}", said(&password));
        moving.secret("owner.password", "the-owner-of-the-page\n");
        fs::write(moving.process.path("database-ca.pem"), &moving.pair.primary.ca_pem).unwrap();
        moving
    }

    fn secret(&self, name: &str, text: &str) {
        let path = self.process.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// The page's settings, with the places of this test.
    pub(crate) fn configure(&self) {
        self.configure_at(&[self.pair.primary.port, self.pair.standby.port]);
    }

    /// The same with the servers, or what stands for them, at these loopback ports.
    pub(crate) fn configure_at(&self, ports: &[u16]) {
        let dir = self.process.dir.path().display().to_string();
        let hosts: Vec<_> = ports.iter().map(|port| format!("\"127.0.0.1:{port}\"")).collect();
        let settings =
            fenced(PAGE, "toml")[0].replace("/etc/keyward", &dir).replace("/var/lib/keyward", &dir).replace(
                "[\"db1.internal:5432\", \"db2.internal:5432\", \"db3.internal:5432\"]",
                &format!("[{}]", hosts.join(", ")),
            );
        fs::write(self.process.config(), format!("{}{settings}", self.files)).unwrap();
    }

    /// Runs the block of the page with this number.
    fn run(&self, block: usize) -> Output {
        let script = blocks(PAGE)[block].replace("/etc/keyward/keyward.toml", &self.process.config());
        let key = self.process.path("root.key").display().to_string();
        let script = script.replace("/etc/keyward/root.key", &key);
        shell(self.process.dir.path(), &script, &[])
    }

    /// What the block of the page with this number prints.
    pub(crate) fn good(&self, block: usize) -> String {
        let output = self.run(block);
        assert!(output.status.success(), "{}", said(&output));
        said(&output)
    }

    pub(crate) fn verified(&self) -> Value {
        self.process.json(&["verify", "--config", &self.process.config()])
    }
}

#[test]
fn a_ledger_moves_to_postgresql_and_back_by_the_page() {
    let mut moving = Moving::begin();
    moving.process.serve();
    moving.process.good(&["secret", "put", "before"], b"value");
    moving.process.stop();
    let before = moving.verified();
    moving.configure();
    assert!(moving.good(2).contains("the database `keyward` is prepared"));
    assert!(moving.good(2).contains("is prepared"), "it can be repeated");
    let moved = moving.good(3);
    assert!(moved.contains("moved: ") && moved.contains("ok: "), "{moved}");
    let after = moving.verified();
    for field in ["ledger", "entries", "root", "head", "head_time", "opened"] {
        assert_eq!(after[field], before[field], "{field}");
    }
    assert!(!moving.process.path("data/ledger").join("00000000000000000001.seg").exists());

    moving.process.serve();
    moving.process.good(&["secret", "put", "in-the-database"], b"value");
    moving.process.kill();
    moving.process.serve();
    let listed = moving.process.json(&["audit", "list"]).to_string();
    assert!(listed.contains("in-the-database"), "{listed}");
    let running = moving.verified();
    assert_eq!(running["end"], "open");
    moving.process.stop();
    let in_database = moving.verified();
    assert_eq!(in_database["end"], "closed");
    assert!(in_database["entries"].as_u64() > before["entries"].as_u64());
    // The engine is changed without a move.
    fs::write(moving.process.config(), &moving.files).unwrap();
    let (_, why) = moving.process.refused_serve();
    assert!(why.contains("entries_lost") && why.contains("keyward ledger move --to files"), "{why}");
    moving.configure();
    let id = moving.pair.primary.sql_of("keyward", "SELECT encode(ledger, 'hex') FROM keyward.head");
    for another in ["NULL".to_owned(), "decode(repeat('07', 16), 'hex')".to_owned()] {
        moving.pair.primary.sql_of("keyward", &format!("UPDATE keyward.head SET ledger = {another}"));
        let output =
            moving.process.run_as("operator", &["verify", "--config", &moving.process.config()], b"");
        let why = String::from_utf8(output.stderr).unwrap();
        assert!(why.contains("ledger_database_unusable") && why.contains("of another broker"), "{why}");
    }
    moving.pair.primary.sql_of("keyward", &format!("UPDATE keyward.head SET ledger = decode('{id}', 'hex')"));

    moving.good(4);
    let (_, why) = moving.process.refused_serve();
    assert!(why.contains("ledger_not_moved") && why.contains("has a ledger in files"), "{why}");
    fs::write(moving.process.config(), &moving.files).unwrap();
    assert_eq!(moving.verified()["root"], in_database["root"]);
    let under_way = moving.process.path("data/ledger-move-to-files");
    fs::write(&under_way, "").unwrap();
    let (_, why) = moving.process.refused_serve();
    assert!(why.contains("ledger_not_moved") && why.contains("was interrupted"), "{why}");
    fs::remove_file(under_way).unwrap();
    moving.process.serve();
    moving.process.good(&["secret", "put", "in-files-again"], b"value");
    moving.process.stop();
    let in_files = moving.verified();

    // Only the new entries are copied.
    moving.configure();
    let config = moving.process.config();
    let again = moving.process.json(&["ledger", "move", "--to", "postgresql", "--config", &config]);
    let copied = in_files["entries"].as_u64().unwrap() - in_database["entries"].as_u64().unwrap();
    assert_eq!(
        (&again["entries"], again["copied"].as_u64(), &again["to"]),
        (&in_files["entries"], Some(copied), &"postgresql".into())
    );
    assert_eq!(moving.verified()["root"], in_files["root"]);
    moving.process.serve();
    moving.process.stop();
}

#[test]
fn a_move_that_was_interrupted_goes_on_where_it_ended() {
    let mut moving = Moving::begin();
    moving.process.serve();
    for name in ["a", "b", "c"] {
        moving.process.good(&["secret", "put", name], b"value");
    }
    moving.process.stop();
    let before = moving.verified();
    moving.configure();
    moving.good(2);
    moving.good(3);
    // As if it had ended early: the files are still there, and the database has the first batch. The 20th byte of an
    // entry says that it ends a batch, and bytes 77 to 108 are the node of the entry before it.
    let kept = moving.process.path("data/ledger-moved-1");
    fs::rename(kept, moving.process.path("data/ledger")).unwrap();
    let sql = |statement: &str| moving.pair.primary.sql_of("keyward", statement);
    let first: u64 =
        sql("SELECT min(seq) FROM keyward.entries WHERE get_byte(entry, 19) = 1").parse().unwrap();
    sql(&format!(
        "UPDATE keyward.head SET seq = {first}, node = \
         (SELECT substr(entry, 77, 32) FROM keyward.entries WHERE seq = {})",
        first + 1
    ));
    sql(&format!("DELETE FROM keyward.entries WHERE seq > {first}"));
    let config = moving.process.config();
    let again = moving.process.json(&["ledger", "move", "--to", "postgresql", "--config", &config]);
    assert_eq!(again["copied"].as_u64(), Some(before["entries"].as_u64().unwrap() - first));
    assert_eq!(moving.verified()["root"], before["root"]);
    moving.process.serve();
    moving.process.good(&["secret", "put", "after"], b"value");
    moving.process.stop();

    // The files are an earlier state of the ledger by now: moved again, they would take entries away.
    let kept = moving.process.path("data/ledger-moved-1");
    fs::rename(moving.process.path("data/ledger"), moving.process.path("data/snapshots-only")).unwrap();
    fs::rename(kept, moving.process.path("data/ledger")).unwrap();
    let output = moving.process.run_as(
        "operator",
        &["ledger", "move", "--to", "postgresql", "--config", &config],
        b"",
    );
    let why = String::from_utf8(output.stderr).unwrap();
    assert!(
        why.contains("ledger_not_moved") && why.contains("are not the first ones of this ledger"),
        "{why}"
    );
    fs::remove_dir_all(moving.process.path("data/ledger")).unwrap();
    fs::rename(moving.process.path("data/snapshots-only"), moving.process.path("data/ledger")).unwrap();
    moving.process.serve();
    moving.process.stop();
}

#[test]
fn a_move_is_refused_while_the_broker_runs_and_into_another_ledger() {
    let mut moving = Moving::begin();
    moving.configure();
    moving.good(2);
    let refused = |moving: &Moving| {
        let config = moving.process.config();
        let output = moving.process.run_as(
            "operator",
            &["ledger", "move", "--to", "postgresql", "--config", &config],
            b"",
        );
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    fs::write(moving.process.config(), &moving.files).unwrap();
    let why = refused(&moving);
    assert!(why.contains("ledger_database_unusable") && why.contains("names no database"), "{why}");
    moving.process.serve();
    moving.configure();
    let why = refused(&moving);
    assert!(why.contains("data_dir_in_use"), "{why}");
    moving.process.stop();
    moving
        .pair
        .primary
        .sql_of("keyward", "UPDATE keyward.head SET seq = 1, ledger = decode(repeat('07', 16), 'hex')");
    let why = refused(&moving);
    assert!(why.contains("ledger_database_unusable") && why.contains("ledger of another broker"), "{why}");
    moving.secret("database-password", "");
    let why = refused(&moving);
    assert!(why.contains("holds no password"), "{why}");
    fs::set_permissions(moving.process.path("database-password"), fs::Permissions::from_mode(0o644)).unwrap();
    let why = refused(&moving);
    assert!(why.contains("file_permissions_too_open"), "{why}");
}

#[test]
fn a_new_broker_begins_in_the_database_and_survives_a_failover() {
    let mut moving = Moving::begin();
    for made in ["data", "home-operator"] {
        fs::remove_dir_all(moving.process.path(made)).unwrap();
    }
    moving.configure();
    // The promoted standby has none of its own.
    moving.process.configure("replication = \"optional\"\n");
    moving.good(2);
    let config = moving.process.config();
    moving.process.good(&["init", "--config", &config], b"");
    moving.process.serve();
    moving.process.good(&["secret", "put", "before"], b"value");
    moving.pair.primary.kill();
    moving.pair.standby.promote();
    wait_until(|| {
        let put = moving.process.run_as("operator", &["secret", "put", "after"], b"value");
        put.status.success()
    });
    moving.process.kill();
    moving.process.serve();
    let listed = moving.process.json(&["audit", "list"]).to_string();
    assert!(listed.contains("\"before\"") && listed.contains("\"after\""), "{listed}");
    moving.process.stop();
    assert_eq!(moving.verified()["end"], "closed");
    // A second broker finds the database in use, and makes nothing.
    for made in ["data", "home-operator"] {
        fs::remove_dir_all(moving.process.path(made)).unwrap();
    }
    let output = moving.process.run_as("operator", &["init", "--config", &config], b"");
    let why = String::from_utf8(output.stderr).unwrap();
    assert!(why.contains("ledger_database_unusable") && why.contains("has a ledger already"), "{why}");
    assert!(!moving.process.path("data/keyring").exists());
}
