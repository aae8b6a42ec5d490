use crate::operators::Operators;
use crate::pki::Record;
use crate::registry::Registry;
use crate::revocation::Revocations;
use crate::secrets::Catalogue;

/// The live records that credentials are judged by.
#[derive(Clone, Copy, Debug)]
pub struct Records<'a> {
    /// Agents, their codes and what is declared.
    pub registry: &'a Registry,
    /// Operators and their codes.
    pub operators: &'a Operators,
    /// Which secrets there are.
    pub secrets: &'a Catalogue,
    /// What no longer counts.
    pub revocations: &'a Revocations,
    /// Whose certificates count.
    pub authorities: &'a Record,
}
