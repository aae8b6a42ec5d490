use super::operators::operator_unknown;
use crate::base::OperatorName;
use crate::broker::failure::Failure;
use crate::broker::services::Services;
use crate::operators::ApprovalKeys;
use crate::wire::{ApprovalKeyAnswer, ApprovalKeysAnswer};

impl Services {
    /// The approval keys of the operator `name`.
    ///
    /// # Errors
    /// [`Failure`] if it does not exist.
    pub(super) fn approval_keys(&self, name: &OperatorName) -> Result<ApprovalKeysAnswer, Failure> {
        self.state.store.read(|world, _| {
            let operator = world.operators.named(name).ok_or_else(|| operator_unknown(world, name))?;
            Ok(ApprovalKeysAnswer { operator: name.clone(), keys: answers(&operator.approval_keys) })
        })
    }
}

/// The approval keys of an operator as responses show them, the accepted one first.
pub(super) fn answers(keys: &ApprovalKeys) -> Vec<ApprovalKeyAnswer> {
    let accepted = keys.accepted().map(|one| ApprovalKeyAnswer {
        fingerprint: one.fingerprint().hex(),
        state: "accepted".into(),
        proposed_at: one.proposed_at().to_string(),
        accepted_at: Some(one.accepted_at().to_string()),
        accepted_by: Some(one.accepted_by().to_owned()),
    });
    let proposed = keys.proposed().map(|one| ApprovalKeyAnswer {
        fingerprint: one.key.hex(),
        state: "proposed".into(),
        proposed_at: one.proposed_at.to_string(),
        accepted_at: None,
        accepted_by: None,
    });
    accepted.into_iter().chain(proposed).collect()
}
