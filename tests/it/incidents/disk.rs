//! Containment while the disk hangs or is lost, while the broker is sealed, and from the command line.

use serde_json::{Value, json};

use crate::ends_in_memory::metrics_of;
use crate::panel::set_up;
use crate::pending_orders::{answer, hang_with, renew_of, request_at};
use crate::sealing::entries;
use crate::support::process::Process;
use crate::support::waiting::wait_until;
use crate::worst_day::{
    answer_again, hang_with_a_mint, kept_by, on_a_failing_disk, with_a_runtime_directory,
};

/// Contains a subject as the operator; gives the exit code and the answer.
fn contain(process: &Process, subject: &str) -> (Option<i32>, Value) {
    let args = ["contain", subject, "--reason", "token in a public log", "-o", "json"];
    let done = process.run_as("operator", &args, b"");
    (done.status.code(), serde_json::from_slice(&done.stdout).unwrap_or_default())
}

fn is_refused(process: &Process, who: &str) -> bool {
    process.run_as(who, &["whoami"], b"").status.code() == Some(4)
}

/// A broker that was killed while the containment of `p` was in force in memory alone, and kept; with the incident.
fn killed_while_contained() -> (tempfile::TempDir, Process, String) {
    let (elsewhere, process) = with_a_runtime_directory(set_up());
    let mut process = on_a_failing_disk(process);
    let mut minting = hang_with_a_mint(&process, "q");
    let (exit, answer) = contain(&process, "p");
    assert_eq!(
        (exit, &answer["durable"], &answer["kept"]),
        (Some(12), &json!(false), &json!(true)),
        "{answer}"
    );
    assert_eq!(answer.get("seq"), None);
    let incident = answer["incident"].as_str().unwrap().to_owned();
    // It is in force, and the incident says that the ledger does not have it
    assert!(is_refused(&process, "p"));
    assert_eq!(process.json(&["incident", "show", &incident])["state"], "unrecorded");
    assert_eq!(contain(&process, "agent/p").1["incident"], incident.as_str(), "the same incident");
    let lift = process.run_as("operator", &["lift", &incident, "--reason", "over"], b"");
    assert!(String::from_utf8_lossy(&lift.stderr).contains("revocation_unrecorded"), "{lift:?}");
    process.kill();
    minting.wait().unwrap();
    answer_again(&process);
    (elsewhere, process, incident)
}

#[test]
fn a_containment_while_the_disk_hangs_holds_at_once_and_after_a_kill() {
    // Given a broker that was killed while a containment was in force in memory
    let (elsewhere, mut process, incident) = killed_while_contained();
    assert!(kept_by(&elsewhere, "orders").exists());
    // When it starts
    process.serve();
    // Then the first request is refused, and the ledger has the incident
    assert!(is_refused(&process, "p"), "before anybody was served");
    let told = entries(&process, &["incident.contained"]);
    assert_eq!((told.len(), &told[0]["event"]["incident"]), (1, &json!(incident)), "{told:?}");
    assert_eq!(told[0]["event"]["source"], "127.0.0.1", "of the operator that ordered it: {told:?}");
    assert!(!kept_by(&elsewhere, "orders").exists(), "the ledger has it");
    process.good(&["lift", &incident, "--reason", "over"], b"");
    assert_eq!(process.json(&["incident", "list"])["items"][0]["state"], "lifted");
}

#[test]
fn a_stored_containment_that_was_lifted_stays_lifted() {
    // Given a containment that was recorded and lifted, and whose stored order could not be removed
    let (elsewhere, mut process, incident) = killed_while_contained();
    let (orders, aside) = (kept_by(&elsewhere, "orders"), process.path("aside"));
    std::fs::copy(&orders, &aside).unwrap();
    process.serve();
    process.good(&["lift", &incident, "--reason", "over"], b"");
    process.kill();
    std::fs::copy(&aside, &orders).unwrap();
    // When the broker starts, then the order is forgotten
    process.serve();
    assert_eq!(process.json(&["incident", "show", &incident])["state"], "lifted");
    assert_eq!(entries(&process, &["incident.contained"]).len(), 1);
    assert!(!orders.exists());
}

