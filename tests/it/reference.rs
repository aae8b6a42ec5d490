//! The pages of `docs/reference` that are made from the code: what is committed is what the code says.

use std::collections::{BTreeMap, BTreeSet};

use keyward::base::code::Code;
use keyward::telemetry::Alarm;
use serde_json::json;

use crate::readme::root;
use crate::support::broker::TestBroker;
use crate::support::source::{Source, identifier, sources, words};

/// Compares the committed `page` with `made`. With `KEYWARD_WRITE_REFERENCE` set, writes it instead.
pub(crate) fn compare(page: &str, made: &str) {
    let path = root().join("docs/reference").join(page);
    if std::env::var_os("KEYWARD_WRITE_REFERENCE").is_some() {
        std::fs::write(&path, made).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == made,
        "docs/reference/{page} is not what the code says: scripts/reference writes it"
    );
}

#[test]
fn the_page_of_error_codes_is_what_the_registry_says() {
    let rows = |codes: &mut dyn Iterator<Item = Code>| -> String {
        let row = |code: Code| {
            let retry = if code.is_retryable() { "yes" } else { "" };
            format!("| `{code}` | {} | {} | {retry} |\n", code.meaning(), code.fix())
        };
        codes.map(row).collect()
    };
    let answered: Vec<Code> = Code::answered().collect();
    let head = "| code | means | fix | retry as it is |\n|---|---|---|---|\n";
    let page = format!(
        "# Error codes\n\nEvery refused or failed request and command has one of these codes. A code never changes its \
         meaning. `keyward help error CODE` prints one of them; [http.md](http.md#codes) has the HTTP status. \
         Made by `scripts/reference`.\n\n\
         ## Codes of the broker\n\n{head}{}\n## Codes of the command line\n\n{head}{}",
        rows(&mut answered.iter().copied()),
        rows(&mut Code::all().filter(|code| !answered.contains(code))),
    );
    compare("errors.md", &page);
}

#[test]
fn the_page_of_the_command_line_is_what_the_verbs_say() {
    let page = format!(
        "# Command line\n\nEvery command with its help. Each one also takes the options of [`keyward`](#keyward). \
         `keyward help exit-codes` lists the exit codes. Made by `scripts/reference`.\n{}",
        keyward::cli::reference()
    );
    compare("cli.md", &page);
}

/// `number` with its thousands set apart, when it is one.
fn grouped(number: u128) -> String {
    let digits = number.to_string();
    let grouped = digits.as_bytes().rchunks(3).rev().map(|part| String::from_utf8_lossy(part).into_owned());
    grouped.collect::<Vec<_>>().join(",")
}

/// The value of a constant that is a product of numbers; otherwise as it is written.
fn worked_out(value: &str) -> String {
    let factors: Option<Vec<u128>> =
        value.split('*').map(|factor| factor.trim().replace('_', "").parse().ok()).collect();
    factors.map_or_else(|| format!("`{value}`"), |factors| grouped(factors.iter().product()))
}

#[test]
fn the_page_of_limits_is_what_the_code_keeps_to() {
    let files = ["", "announcement_", "approval_", "incident_", "lease_", "policy_"];
    let files = files.map(|of| format!("src/base/{of}limits.rs"));
    let source = files.map(|file| std::fs::read_to_string(root().join(file)).unwrap()).concat();
    let (mut rows, mut said) = (String::new(), String::new());
    for line in source.lines() {
        if let Some(words) = line.strip_prefix("/// ") {
            said = format!("{said} {words}").trim().to_owned();
        } else if let Some(constant) = line.strip_prefix("pub const ") {
            let (name, value) = constant.trim_end_matches(';').split_once(" = ").unwrap();
            let name = name.split(':').next().unwrap();
            rows.push_str(&format!("| `{name}` | {} | {said} |\n", worked_out(value)));
            said.clear();
        }
    }
    let count = source.matches("pub const ").count();
    assert_eq!(rows.lines().count(), count, "every limit has a line of its own");
    let page = format!(
        "# Limits\n\nEvery fixed limit, from `src/base/limits.rs`. Made by `scripts/reference`.\n\n| limit | | what it bounds |\n|---|---|---|\n{rows}"
    );
    compare("limits.md", &page);
    assert_eq!((worked_out("64 * 1024"), worked_out("A - 1")), ("65,536".to_owned(), "`A - 1`".to_owned()));
}

