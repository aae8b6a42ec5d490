use std::collections::BTreeSet;

use crate::base::{CapabilityName, RoleName};
use crate::registry::{Capability, Declarations};

/// The requested capabilities that are declared and held by a role of the agent.
pub(super) struct Granted<'a> {
    pub(super) capabilities: Vec<&'a Capability>,
    /// The roles that hold them, as rules of a decision's basis.
    pub(super) rules: Vec<String>,
}

impl<'a> Granted<'a> {
    pub(super) fn of(
        declarations: &'a Declarations,
        roles: &BTreeSet<RoleName>,
        requested: &BTreeSet<CapabilityName>,
    ) -> Self {
        let held: Vec<_> = roles.iter().filter_map(|name| declarations.role(name)).collect();
        let mut capabilities = Vec::with_capacity(requested.len());
        let mut rules = BTreeSet::new();
        for name in requested {
            let role = held.iter().find(|role| role.capabilities.contains(name));
            if let (Some(role), Some(capability)) = (role, declarations.capability(name)) {
                capabilities.push(capability);
                rules.insert(&role.name);
            }
        }
        let rules = if rules.is_empty() {
            vec!["default deny: no role of the agent holds a requested capability".to_owned()]
        } else {
            rules.into_iter().map(|name| format!("role {name}")).collect()
        };
        Self { capabilities, rules }
    }
}
