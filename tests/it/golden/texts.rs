//! The output of `status`, and of all verbs that show or list, on terminals of 80 and 160 columns. Ids, times and other
//! values that differ from run to run have placeholders of the same length.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use super::compare;
use super::verbs::verbs;
use super::world::World;
use crate::support::process::{KEYWARD, Process};

/// The runs: who, the verb, and its arguments.
const RUNS: &[(&str, &str, &[&str])] = &[
    ("operator", "status", &[]),
    ("a", "status", &[]),
    ("nobody", "status", &[]),
    ("operator", "whoami", &["--operator"]),
    ("a", "whoami", &[]),
    ("a", "token show", &["--file", "TOKEN"]),
    ("operator", "agent list", &[]),
    ("operator", "agent show", &["a"]),
    ("operator", "agent show", &["pay-bot"]),
    ("operator", "operator list", &[]),
    ("operator", "operator show", &["eve"]),
    ("operator", "capability list", &[]),
    ("operator", "capability show", &["payments.write"]),
    ("operator", "policy list", &[]),
    ("operator", "policy show", &["short-writes"]),
    ("operator", "policy history", &["short-writes"]),
    ("operator", "role list", &[]),
    ("operator", "role show", &["publisher"]),
    ("operator", "secret list", &[]),
    ("operator", "secret show", &["github/app"]),
    ("operator", "secret versions", &["billing/key"]),
    ("operator", "secret readers", &["github/app"]),
    ("operator", "rotation list", &[]),
    ("operator", "rotation show", &["billing/key"]),
    ("operator", "lease list", &[]),
    ("orders-bot", "lease list", &["--own"]),
    ("operator", "authority list", &[]),
    ("operator", "token-key list", &[]),
    ("operator", "incident list", &[]),
    ("operator", "incident show", &["INCIDENT"]),
    ("alice", "approval list", &["--all"]),
    ("alice", "approval show", &["APPROVAL"]),
    ("alice", "approval key show", &[]),
    ("bill-bot", "request list", &[]),
    ("bill-bot", "request show", &["BILL"]),
    ("operator", "audit list", &["--oldest-first", "--limit", "12"]),
    ("operator", "audit show", &["2"]),
    ("nobody", "audit kinds", &[]),
    ("operator", "slot list", &["--config", "CONFIG"]),
];

/// What a verb prints on a terminal with this many columns.
fn on_terminal(process: &Process, who: &str, words: &[&str], columns: u32) -> String {
    let home = process.path(&format!("home-{who}")).display().to_string();
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let line = format!("stty cols {columns} rows 50; exec {KEYWARD} {} --home {home}", quoted.join(" "));
    let mut command = Command::new("script");
    command
        .args(["-qec", &line, "/dev/null"])
        .env("NO_COLOR", "1")
        .env("TERM", "dumb")
        .env("SHELL", "/bin/sh");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("bsdutils is needed: run scripts/test");
    // At the end of its input, `script` writes into the terminal.
    let _open = child.stdin.take();
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap().replace("\r\n", "\n")
}

/// Placeholders for values that differ from run to run.
#[derive(Default)]
struct Placeholders {
    given: BTreeMap<String, String>,
}

impl Placeholders {
    fn replace(&mut self, text: &str) -> String {
        let (mut done, mut rest) = (String::new(), text);
        while let Some(c) = rest.chars().next() {
            let is_inside = done.ends_with(|c: char| c.is_ascii_alphanumeric() || "_-".contains(c));
            let found = if is_inside { None } else { self.at(rest) };
            let (placeholder, len) = found.unwrap_or_else(|| (c.to_string(), c.len_utf8()));
            done.push_str(&placeholder);
            rest = &rest[len..];
        }
        done
    }

    /// The placeholder of the value that `rest` begins with, and the length of that value.
    fn at(&mut self, rest: &str) -> Option<(String, usize)> {
        for form in ["2026-01-31T12:00:00.000Z", "2026-01-31T12:00:00Z"] {
            if rest.get(..form.len()).is_some_and(|time| is_time(time, form)) {
                return Some((form.to_owned(), form.len()));
            }
        }
        if let Some(port) = rest.strip_prefix("127.0.0.1:") {
            let digits = port.len() - port.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            return Some(("127.0.0.1:10443".to_owned(), "127.0.0.1:".len() + digits));
        }
        if rest.starts_with(|c: char| c.is_ascii_digit())
            && let Some((left, _)) = rest.split_once(" left)").filter(|(left, _)| left.len() < 12)
        {
            return Some(("11h 59m".to_owned(), left.len()));
        }
        if rest.get(..CODE.len()).is_some_and(is_code) {
            return Some((CODE.to_owned(), CODE.len()));
        }
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !"_-".contains(c)).unwrap_or(rest.len());
        let value = &rest[..end];
        let digits = value.chars().filter(char::is_ascii_digit).count();
        if value.len() < 20 || digits < 4 {
            return None;
        }
        let prefix = value.split_once('_').map_or("", |(prefix, _)| prefix);
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}_") };
        let number = self.given.len() + 1;
        let width = value.len() - prefix.len();
        let made = format!("{prefix}{number:0width$}");
        Some((self.given.entry(value.to_owned()).or_insert(made).clone(), value.len()))
    }
}

