//! The command line from the outside: the demo, the exit codes, what is never an argument.

mod demo;
mod help;

use std::process::{Command, Stdio};

use crate::support::process::{KEYWARD, Process};

fn said(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned()
}

#[test]
fn an_unexpected_argument_is_not_repeated() {
    for args in [
        &["unseal", "CNRY"][..],
        &["unseal", "--passphrase", "CNRY"],
        &["unseal", "--passphrase=CNRY"],
        &["slot", "add", "--passphrase", "CNRY"],
        &["slot", "check", "--by-passphrase=CNRY"],
        &["secret", "rotate", "a/b", "CNRY"],
    ] {
        let output = Command::new(KEYWARD).args(args).stdin(Stdio::null()).output().unwrap();
        let said = said(&output);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.starts_with("error: unexpected") && !said.contains("CNRY"), "{said}");
    }
    // A file is suggested with the option that takes it.
    for (args, option) in [(&["config", "check"][..], "--config FILE"), (&["plan"], "-f FILE")] {
        let output = Command::new(KEYWARD).args(args).arg("Cargo.toml").output().unwrap();
        let said = said(&output);
        assert!(said.contains(option) && !said.contains("Cargo.toml"), "{args:?}: {said}");
    }
    let output = Command::new(KEYWARD).args(["unseal", "--passphrsae"]).output().unwrap();
    assert!(said(&output).contains("'--passphrsae'"), "an option that is misspelt is named");
}

#[test]
fn a_tip_names_an_option_that_the_verb_has() {
    for (args, tip) in [
        (&["token", "x.read", "--life", "5m"][..], "`--expires-in DURATION`: Life of the token"),
        (&["token", "x.read", "--ttl=5m"], "`--expires-in DURATION`"),
        (&["-o", "json", "agent", "invite", "a", "--ttl", "5m"], "`--expires-in DURATION`: Life of the code"),
        (&["lease", "get", "x", "--expires-in", "5m"], "`--life DURATION`: Life of the lease"),
        (&["operator", "key-agent", "--ttl", "5m"], "`--for DURATION`"),
        (&["agent", "delete", "a", "--force"], "`--yes`: Delete without a question"),
        (&["agent", "list", "--json"], "`--output OUTPUT`: Output format"),
        (&["agent", "list", "--ouput", "json"], "a similar argument exists: '--output'"),
    ] {
        let output = Command::new(KEYWARD).args(args).output().unwrap();
        let said = said(&output);
        assert!(output.status.code() == Some(2) && said.contains(tip), "{args:?}: {said}");
    }
    // And no tip makes an option a value, which no verb takes
    for args in [
        &["secret", "show", "x", "--life", "5m"][..],
        &["token", "x.read", "--nothing"],
        &["run", "--life", "5m", "--", "true"],
        &["agent", "show", "a", "--verbose"],
    ] {
        let output = Command::new(KEYWARD).args(args).output().unwrap();
        let said = said(&output);
        assert!(output.status.code() == Some(2) && !said.contains("tip: to pass"), "{args:?}: {said}");
    }
}

#[test]
fn a_guessed_verb_leads_to_the_verb_that_is_meant() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let file = file.path().to_str().unwrap();
    for (args, tip) in [
        (&["secret", "get", "a/b"][..], "use `keyward get`"),
        (&["secret", "create", "list"], "use `keyward secret put`"),
        (&["agent", "rm", "a"], "use `keyward agent delete`"),
        (&["secrets"], "use `keyward secret list`"),
        (&["agent", "lisst"], "'list'"),
        (&["run", "env"], "put `--` before the command and its arguments: `keyward run … -- COMMAND`"),
        (&["lease", "run", "a.b", "psql", "-c", "x"], "`keyward lease run … -- COMMAND`"),
        (&["token", "show", file], "`--file FILE`"),
        (&["secret", "put", "a/b", file], "`--file FILE`"),
        (&["join", file], "`--code-file FILE`"),
    ] {
        let output = Command::new(KEYWARD).args(args).stdin(Stdio::null()).output().unwrap();
        let said = said(&output);
        assert!(output.status.code() == Some(2) && said.contains(tip), "{args:?}: {said}");
    }
    let said = said(&Command::new(KEYWARD).arg("reset").output().unwrap());
    assert!(said.contains("'reset'") && !said.contains("freeze"), "{said}");
    let mut empty = Command::new(KEYWARD);
    let said = self::said(&empty.arg("whoami").env("KEYWARD_HOME", "").output().unwrap());
    assert!(said.contains("`KEYWARD_HOME` is empty"), "{said}");
    // And the variable is no option that the usage lists
    for (args, is_listed) in [(&["agent", "show"][..], false), (&["agent", "show", "--home", "/srv/h"], true)]
    {
        let output = Command::new(KEYWARD).args(args).env("KEYWARD_HOME", "/srv/k").output().unwrap();
        let said = self::said(&output);
        assert!(said.contains("Usage: keyward agent show"), "{said}");
        assert_eq!(said.contains("--home"), is_listed, "{said}");
    }
}

