//! A revocation that is in force in memory alone, and whose operator or subject changes before its entry.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use keyward::base::encoding::base64url;
use keyward::pki::new_key_and_request;
use serde_json::{Value, json};

use crate::ends_in_memory::metrics_of;
use crate::panel::set_up;
use crate::sealing::entries;
use crate::support::process::Process;
use crate::support::waiting::wait_until;
use crate::worst_day::{
    answer_again, hang, hang_with_a_mint, kept_by, on_a_failing_disk, recorded, wait_for_the_hang,
    with_a_runtime_directory,
};

const FAILED: &str = "host.pending-order-failed";
const PROMOTED: &str = "operator.certificate-promoted";

/// A broker with a runtime directory, on a disk that can hang: with the admin `eve`, and former versions of a secret.
fn with_former_versions() -> (tempfile::TempDir, Process) {
    let (elsewhere, process) = with_a_runtime_directory(set_up());
    process.configure("[secrets]\nkeep_versions = 2\n");
    let process = on_a_failing_disk(process);
    let code = process.good(&["operator", "invite", "eve", "--role", "admin"], b"");
    process.good_as("eve", &["join"], &code);
    process.good_as("eve", &["whoami", "--operator"], b"");
    for value in ["b", "c"] {
        process.good(&["secret", "put", "github/app"], value.as_bytes());
    }
    (elsewhere, process)
}

/// The ledger's disk hangs from here on, with the entry of what `command` does in the group commit that hangs.
pub(crate) fn hang_with(process: &Process, mut command: Command) -> Child {
    hang(process);
    let hanging = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for_the_hang(process);
    hanging
}

/// Has the operator `who` destroy the first version, in memory alone.
fn destroy(process: &Process, who: &str) {
    let done = process.run_as(who, &["secret", "destroy", "github/app", "1", "--yes"], b"");
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.code() == Some(12) && said.contains("not_durable"), "{said}");
    assert_eq!(stage(process), "destroyed", "in memory");
}

fn stage(process: &Process) -> String {
    let versions = process.json(&["secret", "versions", "github/app"]);
    let versions = versions["items"].as_array().unwrap();
    let first = versions.iter().find(|version| version["number"] == 1).unwrap();
    first["stage"].as_str().unwrap().to_owned()
}

/// The disk answers again, and so does what hung with it.
pub(crate) fn answer(process: &Process, mut hanging: Child) {
    answer_again(process);
    hanging.wait().unwrap();
}

fn alarmed(process: &Process, times: u32) -> bool {
    metrics_of(process, &format!("keyward_alarms_total{{alarm=\"pending_order_failed\"}} {times}"))
}

#[test]
fn a_renewed_certificate_before_the_entry_voids_no_destruction() {
    // Given a renewed certificate, and a disk that hangs with the entry of its first use
    let (elsewhere, process) = with_former_versions();
    renew(&process);
    let first_use = request(&process, "new", "/v1/whoami", &[]);
    let promoting = hang_with(&process, first_use);
    // When the certificate before it destroys a version in memory, and the disk answers
    destroy(&process, "eve");
    answer(&process, promoting);
    wait_until(|| metrics_of(&process, "keyward_revocations_unrecorded 0"));
    // Then the destruction is recorded after the first use
    let told = entries(&process, &[PROMOTED, "secret.version-changed", FAILED]);
    let last = told.last().unwrap();
    assert_eq!(
        (&last["kind"], &last["event"]["operator"]),
        (&"secret.version-changed".into(), &"eve".into())
    );
    assert_eq!((stage(&process).as_str(), alarmed(&process, 0)), ("destroyed", true));
    wait_until(|| !kept_by(&elsewhere, "orders").exists());
}

#[test]
fn a_destruction_is_void_after_its_operator_lost_the_role() {
    // Given a disk that hangs with the entry of another role of eve
    let (elsewhere, process) = with_former_versions();
    let placing = hang_with(&process, process.command("operator", &["operator", "role", "eve", "security"]));
    // When eve destroys a version in memory, and the disk answers
    destroy(&process, "eve");
    assert!(kept_by(&elsewhere, "orders").exists());
    answer(&process, placing);
    // Then an entry and an alarm say so, the version is there, and the order is forgotten
    wait_until(|| alarmed(&process, 1));
    let failed = entries(&process, &[FAILED]);
    let event = &failed[0]["event"];
    let expected = (&json!("eve"), &json!("operator_role_insufficient"));
    assert_eq!((failed.len(), (&event["by"], &event["code"])), (1, expected));
    assert_eq!(event["what"], json!({ "destroy-version": { "secret": "github/app", "version": 1 } }));
    assert_eq!(stage(&process), "former");
    assert!(process.log().contains("pending_order_failed"), "{}", process.log());
    wait_until(|| !kept_by(&elsewhere, "orders").exists());
    assert!(metrics_of(&process, "keyward_revocations_unrecorded 0"));
}