/// The placeholder of the code of a request for approval.
const CODE: &str = "WDJB-MJHT";

fn is_code(text: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_uppercase() && !"AEIOUY".contains(c);
    text.chars().zip(CODE.chars()).all(|(c, of)| if of == '-' { c == '-' } else { is_letter(c) })
}

/// Whether this is a time of the same form.
fn is_time(text: &str, form: &str) -> bool {
    text.chars()
        .zip(form.chars())
        .all(|(c, of)| if of.is_ascii_digit() { c.is_ascii_digit() } else { c == of })
}

#[test]
fn outputs_on_terminals_are_the_golden_ones() {
    let world = World::start();
    let process = &world.process;
    process.good(&["operator", "invite", "eve", "--role", "auditor", "--owner", "payments"], b"");
    world.declare_approvals();
    let invite = ["agent", "invite", "bill-bot", "--role", "payer", "--person", "dev@corp.example"];
    process.good_as("bill-bot", &["join"], &process.good(&invite, b""));
    let asked = |who: &str, reason: &str| {
        let request = ["request", "payments.write", "--reason", reason, "-o", "json"];
        let asked = process.good_as(who, &request, b"");
        let asked: serde_json::Value = serde_json::from_slice(&asked).unwrap();
        asked["approval"].as_str().unwrap().to_owned()
    };
    let (bill, approval) = (asked("bill-bot", "invoice 6"), asked("pay-bot", "invoice \u{202e}7"));
    process.good(&["agent", "suspend", "pay-bot", "--reason", "ticket 17: key found in a build log"], b"");
    process.good(&["secret", "classify", "orders-db/admin", "high"], b"");
    process.good(&["secret", "rotate", "billing/key"], b"");
    process.good_as("a", &["get", "github/app"], b"");
    process.good_as("orders-bot", &["lease", "get", "orders.query"], b"");
    let token = process.path("token").display().to_string();
    std::fs::write(&token, process.good_as("a", &["token", "github.repo.read"], b"")).unwrap();
    // After the credentials, so that it restricts none of them.
    world.apply(
        "[[policy]]\nname = \"short-writes\"\nrule = '''\n@max_ttl(\"5m\")\n@reason(\"writes are short\")\n\
         forbid (principal, action, resource)\nwhen { resource.access == \"write\" };\n'''\n",
    );
    let contain = ["contain", "role/payer", "--reason", "ticket 18: token in a public log", "-o", "json"];
    let contained: serde_json::Value = serde_json::from_slice(&process.good(&contain, b"")).unwrap();
    let incident = contained["incident"].as_str().unwrap();
    process.good(&["incident", "note", incident, "the token was in a build log"], b"");
    process.good(
        &["incident", "update", incident, "--person", "ann@corp.example", "--subject", "agent/pay-bot"],
        b"",
    );
    let config = process.config();
    let root = process.path("").display().to_string();
    for columns in [80, 160] {
        let (mut page, mut placeholders) = (String::new(), Placeholders::default());
        for (who, verb, args) in RUNS {
            let args = args.iter().map(|arg| arg.replace("TOKEN", &token).replace("CONFIG", &config));
            let args = args.map(|arg| arg.replace("INCIDENT", incident).replace("APPROVAL", &approval));
            let args = args.map(|arg| arg.replace("BILL", &bill));
            let words: Vec<String> = verb.split(' ').map(str::to_owned).chain(args).collect();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let printed = on_terminal(process, who, &words, columns);
            let printed = format!("$ keyward {}    # {who}\n{printed}\n", words.join(" "));
            page.push_str(
                &placeholders.replace(&printed.replace(root.trim_end_matches('/'), "/srv/keyward")),
            );
        }
        compare(&format!("terminal-{columns}.txt"), page.trim_end());
    }
}

#[test]
fn every_verb_that_shows_or_lists_has_a_golden_text() {
    let shown: Vec<&str> = RUNS.iter().map(|(_, verb, _)| *verb).collect();
    let is_wanted = |words: &str| words == "status" || words.ends_with(" show") || words.ends_with(" list");
    let lacking: Vec<String> = verbs()
        .into_iter()
        .filter(|verb| verb.acts && is_wanted(&verb.words) && !shown.contains(&verb.words.as_str()))
        .map(|verb| verb.words)
        .collect();
    assert!(lacking.is_empty(), "add a run to tests/it/golden/texts.rs for {lacking:?}");
}

#[test]
fn placeholders_are_as_long_as_their_values() {
    let text = "inst_06f3k8c2v9n4x1q7h5b0r3w6ta at 2026-11-29T19:04:05.678Z (3h 1m left), inst_06f3k8c2v9n4x1q7h5b0r3w6ta";
    let placeholder = "inst_00000000000000000000000001";
    let wanted = format!("{placeholder} at 2026-01-31T12:00:00.000Z (11h 59m left), {placeholder}");
    assert_eq!(Placeholders::default().replace(text), wanted);
    assert_eq!(
        Placeholders::default().replace("reports.publish at 127.0.0.1:4"),
        "reports.publish at 127.0.0.1:10443"
    );
}
