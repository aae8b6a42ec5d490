//! `keyward policy rollback`, and the commands that its texts name.

use std::fs;

use super::policy;
use crate::support::process::Process;

const WRITES: &str = "forbid (principal, action, resource) when { resource.access == \"write\" };";
const READS: &str = "forbid (principal, action, resource) when { resource.access == \"read\" };";
const LEASES: &str = "forbid (principal, action == Keyward::Action::\"lease\", resource);";

/// What a command of the operator printed on standard output and on standard error, and whether it succeeded.
fn keyward(process: &Process, command: &str) -> (bool, String, String) {
    let args: Vec<&str> = command.strip_prefix("keyward ").unwrap().split(' ').collect();
    let output = process.run_as("operator", &args, b"");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

fn apply(process: &Process, text: &str, more: &[&str]) {
    let file = process.path("policies.toml");
    fs::write(&file, text).unwrap();
    let path = file.display().to_string();
    let mut args = vec!["apply", "-f", path.as_str()];
    args.extend(more);
    process.good(&args, b"");
}

/// The hashes of the versions of the policy `p`, the newest first.
fn hashes(process: &Process) -> Vec<String> {
    let versions = process.json(&["policy", "history", "p"])["versions"].clone();
    versions.as_array().unwrap().iter().map(|one| one["hash"].as_str().unwrap()[..16].to_owned()).collect()
}

/// A broker whose policy `p` was about writes, and is about reads.
fn changed() -> Process {
    let mut process = Process::init("warn");
    process.serve();
    apply(&process, &policy("p", WRITES), &[]);
    apply(&process, &policy("p", READS), &["--widen"]);
    process
}

#[test]
fn rollback_is_made_by_the_command_that_its_dry_run_prints() {
    // Given a policy with two versions
    let process = changed();
    let hash = hashes(&process)[1].clone();
    let bare = format!("keyward policy rollback p --to {hash}");
    // When a dry run is made, then it shows the changes and a command, and changes nothing
    let dry_run = || {
        let (is_good, said, note) = keyward(&process, &format!("{bare} --dry-run"));
        assert!(is_good && said.contains("~ policy p") && said.contains("newly reachable"), "{said}{note}");
        assert!(note.contains("dry run: 0 to add, 1 to change, 0 to remove"), "{note}");
        let last = said.lines().last().unwrap();
        last.strip_prefix("to make exactly these changes: ").unwrap().to_owned()
    };
    let outdated = dry_run();
    assert!(outdated.starts_with(&format!("{bare} --plan ")) && outdated.ends_with(" --widen"), "{outdated}");
    assert_eq!(hashes(&process).len(), 2);
    // When the declarations have changed since, then the command is refused, and says how to plan again
    apply(&process, &policy("p", LEASES), &["--widen"]);
    let (is_good, _, why) = keyward(&process, &outdated);
    assert!(!is_good && why.contains("plan_outdated"), "{why}");
    assert!(why.contains(&format!("`{bare} --dry-run`")), "{why}");
    // When the command of a new dry run is run, then the version is in force again
    let (is_good, said, why) = keyward(&process, &dry_run());
    assert!(is_good && said.contains("~ policy p") && why.contains("applied in ledger entry"), "{said}{why}");
    assert_eq!(hashes(&process)[0], hash);
}

#[test]
fn refused_rollback_names_the_command_that_mends_it() {
    let process = changed();
    let hash = hashes(&process)[1].clone();
    let bare = format!("keyward policy rollback p --to {hash}");
    // Without a terminal, the dry run is named
    let (is_good, _, why) = keyward(&process, &bare);
    assert!(!is_good && why.contains(&format!("policy rollback p --to {hash} --dry-run`")), "{why}");
    // A version that is not there: its list is named
    let (is_good, _, why) = keyward(&process, "keyward policy rollback p --to 00000000 --yes");
    assert!(!is_good && why.contains("policy_version_unknown"), "{why}");
    assert!(why.contains("`keyward policy history p` lists the versions"), "{why}");
    // More access: the command that confirms it is named, and makes the change
    let (is_good, _, why) = keyward(&process, &format!("{bare} --yes"));
    let confirming = format!("{bare} --yes --widen");
    assert!(!is_good && why.contains("widening_not_confirmed"), "{why}");
    assert!(why.contains(&format!("then confirm it: `{confirming}`")), "{why}");
    assert!(keyward(&process, &confirming).0);
    assert_eq!(hashes(&process)[0], hash);
}

#[test]
fn rollback_to_the_present_version_says_that_nothing_changes() {
    // Given the present version of a policy, and the present set
    let process = changed();
    let hash = hashes(&process)[0].clone();
    let set = process.json(&["policy", "history"])["sets"][0]["hash"].as_str().unwrap()[..16].to_owned();
    // When they are brought back, then the command succeeds, and says why nothing changes
    for more in ["--yes", "--dry-run"] {
        let (is_good, _, note) = keyward(&process, &format!("keyward policy rollback p --to {hash} {more}"));
        assert!(is_good && note.contains("no changes: policy `p` has this version already"), "{note}");
        let (is_good, _, note) = keyward(&process, &format!("keyward policy rollback --to {set} {more}"));
        assert!(is_good && note.contains("no changes: the present policies"), "{note}");
    }
    let answer = process.json(&["policy", "rollback", "p", "--to", &hash, "--yes"]);
    assert_eq!(answer["changes"].as_array().map(Vec::len), Some(0), "{answer}");
    assert_eq!(answer["applied"], false, "{answer}");
    assert_eq!(hashes(&process).len(), 2);
}

#[test]
fn removed_policy_is_found_in_its_history() {
    // Given a policy that was removed
    let process = changed();
    apply(&process, "# No policies.\n", &["--prune", "--yes", "--widen"]);
    // When it is shown, then the fix names the command that lists its versions
    let (is_good, _, why) = keyward(&process, "keyward policy show p");
    assert!(!is_good && why.contains("policy_unknown"), "{why}");
    assert!(
        why.contains("if the policy was removed, `keyward policy history p` lists its versions"),
        "{why}"
    );
    assert!(keyward(&process, "keyward policy history p").0);
    // And it is brought back with the hash that is listed there
    let hash = hashes(&process)[0].clone();
    assert!(keyward(&process, &format!("keyward policy rollback p --to {hash} --yes")).0);
    // And the present version has who applied it, and when
    let (is_good, shown, _) = keyward(&process, "keyward policy show p");
    let has = |field: &str, text: &str| {
        shown.lines().any(|line| line.split_whitespace().next() == Some(field) && line.contains(text))
    };
    assert!(is_good && has("by", "admin") && has("from", "20") && has("hash", &hash), "{shown}");
}
