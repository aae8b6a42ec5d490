//! The commands for approval keys, at a terminal and without one.

use std::fs;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use super::{ANN, BOB};
use crate::leaks::holds;
use crate::support::process::{KEYWARD, Process, files};
use crate::support::terminal::TypedCommand;

pub(crate) const WORDS: &str = "CNRY purple harbour ladder 4b90";
/// Any prompt for the passphrase of an approval key.
pub(crate) const PROMPT: &str = "passphrase";

/// Runs a command of `who` that has no terminal.
fn without_terminal(process: &Process, who: &str, args: &[&str]) -> Output {
    let mut command = Command::new("setsid");
    command.args(["-w", KEYWARD]).args(args).arg("--home").arg(process.path(&format!("home-{who}")));
    command.stdin(Stdio::null()).output().unwrap()
}

/// Runs a command of `who` at a terminal, where a person types these lines, each after its own prompt.
pub(crate) fn typed(
    process: &Process,
    who: &str,
    args: &str,
    prompt: &str,
    lines: &[&str],
) -> (bool, String) {
    let home = process.path(&format!("home-{who}"));
    let command = format!("{KEYWARD} {args} --home {}", home.display());
    TypedCommand { command: &command, prompt, ahead: "ahead\n", lines }.run(&process.path("begin"))
}

/// A broker that serves, with the admins `bob` and `operator`, and the approver `alice`, each a person.
pub(crate) fn persons() -> Process {
    let mut process = Process::init("info");
    process.serve();
    let admin = ["operator", "update", "admin", "--person", "admin@corp.example"];
    process.good(&admin, b"");
    for (name, role, person) in [("alice", "approver", ANN), ("bob", "admin", BOB)] {
        let code = process.good(&["operator", "invite", name, "--role", role, "--person", person], b"");
        process.good_as(name, &["join"], &code);
    }
    process
}

fn keys(process: &Process, who: &str) -> Value {
    let shown = process.good_as(who, &["approval", "key", "show", "-o", "json"], b"");
    serde_json::from_slice::<Value>(&shown).unwrap()["keys"].take()
}

/// Creates the approval key of `who` at a terminal; its fingerprint.
pub(super) fn created(process: &Process, who: &str) -> String {
    // The second prompt says `Repeat the new passphrase`
    let (is_done, said) = typed(process, who, "approval key create", PROMPT, &[WORDS, WORDS]);
    assert!(is_done && said.contains("proposed: the approval key"), "{said}");
    assert!(!said.contains(WORDS), "{said}");
    keys(process, who)[0]["fingerprint"].as_str().unwrap().to_owned()
}

/// Accepts the key of `who` on the broker's host.
pub(crate) fn accept_on_host(process: &Process, who: &str, fingerprint: &str) {
    let config = process.config();
    let args =
        ["approval", "key", "accept", who, "--fingerprint", fingerprint, "--on-host", "--config", &config];
    process.good_as("nobody", &args, b"");
}

/// The same, and accepted on the host.
pub(crate) fn accepted(process: &Process, who: &str) -> String {
    let fingerprint = created(process, who);
    accept_on_host(process, who, &fingerprint);
    fingerprint
}

