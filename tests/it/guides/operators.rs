//! The page about operators on several machines.

use std::fs;
use std::process::Command;

use super::{blocks, fenced, run_as};
use crate::support::ports::free_port;
use crate::support::process::{KEYWARD, Process};

/// The script of a command that runs until it is stopped: it has to run for a second.
pub(super) fn watching(block: &str) -> String {
    format!("timeout 1 {} || [ $? = 124 ]\n", block.trim_end())
}

/// Asserts that systemd accepts the unit of a user that the page had installed below this test's home directory.
fn is_accepted_unit(process: &Process, name: &str) {
    let installed = process.path(&format!(".config/systemd/user/{name}"));
    let text = fs::read_to_string(&installed).unwrap();
    let unit = process.path(name);
    fs::write(&unit, text.replace("/usr/local/bin/keyward", KEYWARD)).unwrap();
    let mut analyze = Command::new("systemd-analyze");
    analyze.args(["--user", "verify"]).arg(&unit).env("XDG_RUNTIME_DIR", process.path(""));
    let output = analyze.output().expect("systemd is needed: run scripts/test");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", super::said(&output));
}

#[test]
fn operators_join_from_other_machines_by_the_page() {
    // Given a broker that listens as the page says
    let page = "how-to/several-operators.md";
    let mut process = Process::init("warn");
    let admins = free_port();
    let network = &fenced(page, "toml")[0];
    let text = network.replace("10.1.0.5:8444", &format!("0.0.0.0:{admins}"));
    let text = text.replace("[server]", &format!("agents = \"127.0.0.1:{}\"\n[server]", free_port()));
    let text = text.replace("broker.corp.example:8444", &format!("127.0.0.2:{admins}"));
    let text = text.replace("broker.corp.example", "127.0.0.2");
    let whole = fs::read_to_string(process.config()).unwrap();
    fs::write(process.config(), whole.split("[listen]").next().unwrap().to_owned() + &text).unwrap();
    let blocks = blocks(page);
    let of_operator = process.path("home-operator/operator/address");
    let address = format!("127.0.0.1:{admins}");
    fs::write(&of_operator, &address).unwrap();
    process.serve();
    let run = |who: &str, block: &str| {
        run_as(&process, who, block, &[("ADMIN_ADDRESS", &format!("127.0.0.2:{admins}"))])
    };
    for block in &blocks[..3] {
        run("operator", block);
    }
    // When colleagues join on machines of their own, then they have their rights alone
    let said = run("alice", &blocks[3]);
    assert!(
        said.contains("127.0.0.2") && said.contains("operator/alice") && said.contains("auditor"),
        "{said}"
    );
    assert!(run("alice", &blocks[4]).contains("renewed spiffe://"));
    run("alice", &watching(&blocks[5]));
    run("alice", &blocks[6].replace(" config/", &format!(" {}/config/", crate::readme::root().display())));
    is_accepted_unit(&process, "keyward-operator.service");
    run("operator", &blocks[7].replace("code-alice", "code-alice-2"));
    let code = process.path("code-alice-2").display().to_string();
    process.good_as("alice", &["join", "--replace", "--code-file", &code], b"");
    let code = process.path("code-bob").display().to_string();
    process.good_as("bob", &["join", "--code-file", &code], b"");
    let seen = String::from_utf8(process.good_as("bob", &["audit", "list"], b"")).unwrap();
    assert!(seen.contains("operator.enrolled") && !seen.contains("alice"), "{seen}");
    let refused = process.run_as("bob", &["operator", "list"], b"");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("operator_scope_insufficient"));
    // When a colleague seals the key, then the commands work by the key agent
    let words = process.path("words").display().to_string();
    fs::write(&words, "the words of the page\n").unwrap();
    let with_words = |block: &str, verb: &str| {
        block.replace(
            &format!("keyward operator {verb}"),
            &format!("keyward operator {verb} --passphrase-file {words}"),
        )
    };
    let seal: Vec<&str> = blocks[8].lines().collect();
    assert_eq!(seal.len(), 2);
    assert!(run("alice", &with_words(seal[0], "seal-key")).contains("is sealed"));
    assert!(run("alice", &with_words(&blocks[9], "key-agent")).contains("the key agent uses"));
    assert!(run("alice", seal[1]).contains("renewed spiffe://"));
    assert!(run("alice", "keyward doctor --operator\n").contains("sealed with a passphrase"));
    assert!(run("alice", &blocks[10]).contains("the key agent has ended"));
    let said = run("operator", &blocks[11]);
    assert!(said.contains("payments") && said.contains("suspended") && said.contains("revoked"), "{said}");
}
