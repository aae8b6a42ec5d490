//! The binary, on a machine whose wall clock is set under it.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::sealing::{entries, verb};
use crate::support::host::send;
use crate::support::process::Process;

const DAY_S: i64 = 86_400;

/// A broker that serves, with the agent `a`; its clock is the machine's and what `set` adds.
fn served(settings: &str) -> Process {
    let mut process = Process::init("info");
    process.configure(settings);
    process.broker_environment = process.clock_in("clock");
    process.serve();
    process.set_up(b"value");
    process
}

fn set(process: &Process, by_s: i64) {
    process.set_clock("clock", by_s);
}

fn gets(process: &Process) -> bool {
    process.run_as("a", &["get", "github/app"], b"").status.success()
}

/// Waits for the log to say this.
fn until_logged(process: &Process, text: &str) {
    for _ in 0..500 {
        if process.log().contains(text) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("not said: {text}: {}", process.log());
}

pub(crate) fn until_serving(process: &Process) {
    for _ in 0..500 {
        if send(&process.socket(), ("GET", "/v1/state"), &[], b"")
            .is_ok_and(|told| told.json()["state"] == "open")
        {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("it does not serve: {}", process.log());
}

#[test]
fn a_wrong_hour_for_a_second_stops_nothing_for_longer() {
    let process = served("");
    assert!(gets(&process));
    set(&process, 3600);
    until_logged(&process, "clock_disagrees");
    let refused = process.run_as("a", &["get", "github/app", "-o", "json"], b"");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("clock_untrusted"), "{refused:?}");
    set(&process, 0);
    until_logged(&process, "agree again");
    assert!(gets(&process));
    assert_eq!(entries(&process, &["clock.adjusted"]).len(), 0);
    assert_eq!(entries(&process, &["alarm.clock-disagrees"]).len(), 1);
}

#[test]
fn status_and_doctor_lead_to_the_wrong_clock_first() {
    // Given a broker whose clock is set ten years ahead, so that it takes every certificate for expired
    let process = served("[clock]\nsynchronised_by = \"none\"\n");
    set(&process, 3652 * DAY_S);
    until_logged(&process, "clock_disagrees");
    let parsed = |who: &str, args: &[&str]| -> Value {
        serde_json::from_slice(&process.run_as(who, args, b"").stdout).unwrap()
    };
    // When an admin asks for the status
    let status = parsed("operator", &["status", "-o", "json"]);
    // Then the first fix is to set the clock right
    let problem = &status["identities"][0]["problems"][0];
    let fix = problem["fix"].as_str().unwrap();
    assert!(fix.starts_with("the broker reports `clock_disagrees`: first set the system clock"), "{problem}");
    // And the check on the host says the same
    let doctored = parsed("host", &["doctor", "-o", "json", "--config", &process.config()]);
    let items = doctored["items"].as_array().unwrap();
    let clock = items.iter().find(|item| item["what"] == "clock").unwrap_or_else(|| panic!("{doctored}"));
    let fix = clock["fix"].as_str().unwrap();
    assert!(clock["state"] == "warn" && fix.starts_with("set the system clock right"), "{clock}");
}

#[test]
fn ten_years_that_were_accepted_are_taken_back_by_the_host() {
    let mut process = served("[clock]\nsynchronised_by = \"none\"\n");
    set(&process, 3652 * DAY_S);
    until_logged(&process, "clock_disagrees");
    let accepted = verb(&process, &["clock", "accept"], b"");
    assert_eq!((accepted.0, &accepted.1["adjusted"]), (Some(0), &json!(true)), "{accepted:?}");
    assert!(!gets(&process), "everybody's certificate has ended");
    process.kill();
    set(&process, 0);
    process.spawn();
    until_serving(&process);
    assert!(!gets(&process), "the ledger is ten years ahead");
    let revoked = verb(&process, &["break-glass", "revoke", "agent", "nobody"], b"");
    assert_eq!(revoked.1["code"], "subject_unknown", "the host is answered: {revoked:?}");
    let accepted = verb(&process, &["clock", "accept"], b"");
    assert_eq!((accepted.0, &accepted.1["adjusted"]), (Some(0), &json!(true)), "{accepted:?}");
    for _ in 0..500 {
        if gets(&process) {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(gets(&process), "{}", process.log());
    assert_eq!(entries(&process, &["clock.adjusted"]).len(), 2);
    process.stop();
    let verified: Value = process.json(&["verify", "--config", &process.config()]);
    assert!(verified["entries"].as_u64().unwrap() > 0, "{verified}");
}

#[test]
fn a_day_before_the_ledger_at_start_is_healed_by_synchronisation() {
    let mut process = served("");
    process.stop();
    let file = process.path("synchronised");
    process.configure(&format!("[clock]\nsynchronised_by = \"{}\"\n", file.display()));
    set(&process, -DAY_S);
    process.spawn();
    until_serving(&process);
    until_logged(&process, "clock_disagrees");
    assert!(!gets(&process));
    set(&process, 0);
    for _ in 0..900 {
        fs::write(&file, b"").unwrap();
        if gets(&process) {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(gets(&process), "{}", process.log());
    let told = entries(&process, &["clock.adjusted"]);
    assert_eq!((told.len(), &told[0]["event"]["by"]), (1, &json!("the system")), "{told:?}");
}
