//! The decisions on a sample of declarations, in a table for people, and that the broker decides, explains, replays and
//! tests alike.

use std::fmt::Write as _;

use keyward::base::Timestamp;
use keyward::broker::{PolicyTest, run_policy_test};
use keyward::config::SourceFile;
use serde_json::{Value, json};

use super::{applied, policy};
use crate::golden::compare;
use crate::support::broker::TestBroker;

/// Staging and production of one service, with roles for people who deploy, who are on call, and who only read.
const SAMPLE: &str = include_str!("../../golden/policy-matrix.toml");

const ROLES: [&str; 4] = ["reader", "deployer", "on-call", "contractor"];
/// Capability and environment.
const CAPABILITIES: [(&str, &str); 6] = [
    ("web.status", "production"),
    ("web.deploy", "production"),
    ("web.rollback", "production"),
    ("key.read", "production"),
    ("web-staging.status", "staging"),
    ("web-staging.deploy", "staging"),
];
const TIMES: [(&str, &str); 2] = [("by day", "2026-01-05T12:00:00Z"), ("by night", "2026-01-05T22:00:00Z")];

fn file(name: &str, text: &str) -> SourceFile {
    SourceFile::new(name.to_owned(), text.to_owned())
}

/// The outcome of each case, with the life.
fn outcomes(cases: &[(String, String, String)]) -> Vec<String> {
    let cases: String = cases
        .iter()
        .enumerate()
        .map(|(number, (agent, capability, time))| {
            format!(
                "[[case]]\nname = \"{number}\"\nagent = \"{agent}\"\ncapability = \"{capability}\"\ntime = \"{time}\"\n\
                 life = \"5m\"\nexpect = \"allow\"\n"
            )
        })
        .collect();
    let test = PolicyTest { declarations: vec![file("sample", SAMPLE)], cases: vec![file("cases", &cases)] };
    let results = run_policy_test(&test).unwrap_or_else(|failure| panic!("{:?}", failure.faults));
    let shown = |result: keyward::broker::PolicyCaseResult| match result.outcome {
        "constrain" => {
            let (_, life) = result.why.split_once(" s to ").unwrap();
            format!("at most {} s", life.split_once(" s by ").unwrap().0)
        }
        "allow" => "yes".to_owned(),
        outcome if outcome == "deny" && result.policies.is_empty() => "-".to_owned(),
        _ => {
            let policies: Vec<String> = result.policies.iter().map(ToString::to_string).collect();
            format!("no: {}", policies.join(", "))
        }
    };
    results.into_iter().map(shown).collect()
}

#[test]
fn the_matrix_of_the_sample_is_the_reviewed_one() {
    let mut table = "Who gets a token for what, by the declarations in policy-matrix.toml. `-`: the role does not hold the \
                     capability.\n"
        .to_owned();
    for role in ROLES {
        write!(table, "\n{role}\n").unwrap();
        let mut cases = Vec::new();
        for (capability, _) in CAPABILITIES {
            for (_, time) in TIMES {
                cases.push((format!("{role}-bot"), capability.to_owned(), time.to_owned()));
            }
        }
        let outcomes = outcomes(&cases);
        for ((capability, environment), outcomes) in CAPABILITIES.iter().zip(outcomes.chunks(2)) {
            let [day, night] = outcomes else { unreachable!() };
            let outcome = if day == night { day.clone() } else { format!("{day} by day; {night} by night") };
            writeln!(table, "  {environment:12} {capability:20} {outcome}").unwrap();
        }
    }
    compare("policy-matrix.txt", &table);
}

/// Numbers that look random and are the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }
}

#[tokio::test]
async fn decisions_explanations_and_replays_agree() {
    // Given a broker with the sample, from midnight on
    let broker = TestBroker::start_at(
        Timestamp::from_s(1_767_571_200),
        "[certificates]\nagent_life_s = 604800\noperator_life_s = 86400\n",
    )
    .await;
    let headers = [("content-type", "application/octet-stream")];
    let stored = broker.operator().send("PUT", "/v1/secrets/deploy/key", &headers, b"value").await;
    assert_eq!(stored.status, 201, "{}", stored.text());
    applied(&broker, SAMPLE).await;
    let mut agents = Vec::new();
    for role in ROLES {
        agents.push(broker.agent(&format!("{role}-bot"), &[]).await);
    }
    // When agents ask at different times, for different capabilities and lives
    let mut numbers = Numbers(7);
    let mut decided = Vec::new();
    for _ in 0..48 {
        broker.clock.advance_s(u32::try_from(numbers.below(3)).unwrap() * 900 + 60);
        let agent = &agents[numbers.below(agents.len())];
        let (capability, _) = CAPABILITIES[numbers.below(CAPABILITIES.len())];
        let life = ["", "&expires_in=30", "&expires_in=900"][numbers.below(3)];
        let scope = match numbers.below(3) {
            0 => format!("{capability}%20{}", CAPABILITIES[numbers.below(CAPABILITIES.len())].0),
            _ => capability.to_owned(),
        };
        let form = format!("grant_type=client_credentials&scope={scope}{life}");
        decided.push((agent.ask(&form).await.json(), form));
    }
    // Then each explanation decides as the broker did
    let text = |value: &Value, field: &str| value[field].as_str().map(str::to_owned);
    let mut kinds = std::collections::BTreeMap::new();
    for (answer, form) in &decided {
        let decision = text(answer, "decision_id").unwrap_or_else(|| panic!("{answer}"));
        let explained = broker.operator().get(&format!("/v1/decisions/{decision}")).await.json();
        let outcome = match (text(answer, "error"), answer["constrained"].is_array()) {
            (Some(_), _) => "deny",
            (None, true) => "constrain",
            (None, false) => "allow",
        };
        *kinds.entry(outcome).or_insert(0) += 1;
        assert_eq!(explained["outcome"], outcome, "{form}: {explained}");
        assert_eq!(explained["now"]["outcome"], outcome, "{form}: {explained}");
        assert_eq!(text(&explained, "code"), text(&explained["now"], "code"), "{form}: {explained}");
        assert_eq!(explained["now"]["same_declarations"], true);
    }
    assert_eq!(kinds.len(), 3, "the requests have all outcomes: {kinds:?}");
    // And a replay on the present declarations changes nothing
    let body = json!({ "files": [{ "name": "a.toml", "text": SAMPLE }], "since": "7d" });
    let replayed = broker.operator().post_json("/v1/simulations", &body).await.json();
    assert_eq!(
        (&replayed["changes"], &replayed["requests"]),
        (&json!([]), &json!(decided.len())),
        "{replayed}"
    );
    // The twin: another declaration changes decisions
    let stop = policy("stop", "forbid (principal, action, resource);");
    let body = json!({ "files": [{ "name": "a.toml", "text": stop }], "since": "7d" });
    let replayed = broker.operator().post_json("/v1/simulations", &body).await.json();
    assert!(!replayed["changes"].as_array().unwrap().is_empty(), "{replayed}");
}
