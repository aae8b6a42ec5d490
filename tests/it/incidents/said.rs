//! What the commands of a responder say.

use serde_json::json;

use crate::support::process::Process;

fn served() -> Process {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    process
}

/// Everything that the command printed.
fn said(process: &Process, args: &[&str]) -> String {
    let done = process.run_as("operator", args, b"");
    String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned()
}

#[test]
fn a_second_lift_says_that_nothing_has_changed() {
    // Given a containment that was lifted
    let process = served();
    let contained = process.json(&["contain", "agent/a", "--reason", "strange queries"]);
    let incident = contained["incident"].as_str().unwrap();
    let first = process.json(&["lift", incident, "--reason", "over"]);
    // When it is lifted again
    let again = process.json(&["lift", incident, "--reason", "over"]);
    // Then the answer names the earlier entry, and that nothing has changed
    assert_eq!((&again["seq"], &again["unchanged"]), (&first["seq"], &json!(true)), "{again}");
    assert_eq!(first.get("unchanged"), None);
    let said = said(&process, &["lift", incident, "--reason", "over"]);
    assert!(said.contains("nothing has changed") && !said.contains("lifted in ledger entry"), "{said}");
}

#[test]
fn every_verb_says_that_a_word_of_the_reason_is_replaced() {
    // Given a reason with an enrolment code
    let process = served();
    let code = String::from_utf8(process.good(&["agent", "invite", "a"], b"")).unwrap();
    let reason = format!("the code {} leaked", code.trim());
    let instance = process.json(&["agent", "show", "a"])["instances"][0]["id"].as_str().unwrap().to_owned();
    // When it is given to verbs, then each one says so, and prints no part of it
    for args in [
        &["freeze"][..],
        &["thaw"],
        &["agent", "suspend", "a"],
        &["agent", "resume", "a"],
        &["agent", "revoke", "--instance", &instance],
        &["lease", "revoke", "--all"],
        &["contain", "role/repo-reader"],
    ] {
        let said = said(&process, &[args, &["--reason", &reason]].concat());
        assert!(said.contains("without this word") && !said.contains(code.trim()), "{args:?}: {said}");
    }
    let said = said(&process, &["agent", "suspend", "a", "--reason", "a usual reason"]);
    assert!(!said.contains("without this word"), "{said}");
}

#[test]
fn a_long_note_is_refused_with_its_limit() {
    let process = served();
    let opened = process.json(&["incident", "open", "agent/a", "--reason", "strange queries"]);
    let incident = opened["incident"].as_str().unwrap();
    let said = said(&process, &["incident", "note", incident, &"x".repeat(301)]);
    assert!(said.contains("1 to 300 characters") && said.contains("several notes"), "{said}");
    process.good(&["incident", "note", incident, &"x".repeat(300)], b"");
}

#[test]
fn a_filtered_name_is_shown_in_the_row() {
    // Given a token for more capabilities than a row shows
    let process = served();
    let file = process.path("more.toml");
    let names = ["a.read", "b.read", "c.read", "z.read"];
    let capabilities: String = names
        .iter()
        .map(|name| {
            format!(
                "[[capability]]\nname = \"{name}\"\naccess = \"read\"\ndelivery = \"mint\"\n\
                 audience = \"https://x.example\"\nmax_life_s = 300\n"
            )
        })
        .collect();
    let list = names.map(|name| format!("\"{name}\"")).join(", ");
    let text = format!("{capabilities}[[role]]\nname = \"many\"\ncapabilities = [{list}]\n");
    std::fs::write(&file, text).unwrap();
    process.good(&["apply", "-f", &file.display().to_string()], b"");
    process.enrol("m", "many");
    process.good_as("m", &[&["token"][..], &names].concat(), b"");
    // When the entries are filtered by the last one, then the row begins with it
    let rows = said(&process, &["audit", "list", "--capability", "z.read", "--kind", "token.minted"]);
    assert!(rows.contains("z.read, a.read, b.read and 1 more"), "{rows}");
}

#[test]
fn a_report_about_a_subject_that_read_nothing_says_so() {
    let process = served();
    let line = "agent `a`: no secret was read, no token was issued, no login was issued since ";
    let before = said(&process, &["incident", "show", "agent/a"]);
    assert!(before.contains(line), "{before}");
    process.good_as("a", &["get", "github/app"], b"");
    let after = said(&process, &["incident", "show", "agent/a"]);
    assert!(!after.contains("no secret was read") && after.contains("STORED AT"), "{after}");
}

#[test]
fn an_empty_input_is_named_before_anything_is_sent() {
    // Given a broker that does not run, and an input without a text
    let process = Process::init("warn");
    for (args, input) in [
        (&["incident", "value", "-"][..], &b""[..]),
        (&["incident", "value", "-"], b" \n"),
        (&["contain", "token/-", "--reason", "leaked"], b""),
    ] {
        let refused = process.run_as("operator", args, input);
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{args:?}: {told}");
        assert!(told.contains("nothing was read"), "{args:?}: {told}");
    }
}
