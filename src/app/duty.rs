/// What a broker is there for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ServeMode {
    /// Everything.
    Full,
    /// To be looked at: it takes no change, so that it gives nothing, and calls nobody. A copy of a
    /// broker that still runs elsewhere would rotate that one's passwords, and end its logins.
    ReadOnly,
}
