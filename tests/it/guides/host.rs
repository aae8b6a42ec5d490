//! The pages about what root does on the broker's host: break-glass access, sealing, the checks of an installation.

use super::{blocks, run_as};
use crate::support::host::until;
use crate::support::process::Process;

#[test]
fn break_glass_access_revokes_each_kind_and_invites_by_the_page() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    process.enrol("b", "repo-reader");
    let code = process.good(&["operator", "invite", "alice", "--role", "auditor"], b"");
    process.good_as("alice", &["join"], &code);
    let token = process.good_as("b", &["token", "github.repo.read", "-o", "json"], b"");
    let token: serde_json::Value = serde_json::from_slice(&token).unwrap();
    let instance = process.json(&["agent", "show", "a"])["instances"][0].clone();
    let of = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let blocks = blocks("how-to/break-glass.md");
    let revoked = [
        ("agent NAME", "agent b".to_owned()),
        ("instance ID", format!("instance {}", of(&instance["id"]))),
        ("certificate SERIAL", format!("certificate {}", of(&instance["serial"]))),
        ("token ID", format!("token {}", of(&token["token_id"]))),
        ("revoke operator NAME", "revoke operator alice".to_owned()),
        ("suspend operator NAME", "suspend operator admin".to_owned()),
    ];
    let script = revoked.iter().fold(blocks[0].clone(), |script, (name, value)| script.replace(name, value));
    assert!(!script.contains("NAME") && !script.contains("ID\n"), "{script}");
    run_as(&process, "operator", &script, &[]);
    for who in ["a", "b"] {
        assert!(!process.run_as(who, &["get", "github/app"], b"").status.success(), "{who}");
    }
    assert!(!process.run_as("operator", &["audit", "list"], b"").status.success());
    // The admin of one hour invites the next one.
    let code = run_as(&process, "operator", &blocks[1].replace("NAME", "carol"), &[]);
    let code = code.lines().find(|line| line.len() > 60 && !line.contains(' ')).expect("a code");
    process.good_as("carol", &["join"], code.as_bytes());
    process.good_as("carol", &["operator", "resume", "admin"], b"");
    process.good(&["audit", "list"], b"");
}

#[test]
fn a_broker_is_sealed_and_unsealed_by_the_page() {
    let mut process = Process::init("warn");
    process.serve();
    let blocks = blocks("how-to/seal-and-unseal.md");
    run_as(&process, "operator", &blocks[0], &[]);
    until(&process.socket(), "sealed");
    let by_file = blocks[1].replace("unseal\n", "unseal --key-file root.key\n");
    run_as(&process, "operator", &by_file, &[]);
    process.good(&["whoami", "--operator"], b"");
}

#[test]
fn an_installation_passes_the_checks_of_the_page() {
    let mut process = Process::init("warn");
    process.serve();
    let block = blocks("how-to/production.md")[2].replace(" --root-key-file /etc/keyward/root.key", "");
    let said = run_as(&process, "operator", &block, &[]);
    assert!(said.contains("ready: the ledger is writable"), "{said}");
}
