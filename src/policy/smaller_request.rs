use std::collections::{BTreeMap, BTreeSet};

use crate::base::{CapabilityName, GivenParameters};

/// A smaller request than a denied one, which would be allowed now. It has no sensitive parameter.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SmallerRequest {
    /// The capabilities.
    pub scope: BTreeSet<CapabilityName>,
    /// The requested life in seconds, if the request has to name one.
    pub life_s: Option<u32>,
    /// The parameters of the capabilities.
    pub parameters: BTreeMap<CapabilityName, GivenParameters>,
}