#[test]
fn approval_key_is_made_at_a_terminal_and_stored_sealed() {
    let process = persons();
    // Without a terminal, no passphrase is taken from standard input, a file or a variable
    let refused = without_terminal(&process, "alice", &["approval", "key", "create", "-o", "json"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("there is no terminal"), "{said}");
    assert!(!process.path("home-alice/approval-key.pem").exists());
    // At a terminal the key is made and proposed
    let fingerprint = created(&process, "alice");
    assert_eq!(keys(&process, "alice")[0]["state"], "proposed");
    // Then no file has it in clear, nor the passphrase
    for file in files(&process.path("home-alice")) {
        let bytes = fs::read(&file).unwrap();
        assert!(!holds(&bytes, WORDS.as_bytes()), "{}", file.display());
        let is_identity = file.ends_with("operator/key.pem");
        assert!(is_identity || !holds(&bytes, b"BEGIN PRIVATE KEY"), "{}", file.display());
    }
    // When another admin accepts its fingerprint, which may be copied in groups, then it counts
    // by the own approval key, at a terminal, after it has seen operator, person and key
    accepted(&process, "bob");
    let grouped = format!("{}:{}", &fingerprint[..32], &fingerprint[32..]).to_uppercase();
    let args = format!("approval key accept alice --fingerprint {grouped}");
    let refused = without_terminal(&process, "bob", &args.split(' ').collect::<Vec<_>>());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("there is no terminal"), "{refused:?}");
    let (is_done, said) = typed(&process, "bob", &args, "Passphrase of the approval key: ", &[WORDS]);
    assert!(is_done && said.contains(ANN) && said.contains(&fingerprint), "{said}");
    let shown = keys(&process, "alice");
    assert_eq!((&shown[0]["state"], &shown[0]["accepted_by"]), (&json!("accepted"), &json!("bob")));
    // And the same key is not made again
    let again = process.run_as("alice", &["approval", "key", "create"], b"");
    assert!(String::from_utf8_lossy(&again.stderr).contains("approval_key_on_machine"), "{again:?}");
    // And a key that replaces it leaves it in force
    let (is_done, said) = typed(&process, "alice", "approval key create --replace", PROMPT, &[WORDS, WORDS]);
    assert!(is_done, "{said}");
    let shown = keys(&process, "alice");
    assert_eq!((&shown[0]["fingerprint"], &shown[0]["state"]), (&json!(fingerprint), &json!("accepted")));
    assert_eq!(shown[1]["state"], "proposed");
    process.good_as("bob", &["approval", "key", "remove", "alice"], b"");
    assert_eq!(keys(&process, "alice"), json!([]));
}

#[test]
fn approval_key_that_was_not_proposed_is_proposed_again() {
    let mut process = persons();
    let fingerprint = created(&process, "alice");
    // Given a broker that lost the proposal: here it is removed
    process.good_as("bob", &["approval", "key", "remove", "alice"], b"");
    let shown = process.run_as("alice", &["approval", "key", "show"], b"");
    assert!(String::from_utf8_lossy(&shown.stderr).contains("does not know the approval key"), "{shown:?}");
    // When it is created again, then the passphrase shows that the person made it: a program may have planted the file
    let prompt = "Passphrase of the approval key: ";
    let (is_done, said) =
        typed(&process, "alice", "approval key create", prompt, &["a program's passphrase"]);
    assert!(!is_done && said.contains("key_passphrase_wrong") && said.contains(&fingerprint), "{said}");
    assert_eq!(keys(&process, "alice"), json!([]), "nothing was proposed");
    let (is_done, said) = typed(&process, "alice", "approval key create", prompt, &[WORDS]);
    assert!(is_done, "{said}");
    assert_eq!(keys(&process, "alice")[0]["fingerprint"], json!(fingerprint));
    // On the host it is accepted without another admin
    accept_on_host(&process, "alice", &fingerprint);
    assert!(keys(&process, "alice")[0]["accepted_by"].as_str().unwrap().starts_with("host uid"));
    // A proposed key of another home is marked, so that its fingerprint is not read to anyone
    let operator = process.path("home-alice");
    fs::rename(operator.join("approval-key.pem"), process.path("other-key")).unwrap();
    let shown = process.run_as("alice", &["approval", "key", "show"], b"");
    let said = String::from_utf8_lossy(&[shown.stdout, shown.stderr].concat()).into_owned();
    assert!(said.contains("NO") && said.contains("is not on this machine"), "{said}");
    process.stop();
}

#[test]
fn approval_key_has_a_passphrase_of_its_own() {
    // Given an operator whose identity is sealed with a passphrase in a file
    let process = persons();
    let words = process.path("words").display().to_string();
    fs::write(&words, format!("{WORDS}\n")).unwrap();
    process.good_as("alice", &["operator", "seal-key", "--passphrase-file", &words], b"");
    // When the approval key is to have the same passphrase: the first prompt is that of the identity
    let lines = [WORDS, WORDS, WORDS];
    let (is_done, said) = typed(&process, "alice", "approval key create", "assphrase", &lines);
    assert!(!is_done && said.contains("passphrase_refused"), "{said}");
    assert!(!process.path("home-alice/approval-key.pem").exists());
}

