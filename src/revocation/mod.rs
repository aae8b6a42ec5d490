//! What no longer counts: the marks that make credentials dead, by whom or what they were issued to.
//!
//! Revoking walks over nothing. A mark on a subject says "everything issued before this entry is
//! dead", or "blocked until further notice"; a check of a credential reads the marks of the
//! subjects that it was issued under. This room never decides who may revoke.

mod containment;
mod denial;
mod denied_codes;
mod effect;
mod events;
mod judged;
mod mark;
mod refusal;
mod state;
mod subject;

pub use containment::Containment;
pub use denial::Denial;
pub use denied_codes::DeniedCodes;
pub use effect::Effect;
pub use events::{
    CertificateRefused, NamedSubject, RefusedCaller, RefusedSource, RefusedTimes, SubjectChange,
    SubjectResumed, SubjectRevoked, SubjectSuspended,
};
pub use judged::{CredentialForm, Judged};
pub use refusal::RefusedIdentity;
pub use state::{Liveness, Revocations};
pub use subject::{Subject, keys};
