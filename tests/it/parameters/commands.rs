//! The command line with parameters.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::{ACCOUNT, REFUNDS};
use crate::leaks::holds;
use crate::support::process::{KEYWARD, Process};
use crate::support::waiting::wait_until;

/// A broker and the agent `r` that holds the capabilities.
fn set_up() -> Process {
    let mut process = Process::init("trace");
    process.serve();
    process.set_up(b"value");
    let file = process.path("payments.toml");
    fs::write(&file, REFUNDS).unwrap();
    process.good(&["apply", "-f", &file.display().to_string()], b"");
    process.enrol("r", "refunder");
    process
}

#[test]
fn a_token_is_requested_with_parameters() {
    let process = set_up();
    let account = process.path("account.txt");
    fs::write(&account, format!("{ACCOUNT}\n")).unwrap();
    let account = format!("account=@{}", account.display());
    let ask = ["token", "payments.refund", "--parameter", "amount=100", "--parameter", &account];
    let token = process.good_as("r", &ask, b"");
    let shown = process.good_as("r", &["token", "show", "-"], &token);
    let shown = String::from_utf8(shown).unwrap();
    assert!(shown.contains("\"amount\":100"), "{shown}");
    // And the value can come from standard input
    let ask = ["token", "payments.refund", "--parameter", "amount=100", "--parameter", "account=-"];
    process.good_as("r", &ask, ACCOUNT.as_bytes());
    // Denials: the value is too long, and a policy matches
    let long = process.path("long.txt");
    fs::write(&long, ACCOUNT.repeat(4)).unwrap();
    let policy = process.path("policy.toml");
    let rule = "forbid (principal, action, resource) when { context.parameters has amount && context.parameters.amount == 7 };";
    fs::write(&policy, format!("[[policy]]\nname = \"seven\"\nrule = '{rule}'\n")).unwrap();
    process.good(&["apply", "-f", &policy.display().to_string()], b"");
    for (amount, account, code) in
        [("1", &long, "parameter_invalid"), ("7", &process.path("account.txt"), "policy_denied")]
    {
        let (amount, account) = (format!("amount={amount}"), format!("account=@{}", account.display()));
        let ask = ["token", "payments.refund", "--parameter", &amount, "--parameter", &account];
        let output = process.run_as("r", &ask, b"");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(code) && !holds(said.as_bytes(), ACCOUNT.as_bytes()), "{said}");
    }
    // And neither the log nor an entry has the value
    let log = process.log();
    assert!(log.contains("TRACE") && !holds(log.as_bytes(), ACCOUNT.as_bytes()), "the log has the value");
    let entries = process.good(&["audit", "list", "--limit", "500", "-o", "json"], b"");
    let entries = String::from_utf8(entries).unwrap();
    assert!(entries.contains("policy_denied") && !entries.contains("CNRY"), "{entries}");
    // And an operator sees what a capability has
    let shown = process.good(&["capability", "show", "payments.refund"], b"");
    assert!(String::from_utf8(shown).unwrap().contains("amount"));
}

#[test]
fn command_with_all_missing_parameters_is_named() {
    let process = set_up();
    let parameters = "payments.refund --parameter account=@FILE --parameter amount=VALUE`";
    for (ask, command) in [
        (&["token", "payments.refund"][..], "`keyward token "),
        (&["request", "payments.refund", "--reason", "x"], "`keyward request --reason TEXT "),
    ] {
        let output = process.run_as("r", ask, b"");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("parameter_missing") && said.contains("`account`, `amount`"), "{said}");
        assert!(said.contains(&format!("{command}{parameters}")), "{said}");
    }
}

#[test]
fn a_sensitive_parameter_is_no_argument() {
    let process = set_up();
    let argument = format!("account={ACCOUNT}");
    for (arguments, says) in [
        (vec!["--parameter", "amount=1", "--parameter", argument.as_str()], "is sensitive"),
        (vec!["--parameter", "amount=x"], "not a whole number"),
        (vec!["--parameter", "amount"], "has no `=`"),
        (vec!["--parameter", "amount=1", "--parameter", "amount=2"], "is given twice"),
        (vec!["--parameter", "web.read:amount=1"], "does not name"),
        (vec!["--cached", "--parameter", "amount=1"], "is not cached"),
    ] {
        let output = process.run_as("r", &[&["token", "payments.refund"], &arguments[..]].concat(), b"");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{arguments:?}");
        assert!(said.contains(says), "{arguments:?}: {said}");
        assert!(!holds(said.as_bytes(), ACCOUNT.as_bytes()), "{said}");
    }
    assert!(!holds(process.log().as_bytes(), ACCOUNT.as_bytes()));
}

/// Whether the token has the amount 100.
fn has_amount(process: &Process, token: &[u8]) -> bool {
    let shown = process.run_as("r", &["token", "show", "-"], token).stdout;
    String::from_utf8_lossy(&shown).contains("\"amount\":100")
}

#[test]
fn run_gives_the_parameters_to_its_token_and_to_renewals() {
    // Given a command whose token has parameters, one of them from a file that is removed
    let process = set_up();
    let runtime = process.path("runtime");
    fs::create_dir(&runtime).unwrap();
    let account = process.path("account.txt");
    fs::write(&account, ACCOUNT).unwrap();
    let value = format!("account=@{}", account.display());
    let mut command = Command::new(KEYWARD);
    command.arg("--home").arg(process.path("home-r")).env("XDG_RUNTIME_DIR", &runtime);
    command.args(["run", "--capability", "payments.refund"]);
    command.args(["--parameter", "amount=100", "--parameter", &value]);
    command.args(["--", "sh", "-c", "echo \"$KEYWARD_TOKEN_FILE\"; read line"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let file = PathBuf::from(line.trim_end());
    let first = fs::read(&file).unwrap();
    assert!(has_amount(&process, &first));
    fs::remove_file(&account).unwrap();
    // Then no argument of the companion is the sensitive value
    let dir = file.parent().unwrap().display().to_string();
    let arguments = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let arguments = fs::read(entry.unwrap().path().join("cmdline")).ok()?;
        holds(&arguments, dir.as_bytes()).then_some(arguments)
    });
    let arguments: Vec<Vec<u8>> = arguments.collect();
    assert_eq!(arguments.len(), 1, "the companion");
    assert!(!holds(&arguments[0], ACCOUNT.as_bytes()));
    // And a renewal has the same parameters
    process.good_as("r", &["renew"], b"");
    wait_until(|| fs::read(&file).is_ok_and(|token| token != first));
    assert!(has_amount(&process, &fs::read(&file).unwrap()));
    drop(child.stdin.take());
    child.wait().unwrap();
}

#[test]
fn run_refuses_parameters_without_a_capability() {
    let process = set_up();
    let mut command = Command::new(KEYWARD);
    command.arg("--home").arg(process.path("home-r"));
    let refused = command
        .args(["run", "--secret", "A=github/app", "--parameter", "amount=100", "--", "echo", "started"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("--capability"), "{said}");
    assert!(refused.stdout.is_empty());
}
