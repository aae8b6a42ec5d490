//! Orders to a sealed broker that could not be carried out are listed until they are repeated.

use serde_json::{Value, json};

use crate::break_glass::{broken, sealed, start_sealed, unseal};
use crate::ends_in_memory::metrics_of;
use crate::support::host::ask;
use crate::support::process::Process;

#[test]
fn failed_pending_order_is_told_by_unseal_status_doctor_and_an_alarm() {
    // Given a sealed broker with an order for the agent, and one with a misspelt name
    let (process, key) = sealed();
    let config = process.config();
    for name in ["a", "typo"] {
        let order = ["break-glass", "suspend", "agent", name, "--config", &config];
        let said = String::from_utf8(process.good(&order, b"")).unwrap();
        assert!(said.contains("it checks the name only then") && said.contains("`keyward unseal`"), "{said}");
    }
    // When it is unsealed, then the output names both, with the reason
    let unsealed = process.good(&["unseal", "--key-file", &key, "--config", &config], b"");
    let said = String::from_utf8(unsealed).unwrap();
    assert!(said.contains("pending order `keyward agent suspend a` (by host uid 0, "), "{said}");
    let failed = said.lines().find(|line| line.contains("suspend typo")).unwrap();
    assert!(failed.contains("NOT carried out: ") && failed.contains("(subject_unknown)"), "{failed}");
    // Then the host's state, `doctor`, `status`, the log and the metric say it, too
    let state = ask(&process.socket(), "GET", "/v1/state", &Value::Null).json();
    let outcomes: Vec<_> = state["settled"].as_array().unwrap().iter().map(|one| &one["outcome"]).collect();
    assert_eq!(outcomes, ["carried-out", "failed"], "{state}");
    let doctor = process.run_as("host", &["doctor", "--config", &config], b"");
    let doctor = String::from_utf8(doctor.stdout).unwrap();
    assert!(doctor.contains("`keyward agent suspend typo` (subject_unknown)"), "{doctor}");
    let status = String::from_utf8(process.good(&["status"], b"")).unwrap();
    assert!(status.contains("warnings: pending_order_failed"), "{status}");
    assert!(process.log().contains("\"alarm\":\"pending_order_failed\""), "{}", process.log());
    let counted = "keyward_alarms_total{alarm=\"pending_order_failed\"} 1";
    assert!(metrics_of(&process, counted));
}

#[test]
fn failed_order_is_listed_over_restarts_until_it_is_repeated() {
    // Given an order for an operator whose name is unknown when the broker is unsealed
    let (mut process, key) = sealed();
    let config = process.config();
    let suspend = ["suspend", "operator", "late"];
    assert_eq!(broken(&process, &suspend).0, Some(0));
    unseal(&process, &key);
    let failed = |process: &Process| {
        let state = ask(&process.socket(), "GET", "/v1/state", &Value::Null).json();
        let settled = state["settled"].as_array().cloned().unwrap_or_default();
        settled.iter().map(|one| (one["order"].clone(), one["code"].clone())).collect::<Vec<_>>()
    };
    let listed = vec![(json!("keyward operator suspend late"), json!("operator_unknown"))];
    assert_eq!(failed(&process), listed);
    // When the broker is started again, then unseal, the state, doctor, status and the alarm still say so
    process.kill();
    start_sealed(&mut process);
    let unsealed = process.good(&["unseal", "--key-file", &key, "--config", &config], b"");
    let said = String::from_utf8(unsealed).unwrap();
    assert!(said.contains("`keyward operator suspend late`") && said.contains("NOT carried out"), "{said}");
    assert_eq!(failed(&process), listed);
    let doctor = process.run_as("host", &["doctor", "--config", &config], b"");
    let doctor = String::from_utf8(doctor.stdout).unwrap();
    assert!(doctor.contains("`keyward operator suspend late` (operator_unknown)"), "{doctor}");
    let status = String::from_utf8(process.good(&["status"], b"")).unwrap();
    assert!(status.contains("warnings: pending_order_failed"), "{status}");
    let counted = "keyward_alarms_total{alarm=\"pending_order_failed\"} 1";
    assert!(metrics_of(&process, counted));
    // When the order is carried out, then nothing is listed, also after a restart
    process.good(&["operator", "invite", "late", "--role", "auditor"], b"");
    process.good(&["operator", "suspend", "late"], b"");
    assert_eq!(failed(&process), []);
    let status = String::from_utf8(process.good(&["status"], b"")).unwrap();
    assert!(!status.contains("pending_order_failed"), "{status}");
    process.kill();
    start_sealed(&mut process);
    unseal(&process, &key);
    assert_eq!(failed(&process), []);
}
