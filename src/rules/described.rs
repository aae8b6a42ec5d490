use std::fmt;

use super::annotations::Obligation;
use super::facts::Action;
use super::rule::{NamedEntity, PrincipalScope, ResourceScope, Rule};
use super::verdict::PolicyOutcome;

/// The requests that the head of a rule can match, for people.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HeadDescription {
    /// The actions.
    pub actions: Vec<Action>,
    /// The agent or role that it names.
    pub principal: Option<NamedEntity>,
    /// The capability or environment that it names.
    pub resource: Option<NamedEntity>,
}

impl Rule {
    /// The requests that its head can match.
    #[must_use]
    pub fn described_head(&self) -> HeadDescription {
        let head = self.head();
        HeadDescription {
            actions: if head.actions.is_empty() { Action::ALL.to_vec() } else { head.actions },
            principal: match head.principal {
                PrincipalScope::Any => None,
                PrincipalScope::Agent(name) => Some(NamedEntity::Agent(name.to_string())),
                PrincipalScope::Role(name) => Some(NamedEntity::Role(name.to_string())),
            },
            resource: match head.resource {
                ResourceScope::Any => None,
                ResourceScope::Capability(name) => Some(NamedEntity::Capability(name.to_string())),
                ResourceScope::Environment(name) => Some(NamedEntity::Environment(name.to_string())),
            },
        }
    }

    /// The effect on a request that it matches. A rule that this version cannot read fails for each request.
    #[must_use]
    pub fn outcome(&self) -> PolicyOutcome {
        match self.obligation() {
            None => PolicyOutcome::Failed,
            Some(Obligation::Deny) => PolicyOutcome::Denied,
            Some(Obligation::LimitLife { max_s }) => PolicyOutcome::Limited { max_s: *max_s },
            Some(Obligation::Approve { demand, max_s }) => {
                PolicyOutcome::NeedsApproval { demand: demand.clone(), max_s: *max_s }
            }
        }
    }
}

impl fmt::Display for NamedEntity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent(name) => write!(f, "agent {name}"),
            Self::Role(name) => write!(f, "role {name}"),
            Self::Capability(name) => write!(f, "capability {name}"),
            Self::Environment(name) => write!(f, "environment {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_described_by_what_it_names() {
        let whole = Rule::declared("forbid (principal, action, resource);").unwrap();
        let all = HeadDescription { actions: Action::ALL.to_vec(), principal: None, resource: None };
        assert_eq!((whole.described_head(), whole.outcome()), (all, PolicyOutcome::Denied));
        let text = "@max_ttl(\"5m\") forbid (principal in Keyward::Role::\"deployer\", \
                    action == Keyward::Action::\"lease\", resource in Keyward::Environment::\"production\");";
        let named = Rule::declared(text).unwrap();
        let head = named.described_head();
        let approved = Rule::declared(
            "@decision(\"require_approval\") forbid (principal, action == Keyward::Action::\"token\", resource);",
        );
        assert!(matches!(approved.unwrap().outcome(), PolicyOutcome::NeedsApproval { max_s: None, .. }));
        assert_eq!(
            (&head.actions[..], named.outcome()),
            (&[Action::Lease][..], PolicyOutcome::Limited { max_s: 300 })
        );
        assert_eq!(head.principal.unwrap().to_string(), "role deployer");
        assert_eq!(head.resource.unwrap().to_string(), "environment production");
    }
}
