//! Policy tests: cases on declaration files, without a broker.

use std::fs;
use std::process::{Command, Output};

use keyward::broker::{PolicyCaseResult, PolicyTest, run_policy_test};
use keyward::config::SourceFile;
use serde_json::Value;

use super::policy;
use crate::support::process::KEYWARD;

const DECLARED: &str = r#"
[[environment]]
name = "production"

[[capability]]
name = "web.deploy"
access = "write"
delivery = "mint"
audience = "https://deploy.example.com"
max_life_s = 3600
environment = "production"

[[capability]]
name = "key.read"
access = "read"
delivery = "reveal"
secret = "deploy/key"
max_life_s = 3600

[[capability]]
name = "db.read"
access = "read"
delivery = "lease"
max_life_s = 3600

[[lease]]
capability = "db.read"
per_agent = 2
[lease.upstream]
driver = "postgresql-dynamic"
host = "127.0.0.1"
tls = "off"
database = "app"
member_of = ["reader"]
admin_role = "keyward_admin"
admin_secret = "db/admin"

[[role]]
name = "deployer"
capabilities = ["db.read", "key.read", "web.deploy"]

[[agent]]
name = "deploy-bot"
roles = ["deployer"]

[[agent]]
name = "idle-bot"
roles = []
"#;

const NO_NIGHTS: &str = "@reason(\"08:00 to 16:00\")
forbid (principal, action == Keyward::Action::\"token\", resource in Keyward::Environment::\"production\")
unless { context.time.hour >= 8 && context.time.hour < 16 };";

const SHORT_OUTSIDE: &str = "@max_ttl(\"2m\")
forbid (principal, action, resource)
unless { context has source && context.source.isInRange(ip(\"10.0.0.0/8\")) };";

fn declared() -> String {
    format!("{DECLARED}{}{}", policy("no-nights", NO_NIGHTS), policy("short-outside", SHORT_OUTSIDE))
}

fn file(name: &str, text: &str) -> SourceFile {
    SourceFile::new(name.to_owned(), text.to_owned())
}

/// The results of `cases` on `declared`, or the messages of the faults.
fn run(declared: &str, cases: &str) -> Result<Vec<PolicyCaseResult>, Vec<String>> {
    let test = PolicyTest {
        declarations: vec![file("declared.toml", declared)],
        cases: vec![file("cases.toml", cases)],
    };
    run_policy_test(&test).map_err(|failure| {
        let place =
            |fault: &keyward::config::Fault| format!("{}:{}: {}", fault.file, fault.line, fault.message);
        let faults: Vec<String> = failure.faults.iter().map(place).collect();
        if faults.is_empty() { vec![failure.why.into_owned()] } else { faults }
    })
}

fn case(name: &str, capability: &str, more: &str) -> String {
    format!("[[case]]\nname = \"{name}\"\nagent = \"deploy-bot\"\ncapability = \"{capability}\"\n{more}\n")
}

#[test]
fn cases_are_decided_by_time_source_life_action_and_sensitivity() {
    let inside = "source = \"10.1.2.3\"";
    for (capability, more, outcome, policies) in [
        ("web.deploy", inside, "allow", vec![]),
        ("web.deploy", "", "constrain", vec!["short-outside"]),
        ("web.deploy", "life = \"2m\"", "allow", vec!["short-outside"]),
        ("web.deploy", "time = \"2026-01-05T20:00:00Z\"\nsource = \"10.1.2.3\"", "deny", vec!["no-nights"]),
        ("key.read", "time = \"2026-01-05T20:00:00Z\"\nsource = \"10.1.2.3\"", "allow", vec![]),
        ("key.read", "action = \"read_secret\"\nsource = \"10.1.2.3\"", "allow", vec![]),
        ("db.read", inside, "allow", vec![]),
        ("db.read", "source = \"192.0.2.1\"\nlife = \"1h\"", "constrain", vec!["short-outside"]),
        ("web.deploy", "life = \"2h\"\nsource = \"10.1.2.3\"", "constrain", vec![]),
    ] {
        let text = case("one", capability, &format!("{more}\nexpect = \"{outcome}\""));
        let results = run(&declared(), &text).unwrap();
        let matched: Vec<&str> = results[0].policies.iter().map(|one| one.as_str()).collect();
        assert_eq!((results[0].outcome, matched), (outcome, policies), "{text}: {}", results[0].why);
        assert!(results[0].has_passed(), "{text}");
    }
    // A secret of high sensitivity limits the life, and is for its owner alone.
    let high = "[[secret]]\nname = \"deploy/key\"\nowner = \"payments\"\nsensitivity = \"high\"\n";
    let own = declared().replacen("\"deploy/key\"\n", "\"deploy/key\"\nowner = \"payments\"\n", 1);
    let long = case("one", "key.read", "life = \"10m\"\nsource = \"10.1.2.3\"\nexpect = \"constrain\"");
    let limited = run(&own, &format!("{high}{long}")).unwrap();
    assert!(limited[0].has_passed() && limited[0].why.contains("sensitivity `high`"), "{}", limited[0].why);
    let faults = run(&declared(), &format!("{high}{long}")).unwrap_err();
    assert!(faults[0].contains("only capabilities of its owner deliver it"), "{faults:?}");
}

#[test]
fn a_case_can_expect_the_life_that_the_request_gets() {
    let inside = "source = \"10.1.2.3\"";
    for (capability, more, life_s) in [
        ("web.deploy", format!("{inside}\nexpect = \"allow\"\nexpect_life = \"5m\""), 300),
        (
            "web.deploy",
            format!("{inside}\nlife = \"2h\"\nexpect = \"constrain\"\nexpect_life = \"1h\""),
            3600,
        ),
        ("web.deploy", "expect = \"constrain\"\nexpect_life = \"2m\"".to_owned(), 120),
        ("db.read", "life = \"1h\"\nexpect = \"constrain\"\nexpect_life = \"2m\"".to_owned(), 120),
    ] {
        let result = &run(&declared(), &case("one", capability, &more)).unwrap()[0];
        assert_eq!(result.life_s, Some(life_s), "{more}: {}", result.why);
        assert!(result.has_passed(), "{more}");
        // The twin: another life is a failure
        let other = case("one", capability, &more.replace("expect_life = \"", "expect_life = \"1"));
        assert!(!run(&declared(), &other).unwrap()[0].has_passed(), "{other}");
    }
    let denied = case("one", "web.deploy", "expect = \"deny\"\nexpect_life = \"5m\"");
    let faults = run(&declared(), &denied).unwrap_err();
    assert!(faults[0].contains("`expect_life`: a request with the outcome `deny`"), "{faults:?}");
}

#[test]
fn a_case_can_expect_an_approval() {
    let rule =
        "@decision(\"require_approval\") forbid (principal, action == Keyward::Action::\"token\", resource);";
    let declared = format!("{DECLARED}{}", policy("approved", rule));
    let results =
        run(&declared, &case("one", "web.deploy", "expect = \"approval\"\npolicy = \"approved\"")).unwrap();
    assert!(results[0].has_passed(), "{}", results[0].why);
    let results = run(&declared, &case("one", "db.read", "expect = \"allow\"")).unwrap();
    assert!(results[0].has_passed(), "{}", results[0].why);
}

#[test]
fn a_case_names_the_policy_that_has_to_match() {
    let late = "time = \"2026-01-05T20:00:00Z\"\nexpect = \"deny\"\npolicy = ";
    for (policy, passes) in [("no-nights", true), ("short-outside", true), ("none-such", false)] {
        let text = case("one", "web.deploy", &format!("{late}\"{policy}\""));
        match run(&declared(), &text) {
            Ok(results) => assert_eq!(results[0].has_passed(), passes, "{policy}"),
            Err(faults) => assert!(!passes && faults[0].contains("policy `none-such` is not declared")),
        }
    }
    let elsewhere =
        case("one", "web.deploy", "source = \"10.0.0.1\"\nexpect = \"allow\"\npolicy = \"no-nights\"");
    assert!(!run(&declared(), &elsewhere).unwrap()[0].has_passed(), "it does not match by day");
}

#[test]
fn faults_of_cases_have_their_place() {
    for (cases, says) in [
        (case("one", "web.deploy", ""), "cases.toml:1: missing field `expect`"),
        (case("one", "web.deploy", "expect = \"maybe\""), "`expect`: the outcomes are"),
        (case("one", "web.deploy", "expect = \"allow\"\ntime = \"noon\""), "`time`: write a time"),
        (case("one", "web.deploy", "expect = \"allow\"\nsource = \"here\""), "`source`: write an IP address"),
        (case("one", "web.deploy", "expect = \"allow\"\naction = \"steal\""), "`action`: the actions are"),
        (case("one", "web.deploy", "expect = \"allow\"\nlife = \"soon\""), "`life`: write a length"),
        (case("one", "web.deplyo", "expect = \"allow\""), "capability `web.deplyo` is not declared"),
        (case("one", "web.deploy", "expect = \"allow\"\naction = \"lease\""), "has no action `lease`"),
        (case("one", "web.deploy", "expect = \"allow\"").repeat(2), "another case has the same name"),
        ("[[cases]]\nname = \"one\"\n".to_owned(), "unknown table"),
        (String::new(), "no `[[case]]`"),
    ] {
        let faults = run(&declared(), &cases).unwrap_err();
        assert!(faults.iter().any(|fault| fault.contains(says)), "{cases}: {faults:?}");
    }
    // The declarations are read as `plan` reads them.
    let wrong = policy("p", "forbid (principal == Keyward::Agent::\"nobody\", action, resource);");
    let faults = run(&wrong, &case("one", "web.deploy", "expect = \"allow\"")).unwrap_err();
    assert!(faults[0].contains("agent `nobody`, which is not declared"), "{faults:?}");
}

#[test]
fn lives_and_secrets_of_a_case_that_cannot_be_are_faults() {
    let web = |more: &str| case("one", "web.deploy", &format!("expect = \"allow\"\n{more}"));
    let secret = |name: &str| format!("[[secret]]\nname = \"{name}\"\nsensitivity = \"high\"\n");
    for (cases, says) in [
        (web("life = \"9s\""), "case `one`: `life`: a token lives at least 10 s"),
        (web("expect_life = \"0s\""), "case `one`: `expect_life`: a token lives at least 10 s"),
        (case("one", "db.read", "expect = \"deny\"\nlife = \"59s\""), "a lease lives at least 60 s"),
        (
            case("one", "key.read", "expect = \"allow\"\naction = \"read_secret\"\nexpect_life = \"5m\""),
            "`expect_life`: a request of the action `read_secret` has none",
        ),
        // A secret of another name would leave the one that is meant with an ordinary sensitivity
        (
            format!("{}{}", secret("deploy/kye"), web("")),
            "cases.toml:1: no declaration names the secret `deploy/kye`; did you mean `deploy/key`?",
        ),
        (format!("{}{}", secret("deploy/key").repeat(2), web("")), "another `[[secret]]` has the same name"),
    ] {
        let faults = run(&declared(), &cases).unwrap_err();
        assert!(faults.iter().any(|fault| fault.contains(says)), "{cases}: {faults:?}");
    }
    // The twins: at the limits, and with the name of the secret, the cases are decided
    for cases in [
        web("life = \"10s\""),
        case("one", "db.read", "expect = \"allow\"\nlife = \"60s\""),
        format!("[[secret]]\nname = \"db/admin\"\n{}", web("")),
    ] {
        assert!(run(&declared(), &cases).is_ok(), "{cases}");
    }
}

#[test]
fn standard_input_is_not_read_as_cases_and_as_declarations() {
    let output = Command::new(KEYWARD).args(["policy", "test", "-", "-f", "-"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("can be read only once"), "{said}");
}

#[test]
fn parameters_of_a_case_that_do_not_fit_are_a_fault_of_the_file() {
    // Given a capability with parameters
    let parameters = "\n[capability.parameters]\namount = { type = \"integer\", required = true, max = 9 }\n";
    let declared = DECLARED.replacen(
        "environment = \"production\"\n\n",
        &format!("environment = \"production\"{parameters}\n"),
        1,
    );
    let of = |parameters: &str| {
        run(&declared, &case("one", "web.deploy", &format!("expect = \"deny\"\n{parameters}")))
    };
    // When a case that expects a denial gives others, then it does not pass: the file has a mistake
    for (parameters, says) in [
        ("", "requires the parameter `amount`"),
        ("parameters = { amuont = 1 }", "did you mean `amount`?"),
        ("parameters = { amount = 10 }", "the value of the parameter `amount` is not allowed; give"),
        ("parameters = { amount = \"1\" }", "the value of the parameter `amount` is not allowed; give"),
        ("parameters = { amount = 1 }\naction = \"lease\"", "has no action `lease`"),
    ] {
        let faults = of(parameters).unwrap_err();
        assert!(
            faults[0].starts_with("cases.toml:1: case `one`: ") && faults[0].contains(says),
            "{faults:?}"
        );
    }
    let leased = case("one", "db.read", "parameters = { amount = 1 }\nexpect = \"allow\"");
    let faults = run(&declared, &leased).unwrap_err();
    assert!(faults[0].contains("a request of the action `lease` has none"), "{faults:?}");
    // The twin: with those that fit, the case is decided
    let decided = of("parameters = { amount = 9 }").unwrap();
    assert_eq!(decided[0].outcome, "allow", "{}", decided[0].why);
}

fn keyward(dir: &std::path::Path, more: &[&str]) -> Output {
    let mut command = Command::new(KEYWARD);
    command.args(["policy", "test", "cases.toml", "-f", "declared.toml"]).args(more);
    command.current_dir(dir).env("HOME", dir).output().unwrap()
}

#[test]
fn a_failed_case_says_what_decided_and_ends_with_11() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("declared.toml"), declared()).unwrap();
    let inside = "source = \"10.0.0.1\"";
    let good = case("by day", "web.deploy", &format!("{inside}\nexpect = \"allow\""));
    let bad = case(
        "by night",
        "web.deploy",
        &format!("{inside}\ntime = \"2026-01-05T20:00:00Z\"\nexpect = \"allow\""),
    );
    // Given cases that all pass, without a broker and an identity
    fs::write(dir.path().join("cases.toml"), &good).unwrap();
    let passed = keyward(dir.path(), &[]);
    assert_eq!(passed.status.code(), Some(0), "{passed:?}");
    assert_eq!(String::from_utf8_lossy(&passed.stdout).trim(), "1 passed, 0 failed");
    // When one fails, then the output names it and the policy
    fs::write(dir.path().join("cases.toml"), format!("{good}{bad}")).unwrap();
    let failed = keyward(dir.path(), &[]);
    assert_eq!(failed.status.code(), Some(11), "{failed:?}");
    let said = String::from_utf8_lossy(&failed.stdout);
    assert!(said.contains("failed: by night: expected allow, is deny: policy `no-nights` denies"), "{said}");
    assert!(String::from_utf8_lossy(&failed.stderr).contains("policy_test_failed"), "{failed:?}");
    // And a failed expectation of a life says the life and the limit
    let short = "[[case]]\nname = \"long\"\nagent = \"deploy-bot\"\ncapability = \"web.deploy\"\n\
                 expect = \"constrain\"\nexpect_life = \"5m\"\n";
    fs::write(dir.path().join("cases.toml"), format!("{good}{short}")).unwrap();
    let failed = keyward(dir.path(), &[]);
    let said = String::from_utf8_lossy(&failed.stdout);
    let line =
        "failed: long: expected constrain for 5m, is constrain for 2m: life shortened from 300 s to 120 s by";
    assert!(said.contains(line) && said.contains("`short-outside`"), "{said}");
    fs::write(dir.path().join("cases.toml"), format!("{good}{bad}")).unwrap();
    let sent = keyward(dir.path(), &["-o", "json"]);
    let output: Value = serde_json::from_slice(&sent.stdout).unwrap();
    assert_eq!((&output["failed"], &output["cases"][1]["passed"]), (&Value::from(1), &Value::from(false)));
}
