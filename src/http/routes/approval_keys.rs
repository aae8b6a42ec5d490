use super::table::{AdminRequest, Routes};
use crate::base::OperatorName;
use crate::base::code;
use crate::base::encoding::from_base64url;
use crate::broker::AdminServices;
use crate::crypto::Digest;
use crate::http::documents::problem::Problem;
use crate::policy::{BeOneself, ContainOperators, PlaceOperators};
use crate::wire::{self, AcceptApprovalKeyBody, ApprovalKeyBody, ApprovalKeysAnswer, Nothing};

/// The routes of approval keys for operators. Each may be repeated: a key that is proposed, accepted or removed stays so.
pub(crate) fn routes() -> Routes<AdminServices> {
    Routes::new()
        .route(&wire::GET_OWN_APPROVAL_KEYS, own)
        .route(&wire::PROPOSE_APPROVAL_KEY, propose)
        .route(&wire::ACCEPT_APPROVAL_KEY, accept)
        .route(&wire::REMOVE_APPROVAL_KEYS, remove)
}

async fn own(services: AdminServices, call: AdminRequest<BeOneself>) -> Result<ApprovalKeysAnswer, Problem> {
    Ok(services.own_approval_keys(&call.by)?)
}

async fn propose(
    services: AdminServices,
    call: AdminRequest<BeOneself, Nothing, ApprovalKeyBody>,
) -> Result<ApprovalKeysAnswer, Problem> {
    let request = from_base64url(&call.input.csr).ok_or_else(|| Problem::new(code::CSR_MALFORMED))?;
    Ok(services.propose_approval_key(&call.by, &request).await?)
}

async fn accept(
    services: AdminServices,
    call: AdminRequest<PlaceOperators, OperatorName, AcceptApprovalKeyBody>,
) -> Result<ApprovalKeysAnswer, Problem> {
    let key = fingerprint(&call.input.fingerprint)?;
    let signature = from_base64url(&call.input.signature);
    let signature = signature.ok_or_else(|| Problem::new(code::APPROVAL_SIGNATURE_INVALID))?;
    Ok(services.accept_approval_key(&call.by, &call.target, key, &signature).await?)
}

async fn remove(
    services: AdminServices,
    call: AdminRequest<ContainOperators, OperatorName>,
) -> Result<ApprovalKeysAnswer, Problem> {
    Ok(services.remove_approval_keys(&call.by, &call.target).await?)
}

/// The SHA-256 in this text.
pub(super) fn fingerprint(text: &str) -> Result<Digest, Problem> {
    Digest::from_hex(text).ok_or_else(|| Problem::new(code::FINGERPRINT_MALFORMED))
}
