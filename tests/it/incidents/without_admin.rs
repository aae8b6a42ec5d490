//! A containment that leaves no unrestricted admin is confirmed.

use crate::support::process::{KEYWARD, Process};
use crate::support::terminal::TypedCommand;
use crate::support::waiting::wait_until;

const CONTAIN: [&str; 4] = ["contain", "network/127.0.0.0/8", "--reason", "strange queries"];

/// A broker whose only admin, and the security operator `sam`, connect from one network.
fn with_security() -> Process {
    let mut process = Process::init("warn");
    process.serve();
    let code = process.good(&["operator", "invite", "sam", "--role", "security"], b"");
    process.good_as("sam", &["join"], &code);
    process
}

fn contained(process: &Process) -> usize {
    let listed = process.said_by("sam", &["incident", "list", "--open", "-o", "json"]).unwrap();
    let listed: serde_json::Value = serde_json::from_slice(&listed).unwrap();
    listed["items"].as_array().unwrap().len()
}

#[test]
fn a_containment_that_leaves_no_admin_needs_a_confirmation() {
    let process = with_security();
    // When a security operator contains the network of all admins without a confirmation, then nothing is changed
    let refused = process.run_as("sam", &CONTAIN, b"");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    for part in ["no unrestricted admin could act", "`keyward init --reissue-operator`", "`--yes`"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(contained(&process), 0);
    // And another network needs none
    let other = ["contain", "network/203.0.113.0/24", "--reason", "strange queries"];
    process.good_as("sam", &other, b"");
    // When it is confirmed, then it is in force
    process.good_as("sam", &[&CONTAIN[..], &["--yes"]].concat(), b"");
    assert_eq!(contained(&process), 2);
    let refused = process.run_as("operator", &["whoami", "--operator"], b"");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("network_contained"));
}

#[test]
fn a_person_at_a_terminal_is_asked_before_no_admin_is_left() {
    let process = with_security();
    let (home, args) = (process.path("home-sam"), CONTAIN.map(|arg| format!("'{arg}'")).join(" "));
    let command = format!("{} --home {} {args}", KEYWARD, home.display());
    let answer = |line: &str| {
        let typed =
            TypedCommand { command: &command, prompt: "leave no admin? [y/N]", ahead: "", lines: &[line] };
        typed.run(&process.path("begin"))
    };
    let (is_done, said) = answer("n");
    assert!(!is_done && said.contains("not_confirmed"), "{said}");
    assert_eq!(contained(&process), 0);
    let (is_done, said) = answer("y");
    assert!(is_done && said.contains("is contained"), "{said}");
    assert_eq!(contained(&process), 1);
}

#[test]
fn an_admin_of_an_unknown_address_may_be_locked_out() {
    // Given a broker that has been restarted, and an admin that has not connected since
    let mut process = with_security();
    process.stop();
    process.spawn();
    wait_until(|| process.run_as("sam", &["whoami", "--operator"], b"").status.success());
    let other = ["contain", "network/203.0.113.0/24", "--reason", "strange queries"];
    let unknown = "last address unknown: `admin`";
    // When a security operator would contain any network, then the report names the admin
    let dry = process.good_as("sam", &["contain", "network/203.0.113.0/24", "--dry-run"], b"");
    let dry = String::from_utf8(dry).unwrap();
    assert!(dry.contains(unknown) && dry.contains("no unrestricted admin is known"), "{dry}");
    // And nothing is changed without a confirmation
    let refused = process.run_as("sam", &other, b"");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    for part in [unknown, "`keyward init --reissue-operator`", "makes the address known", "`--yes`"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(contained(&process), 0);
    // When the admin has connected, then its address is known, and the containment needs no confirmation
    process.good(&["whoami", "--operator"], b"");
    let done = process.good_as("sam", &[&other[..], &["-o", "json"]].concat(), b"");
    let done: serde_json::Value = serde_json::from_slice(&done).unwrap();
    assert_eq!((done.get("leaves_no_admin"), done.get("admins_of_unknown_address")), (None, None), "{done}");
    // And after another restart, a confirmed containment is in force, and its answer names the admin
    process.stop();
    process.spawn();
    wait_until(|| process.run_as("sam", &["whoami", "--operator"], b"").status.success());
    let forced = [&other[..], &["--yes", "-o", "json"]].concat();
    let done: serde_json::Value = serde_json::from_slice(&process.good_as("sam", &forced, b"")).unwrap();
    assert_eq!(done["leaves_no_admin"], true, "{done}");
    assert_eq!(done["admins_of_unknown_address"]["names"], serde_json::json!(["admin"]), "{done}");
}
