/// The duties of a broker.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ServeMode {
    /// All duties.
    Full,
    /// Read-only mode: it records nothing, so that it issues nothing, and it calls no upstream. A copy of a running broker
    /// would rotate the passwords of the original, and revoke its logins.
    ReadOnly,
}
