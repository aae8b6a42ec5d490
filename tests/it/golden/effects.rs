//! State changes that the golden data directory does not contain, in their stored form.

use std::collections::BTreeMap;

use keyward::approvals::{
    self, ApprovalTerms, Ballot, OpenedApproval, PolicyDemand, RequestedCapability, RequestedGrant, Requester,
};
use keyward::base::encoding::{from_hex, hex};
use keyward::base::{
    AgentId, ApprovalDemand, ApprovalId, DecisionId, DemandKind, InstanceId, OperatorId,
    ParametersByCapability, RecordedParameters, RecordedValue, SecretId, TokenId,
};
use keyward::broker::Effect;
use keyward::crypto::sha256;
use keyward::registry::{CapabilityParameters, DeletedName, ParameterKind, ParameterRule};
use keyward::rules::{self, ApproverGroup, Environment, Escalation, GroupsChange, Policy, Rule, RulesChange};
use keyward::{operators, registry, rotation, secrets};

use super::{compare, golden};

/// Effects of deletions and of policies, by the names of their samples.
fn samples() -> BTreeMap<&'static str, Effect> {
    let agent = registry::Effect::Reserve(DeletedName::Agent("research-bot".parse().unwrap()));
    let operator = registry::Effect::Reserve(DeletedName::Operator("alice".parse().unwrap()));
    let id = SecretId::from_bytes(*b"secret-4711-abcd");
    let delete = secrets::Effect::Delete { id, name: "github/app".parse().unwrap(), versions: vec![3, 4] };
    let place = registry::Effect::Place(vec![
        ("web.deploy".parse().unwrap(), Some("production".parse().unwrap())),
        ("web.read".parse().unwrap(), None),
    ]);
    let reader = AgentId::from_bytes(*b"reader-4711-abcd");
    let redirect = registry::Effect::Redirect(vec![
        ("web.deploy".parse().unwrap(), Some("web.stage".parse().unwrap())),
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
    let groups = rules::Effect::DeclareGroups(GroupsChange {
        groups: vec![ApproverGroup {
            name: "leads".parse().unwrap(),
            operators: ["ann".parse().unwrap()].into(),
            operators_of: Some("payments".parse().unwrap()),
            escalation: Some(Escalation { after_s: 1800, to: "directors".parse().unwrap() }),
            owner: None,
        }],
        removed: vec!["old".parse().unwrap()],
    });
    let revoke_previous = rotation::Effect::RevokePrevious("github/app".parse().unwrap());
    let approval = ApprovalId::from_bytes(*b"approval-4711-ab");
    let token = TokenId::from_bytes(*b"token-4711-abcde");
    let approvals = [
        ("approvals.open", approvals::Effect::Open(Box::new(opened(approval)))),
        ("approvals.open-with-parameters", approvals::Effect::open(opened_with_parameters(approval))),
        ("approvals.use", approvals::Effect::Use { approval, token }),
        ("approvals.vote", approvals::Effect::Vote { approval, ballot: ballot(), completes: true }),
        ("approvals.withdraw", approvals::Effect::Withdraw { approval }),
        ("approvals.tell", approvals::Effect::Tell { approval, reason: "not today".parse().unwrap() }),
    ];
    let mut samples = BTreeMap::from([
        ("operators.approval-key.propose", approval_keys(propose)),
        ("operators.approval-key.accept", approval_keys(accept)),
        ("operators.approval-key.remove", approval_keys(operators::ApprovalKeyChange::Remove)),
        ("operators.record-namer", Effect::Operators(namer())),
        ("operators.remove", Effect::Operators(operators::Effect::Remove("alice".parse().unwrap()))),
        ("registry.reserve.agent", Effect::Registry(agent)),
        ("registry.reserve.operator", Effect::Registry(operator)),
        ("registry.place", Effect::Registry(place)),
        ("registry.read-sensitive", Effect::Registry(registry::Effect::ReadSensitive(reader))),
        ("registry.parametrise", Effect::Registry(parametrise())),
        ("registry.redirect", Effect::Registry(redirect)),
        ("rotations.revoke-previous", Effect::Rotation(revoke_previous)),
        ("rules.declare", Effect::Rules(declare)),
        ("rules.declare-groups", Effect::Rules(groups)),
        ("secrets.delete", Effect::Secrets(delete)),
    ]);
    samples.extend(approvals.map(|(name, effect)| (name, Effect::Approval(effect))));
    samples
}

fn namer() -> operators::Effect {
    let by = OperatorId::from_bytes(*b"operator-4711-ab");
    operators::Effect::RecordNamer { operator: "alice".parse().unwrap(), by }
}

fn parametrise() -> registry::Effect {
    let text = |values: &[&str]| values.iter().map(|text| (*text).to_owned()).collect();
    let rules = [
        ("amount", ParameterKind::Integer { min: Some(-1), max: Some(1000) }, true, false),
        ("currency", ParameterKind::Text { values: text(&["EUR", "USD"]), max_length: None }, false, false),
        ("account", ParameterKind::Text { values: text(&[]), max_length: Some(34) }, true, true),
        ("dry_run", ParameterKind::Boolean, false, false),
    ];
    let rules = rules.map(|(name, kind, required, sensitive)| {
        (name.parse().unwrap(), ParameterRule { kind, required, sensitive })
    });
    registry::Effect::Parametrise(vec![
        ("payments.refund".parse().unwrap(), CapabilityParameters::new(rules.into())),
        ("web.read".parse().unwrap(), CapabilityParameters::default()),
    ])
}

fn opened_with_parameters(id: ApprovalId) -> OpenedApproval {
    let mut opened = opened(id);
    let values = [
        ("account", RecordedValue::Sensitive("ab12".to_owned())),
        ("amount", RecordedValue::Integer(-1)),
        ("currency", RecordedValue::Text("EUR".to_owned())),
        ("dry_run", RecordedValue::Boolean(true)),
    ];
    let values = values.map(|(name, value)| (name.parse().unwrap(), value));
    opened.terms.request.parameters =
        [("web.deploy".parse().unwrap(), RecordedParameters(values.into()))].into();
    opened
}

fn opened(id: ApprovalId) -> OpenedApproval {
    let (policy, group) = (|| "second".parse().unwrap(), Some("leads".parse().unwrap()));
    let demand = ApprovalDemand { kind: DemandKind::Confirmation, group, quorum: 2 };
    OpenedApproval {
        id,
        code: "WDJB-MJHT".parse().unwrap(),
        requester: Requester {
            agent: AgentId::from_bytes(*b"agent-4711-abcde"),
            name: "research-bot".parse().unwrap(),
            instance: InstanceId::from_bytes(*b"inst-4711-abcdef"),
            person: Some("ann@corp.example".parse().unwrap()),
            source: Some([192, 0, 2, 7].into()),
        },
        decision: Some(DecisionId::from_bytes(*b"decision-4711-ab")),
        terms: ApprovalTerms {
            request: RequestedGrant {
                agent: "spiffe://keyward.test/agent/research-bot".to_owned(),
                capabilities: vec![RequestedCapability {
                    name: "web.deploy".parse().unwrap(),
                    access: "write".to_owned(),
                    environment: Some("production".parse().unwrap()),
                    secret: Some("web/key".parse().unwrap()),
                }],
                audience: "https://deploy.example.com".parse().unwrap(),
                life_s: 600,
                uses: 100,
                grant_life_s: Some(1800),
                reason: Some("release 7".parse().unwrap()),
                parameters: ParametersByCapability::new(),
            },
            rules: sha256(b"rules"),
            policies: vec![(policy(), sha256(b"rule"))],
            demands: vec![PolicyDemand { policy: policy(), demand, reason: Some("production".to_owned()) }],
        },
        requested_life_s: Some(600),
        is_detailed: true,
    }
}

fn ballot() -> Ballot {
    Ballot {
        operator: "ann".parse().unwrap(),
        operator_id: OperatorId::from_bytes(*b"operator-4711-ab"),
        enrolled_seq: 42,
        person: Some("ann@corp.example".parse().unwrap()),
        key: Some(sha256(b"key")),
        approves: true,
        meets: vec!["second".parse().unwrap()],
    }
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
