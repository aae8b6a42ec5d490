/// Whose a secret is to be.
pub const OWNER_HEADER: &str = "keyward-owner";
/// How sensitive a secret is to be.
pub const SENSITIVITY_HEADER: &str = "keyward-sensitivity";
/// Which version of a secret is answered.
pub const SECRET_VERSION_HEADER: &str = "keyward-secret-version";
/// Names a request, so that it is carried out once (draft-ietf-httpapi-idempotency-key-header).
pub const IDEMPOTENCY_KEY_HEADER: &str = "idempotency-key";
