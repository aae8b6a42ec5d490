use crate::approvals::Approvals;
use crate::operators::Operators;
use crate::pki::Record;
use crate::registry::Registry;
use crate::revocation::Revocations;
use crate::rules::Rules;
use crate::secrets::Catalogue;

/// The live records that credentials are judged by.
#[derive(Clone, Copy, Debug)]
pub struct Records<'a> {
    /// Agents, their codes and declarations.
    pub registry: &'a Registry,
    /// Operators and their codes.
    pub operators: &'a Operators,
    /// Secrets.
    pub secrets: &'a Catalogue,
    /// Policies and environments.
    pub rules: &'a Rules,
    /// Requests for approval.
    pub approvals: &'a Approvals,
    /// Revocations and suspensions.
    pub revocations: &'a Revocations,
    /// The certificate authority's generations.
    pub authorities: &'a Record,
    /// Whether the broker is frozen: it hands out no token, no value and no login.
    pub is_frozen: bool,
}
