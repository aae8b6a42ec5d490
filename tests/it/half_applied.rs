//! A panic while the state takes an entry in: nobody decides by half of it.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use keyward::ledger::Kind;
use keyward::store::{Change, Event, Store};
use rustix::process::Signal;

use crate::support::test_state::{TestEffect, TestState, new_store};

#[derive(serde::Serialize)]
struct Changed;

impl Event for Changed {
    const KIND: Kind = Kind(9998);
    const NAME: &'static str = "pair.changed";
}

/// Names the directory in which a process of its own makes the change.
const OWN_PROCESS: &str = "KEYWARD_TEST_HALF_APPLIED";

async fn change(directory: &Path) {
    let (ring, options) = new_store(directory);
    let (store, _) = Store::<TestState>::open(&options, &ring).unwrap();
    drop(store.commit(Change::new(&Changed).unwrap().effect(TestEffect::Break(7)), ()).await);
    store.read(|state, _| panic!("a request reads {state:?}"));
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
