//! The stored form of a request for approval with its parameters.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::opened::OpenedApproval;
use crate::base::ParametersByCapability;

/// Writes the request, and then its parameters.
pub(super) fn serialize<S: Serializer>(opened: &OpenedApproval, to: S) -> Result<S::Ok, S::Error> {
    (opened, &opened.terms.request.parameters).serialize(to)
}

/// Reads them.
pub(super) fn deserialize<'de, D: Deserializer<'de>, T: From<OpenedApproval>>(
    from: D,
) -> Result<T, D::Error> {
    let (mut opened, parameters): (OpenedApproval, ParametersByCapability) = Deserialize::deserialize(from)?;
    opened.terms.request.parameters = parameters;
    Ok(opened.into())
}
