//! An operator that takes away its own access by a command.

use crate::support::process::Process;

#[test]
fn own_access_ends_only_after_a_confirmation() {
    // Given two admins
    let mut process = Process::init("warn");
    process.serve();
    let code = process.good(&["operator", "invite", "eve", "--role", "admin"], b"");
    process.good_as("eve", &["join"], &code);
    let eve = process.json(&["operator", "show", "eve"]);
    let certificate = format!("certificate/{}", eve["certificates"][0]["serial"].as_str().unwrap());
    let run = |args: &[&str]| {
        let output = process.run_as("eve", args, b"");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    // When one of them ends its own access without a confirmation, then it is told so, and nothing is changed
    let ends = [
        &["operator", "suspend", "eve"][..],
        &["operator", "revoke", "eve"],
        &["operator", "delete", "eve"],
        &["contain", "operator/eve", "--reason", "test"],
        &["contain", "eve", "--reason", "test"],
        &["contain", &certificate, "--reason", "test"],
        &["operator", "role", "eve", "auditor"],
        &["operator", "role", "eve", "admin", "--owner", "red"],
    ];
    for end in ends {
        let (exit, said) = run(end);
        assert!(exit == Some(2) && said.contains("is the one you use now"), "{end:?}: {said}");
        assert!(said.contains("`--yes`"), "{end:?}: {said}");
    }
    process.good_as("eve", &["whoami", "--operator"], b"");
    // A role that is not lower needs no confirmation; a lower one is given once it is confirmed
    process.good_as("eve", &["operator", "role", "eve", "admin"], b"");
    let (exit, said) = run(&["operator", "role", "eve", "auditor", "--yes"]);
    assert!(exit == Some(0) && said.contains("`keyward operator role eve admin --no-owner`"), "{said}");
    process.good(&["operator", "role", "eve", "admin"], b"");
    // When it confirms, then the way back is printed
    let (exit, said) = run(&["operator", "suspend", "eve", "--yes"]);
    assert!(exit == Some(0) && said.contains("`keyward operator resume NAME`"), "{said}");
    process.good(&["operator", "resume", "eve"], b"");
    let (exit, said) = run(&["contain", "operator/eve", "--reason", "test", "--yes"]);
    assert!(exit == Some(0) && said.contains("`keyward lift INCIDENT"), "{said}");
    // Then another operator needs no confirmation
    process.good(&["operator", "revoke", "eve"], b"");
}
