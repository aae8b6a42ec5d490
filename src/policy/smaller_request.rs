use std::collections::BTreeSet;

use crate::base::CapabilityName;

/// A smaller request than a denied one, which would be allowed now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SmallerRequest {
    /// The capabilities.
    pub scope: BTreeSet<CapabilityName>,
    /// The requested life in seconds, if the request has to name one.
    pub life_s: Option<u32>,
}
