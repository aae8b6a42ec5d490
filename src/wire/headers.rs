/// Header with the owner of a stored secret.
pub const OWNER_HEADER: &str = "keyward-owner";
/// Header with the sensitivity of a stored secret.
pub const SENSITIVITY_HEADER: &str = "keyward-sensitivity";
/// Header that confirms, with the value `true`, that a stored secret of high sensitivity becomes reachable by its new owner.
pub const WIDEN_HEADER: &str = "keyward-widen";
/// Header with the version of a read secret.
pub const SECRET_VERSION_HEADER: &str = "keyward-secret-version";
/// Header with the time of the next rotation of a read secret.
pub const NEXT_ROTATION_HEADER: &str = "keyward-next-rotation";
/// Header with the id of the decision by which a secret is read.
pub const DECISION_ID_HEADER: &str = "keyward-decision-id";
/// Header with the idempotency key of a request (draft-ietf-httpapi-idempotency-key-header).
pub const IDEMPOTENCY_KEY_HEADER: &str = "idempotency-key";
/// Header of every response of a broker in read-only mode, with the value `true`.
pub const READ_ONLY_HEADER: &str = "keyward-read-only";
