//! The commands of a second operator: a plan, a rollback and a lower sensitivity, which one person approves at a terminal and
//! another one makes.

use std::fs;
use std::process::Output;

use super::commands::{WORDS, accepted, persons, typed};
use crate::support::broker::DECLARATIONS;
use crate::support::process::Process;

const AGENT: &str = "[[agent]]\nname = \"a\"\nroles = [\"repo-reader\"]\n";

/// The declarations, with a policy about this access.
fn declared(access: &str) -> String {
    format!(
        "{DECLARATIONS}{AGENT}[[policy]]\nname = \"p\"\nrule = '''\nforbid (principal, action, resource) when {{ resource.access == \
         \"{access}\" }};\n'''\n"
    )
}

/// Writes the file `name`; its path.
fn file(process: &Process, name: &str, text: &str) -> String {
    fs::write(process.path(name), text).unwrap();
    process.path(name).display().to_string()
}

/// A broker that demands a second operator, whose policy `p` was about reads and is about writes. Bob has an accepted
/// approval key.
fn demanding() -> Process {
    let mut process = persons();
    process.good(&["secret", "put", "github/app"], b"value");
    process.good(&["apply", "-f", &file(&process, "a.toml", &declared("read"))], b"");
    process.good(&["apply", "--widen", "-f", &file(&process, "a.toml", &declared("write"))], b"");
    accepted(&process, "bob");
    process.stop();
    process.configure("[policies]\nwidening_second_operator = true\n");
    process.serve();
    process
}

/// What bob is shown when it approves with this command, which writes the file `out`.
fn approved_by_bob(process: &Process, command: &str, out: &str) -> String {
    let command = format!("{command} --approve --out {out}");
    let (is_done, said) = typed(process, "bob", &command, "Passphrase of the approval key: ", &[WORDS]);
    assert!(is_done, "{said}");
    said
}

fn is_refused(output: &Output, parts: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{said}");
    parts.iter().for_each(|part| assert!(said.contains(part), "{part}: {said}"));
}

#[test]
fn plan_and_rollback_are_made_with_the_file_of_a_second_operator() {
    let process = demanding();
    // Given files that give the agent a further role
    let wider = declared("write").replace("[\"repo-reader\"]", "[\"publisher\", \"repo-reader\"]");
    let files = file(&process, "a.toml", &wider);
    let approval = process.path("plan.json").display().to_string();
    let apply = ["apply", "--widen", "-f", files.as_str()];
    is_refused(
        &process.run_as("operator", &apply, b""),
        &["widening_needs_second_operator", "--approve --out"],
    );
    // When bob approves the plan, which it is shown, then the admin applies it with the file
    let said = approved_by_bob(&process, &format!("plan -f {files}"), &approval);
    assert!(said.contains("reports.publish") && said.contains("you approve these changes"), "{said}");
    process.good(&[&apply[..], &["--approved", approval.as_str()]].concat(), b"");
    let roles = process.json(&["agent", "show", "a"])["roles"].clone();
    assert_eq!(roles, serde_json::json!(["publisher", "repo-reader"]));
    // And the same for a rollback
    let hash = process.json(&["policy", "history", "p"])["versions"][1]["hash"].as_str().unwrap().to_owned();
    let rollback = ["policy", "rollback", "p", "--to", hash.as_str(), "--yes", "--widen"];
    let refused = process.run_as("operator", &rollback, b"");
    is_refused(&refused, &["widening_needs_second_operator", "--approve --out plan-approval.json"]);
    let approval = process.path("rollback.json").display().to_string();
    let said = approved_by_bob(&process, &format!("policy rollback p --to {hash}"), &approval);
    assert!(said.contains("present rule of policy p") && said.contains("approved; another person"), "{said}");
    process.good(&[&rollback[..], &["--approved", approval.as_str()]].concat(), b"");
    assert_eq!(process.json(&["policy", "history", "p"])["versions"][0]["hash"], hash.as_str());
}

#[test]
fn lower_sensitivity_is_made_with_the_file_of_a_second_operator() {
    // Given a secret of the sensitivity `high`
    let process = demanding();
    let approval = process.path("approval.json").display().to_string();
    let classify = "secret classify github/app ordinary";
    is_refused(
        &process.run_as(
            "bob",
            &["secret", "classify", "github/app", "ordinary", "--approve", "--out", "x"],
            b"",
        ),
        &["plan_approval_not_needed", "has the sensitivity ordinary, so ordinary is not lower"],
    );
    process.good(&["secret", "classify", "github/app", "high"], b"");
    let lower = ["secret", "classify", "github/app", "ordinary", "--widen"];
    let refused = process.run_as("operator", &lower, b"");
    is_refused(
        &refused,
        &["widening_needs_second_operator", &format!("`keyward {classify} --approve --out")],
    );
    // When bob approves the change, which it is shown, then the admin makes it with the file
    let said = approved_by_bob(&process, classify, &approval);
    assert!(said.contains("ordinary (present: high)") && said.contains("github.repo.read"), "{said}");
    assert!(said.contains("approved; another person makes the change"), "{said}");
    let lower = [&lower[..], &["--approved", approval.as_str()]].concat();
    process.good(&lower, b"");
    assert_eq!(process.json(&["secret", "show", "github/app"])["sensitivity"], "ordinary");
    // And the file counts once, and is not the approval of a plan
    process.good(&["secret", "classify", "github/app", "high"], b"");
    is_refused(&process.run_as("operator", &lower, b""), &["plan_approval_outdated", classify]);
    let files = file(&process, "a.toml", &declared("read"));
    let plan = ["apply", "--widen", "-f", files.as_str(), "--approved", approval.as_str()];
    let refused = process.run_as("operator", &plan, b"");
    is_refused(&refused, &["plan_approval_malformed", "is JSON, but not the approval of a plan"]);
}
