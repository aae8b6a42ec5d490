//! A panic while the state takes an entry in: nobody decides by half of it.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use keyward::base::{SystemClock, SystemEntropy, Timestamp};
use keyward::keyring::{Keyring, SlotKey};
use keyward::ledger::{Build, Key, Kind};
use keyward::store::{At, Change, Event, OnLostEntries, Projection, Store, StoreOptions, StoredState};
use rustix::process::Signal;

/// Two numbers that are always the same, and a change of both that breaks in the middle.
#[derive(Debug, Default, serde::Deserialize, serde::Serialize)]
struct Pair {
    first: u64,
    second: u64,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Both(u64);

impl StoredState for Pair {
    type Effect = Both;
    type Denial = ();

    fn apply(&mut self, _: At, both: &Both) {
        self.first = both.0;
        assert_eq!(self.first, 0, "on purpose");
        self.second = both.0;
    }

    fn advances(_: &Both, _: &mut Vec<Key>) {}

    fn takes_away(_: &Both) -> bool {
        false
    }

    fn project(_: &Both, _: &mut Projection) {}

    fn deny(&mut self, (): &()) {}

    fn deny_again(&mut self) {}

    fn recorded(&mut self, (): &()) {}

    fn lift(&mut self, (): &()) {}

    fn withheld_by((): &()) -> Vec<Key> {
        Vec::new()
    }
}

#[derive(serde::Serialize)]
struct Changed;

impl Event for Changed {
    const KIND: Kind = Kind(9998);
    const NAME: &'static str = "pair.changed";
}

/// Names the directory in which a process of its own makes the change.
const OWN_PROCESS: &str = "KEYWARD_TEST_HALF_APPLIED";

async fn change(directory: &Path) {
    let slot = SlotKey::create_file(&directory.join("k"), &SystemEntropy).unwrap();
    let (path, now) = (directory.join("keyring"), Timestamp::from_s(1));
    let ring = Keyring::create(&path, std::slice::from_ref(&slot), now, &SystemEntropy).unwrap();
    let options = StoreOptions {
        data_dir: directory.to_owned(),
        clock: Arc::new(SystemClock::new()),
        entropy: Arc::new(SystemEntropy),
        segment_bytes: 1 << 20,
        build: Build::Executable,
        on_lost_entries: OnLostEntries::Refuse,
    };
    let (store, _) = Store::<Pair>::open(&options, &ring).unwrap();
    drop(store.commit(Change::new(&Changed).unwrap().effect(Both(7)), ()).await);
    store.read(|pair, _| panic!("a request reads {pair:?}"));
}

#[tokio::test]
async fn a_panic_while_the_state_takes_an_entry_in_ends_the_process() {
    if let Some(directory) = std::env::var_os(OWN_PROCESS) {
        return change(Path::new(&directory)).await;
    }
    let directory = tempfile::tempdir().unwrap();
    let name = "half_applied::a_panic_while_the_state_takes_an_entry_in_ends_the_process";
    let mut own = Command::new(std::env::current_exe().unwrap());
    own.args(["--exact", name, "--nocapture"]).env(OWN_PROCESS, directory.path());
    let ended = own.output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.signal(), Some(Signal::ABORT.as_raw()), "{said}");
    assert!(said.contains("on purpose") && !said.contains("a request reads"), "{said}");
}