#[test]
fn wrong_usage_is_json_where_json_is_asked_for() {
    for (args, why, fix) in [
        (&["-o", "json", "agent", "show"][..], "<NAME>", "Usage: keyward agent show"),
        (&["agent", "lst", "--output=jsonl"], "'lst'", "'list'"),
        (&["agent", "-o", "json"], "requires a subcommand", "Usage: keyward agent"),
        (&["token", "x.read", "--expires-in", "75", "-ojson"], "has no unit", "--help"),
    ] {
        let output = Command::new(KEYWARD).args(args).output().unwrap();
        let said = said(&output);
        let failure: serde_json::Value = serde_json::from_slice(&output.stderr).expect(&said);
        assert_eq!((failure["code"].as_str(), output.status.code()), (Some("usage"), Some(2)), "{said}");
        let text = |field: &str| failure[field].as_str().unwrap().to_owned();
        assert!(text("detail").contains(why) && text("fix").contains(fix), "{args:?}: {said}");
        assert!(output.stdout.is_empty() && !said.contains('\u{1b}'), "{said}");
    }
}

#[test]
fn verbs_on_the_host_need_no_home() {
    let mut process = Process::init("warn");
    process.serve();
    let config = process.config();
    let out = process.path("glass").display().to_string();
    // As a service manager or a rescue shell starts it: without `HOME`.
    let run = |args: &[&str]| Command::new(KEYWARD).env_clear().args(args).output().unwrap();
    for (args, exit) in
        [(&["clock", "accept"][..], 0), (&["break-glass", "operator", "--out", &out], 0), (&["seal"], 0)]
    {
        let output = run(&[args, &["--config", &config]].concat());
        assert_eq!(output.status.code(), Some(exit), "{args:?}: {}", said(&output));
    }
    assert_eq!(run(&["whoami"]).status.code(), Some(2), "an identity is somewhere");
}

#[test]
fn exit_codes_say_what_went_wrong() {
    let mut process = Process::init("warn");
    let code = |process: &Process, who: &str, args: &[&str], input: &[u8]| {
        let output = process.run_as(who, args, input);
        (output.status.code().unwrap(), said(&output))
    };
    let (unreachable, why) = code(&process, "operator", &["agent", "list"], b"");
    assert_eq!(unreachable, 10, "{why}");
    assert!(
        why.contains("error: broker_unreachable") && why.contains("  why:") && why.contains("  fix:"),
        "{why}"
    );
    process.serve();
    process.set_up(b"value");
    for (who, args, input, exit, name) in [
        ("nobody", vec!["whoami"], &b""[..], 4, "no_identity"),
        ("a", vec!["token", "reports.read"], b"", 5, "capability_not_granted"),
        ("a", vec!["get", "no/such"], b"", 5, "secret_not_granted"),
        ("a", vec!["get", "No/Such"], b"", 2, "usage"),
        ("operator", vec!["agent", "show", "absent"], b"", 7, "agent_unknown"),
        ("operator", vec!["secret", "put", "x", "some-code"], b"", 2, "usage"),
        ("operator", vec!["secret", "put", "x", "--value", "some-code"], b"", 2, "on standard input"),
        ("operator", vec!["secret", "put", "x", "--value=some-code"], b"", 2, "on standard input"),
        ("operator", vec!["secret", "rotate", "x", "some-code"], b"", 2, "unexpected argument"),
        ("operator", vec!["secret", "rollback", "x", "some-code"], b"", 2, "invalid value"),
        ("operator", vec!["secret", "list", "--no-such"], b"", 2, "--no-such"),
        ("b", vec!["join", "some-code"], b"", 2, "usage"),
        ("b", vec!["join"], b"some-code", 2, "usage"),
        ("operator", vec!["agent", "invite", "a", "--role", "publisher"], b"", 8, "agent_roles_mismatch"),
        ("operator", vec!["apply", "-f", "/no/such/file"], b"", 1, "file_unusable"),
    ] {
        let (got, why) = code(&process, who, &args, input);
        assert_eq!(got, exit, "{args:?}: {why}");
        assert!(why.contains(name), "{args:?}: {why}");
        assert!(!why.contains("some-code"), "{why}");
    }
    let json = process.run_as("a", &["token", "reports.read", "-o", "json"], b"");
    let problem: serde_json::Value = serde_json::from_slice(&json.stderr).unwrap();
    assert_eq!((&problem["code"], &problem["exit_code"]), (&"capability_not_granted".into(), &5.into()));
    assert!(problem["decision_id"].as_str().unwrap().starts_with("dec_"));
    let (usage, _) = code(&process, "a", &["no-such-verb"], b"");
    assert_eq!(usage, 2);
}