#[test]
fn approve_needs_an_accepted_key_on_this_machine() {
    let process = persons();
    let approve = ["approval", "approve", "appr_06h2htbrfhs6388gu9e2l31ivk"];
    let refused = |code: &str| {
        let output = process.run_as("alice", &approve, b"");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(code), "{said}");
    };
    refused("approval_key_not_accepted");
    created(&process, "alice");
    refused("approval_key_not_accepted");
    let fingerprint = keys(&process, "alice")[0]["fingerprint"].as_str().unwrap().to_owned();
    accept_on_host(&process, "alice", &fingerprint);
    // With the key, the request is looked up; on another machine, the key is missing
    refused("approval_unknown");
    fs::rename(process.path("home-alice/approval-key.pem"), process.path("elsewhere")).unwrap();
    refused("approval_key_not_on_machine");
    // And an id of another form is refused before a request
    let wrong = process.run_as("alice", &["approval", "show", "WDJB"], b"");
    assert_eq!(wrong.status.code(), Some(2), "{}", String::from_utf8_lossy(&wrong.stderr));
}

#[test]
fn auditor_makes_no_approval_key_and_approves_nothing() {
    let process = persons();
    let invite = ["operator", "invite", "olga", "--role", "auditor", "--person", "olga@corp.example"];
    let code = process.good(&invite, b"");
    process.good_as("olga", &["join"], &code);
    for verb in ["approval key create", "approval approve WDJB-MJHT"] {
        let refused = process.run_as("olga", &verb.split(' ').collect::<Vec<_>>(), b"");
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(said.contains("operator_role_insufficient") && said.contains("`auditor`"), "{verb}: {said}");
        let fix = "an operator with the role admin or security or approver";
        assert!(said.contains(fix) && said.contains("keyward operator role olga approver"), "{verb}: {said}");
    }
    assert!(!process.path("home-olga/approval-key.pem").exists());
}

#[test]
fn passphrase_is_not_asked_for_a_key_that_would_be_refused() {
    // Given the proposed key of alice, and the admin bob with an accepted key
    let process = persons();
    let fingerprint = created(&process, "alice");
    accepted(&process, "bob");
    let accept = |fingerprint: &str| {
        let args = ["approval", "key", "accept", "alice", "--fingerprint", fingerprint];
        let refused = without_terminal(&process, "bob", &args);
        assert!(!refused.status.success());
        String::from_utf8_lossy(&refused.stderr).into_owned()
    };
    // When the fingerprint is another one, then the refusal is not the missing terminal
    let said = accept(&"0".repeat(64));
    assert!(said.contains("error: approval_key_unknown"), "{said}");
    assert!(accept(&fingerprint).contains("there is no terminal"), "the twin");
    // When alice is the same person as bob, then neither
    process.good(&["operator", "update", "alice", "--person", BOB], b"");
    fs::remove_file(process.path("home-alice/approval-key.pem")).unwrap();
    let fingerprint = created(&process, "alice");
    let said = accept(&fingerprint);
    assert!(said.contains("error: approval_key_of_accepter"), "{said}");
}

#[test]
fn replaced_identity_says_that_its_approval_key_ended() {
    let process = persons();
    let fingerprint = accepted(&process, "alice");
    let code = process.good(&["operator", "invite", "alice"], b"");
    let joined = process.run_as("alice", &["join", "--replace"], &code);
    let said = String::from_utf8_lossy(&joined.stderr).into_owned();
    assert!(joined.status.success() && said.contains("has no approval key any more"), "{said}");
    assert!(said.contains(&fingerprint) && said.contains("`keyward approval key create`"), "{said}");
    assert_eq!(keys(&process, "alice"), json!([]));
    // The key of the machine is proposed again
    let prompt = "Passphrase of the approval key: ";
    let (is_done, said) = typed(&process, "alice", "approval key create", prompt, &[WORDS]);
    assert!(is_done && said.contains("--on-host"), "{said}");
    // And so does the revocation of the certificate by an admin
    let shown = process.json(&["operator", "show", "alice"]);
    let serial =
        shown["certificates"].as_array().unwrap().last().unwrap()["serial"].as_str().unwrap().to_owned();
    let revoked = process.run_as("operator", &["cert", "revoke", &serial], b"");
    let said = String::from_utf8_lossy(&revoked.stderr).into_owned();
    assert!(revoked.status.success() && said.contains(&fingerprint), "{said}");
}