#[test]
fn a_stored_containment_that_joined_an_incident_is_carried_out() {
    // Given a record of an incident, and a subject that joined it while the disk hung
    let (elsewhere, process) = with_a_runtime_directory(set_up());
    let mut process = on_a_failing_disk(process);
    let opened = process.json(&["incident", "open", "agent/p", "--reason", "strange queries"]);
    let incident = opened["incident"].as_str().unwrap().to_owned();
    let mut minting = hang_with_a_mint(&process, "q");
    let args = ["contain", "agent/p", "--reason", "sure", "--incident", &incident, "-o", "json"];
    let done = process.run_as("operator", &args, b"");
    let answer: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((done.status.code(), &answer["kept"]), (Some(12), &json!(true)), "{answer}");
    assert_eq!(process.json(&["incident", "show", &incident])["state"], "unrecorded");
    // When the broker is killed and starts
    process.kill();
    minting.wait().unwrap();
    answer_again(&process);
    process.serve();
    // Then the subject is refused, although the ledger had the incident before
    assert!(is_refused(&process, "p"));
    assert_eq!(process.json(&["incident", "show", &incident])["state"], "contained");
    assert!(!kept_by(&elsewhere, "orders").exists());
}

#[test]
fn a_contained_instance_cannot_enrol_again_while_the_disk_hangs() {
    // Given an instance whose enrolment code has a use left
    let process = on_a_failing_disk(set_up());
    let code = process.good(&["agent", "invite", "r", "--role", "publisher", "--uses", "2"], b"");
    process.good_as("r", &["join"], &code);
    let known: Value = serde_json::from_slice(&process.good_as("r", &["whoami", "-o", "json"], b"")).unwrap();
    let instance = known["instance"].as_str().unwrap();
    let accepted = || process.json(&["contain", "agent/r", "--dry-run"])["reach"]["accepted"].clone();
    assert_eq!(accepted(), 2, "the certificate and the code");
    // When it is contained, and the disk hangs
    let mut minting = hang_with_a_mint(&process, "q");
    assert_eq!(contain(&process, &format!("instance/{instance}")).0, Some(12));
    // Then its code has ended too, before the ledger has the entry and afterwards
    assert_eq!(accepted(), 0);
    answer_again(&process);
    minting.wait().unwrap();
    wait_until(|| metrics_of(&process, "keyward_revocations_unrecorded 0"));
    assert_eq!(accepted(), 0);
}

