use super::containment::Containment;
use super::subject::Subject;

/// What a revocation or suspension does when it cannot be recorded. There is no way to take one back
/// without a record.
#[derive(Clone, Debug)]
pub enum Denial {
    /// Everything issued under the subject so far is dead.
    Kill(Subject),
    /// Nothing issued under the subject counts.
    Block(Subject),
    /// Both, for an incident.
    Contain(Containment),
}

impl Denial {
    /// The subject.
    #[must_use]
    pub const fn subject(&self) -> &Subject {
        match self {
            Self::Kill(subject) | Self::Block(subject) | Self::Contain(Containment { subject, .. }) => {
                subject
            }
        }
    }
}
