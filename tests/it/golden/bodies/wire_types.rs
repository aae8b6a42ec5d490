//! The types of `wire` for the bodies of each operation.

use keyward::wire::{self, Endpoint, Optional};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Reads a body as a type, and writes it again.
pub(super) type Again = fn(&Value) -> Result<Value, String>;

/// How the bodies of an operation are read and written.
pub(super) struct Typed {
    pub(super) operation: &'static str,
    pub(super) request: Option<Again>,
    pub(super) answer: Option<Again>,
}

fn again<T: DeserializeOwned + Serialize>(body: &Value) -> Result<Value, String> {
    let read: T = serde_json::from_str(&body.to_string()).map_err(|error| error.to_string())?;
    serde_json::to_value(read).map_err(|error| error.to_string())
}

fn takes<T, I, A>(endpoint: &Endpoint<T, I, A>) -> Typed
where
    I: DeserializeOwned + Serialize,
    A: DeserializeOwned + Serialize,
{
    Typed { operation: endpoint.name, request: Some(again::<I>), answer: Some(again::<A>) }
}

fn takes_or_not<T, I, A>(endpoint: &Endpoint<T, Optional<I>, A>) -> Typed
where
    I: DeserializeOwned + Serialize,
    A: DeserializeOwned + Serialize,
{
    Typed { operation: endpoint.name, request: Some(again::<I>), answer: Some(again::<A>) }
}

/// An operation without a request in JSON.
fn answers<T, I, A: DeserializeOwned + Serialize>(endpoint: &Endpoint<T, I, A>) -> Typed {
    Typed { operation: endpoint.name, request: None, answer: Some(again::<A>) }
}

/// An operation without JSON, or whose answer no type reads.
fn neither<T, I, A>(endpoint: &Endpoint<T, I, A>) -> Typed {
    Typed { operation: endpoint.name, request: None, answer: None }
}

/// The operations.
pub(super) fn typed() -> Vec<Typed> {
    [identities(), declared(), others()].into_iter().flatten().collect()
}

fn identities() -> Vec<Typed> {
    vec![
        answers(&wire::LIST_AGENTS),
        answers(&wire::GET_AGENT),
        takes(&wire::INVITE_AGENT),
        takes_or_not(&wire::REVOKE_AGENT),
        takes_or_not(&wire::DELETE_AGENT),
        takes_or_not(&wire::SUSPEND_AGENT),
        takes_or_not(&wire::RESUME_AGENT),
        takes_or_not(&wire::REVOKE_INSTANCE),
        takes_or_not(&wire::REVOKE_CERTIFICATE),
        takes_or_not(&wire::REVOKE_CODE),
        takes_or_not(&wire::REVOKE_TOKEN),
        answers(&wire::LIST_CAPABILITIES),
        answers(&wire::LIST_ROLES),
        answers(&wire::LIST_POLICIES),
        answers(&wire::GET_POLICY),
        answers(&wire::LIST_POLICY_VERSIONS),
        takes(&wire::GET_POLICY_VERSION),
        answers(&wire::LIST_POLICY_SETS),
        takes(&wire::GET_POLICY_SET),
        answers(&wire::EXPLAIN_DECISION),
        answers(&wire::EXPLAIN_OWN_DECISION),
        takes(&wire::ENROL),
        takes(&wire::RENEW),
        answers(&wire::AGENT_WHOAMI),
        answers(&wire::OPERATOR_WHOAMI),
        answers(&wire::LIST_OPERATORS),
        answers(&wire::GET_OPERATOR),
        takes(&wire::INVITE_OPERATOR),
        takes(&wire::PLACE_OPERATOR),
        takes(&wire::CHANGE_OPERATOR_PROFILE),
        takes_or_not(&wire::REVOKE_OPERATOR),
        takes_or_not(&wire::REVOKE_OWN_CERTIFICATE),
        takes_or_not(&wire::DELETE_OPERATOR),
        takes_or_not(&wire::SUSPEND_OPERATOR),
        takes_or_not(&wire::RESUME_OPERATOR),
        answers(&wire::GET_OWN_APPROVAL_KEYS),
        takes(&wire::PROPOSE_APPROVAL_KEY),
        takes(&wire::ACCEPT_APPROVAL_KEY),
        answers(&wire::REMOVE_APPROVAL_KEYS),
        answers(&wire::GET_APPROVAL_CONTEXT),
        takes(&wire::CONTAIN),
        answers(&wire::LIST_INCIDENTS),
        answers(&wire::GET_INCIDENT),
        takes(&wire::OPEN_INCIDENT),
        takes(&wire::NOTE_INCIDENT),
        takes(&wire::UPDATE_INCIDENT),
        takes(&wire::CLOSE_INCIDENT),
        takes(&wire::LIFT),
        takes(&wire::PREVIEW_CONTAINMENT),
        takes(&wire::REPORT_SUBJECT),
        takes(&wire::CHECK_VALUE),
        answers(&wire::LIST_TOUCHED_SECRETS),
        answers(&wire::LIST_INCIDENT_EFFECTS),
        takes(&wire::FREEZE),
        takes(&wire::THAW),
    ]
}

