//! State changes that the golden data directory does not contain, in their stored form.

use std::collections::BTreeMap;

use keyward::base::SecretId;
use keyward::base::encoding::{from_hex, hex};
use keyward::broker::Effect;
use keyward::registry::DeletedName;
use keyward::rules::{self, Environment, Policy, Rule, RulesChange};
use keyward::{operators, registry, secrets};

use super::{compare, golden};

/// Effects of deletions and of policies, by the names of their samples.
fn samples() -> BTreeMap<&'static str, Effect> {
    let agent = registry::Effect::Reserve(DeletedName::Agent("research-bot".parse().unwrap()));
    let operator = registry::Effect::Reserve(DeletedName::Operator("alice".parse().unwrap()));
    let delete = secrets::Effect::Delete {
        id: SecretId::from_bytes(*b"secret-4711-abcd"),
        name: "github/app".parse().unwrap(),
        versions: vec![3, 4],
    };
    let place = registry::Effect::Place(vec![
        ("web.deploy".parse().unwrap(), Some("production".parse().unwrap())),
        ("web.read".parse().unwrap(), None),
    ]);
    let rule = Rule::declared("@max_ttl(\"5m\") forbid (principal, action, resource);").unwrap();
    let owner = Some("payments".parse().unwrap());
    let declare = rules::Effect::Declare(RulesChange {
        policies: vec![Policy { name: "short".parse().unwrap(), rule, owner: owner.clone() }],
        removed_policies: vec!["old".parse().unwrap()],
        environments: vec![Environment { name: "production".parse().unwrap(), owner }],
        removed_environments: vec!["test".parse().unwrap()],
    });
    let key = keyward::crypto::sha256(b"a public key");
    let approval_keys = |change| {
        Effect::Operators(operators::Effect::ChangeApprovalKeys {
            operator: "alice".parse().unwrap(),
            change,
        })
    };
    let propose = operators::ApprovalKeyChange::Propose { key, point: vec![4; 65], enrolled_seq: 7 };
    let accept = operators::ApprovalKeyChange::Accept { key, by: "bob".to_owned() };
    BTreeMap::from([
        ("operators.approval-key.propose", approval_keys(propose)),
        ("operators.approval-key.accept", approval_keys(accept)),
        ("operators.approval-key.remove", approval_keys(operators::ApprovalKeyChange::Remove)),
        ("operators.remove", Effect::Operators(operators::Effect::Remove("alice".parse().unwrap()))),
        ("registry.reserve.agent", Effect::Registry(agent)),
        ("registry.reserve.operator", Effect::Registry(operator)),
        ("registry.place", Effect::Registry(place)),
        ("rules.declare", Effect::Rules(declare)),
        ("secrets.delete", Effect::Secrets(delete)),
    ])
}

#[test]
fn effects_are_written_and_read_as_they_were() {
    let bytes = |effect: &Effect| hex(&postcard::to_stdvec(effect).unwrap());
    let written: BTreeMap<_, _> = samples().iter().map(|(name, effect)| (*name, bytes(effect))).collect();
    compare("effects.json", &(serde_json::to_string_pretty(&written).unwrap() + "\n"));
    let kept = std::fs::read(golden("effects.json")).unwrap();
    let kept: BTreeMap<String, String> = serde_json::from_slice(&kept).unwrap();
    assert_eq!(kept.len(), written.len());
    for (name, stored) in kept {
        let read: Effect = postcard::from_bytes(&from_hex(&stored).unwrap()).unwrap();
        assert_eq!(format!("{read:?}"), format!("{:?}", samples()[name.as_str()]), "{name}");
    }
}
