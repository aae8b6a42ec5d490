use std::collections::BTreeSet;

use serde::Serialize;

use super::name::{CapabilityName, RoleName};
use super::recorded_parameters::ParametersByCapability;

/// The facts of an agent's request that a replay of its decision needs beside the other fields of the entry. Operators with an
/// owner do not see them: the roles can be those of other owners.
#[derive(Debug, Serialize)]
pub struct RequestFacts<'a> {
    /// The roles of the agent.
    pub roles: &'a BTreeSet<RoleName>,
    /// The requested capabilities that are declared and that the grant does not have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<&'a CapabilityName>,
    /// The requested life in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub life_s: Option<u32>,
    /// The time since the agent last read a secret of the sensitivity `high`, in seconds, if a policy tests it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_sensitive_read_s: Option<u32>,
    /// The parameters of requested capabilities, if there are any; of sensitive ones a keyed digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<&'a ParametersByCapability>,
}

impl<'a> RequestFacts<'a> {
    /// The facts of a request that names no further capabilities.
    #[must_use]
    pub const fn new(roles: &'a BTreeSet<RoleName>, life_s: Option<u32>) -> Self {
        Self { roles, left_out: Vec::new(), life_s, since_sensitive_read_s: None, parameters: None }
    }
}