#[test]
fn a_refusal_names_the_object_that_is_unknown() {
    let mut process = Process::init("warn");
    process.serve();
    for (args, named) in [
        (&["agent", "show", "absent"][..], "there is no agent of this name: `absent`"),
        (&["operator", "suspend", "absent"], "operator of this name: `absent`"),
        (&["secret", "show", "a/b"], "`a/b`"),
        (&["rotation", "retry", "a/b"], "`a/b`"),
        (&["agent", "revoke", "absent"], "`absent`"),
        (&["cert", "revoke", "5f0c9a417be2d8364c1f7ae09b25d683"], "`5f0c9a417be2d8364c1f7ae09b25d683`"),
        (&["token-key", "revoke", "9"], "`9`"),
    ] {
        let output = process.run_as("operator", args, b"");
        assert_eq!(output.status.code(), Some(7), "{args:?}: {}", said(&output));
        assert!(said(&output).contains(named), "{args:?}: {}", said(&output));
    }
}

#[test]
fn an_operator_with_an_owner_learns_that_its_scope_limits_what_it_sees() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    let code = process.good(&["operator", "invite", "eve", "--role", "admin", "--owner", "payments"], b"");
    process.good_as("eve", &["join"], &code);
    for (args, noun) in [
        (&["agent", "list"][..], "agents"),
        (&["secret", "list"], "secrets"),
        (&["role", "list", "--prefix", "r"], "roles"),
        (&["capability", "list"], "capabilities"),
        (&["rotation", "list"], "rotations"),
        (&["rotation", "calendar"], "rotations due"),
        (&["lease", "list"], "leases"),
        (&["audit", "list", "--after", "100000"], "entries"),
    ] {
        let output = process.run_as("eve", args, b"");
        assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 0), "{args:?}: {}", said(&output));
        assert_eq!(said(&output).trim(), format!("no {noun} in your scope (owner `payments`)"), "{args:?}");
    }
    // The same text for an object of another owner and for a name of nothing.
    for (noun, name) in [
        ("agent", "a"),
        ("secret", "github/app"),
        ("role", "repo-reader"),
        ("capability", "github.repo.read"),
    ] {
        let [hidden, absent] = [name, "absent"].map(|name| {
            let output = process.run_as("eve", &[noun, "show", name], b"");
            assert_eq!(output.status.code(), Some(7), "{noun}: {}", said(&output));
            assert!(said(&output).contains(&format!("`{name}`")), "{noun}: {}", said(&output));
            let without_id = said(&output).lines().take(3).collect::<Vec<_>>().join("\n");
            without_id.replace(&format!("`{name}`"), "NAME")
        });
        assert_eq!(hidden, absent, "{noun}");
        assert!(hidden.contains("(owner `payments`)"), "{hidden}");
    }
    let plain = process.run_as("operator", &["lease", "list"], b"");
    assert_eq!(said(&plain).trim(), "no leases");
}