#[test]
fn a_version_that_an_earlier_entry_destroyed_raises_no_alarm() {
    // Given a disk that hangs with a new version, whose entry destroys the oldest former one
    let (elsewhere, process) = with_former_versions();
    let value = process.path("value");
    std::fs::write(&value, "d").unwrap();
    let putting = ["secret", "put", "github/app", "--file", &value.display().to_string()];
    let putting = hang_with(&process, process.command("operator", &putting));
    // When that one is destroyed in memory, and the disk answers
    destroy(&process, "eve");
    answer(&process, putting);
    wait_until(|| metrics_of(&process, "keyward_revocations_unrecorded 0"));
    // Then nothing is left to record
    wait_until(|| !kept_by(&elsewhere, "orders").exists());
    let told = entries(&process, &["secret.version-changed", FAILED]);
    assert_eq!((told.len(), stage(&process).as_str(), alarmed(&process, 0)), (0, "destroyed", true));
}

/// A broker that was killed while a destruction and a revocation by eve were in force in memory alone.
fn killed_with_orders_of_eve() -> (tempfile::TempDir, Process) {
    let (elsewhere, mut process) = with_former_versions();
    let minting = hang_with_a_mint(&process, "q");
    destroy(&process, "eve");
    assert_eq!(process.run_as("eve", &["agent", "revoke", "p"], b"").status.code(), Some(12));
    process.kill();
    answer(&process, minting);
    (elsewhere, process)
}

/// Puts the stored orders away, starts the broker, has `verb` done, and gives the orders back to the next start.
fn start_between(elsewhere: &tempfile::TempDir, process: &mut Process, verb: &[&str]) {
    let (orders, aside): (PathBuf, PathBuf) = (kept_by(elsewhere, "orders"), process.path("aside"));
    std::fs::copy(&orders, &aside).unwrap();
    std::fs::remove_file(&orders).unwrap();
    process.serve();
    process.good(verb, b"");
    process.kill();
    std::fs::copy(&aside, &orders).unwrap();
    process.serve();
}

#[test]
fn a_start_destroys_no_version_for_an_operator_revoked_since() {
    // Given orders of eve that were stored in the runtime directory
    let (elsewhere, mut process) = killed_with_orders_of_eve();
    // When she is revoked before a start carries them out
    start_between(&elsewhere, &mut process, &["operator", "revoke", "eve"]);
    // Then the version is there, and an entry and an alarm say so; what can be undone is done
    let failed = entries(&process, &[FAILED]);
    let event = &failed[0]["event"];
    assert_eq!((&event["by"], &event["code"]), (&"eve".into(), &"certificate_revoked".into()));
    assert_eq!((stage(&process).as_str(), alarmed(&process, 1)), ("former", true));
    assert!(recorded(&process).contains(&("revoke".to_owned(), "p".to_owned())));
    assert!(!kept_by(&elsewhere, "orders").exists());
}

#[test]
fn a_start_destroys_no_version_that_is_in_use_again() {
    let (elsewhere, mut process) = killed_with_orders_of_eve();
    start_between(&elsewhere, &mut process, &["secret", "rollback", "github/app", "1"]);
    let failed = entries(&process, &[FAILED]);
    assert_eq!((failed.len(), &failed[0]["event"]["code"]), (1, &"version_invalid_state".into()));
    assert_eq!((stage(&process).as_str(), alarmed(&process, 1)), ("current", true));
    assert!(process.log().contains("`keyward secret destroy github/app 1 --yes`"), "{}", process.log());
    assert!(!kept_by(&elsewhere, "orders").exists());
}

#[test]
fn a_start_forgets_the_order_of_a_recorded_destruction() {
    // Given a start that was killed after it recorded the orders, and before it forgot them
    let (elsewhere, mut process) = killed_with_orders_of_eve();
    let (orders, aside) = (kept_by(&elsewhere, "orders"), process.path("aside"));
    std::fs::copy(&orders, &aside).unwrap();
    process.serve();
    process.kill();
    std::fs::copy(&aside, &orders).unwrap();
    // When the broker starts again
    process.serve();
    // Then the order of the destruction is forgotten without an entry or an alarm
    let told = entries(&process, &["secret.version-changed", FAILED]);
    assert_eq!((told.len(), stage(&process).as_str(), alarmed(&process, 0)), (1, "destroyed", true));
    assert!(!orders.exists());
}

#[test]
fn a_start_records_the_orders_of_an_operator_under_its_name() {
    let (elsewhere, mut process) = killed_with_orders_of_eve();
    process.serve();
    let told = entries(&process, &["secret.version-changed", "subject.revoked", FAILED]);
    let by: Vec<_> = told
        .iter()
        .map(|entry| entry["event"].get("operator").or_else(|| entry["event"].get("by")).unwrap())
        .collect();
    assert_eq!(by, ["eve", "eve"]);
    assert!(!kept_by(&elsewhere, "orders").exists());
}

/// A request at the operators' listener with the certificate and the key in the directory `home`.
fn request(process: &Process, home: &str, path: &str, args: &[&str]) -> Command {
    request_at(process, "home-operator/operator", home, path, args)
}

