//! One enrolment code is revoked alone, for good.

use keyward::pki::{EnrolmentCode, new_key_and_request};
use serde_json::{Value, json};

use crate::ends_in_memory::metrics_of;
use crate::operators::{code_for, join, redeem, standing};
use crate::panel::set_up;
use crate::refusals::refused;
use crate::sealing::entries;
use crate::support::broker::TestBroker;
use crate::support::process::Process;
use crate::support::waiting::wait_until;
use crate::worst_day::{
    answer_again, hang_with_a_mint, kept_by, on_a_failing_disk, with_a_runtime_directory,
};

/// A code of the agent `b`, which has the role `repo-reader`.
fn invited(process: &Process, args: &[&str]) -> Vec<u8> {
    process.good(&[&["agent", "invite", "b", "--role", "repo-reader"], args].concat(), b"")
}

/// What `join` with the code is refused for; `None` if it is not.
fn refusal(process: &Process, who: &str, code: &[u8]) -> Option<String> {
    let done = process.run_as(who, &["join"], code);
    (!done.status.success()).then(|| String::from_utf8_lossy(&done.stderr).into_owned())
}

fn open_codes(process: &Process, noun: &str, name: &str) -> usize {
    process.json(&[noun, "show", name])["open_codes"].as_array().map_or(0, Vec::len)
}

#[test]
fn a_revoked_code_stays_revoked_after_a_resumption_and_a_restart() {
    // Given two codes of an agent, of which one leaked
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    let (leaked, other) = (invited(&process, &[]), invited(&process, &[]));
    assert_eq!(open_codes(&process, "agent", "b"), 2);
    // When an operator revokes the leaked one by itself
    let done = process.run_as("operator", &["code", "revoke", "-", "--reason", "in a public chat"], &leaked);
    let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
    assert!(done.status.success() && said.contains("in force from the next request on"), "{said}");
    assert!(!said.contains(String::from_utf8_lossy(&leaked).trim()), "{said}");
    assert_eq!(open_codes(&process, "agent", "b"), 1);
    // Then it is refused, also after the agent was suspended and resumed, and after a restart
    let is_refused = |process: &Process| {
        let said = refusal(process, "b", &leaked).unwrap_or_default();
        assert!(said.contains("enrolment_code_invalid"), "{said}");
    };
    is_refused(&process);
    process.good(&["agent", "suspend", "b"], b"");
    process.good(&["agent", "resume", "b"], b"");
    is_refused(&process);
    process.stop();
    process.serve();
    is_refused(&process);
    // And the other code works
    assert_eq!(refusal(&process, "b", &other), None);
    // And a second revocation changes nothing, and is recorded
    let code = EnrolmentCode::parse(std::str::from_utf8(&leaked).unwrap()).unwrap();
    let again = process.json(&["code", "revoke", &code.id.to_string()]);
    assert_eq!((&again["unchanged"], &again["durable"]), (&json!(true), &json!(true)), "{again}");
    let told = entries(&process, &["enrolment-code.revoked"]);
    assert_eq!((told.len(), &told[0]["event"]["agent"]), (2, &json!("b")), "{told:?}");
    assert_eq!(told[0]["event"]["code"], code.id.to_string());
    assert!(told.iter().any(|entry| entry["reason"] == "in a public chat"), "{told:?}");
}

#[test]
fn a_revoked_code_names_the_instances_that_it_enrolled() {
    // Given a code with two uses, of which one is used
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    let code = invited(&process, &["--uses", "2"]);
    process.good_as("b", &["join"], &code);
    let instance = process.json(&["agent", "show", "b"])["instances"][0]["id"].as_str().unwrap().to_owned();
    // When it is checked, then the command that revokes it is named
    let checked = process.run_as("operator", &["incident", "value", "-"], &code);
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    let id = EnrolmentCode::parse(std::str::from_utf8(&code).unwrap()).unwrap().id.to_string();
    assert!(said.contains(&format!("keyward code revoke {id}")), "{said}");
    // When it is revoked, then the instance is named and works on, and nobody else enrols
    let done = process.run_as("operator", &["code", "revoke", &id], b"");
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(said.contains(&format!("keyward agent revoke --instance {instance}")), "{said}");
    process.good_as("b", &["get", "github/app"], b"");
    assert!(refusal(&process, "c", &code).is_some());
    // And a text that is no id is refused without being repeated
    let leaked = process.run_as("operator", &["code", "revoke", "hunter22"], b"");
    let said = String::from_utf8_lossy(&leaked.stderr).into_owned();
    assert!(leaked.status.code() == Some(2) && !said.contains("hunter22"), "{said}");
}

