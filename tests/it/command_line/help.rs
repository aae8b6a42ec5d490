//! What the program says about itself without a broker.

use std::process::Command;

use keyward::wire::{CodeOutput, Items};

use super::said;
use crate::support::process::KEYWARD;

#[test]
fn help_explains_verbs_errors_and_exit_codes_without_a_broker() {
    let run = |args: &[&str]| {
        let output = Command::new(KEYWARD).args(args).output().unwrap();
        (output.status.code().unwrap(), said(&output))
    };
    for (args, says) in [
        (vec!["help"], "Usage: keyward"),
        (vec!["help", "agent", "invite"], "--uses"),
        (vec!["help", "error", "too_many_instances"], "fix: "),
        (vec!["help", "error", "RATE_LIMITED"], "may succeed later"),
        (vec!["help", "error"], "ledger_failed"),
        (vec!["help", "exit-codes"], "not authenticated"),
        (vec!["completions", "bash"], "_clap_complete_keyward()"),
        (vec!["completions", "zsh"], "#compdef keyward"),
        (vec!["completions", "fish"], "--command keyward"),
    ] {
        let (code, said) = run(&args);
        assert!(code == 0 && said.contains(says), "{args:?}: {said}");
    }
    for args in [vec!["help", "error", "no_such_code"], vec!["help", "no-such-verb"]] {
        let (code, said) = run(&args);
        assert!(code == 2 && said.contains("  fix:"), "{args:?}: {said}");
    }
    let json = Command::new(KEYWARD).args(["help", "error", "agent_unknown", "-o", "json"]).output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((&json["code"], &json["exit_code"]), (&"agent_unknown".into(), &7.into()));
    let listed = Command::new(KEYWARD).args(["help", "exit-codes", "-o", "json"]).output().unwrap();
    let listed: Items<CodeOutput> = serde_json::from_slice(&listed.stdout).unwrap();
    assert!(listed.items.iter().any(|item| item.code == "11" && item.meaning == "a verification failed"));
}

#[test]
fn manual_pages_are_written_one_a_verb() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("man").display().to_string();
    assert!(Command::new(KEYWARD).args(["man", "--out", &out]).status().unwrap().success());
    for page in ["keyward.1", "keyward-agent-invite.1", "keyward-renew.1"] {
        let text = std::fs::read_to_string(dir.path().join("man").join(page)).unwrap();
        assert!(text.contains(".TH keyward"), "{page}");
    }
}