#[test]
fn a_secret_is_json_when_json_is_asked_for() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    let by_output = process.good_as("a", &["get", "github/app", "-o", "json"], b"");
    assert_eq!(by_output, process.good_as("a", &["get", "github/app", "--format", "json"], b""));
    let secret: serde_json::Value = serde_json::from_slice(&by_output).unwrap();
    assert_eq!(secret["value"], "value");
}

#[test]
fn duration_options_need_a_unit() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    for (duration, seconds) in [("2m", 120), ("90s", 90)] {
        let args = ["token", "github.repo.read", "--expires-in", duration, "-o", "json"];
        let token: serde_json::Value = serde_json::from_slice(&process.good_as("a", &args, b"")).unwrap();
        assert_eq!(token["expires_in"], seconds, "{duration}");
    }
    for args in [
        &["token", "github.repo.read", "--expires-in", "soon"][..],
        &["token", "github.repo.read", "--expires-in", "75"],
        &["get", "github/app", "--min-ttl", "1 month"],
        &["agent", "invite", "a", "--expires-in", "-1h"],
        &["rotation", "calendar", "--next", "x"],
    ] {
        let output = process.run_as("operator", args, b"");
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", said(&output));
    }
}

#[test]
fn colors_are_printed_where_they_are_asked_for() {
    let run = |args: &[&str], no_color: &str| {
        let output = Command::new(KEYWARD).args(args).env("NO_COLOR", no_color).output().unwrap();
        said(&output)
    };
    let head = "\u{1b}[1mFORMAT";
    assert!(!run(&["version"], "").contains('\u{1b}'), "a pipe is no terminal");
    assert!(run(&["version", "--color", "always"], "").contains(head));
    assert!(run(&["version", "--color", "always"], "1").contains(head), "the option wins");
    assert!(!run(&["version", "--color", "never"], "").contains('\u{1b}'));
    assert!(!run(&["version", "--color", "always", "-o", "json"], "").contains('\u{1b}'));
    let failure = run(&["help", "error", "no_such_code", "--color", "always"], "");
    assert!(failure.contains("\u{1b}[1;31merror: usage\u{1b}[0m"), "{failure}");
}

#[test]
fn a_join_whose_answer_was_lost_is_finished_by_joining_again() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    let code = process.good(&["agent", "invite", "b", "--role", "repo-reader"], b"");
    process.good_as("b", &["join"], &code);
    // The answer was lost: the identity never reached the disk, the pending key did.
    let home = process.path("home-b");
    let id = String::from_utf8(code.clone()).unwrap().split('.').nth(4).unwrap().to_owned();
    std::fs::rename(home.join("agent/key.pem"), home.join(format!("joining-{id}.pem"))).unwrap();
    std::fs::remove_dir_all(home.join("agent")).unwrap();
    process.good_as("b", &["join"], &code);
    process.good_as("b", &["get", "github/app"], b"");
    let names = std::fs::read_dir(&home).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = names.filter(|name| name != "renewing.lock").collect();
    assert_eq!(left, ["agent"], "the pending key is gone");
}

#[test]
fn a_join_removes_the_keys_of_earlier_attempts_of_the_same_name() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    let invite = |name: &str| process.good(&["agent", "invite", name, "--role", "repo-reader"], b"");
    let id = |code: &[u8]| std::str::from_utf8(code).unwrap().split('.').nth(4).unwrap().to_owned();
    let (earlier, code) = (id(&invite("b")), invite("b"));
    // Given keys of an earlier attempt, of the attempts of other names, and a file that is no key
    let home = process.path("home-b");
    std::fs::create_dir(&home).unwrap();
    let others = [
        format!("joining-agent-b-2-{earlier}.pem"),
        format!("joining-operator-b-{earlier}.pem"),
        "joining-agent-b-notes.pem".to_owned(),
    ];
    for name in others.iter().cloned().chain([format!("joining-agent-b-{earlier}.pem")]) {
        std::fs::write(home.join(name), "key").unwrap();
    }
    // When the machine enrols under the name, then its earlier key alone is removed
    process.good_as("b", &["join"], &code);
    let names =
        std::fs::read_dir(&home).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut left: Vec<String> = names.filter(|name| name.starts_with("joining-")).collect();
    left.sort();
    let mut others = others;
    others.sort();
    assert_eq!(left, others);
}