#[tokio::test]
async fn a_code_is_revoked_only_within_the_scope() {
    // Given a code of an agent of `red`, one of an agent without an owner, and one of an operator
    let broker = TestBroker::declared().await;
    let (operator, rhea) = (broker.operator(), join(&broker, "rhea", &standing("admin", Some("red"))).await);
    let text = "[[agent]]\nname = \"own\"\nroles = []\n";
    let files = json!({ "files": [{ "name": "a.toml", "text": text }] });
    assert_eq!(rhea.caller.post_json("/v1/apply", &files).await.status, 200);
    let reply = rhea.caller.post_json("/v1/agents/own/invitations", &json!({ "roles": [] })).await;
    let own = reply.json()["code_id"].as_str().unwrap().to_owned();
    let other = broker.invite("bot", &["repo-reader"]).await;
    let eve = code_for(&broker, "eve", &standing("auditor", None)).await;
    let path = |id: &str| format!("/v1/enrolment-codes/{id}/revoke");
    // When the admin of `red` revokes each
    let revoke = async |id: &str| rhea.caller.post_json(&path(id), &json!({})).await;
    let done = revoke(&own).await;
    assert_eq!((done.status, &done.json()["agent"]), (200, &json!("own")), "{}", done.text());
    refused(&revoke(&other.id.to_string()).await, 404, "enrolment_code_unknown");
    refused(&revoke(&eve.id.to_string()).await, 404, "enrolment_code_unknown");
    // Then only the own one is revoked, and an admin of everything revokes the code of the operator
    let shown = operator.get("/v1/operators/eve").await.json();
    assert_eq!(shown["open_codes"][0]["id"], eve.id.to_string(), "{shown}");
    let headers = [("content-type", "application/json"), ("idempotency-key", "0123456789abcdef")];
    let revoke = async || {
        let path = path(&eve.id.to_string());
        operator.attempt("POST", &path, &headers, b"{\"reason\":\"leaked\"}").await.unwrap()
    };
    let done = revoke().await;
    assert_eq!((done.status, &done.json()["operator"]), (200, &json!("eve")), "{}", done.text());
    assert_eq!(revoke().await.json(), done.json(), "a replayed request gets the same response");
    let (_, request) = new_key_and_request().unwrap();
    refused(&redeem(&broker, &eve, &request).await, 401, "enrolment_code_invalid");
    assert_eq!(operator.get("/v1/operators/eve").await.json().get("open_codes"), None);
    assert_eq!(broker.redeem(&other, &request).await.status, 201);
    // And a code that the broker does not know has a code of its own
    let unknown = json!({});
    let reply = operator.post_json(&path("code_00000000000000000000000050"), &unknown).await;
    refused(&reply, 404, "enrolment_code_unknown");
}