/// The first use of a renewal replaces the contained certificate by an entry that the disk takes before the containment.
#[test]
fn a_certificate_replaced_before_its_containment_ends_its_instance() {
    // Given a renewed certificate, and a disk that hangs with the entry of its first use
    let process = on_a_failing_disk(set_up());
    let shown = process.json(&["agent", "show", "p"]);
    let serial = shown["instances"][0]["serial"].as_str().unwrap();
    renew_of(&process, "home-p/agent");
    let whoami = || request_at(&process, "home-p/agent", "new", "/v1/whoami", &[]);
    let first_use = hang_with(&process, whoami());
    // When the first certificate is contained in memory, and the disk answers
    assert_eq!(contain(&process, &format!("certificate/{serial}")).0, Some(12));
    answer(&process, first_use);
    wait_until(|| metrics_of(&process, "keyward_revocations_unrecorded 0"));
    // Then the ledger has the containment after the entry that replaced the certificate
    let told = entries(&process, &["certificate.promoted", "incident.contained"]);
    let kinds: Vec<_> = told.iter().map(|entry| entry["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["certificate.promoted", "incident.contained"]);
    // And the renewal is refused, also after the lift
    let is_accepted = || {
        let answered = whoami().output().unwrap().stdout;
        serde_json::from_slice::<Value>(&answered).is_ok_and(|answer| answer["instance"].is_string())
    };
    assert!(!is_accepted());
    let incident = told[1]["event"]["incident"].as_str().unwrap();
    process.good(&["lift", incident, "--reason", "over"], b"");
    assert!(!is_accepted(), "it was revoked");
}

#[test]
fn everything_can_be_contained_in_memory_and_an_operator_still_acts() {
    // Given a broker whose disk hangs
    let process = on_a_failing_disk(set_up());
    let mut minting = hang_with_a_mint(&process, "q");
    // When everything is contained, then agents are refused, and the operator is not
    assert_eq!(contain(&process, "everything").0, Some(12));
    // A repetition adds nothing
    assert_eq!(contain(&process, "everything").0, Some(12));
    assert!(is_refused(&process, "p") && is_refused(&process, "q"));
    // And the operator can contain and revoke more
    assert_eq!(contain(&process, "role/publisher").0, Some(12));
    assert_eq!(process.run_as("operator", &["agent", "revoke", "p"], b"").status.code(), Some(12));
    // When the disk answers, then the ledger takes all of them
    answer_again(&process);
    minting.wait().unwrap();
    wait_until(|| metrics_of(&process, "keyward_revocations_unrecorded 0"));
    assert_eq!(entries(&process, &["incident.contained", "subject.revoked"]).len(), 3);
    assert!(is_refused(&process, "q"));
    for incident in process.json(&["incident", "list", "--open"])["items"].as_array().unwrap() {
        process.good(&["lift", incident["incident"].as_str().unwrap(), "--reason", "over"], b"");
    }
    process.good_as("q", &["whoami"], b"");
    assert!(is_refused(&process, "p"), "it was revoked");
}

#[test]
fn a_sealed_broker_contains_before_it_serves() {
    let (process, key) = crate::break_glass::sealed();
    // Given an order to contain, given twice
    let config = process.config();
    let order =
        ["break-glass", "contain", "agent/a", "--reason", "a drill", "--config", &config, "-o", "json"];
    let answers = [(); 2].map(|()| {
        let done = process.run_as("host", &order, b"");
        let answer: Value = serde_json::from_slice(&done.stdout).unwrap();
        assert_eq!((done.status.code(), &answer["queued"]), (Some(0), &json!(true)), "{answer}");
        answer["incident"].clone()
    });
    assert_eq!(answers[0], answers[1], "one incident");
    // When the broker is unsealed
    crate::break_glass::unseal(&process, &key);
    // Then the agent is refused, and the entry names the host
    assert!(is_refused(&process, "a"));
    let told = entries(&process, &["incident.contained"]);
    assert_eq!((told.len(), &told[0]["event"]["incident"]), (1, &answers[0]), "{told:?}");
    assert!(told[0]["event"]["by"].as_str().unwrap().starts_with("host uid"), "{told:?}");
    assert_eq!(told[0]["reason"], "a drill");
}

#[test]
fn json_of_a_containment_has_its_effects_and_views_name_the_incident() {
    let process = set_up();
    process.good_as("p", &["whoami"], b"");
    process.good(&["operator", "invite", "eve", "--role", "auditor"], b"");
    // When subjects are contained, then the document says what followed
    for (subject, show) in [
        ("agent/p", &["agent", "show", "p"]),
        ("operator/eve", &["operator", "show", "eve"]),
        ("capability/github.repo.read", &["capability", "show", "github.repo.read"]),
        ("role/repo-reader", &["role", "show", "repo-reader"]),
        ("secret/github/app", &["secret", "show", "github/app"]),
    ] {
        assert!(process.json(show)["incident"].is_null(), "{subject}");
        let (exit, answer) = contain(&process, subject);
        assert_eq!((exit, &answer["effects"]["pending"]), (Some(0), &json!(false)), "{answer}");
        assert_eq!(
            (&answer["effects"]["items"], &answer["reach"]["accepted"]),
            (&json!([]), &json!(0)),
            "{answer}"
        );
        // And the subject's own view names the incident, until the lift
        assert_eq!(process.json(show)["incident"], answer["incident"], "{subject}");
        let incident = answer["incident"].as_str().unwrap();
        let listed = String::from_utf8(process.good(&[show[0], "list", "--limit", "500"], b"")).unwrap();
        let is_shown = listed.contains(&format!("contained ({incident})"));
        assert_eq!(is_shown, ["agent", "operator"].contains(&show[0]), "{listed}");
        process.good(&["lift", incident, "--reason", "over"], b"");
        assert!(process.json(show)["incident"].is_null(), "{subject}");
    }
    // And a text that is no id of an incident is refused with the verb that lists them
    let refused = process.run_as("operator", &["lift", "inc_x", "--reason", "over"], b"");
    assert!(String::from_utf8_lossy(&refused.stderr).contains(" incident list`"), "{refused:?}");
}

#[test]
fn the_command_line_names_subjects_in_every_form() {
    let process = set_up();
    let say = |args: &[&str], input: &[u8]| {
        let done = process.run_as("operator", args, input);
        let said =
            format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        (done.status.code(), said)
    };
    // A dry run changes nothing
    let (exit, said) = say(&["contain", "p", "--dry-run"], b"");
    assert!(
        exit == Some(0) && said.contains("nothing was changed") && said.contains("\nagents: 1 (p)\n"),
        "{said}"
    );
    process.good_as("p", &["whoami"], b"");
    // A token itself is read from standard input, and never an argument
    let token = process.good_as("p", &["token", "reports.read"], b"");
    let text = String::from_utf8(token.clone()).unwrap();
    for argument in [text.trim().to_owned(), format!("token/{}", text.trim())] {
        let (exit, said) = say(&["contain", &argument, "--reason", "x"], b"");
        assert!(exit == Some(2) && !said.contains(text.trim()), "{said}");
    }
    let (exit, said) = say(&["contain", "token/-", "--reason", "leaked"], &token);
    assert!(exit == Some(0) && said.contains("contained in ledger entry"), "{said}");
    assert!(!said.contains("`keyward contain token/-`"), "that was done: {said}");
    // An address is the network of this address alone, and a time needs its unit
    let (exit, said) = say(&["contain", "network/192.0.2.2", "--dry-run"], b"");
    assert!(exit == Some(0) && said.contains("network `192.0.2.2/32`"), "{said}");
    let (exit, said) = say(&["incident", "show", "agent/p", "--since", "6"], b"");
    assert!(exit == Some(2) && said.contains("--since") && said.contains("`6h`"), "{said}");
    assert!(crate::worst_day::introspect(&process, text.trim()).contains("\"active\":false"));
    // A name that nobody has, and one that an agent and an operator have
    let (exit, said) = say(&["contain", "nobody", "--reason", "x"], b"");
    assert!(exit == Some(2) && said.contains("agent/NAME, instance/ID"), "{said}");
    process.good(&["operator", "invite", "p", "--role", "auditor"], b"");
    let (exit, said) = say(&["contain", "p", "--reason", "x"], b"");
    assert!(exit == Some(2) && said.contains("`agent/p` or `operator/p`"), "{said}");
    let (exit, said) = say(&["contain", "operator/p", "--reason", "x"], b"");
    assert!(exit == Some(0) && said.contains("operator `p`"), "{said}");
    let (exit, said) = say(&["contain", "agent/p"], b"");
    assert!(exit == Some(2) && said.contains("--reason"), "{said}");
    // The result names the incident and how to end it
    let (exit, said) = say(&["contain", "agent/p", "--reason", "x"], b"");
    assert!(exit == Some(0) && said.contains("accepted now: 0"), "{said}");
    let incident = said.lines().find_map(|line| line.strip_prefix("incident ")).unwrap().to_owned();
    assert!(said.contains(&format!("`keyward lift {incident} --reason TEXT`")), "{said}");
    let (exit, said) = say(&["lift", &incident, "--reason", "x"], b"");
    assert!(exit == Some(0) && said.contains("still revoked"), "{said}");
    let (_, listed) = say(&["incident", "list"], b"");
    assert!(listed.contains("agent/p") && listed.contains("lifted"), "{listed}");
}