#[test]
fn the_page_of_the_configuration_is_what_the_example_shows() {
    let example = std::fs::read_to_string(root().join("config/keyward.toml")).unwrap();
    let (mut rows, mut said, mut section) = (String::new(), String::new(), String::new());
    for line in example.lines() {
        let setting = line.strip_prefix("#= ").map(|setting| (setting, "default"));
        let setting = setting.or_else(|| Some((line.strip_prefix("#: ")?, "none")));
        let setting = setting.or_else(|| line.contains(" = ").then_some((line, "required")));
        match setting.filter(|(line, _)| !line.starts_with("# ")) {
            Some((setting, kind)) => {
                let (name, value) = setting.split_once(" = ").unwrap();
                let full = if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") };
                let default = match kind {
                    "default" => format!("`{value}`"),
                    "none" => format!("none; e.g. `{value}`"),
                    _ => "required".to_owned(),
                };
                rows.push_str(&format!("| `{full}` | {default} | {said} |\n"));
                said.clear();
            }
            None if line.starts_with('[') => section = line.trim_matches(['[', ']']).to_owned(),
            None if line.is_empty() => said.clear(),
            None => said = format!("{said} {}", line.trim_start_matches("# ")).trim().to_owned(),
        }
    }
    let settings = example.lines().filter(|line| line.starts_with("#= ") || line.starts_with("#: ")).count();
    assert!(rows.lines().count() > settings, "every setting has a line of its own");
    let page = format!(
        "# Configuration\n\nEvery setting of `config/keyward.toml`, with its default. `keyward config check` checks \
         a file. Made by `scripts/reference`.\n\n| setting | default | |\n|---|---|---|\n{rows}"
    );
    compare("configuration.md", &page);
}

/// Each family of metrics: its type, its labels, what it says.
fn families(text: &str) -> BTreeMap<String, (String, BTreeSet<String>, String)> {
    let mut families: BTreeMap<String, (String, BTreeSet<String>, String)> = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("HELP"), Some(name), Some(help)) => {
                families.entry(name.to_owned()).or_default().2 = help.to_owned();
            }
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                families.entry(name.to_owned()).or_default().0 = kind.to_owned();
            }
            _ => {
                let (sample, labels) = line.split_once('{').unwrap_or((line, ""));
                let family = families.keys().rev().find(|name| sample.starts_with(name.as_str())).cloned();
                let Some(family) = family else { continue };
                let labels = labels.split('}').next().unwrap().split("\",");
                let names = labels.filter_map(|label| label.split_once('=')).map(|(name, _)| name.to_owned());
                families.get_mut(&family).unwrap().1.extend(names.filter(|name| name != "le"));
            }
        }
    }
    families
}

const ASK_FIRST: &str = "[[policy]]\nname = \"ask-first\"\nrule = '''\n@decision(\"require_approval\")\nforbid (principal, action == \
        Keyward::Action::\"token\", resource) when { resource.access == \"write\" };\n'''\n[[agent]]\nname = \"research-bot\"\n\
        roles = [\"publisher\"]\nperson = \"dev@corp.example\"\n";

