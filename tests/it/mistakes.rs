//! Mistakes on the command line: the message names the mistake, and the fix does not lead further away.

use std::fs;

use crate::guides::said;
use crate::handing_secrets::TWO;
use crate::support::process::Process;

#[test]
fn identity_of_the_other_kind_is_named() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    for (home, verb, named, fix) in [
        ("operator", &["whoami"][..], "holds the operator `admin`", "add `--operator`"),
        ("operator", &["token", "reports.read"], "holds the operator `admin`", "--home DIR"),
        ("a", &["whoami", "--operator"], "holds the agent `a`", "leave out `--operator`"),
        ("a", &["agent", "list"], "holds the agent `a`", "--home DIR"),
    ] {
        let output = process.run_as(home, verb, b"");
        let told = said(&output);
        assert_eq!(output.status.code(), Some(4), "{verb:?}: {told}");
        assert!(
            told.contains("no_identity") && told.contains(named) && told.contains(fix),
            "{verb:?}: {told}"
        );
        assert!(!told.contains("reissue"), "a new certificate is not needed: {told}");
    }
    let told = said(&process.run_as("nobody", &["agent", "list"], b""));
    assert!(told.contains("--reissue-operator") && !told.contains("holds"), "{told}");
}

#[test]
fn a_token_and_its_id_are_told_apart() {
    let process = Process::init("warn");
    for token in ["eyJhbGciOiJFUzI1NiJ9.CNRY.CNRY", "eyJCNRY"] {
        let output = process.run_as("operator", &["token", "revoke", token], b"");
        let told = said(&output);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(
            told.contains("every user of the machine can read arguments") && !told.contains("CNRY"),
            "{told}"
        );
        assert!(told.contains("keyward token show -"), "{told}");
    }
    let output = process.run_as("operator", &["token", "revoke", "tok_x"], b"");
    assert!(output.status.code() == Some(2) && said(&output).contains("not an id"), "{}", said(&output));
    let output = process.run_as("operator", &["token", "show", "tok_06h2htbrfhs6388gu9e2l31ivk"], b"");
    let told = said(&output);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("is the id of a token") && !told.contains("secret was given"), "{told}");
}

#[test]
fn a_directory_without_declarations_is_refused() {
    let mut process = Process::init("warn");
    process.serve();
    let dir = process.path("empty");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("a.toml.bak"), "").unwrap();
    let named = dir.display().to_string();
    for verb in [&["plan"][..], &["plan", "--prune"], &["apply", "--prune", "--yes"]] {
        let output = process.run_as("operator", &[verb, &["-f", &named]].concat(), b"");
        let told = said(&output);
        assert_eq!(output.status.code(), Some(2), "{verb:?}: {told}");
        assert!(told.contains(&format!("`{named}` contains no *.toml files")), "{told}");
    }
    fs::write(dir.join("a.toml"), "").unwrap();
    process.good(&["plan", "-f", &named], b"");
}

#[test]
fn owner_of_nothing_is_noted() {
    let mut process = Process::init("warn");
    process.serve();
    process.good(&["secret", "put", "pay/key", "--owner", "payments"], b"value");
    for (verb, noted) in [
        (
            &["secret", "list", "--owner", "paymnts"][..],
            "no secrets of the owner `paymnts`; owners in use: payments",
        ),
        (&["export", "--owner", "paymnts"], "of the owner `paymnts`; owners in use: payments"),
        (
            &["operator", "invite", "ann", "--role", "auditor", "--owner", "paymnts"],
            "no object or operator so far is of the owner `paymnts`; owners in use: payments",
        ),
    ] {
        let output = process.run_as("operator", verb, b"");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && told.contains(noted), "{verb:?}: {told}");
    }
    for verb in [
        &["secret", "list", "--owner", "payments", "--prefix", "other/"][..],
        &["operator", "invite", "bob", "--role", "auditor", "--owner", "payments"],
    ] {
        let output = process.run_as("operator", verb, b"");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && !told.contains("note:"), "{verb:?}: {told}");
    }
}

#[test]
fn a_capability_of_another_secret_is_named_with_the_right_one() {
    // Given an agent with capabilities that deliver two secrets, and a token
    let mut process = Process::init("warn");
    process.serve();
    for secret in ["one/a", "two/b"] {
        process.good(&["secret", "put", secret], b"CNRY");
    }
    fs::write(process.path("two.toml"), TWO).unwrap();
    process.good(&["apply", "-f", &process.path("two.toml").display().to_string()], b"");
    process.enrol("a", "both");
    for wrong in ["reports.read", "two.read"] {
        // When the agent reads a secret with a capability that does not deliver it
        let got = process.run_as("a", &["get", "one/a", "--capability", wrong], b"");
        // Then both capabilities are named
        let told = said(&got);
        assert_eq!((got.status.code(), got.stdout.len()), (Some(5), 0), "{wrong}: {told}");
        for part in [
            "secret_not_granted",
            &format!("`{wrong}` does not deliver the secret `one/a`"),
            "--capability one.read",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
    }
}