fn declared() -> Vec<Typed> {
    vec![
        takes(&wire::PLAN_DECLARATIONS),
        takes(&wire::APPLY_DECLARATIONS),
        takes(&wire::SIMULATE_DECLARATIONS),
        takes_or_not(&wire::EXPORT_DECLARATIONS),
        takes(&wire::CHECK_PLANNED_ROTATION),
        takes(&wire::CHECK_PLANNED_LEASE),
        answers(&wire::LIST_OWN_LEASES),
        takes(&wire::ISSUE_LEASE),
        takes_or_not(&wire::RENEW_LEASE),
        takes_or_not(&wire::GIVE_UP_LEASE),
        answers(&wire::LIST_LEASES),
        takes_or_not(&wire::EXTEND_LEASE),
        takes(&wire::REVOKE_LEASES),
        takes(&wire::RETRY_LEASES),
        takes(&wire::FORGET_LEASE),
        answers(&wire::LIST_ROTATIONS),
        answers(&wire::GET_ROTATION),
        takes(&wire::STEER_ROTATION),
        answers(&wire::PLAN_ROTATION),
        answers(&wire::LIST_ROTATIONS_DUE),
        takes(&wire::ADOPT_VERSION),
        answers(&wire::CHECK_ROTATION),
        answers(&wire::LIST_SECRETS),
        answers(&wire::GET_SECRET),
        answers(&wire::PUT_SECRET),
        neither(&wire::REVEAL_SECRET),
        answers(&wire::LIST_SECRET_READERS),
        takes(&wire::LIST_SECRET_ACCESS),
        takes(&wire::CHANGE_SECRET_VERSION),
        takes(&wire::CLASSIFY_SECRET),
        takes_or_not(&wire::DELETE_SECRET),
    ]
}

fn others() -> Vec<Typed> {
    vec![
        // Its types are those of `token`, which no client shares.
        Typed { operation: "KEY_SET", request: None, answer: None },
        answers(&wire::AUTHORIZATION_SERVER),
        answers(&wire::OPENID_CONFIGURATION),
        answers(&wire::PROTECTED_RESOURCE),
        // A ZIP archive is no JSON body.
        Typed {
            operation: wire::EXPORT_EVIDENCE.name,
            request: Some(again::<wire::EvidenceBody>),
            answer: None,
        },
        answers(&wire::GET_STATE),
        answers(&wire::SEAL),
        takes(&wire::UNSEAL),
        takes_or_not(&wire::ORDER_REVOKE_AGENT),
        takes_or_not(&wire::ORDER_SUSPEND_AGENT),
        takes_or_not(&wire::ORDER_REVOKE_INSTANCE),
        takes_or_not(&wire::ORDER_REVOKE_CERTIFICATE),
        takes_or_not(&wire::ORDER_REVOKE_TOKEN),
        takes_or_not(&wire::ORDER_REVOKE_OPERATOR),
        takes_or_not(&wire::ORDER_SUSPEND_OPERATOR),
        takes(&wire::ORDER_ACCEPT_APPROVAL_KEY),
        takes(&wire::ORDER_CONTAIN),
        takes(&wire::ORDER_FREEZE),
        takes(&wire::BREAK_GLASS),
        answers(&wire::ACCEPT_CLOCK),
        answers(&wire::LIST_AUTHORITIES),
        answers(&wire::PREPARE_AUTHORITY),
        takes(&wire::ACTIVATE_AUTHORITY),
        takes(&wire::TAINT_AUTHORITY),
        takes(&wire::REVOKE_AUTHORITY),
        answers(&wire::LIST_TOKEN_KEYS),
        answers(&wire::PREPARE_TOKEN_KEY),
        takes(&wire::ACTIVATE_TOKEN_KEY),
        takes(&wire::REVOKE_TOKEN_KEY),
        answers(&wire::ROTATE_CHECKPOINT_KEY),
        answers(&wire::ROTATE_VALUE_KEY),
        answers(&wire::LIST_ENTRIES),
        answers(&wire::GET_ENTRY),
        neither(&wire::GET_AUTHORITY_CERTIFICATES),
        neither(&wire::GET_CHECKPOINT),
        neither(&wire::GET_CHECKPOINT_KEY),
        answers(&wire::LIVENESS),
        answers(&wire::READINESS),
        neither(&wire::OPENAPI_DOCUMENT),
        neither(&wire::METRICS),
        neither(&wire::AUTHORIZE),
        answers(&wire::MINT_TOKEN),
        takes(&wire::OPEN_APPROVAL),
        answers(&wire::LIST_OWN_APPROVALS),
        answers(&wire::GET_OWN_APPROVAL),
        answers(&wire::WITHDRAW_APPROVAL),
        answers(&wire::LIST_APPROVALS),
        answers(&wire::GET_APPROVAL),
        takes(&wire::VOTE_APPROVAL),
        answers(&wire::AUTHORIZE_DEVICE),
        neither(&wire::DEVICE_PAGE),
        neither(&wire::GIVE_UP_TOKEN),
        answers(&wire::INTROSPECT_TOKEN),
    ]
}
