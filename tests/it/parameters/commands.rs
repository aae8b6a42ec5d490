//! The command line with parameters.

use std::fs;

use super::{ACCOUNT, REFUNDS};
use crate::leaks::holds;
use crate::support::process::Process;

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