#[tokio::test]
async fn an_operators_revoked_code_stays_revoked_and_names_its_certificate() {
    // Given an operator that joined with its code, and another code of it that leaked
    let mut broker = TestBroker::declared().await;
    let used = code_for(&broker, "eve", &standing("auditor", None)).await;
    let (_, request) = new_key_and_request().unwrap();
    assert_eq!(redeem(&broker, &used, &request).await.status, 201);
    let leaked = code_for(&broker, "eve", &json!({})).await;
    let revoke = async |broker: &TestBroker, code: &EnrolmentCode| {
        let path = format!("/v1/enrolment-codes/{}/revoke", code.id);
        broker.operator().post_json(&path, &json!({})).await.json()
    };
    // When both are revoked
    let serial = broker.operator().get("/v1/operators/eve").await.json()["certificates"][0]["serial"].clone();
    assert_eq!(revoke(&broker, &used).await["serial"], serial);
    assert_eq!(revoke(&broker, &leaked).await.get("serial"), None);
    // Then the leaked one is refused after a suspension, a resumption and a restart
    for verb in ["suspend", "resume"] {
        let reply = broker.operator().post_json(&format!("/v1/operators/eve/{verb}"), &json!({})).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    broker.restart().await;
    let (_, other) = new_key_and_request().unwrap();
    refused(&redeem(&broker, &leaked, &other).await, 401, "enrolment_code_invalid");
    // And the certificate stays valid
    let shown = broker.operator().get("/v1/operators/eve").await.json();
    assert_eq!(shown["certificates"].as_array().map(Vec::len), Some(1), "{shown}");
}

/// Revokes the code; gives the exit code and the answer.
fn revoke(process: &Process, id: &str) -> (Option<i32>, Value) {
    let done = process.run_as("operator", &["code", "revoke", id, "-o", "json"], b"");
    (done.status.code(), serde_json::from_slice(&done.stdout).unwrap_or_default())
}

fn id_of(code: &[u8]) -> String {
    EnrolmentCode::parse(std::str::from_utf8(code).unwrap()).unwrap().id.to_string()
}

#[test]
fn codes_are_revoked_while_the_disk_hangs_and_recorded_afterwards() {
    // Given a disk that hangs, and open codes of an agent and an operator
    let process = on_a_failing_disk(set_up());
    let agent = process.good(&["agent", "invite", "p"], b"");
    let operator = process.good(&["operator", "invite", "eve", "--role", "auditor"], b"");
    let mut minting = hang_with_a_mint(&process, "q");
    // When each is revoked
    for code in [&agent, &operator] {
        let (exit, answer) = revoke(&process, &id_of(code));
        assert_eq!((exit, &answer["durable"]), (Some(12), &json!(false)), "{answer}");
    }
    // Then they are refused at once, and the ledger records the revocations when the disk answers
    for (who, code) in [("x", &agent), ("eve", &operator)] {
        let said = refusal(&process, who, code).unwrap_or_default();
        assert!(said.contains("enrolment_code_invalid"), "{who}: {said}");
    }
    answer_again(&process);
    minting.wait().unwrap();
    wait_until(|| metrics_of(&process, "keyward_revocations_unrecorded 0"));
    assert_eq!(entries(&process, &["enrolment-code.revoked"]).len(), 2);
    for (who, code) in [("x", &agent), ("eve", &operator)] {
        let said = refusal(&process, who, code).unwrap_or_default();
        assert!(said.contains("enrolment_code_invalid"), "{who}: {said}");
    }
}

#[test]
fn a_revocation_of_a_code_survives_a_kill_while_the_disk_hangs() {
    // Given a code that was revoked in memory, and kept in the runtime directory
    let (elsewhere, process) = with_a_runtime_directory(set_up());
    let mut process = on_a_failing_disk(process);
    let code = process.good(&["operator", "invite", "eve", "--role", "auditor"], b"");
    let mut minting = hang_with_a_mint(&process, "q");
    let (exit, answer) = revoke(&process, &id_of(&code));
    assert_eq!((exit, &answer["kept"]), (Some(12), &json!(true)), "{answer}");
    // When the broker is killed and starts
    process.kill();
    minting.wait().unwrap();
    answer_again(&process);
    process.serve();
    // Then the code is refused, and the ledger has the revocation
    let said = refusal(&process, "eve", &code).unwrap_or_default();
    assert!(said.contains("enrolment_code_invalid"), "{said}");
    assert_eq!(entries(&process, &["enrolment-code.revoked"]).len(), 1);
    assert!(!kept_by(&elsewhere, "orders").exists());
}
