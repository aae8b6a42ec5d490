use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::name::{Audience, CapabilityName, RoleName};
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
    /// The audience and the actions that a request for a token names. A denial has it also if the request names none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<RequestTarget>,
    /// The parameters of requested capabilities, if there are any; of sensitive ones a keyed digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<&'a ParametersByCapability>,
}

/// The audience and the actions that a request for a token names. An entry has only audiences and capabilities that are
/// declared.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct RequestTarget {
    /// The audience, if a requested capability has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<Audience>,
    /// Whether the request names an audience that no requested capability has.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub other_resource: bool,
    /// The action that `authorization_details` name for a capability: `read` or `write`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub actions: BTreeMap<CapabilityName, String>,
}

impl<'a> RequestFacts<'a> {
    /// The facts of a request that names no further capabilities, no audience and no actions.
    #[must_use]
    pub const fn new(roles: &'a BTreeSet<RoleName>, life_s: Option<u32>) -> Self {
        Self {
            roles,
            left_out: Vec::new(),
            life_s,
            since_sensitive_read_s: None,
            target: None,
            parameters: None,
        }
    }
}
