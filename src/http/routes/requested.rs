use std::collections::{BTreeMap, BTreeSet};

use super::detail_fault::detail_fault;
use crate::base::{Audience, CapabilityName, GivenParameters, code};
use crate::http::documents::problem::Problem;
use crate::policy::RequestedActions;
use crate::registry::Access;
use crate::wire::RequestedDetail;

/// What a token request names, in `scope` and `resource` and in `authorization_details`.
pub(super) struct RequestedCapabilities {
    pub(super) scope: BTreeSet<CapabilityName>,
    pub(super) resource: Option<Audience>,
    pub(super) details: Option<RequestedActions>,
    pub(super) parameters: BTreeMap<CapabilityName, GivenParameters>,
}

impl RequestedCapabilities {
    /// Adds the capabilities of `authorization_details` (RFC 9396).
    ///
    /// # Errors
    /// `authorization_details_invalid`, and `resource_repeated` if the request names several audiences.
    pub(super) fn add_details(&mut self, text: &str) -> Result<(), Problem> {
        let details: Vec<RequestedDetail> =
            serde_json::from_str(text).map_err(|error| invalid(&detail_fault(text, &error)))?;
        let mut named = BTreeSet::new();
        let mut actions = RequestedActions::default();
        for RequestedDetail { capability, actions: wanted, locations, parameters, .. } in details {
            if !named.insert(capability.clone()) {
                return Err(invalid(&format!("the capability `{capability}` has two details")));
            }
            if let Some(wanted) = wanted {
                actions.name(capability.clone(), action_of(&capability, &wanted)?);
            }
            if let Some(locations) = locations {
                self.add_location(&capability, &locations)?;
            }
            if let Some(given) = parameters.filter(|given| !given.is_empty()) {
                self.parameters.insert(capability, given);
            }
        }
        self.scope.append(&mut named);
        self.details = Some(actions);
        Ok(())
    }

    fn add_location(&mut self, capability: &CapabilityName, locations: &[String]) -> Result<(), Problem> {
        let [location] = locations else {
            return Err(invalid(&format!("the capability `{capability}` has not exactly one location")));
        };
        let location: Audience = location.parse().map_err(|error| {
            invalid(&format!("a location of the capability `{capability}` is no audience: {error}"))
        })?;
        match &self.resource {
            Some(resource) if *resource != location => Err(Problem::new(code::RESOURCE_REPEATED)
                .because(format!("the request names the audiences `{resource}` and `{location}`"))),
            Some(_) => Ok(()),
            None => {
                self.resource = Some(location);
                Ok(())
            }
        }
    }
}

fn action_of(capability: &CapabilityName, actions: &[String]) -> Result<Access, Problem> {
    match actions {
        [one] if one == Access::Read.as_str() => Ok(Access::Read),
        [one] if one == Access::Write.as_str() => Ok(Access::Write),
        _ => Err(invalid(&format!(
            "`actions` of the capability `{capability}` is neither [\"read\"] nor [\"write\"]"
        ))),
    }
}

fn invalid(why: &str) -> Problem {
    Problem::new(code::AUTHORIZATION_DETAILS_INVALID).because(why.to_owned())
}
