use std::collections::BTreeMap;

use super::mint_request::MintRequest;
use crate::base::{
    CapabilityName, GivenParameters, GrantedParameters, ParameterFacts, ParametersByCapability,
};
use crate::crypto::MacKey;
use crate::registry::{Capability, CapabilityParameters, CheckedParameters, Declarations, ParameterFault};

/// The parameters of a request, checked against the declarations, by capability. Capabilities that are not declared, and those
/// that neither have parameters nor are given any, are left out.
#[derive(Debug, Default)]
pub(super) struct RequestParameters {
    fitting: BTreeMap<CapabilityName, CheckedParameters>,
    faults: BTreeMap<CapabilityName, ParameterFault>,
}

impl RequestParameters {
    pub(super) fn of(declarations: &Declarations, request: &MintRequest) -> Self {
        let (nothing, none) = (GivenParameters::default(), CapabilityParameters::default());
        let mut checked = Self::default();
        for name in &request.scope {
            let (declared, given) = (declarations.parameters_of(name), request.parameters.get(name));
            if (declared.is_none() && given.is_none()) || declarations.capability(name).is_none() {
                continue;
            }
            match declared.unwrap_or(&none).check(name, given.unwrap_or(&nothing)) {
                Ok(fitting) => drop(checked.fitting.insert(name.clone(), fitting)),
                Err(fault) => drop(checked.faults.insert(name.clone(), fault)),
            }
        }
        checked
    }

    /// Why the parameters of `capability` do not fit.
    pub(super) fn fault(&self, capability: &CapabilityName) -> Option<&ParameterFault> {
        self.faults.get(capability)
    }

    /// What policies see of the parameters of `capability`.
    pub(super) fn facts(&self, capability: &CapabilityName) -> ParameterFacts<'_> {
        match self.fitting.get(capability) {
            Some(parameters) => parameters.facts(),
            None => ParameterFacts::none(),
        }
    }

    /// The parameters as they are recorded of a request of `agent`, its SPIFFE id: of sensitive ones a digest under `key`.
    pub(super) fn recorded(&self, agent: &str, key: &MacKey) -> ParametersByCapability {
        let recorded = self.fitting.iter().map(|(name, one)| (name.clone(), one.recorded(name, agent, key)));
        recorded.filter(|(_, parameters)| !parameters.is_empty()).collect()
    }

    /// The parameters of `capabilities` for a token.
    pub(super) fn granted<'a>(
        &self,
        capabilities: impl Iterator<Item = &'a CapabilityName>,
    ) -> BTreeMap<CapabilityName, GrantedParameters> {
        let granted =
            capabilities.filter_map(|name| Some((name.clone(), self.fitting.get(name)?.granted().clone())));
        granted.filter(|(_, parameters)| !parameters.is_empty()).collect()
    }

    /// Whether one of `capabilities` has a sensitive one.
    pub(super) fn have_sensitive(&self, capabilities: &[&Capability]) -> bool {
        let of = |one: &&Capability| self.fitting.get(&one.name);
        capabilities.iter().filter_map(of).any(CheckedParameters::have_sensitive)
    }
}