#[tokio::test]
async fn the_page_of_metrics_is_what_is_served_and_few_labels_are_names() {
    let broker = TestBroker::declared().await;
    let agent = broker.agent("research-bot", &["publisher"]).await;
    agent.token("reports.read").await;
    agent.ask("grant_type=client_credentials&scope=github.repo.read").await;
    // A request for approval that is denied
    assert_eq!(broker.apply(ASK_FIRST).await.status, 200);
    let body = json!({ "capabilities": ["reports.publish"], "reason": "release 7" });
    let asked = agent.caller.post_json("/v1/approvals", &body).await.json();
    let votes = format!("/v1/approvals/{}/votes", asked["approval"].as_str().unwrap());
    assert_eq!(broker.operator().post_json(&votes, &json!({ "verdict": "deny" })).await.status, 200);
    broker.nobody(broker.agents()).get("/v1/no/such/research-bot").await;
    let subjects = json!([{ "kind": "agent", "name": "research-bot" }]);
    let body = json!({ "subjects": subjects, "reason": "a drill", "times": { "first_sign": "2026-01-01T00:00:00Z" } });
    let opened = broker.operator().post_json("/v1/incident-records", &body).await.json();
    let close = format!("/v1/incidents/{}/close", opened["incident"].as_str().unwrap());
    assert_eq!(broker.operator().post_json(&close, &json!({ "cause": "a drill" })).await.status, 200);
    // The certificate of another broker is refused at the handshake.
    let other = TestBroker::declared().await.agent("research-bot", &["publisher"]).await;
    let stranger = broker.caller(broker.agents(), Some(&other.certificate), Some(&other.key));
    assert!(stranger.attempt("GET", "/v1/whoami", &[], b"").await.is_err());
    // Its entry is written now, and not by the reading below.
    broker.operator().get("/v1/ledger/entries").await;
    let reply = broker.operator().get("/metrics").await;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!((reply.status, reply.header("content-type")), (200, kind));
    let text = reply.text();
    for name in ["research-bot", "ask-first", "release 7", "github/app", "keyward.test", "127.0.0.1"] {
        assert!(!text.contains(name), "{name}: {text}");
    }
    // Capabilities are labels of the metrics of decisions and approvals only
    let named = text.lines().filter(|line| line.contains("capability=\""));
    let of_capabilities =
        ["keyward_token_decisions_total{", "keyward_approvals_total{", "keyward_approval_answer_seconds"];
    assert!(named.clone().count() >= 5, "{text}");
    for line in named {
        assert!(of_capabilities.iter().any(|begin| line.starts_with(begin)), "{line}");
    }
    assert!(!text.replace("capability=\"reports.", "").contains("reports."), "{text}");
    for line in [
        "keyward_tokens_minted_total 1",
        "keyward_denials_total{code=\"capability_not_granted\"} 1",
        "keyward_refused_certificates_total{identity=\"unknown\",reason=\"authority_unknown\",stage=\"handshake\"} 1",
        "keyward_token_decisions_total{outcome=\"allow\",capability=\"reports.read\",environment=\"\"} 1",
        "keyward_token_decisions_total{outcome=\"deny\",capability=\"github.repo.read\",environment=\"\"} 1",
        "keyward_approvals_total{outcome=\"requested\",capability=\"reports.publish\",environment=\"\"} 1",
        "keyward_approvals_total{outcome=\"denied\",capability=\"reports.publish\",environment=\"\"} 1",
        "keyward_approval_answer_seconds_count{capability=\"reports.publish\",environment=\"\"} 1",
        "keyward_ledger_writable 1",
        "keyward_requests_total{listener=\"agents\",method=\"POST\",route=\"/oauth/token\",status=\"200\",code=\"\"} 1",
        "keyward_requests_total{listener=\"agents\",method=\"\",route=\"(no route)\",status=\"404\",code=\"route_unknown\"} 1",
    ] {
        assert!(text.lines().any(|one| one == line), "{line}: {text}");
    }
    let head =
        format!("keyward_ledger_seq {}\n", broker.operator().get("/v1/ledger/entries").await.json()["head"]);
    assert!(text.contains(&head), "{head}: {text}");

    let rows: String = families(&text)
        .into_iter()
        .map(|(name, (kind, labels, help))| {
            let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
            format!("| `{name}` | {kind} | {} | {} |\n", labels.join(", "), help.trim_end_matches('.'))
        })
        .collect();
    let page = format!(
        "# Metrics\n\n`GET /metrics` on the operators' listener returns these metrics as OpenMetrics text. Give \
         the monitoring system an identity of its own with the role `metrics` ([how](../how-to/monitor.md)). Labels have \
         few values: routes of the route table, stable codes, listeners. The metrics of decisions and approvals also have the names of \
         declared capabilities and environments, of at most 200 pairs; further ones are `other`. The samples of counters end in `_total`. \
         Made by `scripts/reference`.\n\n\
         | metric | type | labels | |\n|---|---|---|---|\n{rows}"
    );
    compare("metrics.md", &page);
}

#[tokio::test]
async fn every_alert_names_served_metrics_and_says_the_fix() {
    let broker = TestBroker::declared().await;
    let served = broker.operator().get("/metrics").await.text();
    let samples: BTreeSet<&str> = served
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect();
    let rules = std::fs::read_to_string(root().join("config/prometheus/keyward.rules.yml")).unwrap();
    let named = |line: &str| -> Vec<String> {
        let words = line.split(|c: char| !c.is_ascii_lowercase() && c != '_');
        words.filter(|word| word.starts_with("keyward_")).map(str::to_owned).collect()
    };
    let mut alerted = BTreeSet::new();
    for line in rules.lines().filter_map(|line| line.trim().strip_prefix("expr: ")) {
        let metrics = named(line);
        assert!(!metrics.is_empty(), "{line}");
        for metric in metrics {
            assert!(samples.contains(metric.as_str()), "{metric} is not served");
            alerted.insert(metric);
        }
    }
    for metric in ["keyward_rotations_overdue", "keyward_rotations_dead_letter", "keyward_leases_overdue"] {
        assert!(alerted.contains(metric), "nobody is told of {metric}");
    }
    for alarm in Alarm::ALL {
        let rule = format!("expr: increase(keyward_alarms_total{{alarm=\"{}\"}}[15m]) > 0", alarm.name());
        assert_eq!(rules.matches(&rule).count(), 1, "one rule for the alarm {}", alarm.name());
        let sample = format!("keyward_alarms_total{{alarm=\"{}\"}} 0\n", alarm.name());
        assert!(served.contains(&sample), "{sample}");
    }
    let count = |key: &str| rules.lines().filter(|line| line.trim_start().starts_with(key)).count();
    let alerts = count("- alert: ");
    assert!(alerts > 0 && [count("expr: "), count("summary: "), count("fix: ")] == [alerts; 3]);
    // A page that an alert leads to is there.
    let pages = rules.split([' ', '"', ';']).filter(|word| word.starts_with("docs/"));
    pages.for_each(|page| assert!(root().join(page).exists(), "{page}"));
}

