//! The page about approvals.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use keyward::config::Config;
use serde_json::{Value, json};

use super::{blocks, fenced, run_as, said, shell};
use crate::approval_keys::commands::{PROMPT, WORDS, persons, typed};
use crate::interop::python_path;
use crate::panel::node_home;
use crate::support::process::Process;
use crate::support::waiting::wait_until;

/// The arguments of a block with one command, with `from` replaced.
fn arguments(block: &str, from: &str, to: &str) -> String {
    assert_eq!(block.lines().count(), 1, "{block}");
    block.trim().strip_prefix("keyward ").unwrap().replace(from, to)
}

/// The first word of `text` that begins so.
fn word(text: &str, begin: &str) -> String {
    let is_end = |c: char| c.is_whitespace() || "`;,\"".contains(c);
    let at = text.find(begin).unwrap_or_else(|| panic!("{begin}: {text}"));
    text[at..].split(is_end).next().unwrap().to_owned()
}

#[test]
fn production_write_is_approved_and_used_once_by_the_page() {
    // Given the operators and the declarations of the page
    let page = "how-to/approvals.md";
    let blocks = blocks(page);
    let process = persons();
    fs::write(process.path("approvals.toml"), &fenced(page, "toml")[0]).unwrap();
    let run = |who: &str, block: &str| run_as(&process, who, block, &[]);
    run("operator", &blocks[0]);
    let code = process.good(&["agent", "invite", "deploy-bot"], b"");
    process.good_as("deploy-bot", &["join"], &code);
    run("operator", &blocks[1]);
    // And an approval key of alice, which the host accepts
    let (is_done, told) = typed(&process, "alice", &arguments(&blocks[2], "", ""), PROMPT, &[WORDS, WORDS]);
    assert!(is_done, "{told}");
    let shown = process.good_as("alice", &["approval", "key", "show", "-o", "json"], b"");
    let shown: Value = serde_json::from_slice(&shown).unwrap();
    let fingerprint = shown["keys"][0]["fingerprint"].as_str().unwrap();
    let example = word(&blocks[3], "2c26");
    let on_host = format!("--on-host --config {}", process.config());
    run("nobody", &blocks[3].replace(&example, fingerprint).replace("--on-host", &on_host));
    // When the agent asks, then alice finds the request, and approves it
    let commands: Vec<&str> = blocks[4..10].iter().flat_map(|block| block.lines()).collect();
    assert_eq!(commands.len(), 6, "a write that is approved, and a denial that is remediated: {commands:?}");
    let denied = process.run_as("deploy-bot", &["token", "web.deploy"], b"");
    assert!(String::from_utf8_lossy(&denied.stderr).contains("approval_required"), "{denied:?}");
    let asked = run("deploy-bot", &blocks[4]);
    let id = word(&asked, "appr_");
    let code = word(asked.split("keyward approval show ").nth(1).unwrap(), "");
    assert!(run("alice", &blocks[5]).contains(&code));
    let shown = run("alice", &format!("keyward approval show {code}\n"));
    for part in [
        "web.deploy (write, production)",
        "\"release 7\"",
        "production-writes: approval by 1 of `release-approvers`",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let prompt = "Passphrase of the approval key: ";
    let approve = arguments(&blocks[6], "WDJB-MJHT", &code);
    let (is_done, told) = typed(&process, "alice", &approve, prompt, &[WORDS]);
    assert!(is_done && told.contains("approved in ledger entry"), "{told}");
    // Then the agent uses it once
    let of_page = word(&blocks[7], "appr_");
    let token = run("deploy-bot", &blocks[7].replace(&of_page, &id));
    assert!(token.contains("eyJ"), "{token}");
    let home = process.path("home-deploy-bot").display().to_string();
    let again = shell(&process.path(""), &blocks[8].replace(&of_page, &id), &[("KEYWARD_HOME", &home)]);
    let refusal = fenced(page, "text")[0].trim().to_owned();
    assert!(!again.status.success() && said(&again).contains(&refusal), "{}", said(&again));
    // And the refusal names the command that remediates it
    let said = said(&again);
    let decision = word(&blocks[9], "dec_");
    let remedy = blocks[9].trim().replace(&decision, &word(&said, "dec_"));
    assert!(said.contains(&remedy), "{remedy}: {said}");
    let token = run("deploy-bot", &format!("{remedy}\n"));
    assert!(token.contains("eyJ"), "{token}");
    let minted = process.json(&["audit", "list", "--kind", "token.minted"]);
    let remediates = |entry: &Value| entry["event"]["remediates"] == word(&said, "dec_").as_str();
    assert!(minted["items"].as_array().unwrap().iter().any(remediates), "{minted}");
    // And the agent sees the request
    assert!(run("deploy-bot", &blocks[10].replace(&of_page, &id)).contains("used"));
    programs_use_approvals_by_the_page(&process, &blocks[11..], &fenced(page, "python")[0]);
    stock_clients_use_approvals_by_the_page(&process, &fenced(page, "python")[1], &fenced(page, "js")[0]);
}

/// The section for programs: `keyward run`, `keyward.py`, and curl.
fn programs_use_approvals_by_the_page(process: &Process, blocks: &[String], python: &str) {
    let [by_run, token, wait] = blocks else { panic!("{blocks:?}") };
    let run = |block: &str| run_as(process, "deploy-bot", block, &[]);
    assert_eq!(approved_meanwhile(process, &json!("release 8"), || run(by_run)).lines().next(), Some("ey"));
    fs::write(process.path("program.py"), python).unwrap();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples");
    let program = format!(
        "PYTHONDONTWRITEBYTECODE=1 PYTHONPATH={} {} program.py",
        examples.display(),
        python_path().display()
    );
    assert_eq!(approved_meanwhile(process, &json!("release 9"), || run(&program)), "Bearer ey\n");
    let refused: Value = serde_json::from_str(&run(token)).unwrap();
    assert_eq!(refused["code"], "approval_required", "{refused}");
    let id = refused["approval_id"].as_str().unwrap();
    process.good_as("alice", &["approval", "deny", id], b"");
    let answer: Value = serde_json::from_str(&run(&wait.replace(&word(wait, "appr_"), id))).unwrap();
    assert_eq!((&answer["state"], &answer["approval"]), (&"denied".into(), &id.into()));
}

/// The programs with Authlib and openid-client.
fn stock_clients_use_approvals_by_the_page(process: &Process, python: &str, js: &str) {
    fs::write(process.path("device.py"), python).unwrap();
    fs::write(process.path("device.mjs"), js).unwrap();
    symlink(node_home().join("node_modules"), process.path("node_modules")).unwrap();
    for program in [format!("{} device.py", python_path().display()), "node device.mjs".to_owned()] {
        let act = || run_as(process, "deploy-bot", &program, &[]);
        let told = approved_meanwhile(process, &Value::Null, act);
        assert!(told.contains("keyward approval show ") && told.trim().ends_with("\nweb.deploy"), "{told}");
    }
}

/// What `act` returns, whose request with this reason alice approves meanwhile.
fn approved_meanwhile(process: &Process, reason: &Value, act: impl FnOnce() -> String + Send) -> String {
    let pending = || {
        let listed = process.good_as("alice", &["approval", "list", "-o", "json"], b"");
        let listed: Value = serde_json::from_slice(&listed).unwrap();
        let is_meant = |one: &&Value| one["state"] == "pending" && one["request"]["reason"] == *reason;
        let found = listed["items"].as_array().unwrap().iter().find(is_meant);
        found.map(|one| one["approval"].as_str().unwrap().to_owned())
    };
    std::thread::scope(|scope| {
        let acting = scope.spawn(act);
        wait_until(|| pending().is_some());
        let id = pending().unwrap();
        let approve = format!("approval approve {id}");
        let (is_done, told) = typed(process, "alice", &approve, "Passphrase of the approval key: ", &[WORDS]);
        if !is_done {
            // Otherwise it would wait for the answer.
            process.good_as("alice", &["approval", "deny", &id], b"");
        }
        let returned = acting.join();
        assert!(is_done, "{told}");
        returned.unwrap()
    })
}

#[test]
fn settings_of_the_webhook_are_those_of_the_page() {
    let settings = &fenced("how-to/approvals.md", "toml")[1];
    let text = format!("trust_domain = \"keyward.test\"\n[root_key]\nfile = \"/k\"\n{settings}");
    let config = Config::parse(&text, Path::new("test.toml")).unwrap();
    let webhook = config.approvals.webhook.unwrap();
    assert_eq!((webhook.url.as_str(), webhook.key), ("https://chat.example/hooks/approvals", None));
    // A setting without its other half is refused
    for (wrong, why) in [
        ("[approvals]\nwebhook = \"https://chat.example/x\"\n", "webhook_ca"),
        ("[approvals]\nwebhook_ca = \"/ca.pem\"\n", "is only for a `webhook`"),
        ("[approvals]\nwebhook = \"http://chat.example/x\"\nwebhook_ca = \"/ca.pem\"\n", "must be https://"),
        ("[approvals]\nwebhook = \"https://chat.example/x\"\nwebhook_ca = \"ca.pem\"\n", "absolute path"),
    ] {
        let text = format!("trust_domain = \"keyward.test\"\n[root_key]\nfile = \"/k\"\n{wrong}");
        let refused = Config::parse(&text, Path::new("test.toml")).unwrap_err().to_string();
        assert!(refused.contains(why) && !refused.contains("chat.example"), "{refused}");
    }
}