/// The same at the listener that the identity in the directory `known` knows.
pub(crate) fn request_at(process: &Process, known: &str, home: &str, path: &str, args: &[&str]) -> Command {
    let file = |name: &str| process.path(home).join(name).display().to_string();
    let authority = process.path(known).join("authority.pem").display().to_string();
    let address = std::fs::read_to_string(process.path(known).join("address")).unwrap();
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--cacert", &authority, "--cert", &file("certificate.pem"), "--key", &file("key.pem")]);
    curl.args(["-H", "Content-Type: application/json"]).args(args);
    curl.arg(format!("https://{}{path}", address.trim()));
    curl
}

fn answer_of(mut request: Command) -> Value {
    serde_json::from_slice(&request.output().unwrap().stdout).unwrap()
}

/// Applies `text` with an idempotency key, and gives the answer.
fn apply(process: &Process, text: &str) -> Value {
    let body = json!({ "files": [{ "name": "a.toml", "text": text }], "widen": true }).to_string();
    let args = ["-H", "Idempotency-Key: 0123456789abcdef", "-d", &body];
    answer_of(request(process, "home-operator/operator", "/v1/apply", &args))
}

/// Renews the certificate of eve, and keeps the new one, unused, in the directory `new`.
fn renew(process: &Process) {
    renew_of(process, "home-eve/operator");
}

/// The same for the certificate in the directory `home`.
pub(crate) fn renew_of(process: &Process, home: &str) {
    let (key, csr) = new_key_and_request().unwrap();
    let body = json!({ "csr": base64url(&csr) }).to_string();
    let renewed = answer_of(request_at(process, home, home, "/v1/renew", &["-d", &body]));
    std::fs::create_dir(process.path("new")).unwrap();
    std::fs::write(process.path("new/key.pem"), key.expose()).unwrap();
    std::fs::write(process.path("new/certificate.pem"), renewed["certificate"].as_str().unwrap()).unwrap();
}

#[test]
fn a_repeated_application_says_that_only_its_removals_are_recorded() {
    // Given a disk that hangs with another application
    let (_elsewhere, process) = with_former_versions();
    let wider = process.path("wider.toml");
    let role = |name: &str, capabilities: &str| {
        format!("[[role]]\nname = \"{name}\"\ncapabilities = [{capabilities}]\n")
    };
    std::fs::write(&wider, role("other", "\"reports.read\"")).unwrap();
    let wider = ["apply", "-f", &wider.display().to_string()];
    let applying = hang_with(&process, process.command("operator", &wider));
    // When an application takes a capability away in memory and gives another, and the disk answers
    let narrower = role("publisher", "\"github.repo.read\"");
    let first = apply(&process, &narrower);
    assert_eq!((&first["applied"], &first["durable"]), (&false.into(), &false.into()), "{first}");
    answer(&process, applying);
    wait_until(|| metrics_of(&process, "keyward_revocations_unrecorded 0"));
    assert_eq!(entries(&process, &["declarations.narrowed"]).len(), 1);
    // Then the same request finds its outcome, and is not applied as something new
    let again = apply(&process, &narrower);
    let detail = again.to_string();
    assert!(again["code"] == "modified_concurrently" && detail.contains("only the removals"), "{again}");
    assert_eq!(entries(&process, &["declarations.narrowed"]).len(), 1);
}

#[test]
fn a_renewed_certificate_contains_at_its_first_use_while_the_disk_hangs() {
    // Given an operator whose renewed certificate was never used, and a disk that hangs
    let (_elsewhere, process) = with_former_versions();
    renew(&process);
    let minting = hang_with_a_mint(&process, "q");
    // When the operator contains an agent with it, and freezes the broker
    let post =
        |path: &str, body: &Value| answer_of(request(&process, "new", path, &["-d", &body.to_string()]));
    let subject = json!({ "kind": "agent", "name": "p" });
    let contained = post("/v1/incidents", &json!({ "subject": subject, "reason": "key leaked" }));
    let frozen = post("/v1/freeze", &json!({ "reason": "key leaked" }));
    // Then both are in force in memory, and the previous certificate is still accepted
    assert_eq!((&contained["durable"], &frozen["durable"]), (&json!(false), &json!(false)), "{contained}");
    assert_eq!(process.run_as("p", &["whoami"], b"").status.code(), Some(4), "{contained}");
    process.good_as("eve", &["agent", "list"], b"");
    // And the ledger records them when the disk answers, with the first use of the certificate
    answer(&process, minting);
    wait_until(|| metrics_of(&process, "keyward_revocations_unrecorded 0"));
    let count = |kind: &str| entries(&process, &[kind]).len();
    let recorded = (count(PROMOTED), count("incident.contained"), count("broker.frozen"));
    assert_eq!(recorded, (1, 1, 1));
    // From then on the previous certificate is refused
    assert_eq!(process.run_as("eve", &["agent", "list"], b"").status.code(), Some(4));
    let thawed = post("/v1/thaw", &json!({ "reason": "over" }));
    assert!(thawed["seq"].is_u64(), "{thawed}");
}
