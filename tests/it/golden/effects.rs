//! State changes that the golden data directory does not contain, in their stored form.

use std::collections::BTreeMap;

use keyward::base::SecretId;
use keyward::base::encoding::{from_hex, hex};
use keyward::broker::Effect;
use keyward::registry::DeletedName;
use keyward::{operators, registry, secrets};

use super::{compare, golden};

/// Effects of deletions, by the names of their samples.
fn samples() -> BTreeMap<&'static str, Effect> {
    let agent = registry::Effect::Reserve(DeletedName::Agent("research-bot".parse().unwrap()));
    let operator = registry::Effect::Reserve(DeletedName::Operator("alice".parse().unwrap()));
    let delete = secrets::Effect::Delete {
        id: SecretId::from_bytes(*b"secret-4711-abcd"),
        name: "github/app".parse().unwrap(),
        versions: vec![3, 4],
    };
    BTreeMap::from([
        ("operators.remove", Effect::Operators(operators::Effect::Remove("alice".parse().unwrap()))),
        ("registry.reserve.agent", Effect::Registry(agent)),
        ("registry.reserve.operator", Effect::Registry(operator)),
        ("secrets.delete", Effect::Secrets(delete)),
    ])
}

#[test]
fn effects_of_deletions_are_written_and_read_as_they_were() {
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