/// The first sentence of the documentation of the event's type: `types` has the source of each name.
fn meaning_of(kind: &str, sources: &[Source]) -> String {
    let named = format!("\"{kind}\"");
    let of_source = |source: &Source| -> Option<String> {
        let at = words(&source.text, &named).next()?;
        let before = &source.text[..at];
        // A row of a table of events, or an `impl`.
        let line = before.rsplit('\n').next().unwrap().trim();
        let row = line.split_once(" = 0x").map(|(name, _)| name);
        let name = identifier(row.unwrap_or_else(|| before.rsplit("Event for ").next().unwrap()));
        let defined = words(&source.code, "struct")
            .find(|at| identifier(source.code[at + 6..].trim_start()) == name)?;
        let lines: Vec<&str> = source.raw[..defined].lines().rev().skip(1).collect();
        let docs = lines.into_iter().take_while(|line| line.starts_with("///") || line.starts_with("#["));
        let docs: Vec<&str> = docs.filter_map(|line| line.strip_prefix("/// ")).collect();
        let text = docs.into_iter().rev().collect::<Vec<_>>().join(" ");
        Some(text.split_once(". ").map_or(text.clone(), |(first, _)| format!("{first}.")))
    };
    let found = sources.iter().find_map(of_source);
    found.filter(|text| !text.is_empty()).unwrap_or_else(|| panic!("the event {kind} has no documentation"))
}

/// What the page of events says before its kinds.
const EVENTS_HEAD: &str = "\
    # Kinds of ledger entries\n\
    \n\
    After this page you know what each entry of the ledger says. `keyward audit list --kind KIND` lists the \
    entries of a kind, `keyward audit list --outcome OUTCOME` those with an outcome, and `keyward audit \
    kinds` prints kinds and outcomes. [ledger-format.md](ledger-format.md) has the form of an entry. Made by \
    `scripts/reference`.\n\
    \n\
    ## Outcomes\n\
    \n\
    | outcome | the entry says |\n\
    |---|---|\n\
    | `allowed` | the broker did a step, or is about to do it: each entry is durable before its step has an \
    effect. An entry about a step that the broker is about to do (`lease.intended`, kinds that end in \
    `-attempted`) does not say that the step succeeded: a later entry has the result |\n\
    | `denied` | the broker refused a request, a code, a certificate, a token or a text, or an operator \
    denied a request for approval |\n\
    | `failed` | a step failed, or its result is unknown |\n\
    | no outcome | the broker found a state; no step was requested or done |\n\
    \n\
    A kind that begins with `alarm.` also raises an alarm, or needs the attention of a person, whatever its \
    outcome is. Some entries stand for several cases, and name their number and period: `certificate.refused` \
    (`since`, a minute at most), `ledger.reading-ended` (`since`, `until`, `requests`), and \
    `alarm.operator-elsewhere` (`unrecorded`). If the broker stops before it has written such an entry, the \
    ledger does not have these numbers.\n\
    \n\
    ## Kinds\n\
    \n\
    | kind | outcome | what happened |\n\
    |---|---|---|\n\
    ";

#[test]
fn the_page_of_events_is_what_the_broker_writes() {
    let sources = sources("src");
    let row = |(kind, outcome): (&str, Option<&str>)| {
        format!("| `{kind}` | {} | {} |\n", outcome.unwrap_or_default(), meaning_of(kind, &sources))
    };
    let rows: String = keyward::broker::event_kinds().into_iter().map(row).collect();
    let page = format!("{EVENTS_HEAD}{rows}");
    compare("events.md", &page);
}
