//! Rules that test parameters, checked against the capabilities that their policies concern after an application.

use std::collections::BTreeMap;

use super::section::{SectionContext, SectionPlan};
use crate::base::{CapabilityName, OwnerName, ParameterName};
use crate::config::{Faults, SourcePosition};
use crate::registry::Owned;
use crate::rules::{DeclaredRules, ParameterValidators, ParameterView, Policy, Rules};

/// Checks each rule that tests parameters: those of the files, and those that a change of a capability could make invalid.
pub(super) fn check_parameters(
    ground: &SectionContext<'_>,
    declared: &DeclaredRules,
    drawn: &SectionPlan,
    after: &Rules,
    faults: &mut Faults<'_>,
) {
    let testing = || after.policies().filter(|policy| policy.rule.parameters().is_some());
    if testing().next().is_none() {
        return;
    }
    let mut views = Views { ground, drawn, known: BTreeMap::new() };
    let mut validators = ParameterValidators::default();
    for policy in testing() {
        if ground.work.step().is_err() {
            return;
        }
        let found = validators.faults(&policy.rule, views.of(policy));
        let place = declared.policies.get(&policy.name).map(|(_, place)| *place);
        for fault in found {
            match place {
                Some(place) => faults.tell(place, fault.message),
                None => faults.tell(SourcePosition::UPLOAD, views.broken(policy, &fault.message)),
            }
        }
    }
}

/// What makes a view: the owner of a policy, and the capability that the head of its rule names.
#[derive(Clone, Eq, Ord, PartialEq, PartialOrd)]
struct ViewKey {
    owner: Option<OwnerName>,
    capability: Option<CapabilityName>,
}

/// The parameters that policies see.
struct Views<'a> {
    ground: &'a SectionContext<'a>,
    drawn: &'a SectionPlan,
    known: BTreeMap<ViewKey, ParameterView>,
}

impl Views<'_> {
    /// The parameters of the capability that the head of the rule names, and otherwise of all that the policy concerns.
    fn of(&mut self, policy: &Policy) -> &ParameterView {
        let (owner, capability) = (policy.owner.clone(), policy.rule.named_capability().cloned());
        let (ground, drawn) = (self.ground, self.drawn);
        self.known.entry(ViewKey { owner, capability }).or_insert_with_key(|key| {
            let mut view = ParameterView::default();
            for (name, parameters) in drawn.after.declarations.parameters() {
                let is_named = key.capability.as_ref().is_none_or(|named| named == name);
                if is_named && (key.owner.is_none() || owner_after(ground, drawn, name) == key.owner.as_ref())
                {
                    parameters.iter().for_each(|(one, rule)| view.add(name, one, rule.kind.value_type()));
                }
            }
            view
        })
    }

    /// The fault of a policy that stays, and that the application would make invalid.
    fn broken(&self, policy: &Policy, fault: &str) -> String {
        if !self.ground.scope.covers(policy.owner.as_ref()) {
            // Without names: neither the policy nor other capabilities are for this operator.
            return "a policy of another owner, or of all owners, tests a parameter that a capability of these files removes, or declares \
                    with another type: keep the parameter, or choose another name for the new one"
                .to_owned();
        }
        let shown = format!("policy `{}`", policy.name);
        match self.changed(policy) {
            Some((capability, name)) => format!(
                "{shown} tests the parameter `{name}` of capability `{capability}`, which would not have it any more, or with \
                 another type: change the policy first"
            ),
            None => format!("{shown} would be invalid: {fault}; change the policy first"),
        }
    }

    /// A parameter that the policy tests, and that a capability does not have any more, or with another type.
    fn changed(&self, policy: &Policy) -> Option<(&CapabilityName, &ParameterName)> {
        let tested = policy.rule.parameters()?;
        let after = &self.drawn.after.declarations;
        let kind_after = |capability: &CapabilityName, name: &ParameterName| {
            Some(after.parameters_of(capability)?.get(name)?.kind.value_type())
        };
        let before = self.ground.world.registry.declarations().parameters();
        let all =
            before.flat_map(|(capability, all)| all.iter().map(move |(name, rule)| (capability, name, rule)));
        let mut lost = all.filter(|(capability, name, rule)| {
            tested.contains(name.as_str()) && kind_after(capability, name) != Some(rule.kind.value_type())
        });
        lost.next().map(|(capability, name, _)| (capability, name))
    }
}

/// The owner of a capability after the application.
fn owner_after<'a>(
    ground: &SectionContext<'a>,
    drawn: &'a SectionPlan,
    name: &CapabilityName,
) -> Option<&'a OwnerName> {
    let thing = Owned::Capability(name.clone());
    let present = || ground.world.registry.owners().of(&thing);
    drawn.after.owners.get(&thing).map_or_else(present, Option::as_ref)
}