#[test]
fn config_check_names_the_place() {
    let process = Process::init("warn");
    process.good(&["config", "check", "--config", &process.config()], b"");
    let text = std::fs::read_to_string(process.path("keyward.toml")).unwrap();
    std::fs::write(process.path("bad.toml"), text.replace("[log]", "[lug]")).unwrap();
    let bad = process.path("bad.toml").display().to_string();
    let output = process.run_as("operator", &["config", "check", "--config", &bad], b"");
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("line 10, column 2"), "{}", said(&output));
    let absent = process.run_as("operator", &["config", "check", "--config", "/no/such"], b"");
    assert_eq!(absent.status.code(), Some(2));
}

#[test]
fn a_lost_keyring_is_restored_and_never_replaced() {
    let process = Process::init("warn");
    let config = process.config();
    std::fs::rename(process.path("data/keyring"), process.path("keyring.backup")).unwrap();
    let told = |why: &str| {
        assert!(why.contains("error: keyring_missing"), "{why}");
        assert!(why.contains("data/keyring` from your backup"), "{why}");
        assert!(!why.contains("keyward init"), "a new keyring opens nothing: {why}");
    };
    let (exit, why) = process.refused_serve();
    assert_eq!(exit, Some(10), "{why}");
    told(&why);
    for args in [&["slot", "list"][..], &["verify"], &["init"], &["init", "--reissue-operator"]] {
        let output = process.run_as("new", &[args, &["--config", &config]].concat(), b"");
        assert_eq!(output.status.code(), Some(10), "{args:?}: {}", said(&output));
        told(&said(&output));
    }
    assert!(!process.path("data/keyring").exists() && !process.path("home-new/operator").exists());
    let doctor = process.run_as("operator", &["doctor", "--config", &config], b"");
    assert!(said(&doctor).contains("keyring_missing"), "{}", said(&doctor));
    // The anchor alone says that there was a broker, too.
    let ledger = (process.path("data/ledger"), process.path("ledger.backup"));
    std::fs::rename(&ledger.0, &ledger.1).unwrap();
    let output = process.run_as("new", &["init", "--config", &config], b"");
    told(&said(&output));
    std::fs::rename(&ledger.1, &ledger.0).unwrap();
    std::fs::rename(process.path("keyring.backup"), process.path("data/keyring")).unwrap();
    let mut process = process;
    process.serve();
}

#[test]
fn whoami_shows_who_and_what() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    let me = String::from_utf8(process.good_as("a", &["whoami"], b"")).unwrap();
    for part in ["spiffe://keyward.test/agent/a", "github.repo.read", "reveal", "github/app", "home-a"] {
        assert!(me.contains(part), "{part}: {me}");
    }
    let operator = String::from_utf8(process.good(&["whoami", "--operator"], b"")).unwrap();
    assert!(operator.contains("spiffe://keyward.test/operator/admin"), "{operator}");
    assert!(operator.contains("role admin, scope: all"), "{operator}");
    let listed = String::from_utf8(process.good(&["agent", "list"], b"")).unwrap();
    assert!(listed.contains("NAME") && listed.contains("live"), "{listed}");
    let audit = String::from_utf8(process.good(&["audit", "list", "--limit", "3"], b"")).unwrap();
    assert_eq!(audit.lines().count(), 4, "{audit}");
    // Each of these readings has an entry of its own
    let listed = |arguments: &[&str]| {
        let arguments = [&["audit", "list"][..], arguments].concat();
        process.json(&arguments)["items"].as_array().unwrap().clone()
    };
    let newest_first: Vec<_> = listed(&["--oldest-first", "--limit", "500"]).into_iter().rev().collect();
    assert_eq!(listed(&["--last", "2"])[1], newest_first[0]);
    let more = listed(&["--last", "500"]);
    assert_eq!(more[2..], newest_first, "as many as there are");
}

#[test]
fn whoever_finds_the_broker_full_is_not_told_that_his_certificate_is_bad() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    let full = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("localhost:{}", full.local_addr().unwrap().port());
    std::fs::write(process.path("home-a/agent/address"), address).unwrap();
    let closing = std::thread::spawn(move || drop(full.accept().unwrap()));
    let output = process.run_as("a", &["whoami"], b"");
    closing.join().unwrap();
    assert_eq!(output.status.code(), Some(10), "{}", said(&output));
    assert!(said(&output).contains("error: broker_unreachable"), "{}", said(&output));
}
