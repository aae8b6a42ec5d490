//! The decision: declared ∩ granted ∩ requested, and nothing when nothing is left.
//!
//! Pure and synchronous: the same snapshot and the same facts give the same answer. This room knows
//! no storage, no key and no HTTP. It makes the proofs [`Grant`], in one place, and [`Authorised`],
//! without which no use case of operators begins; what is not granted is a [`Denial`] that says why
//! and what would change it.

mod canonical;
mod certificate_renewal;
mod context;
mod decision;
mod enrolment;
mod granted;
mod introspection;
mod lease;
mod mint;
mod operator;
mod reveal;
mod right;
mod sensitivity;

pub use certificate_renewal::{Renew, RenewalStep, decide_renewal};
pub use context::{DecisionContext, LifeLimits};
pub use decision::{Basis, Certifying, Decision, Denial, Grant};
pub use enrolment::{Enrol, EnrolmentRequest, Maker, decide_enrolment};
pub use introspection::{Introspection, decide_introspection};
pub use lease::{
    Extend, IssueLease, LeaseCount, LeaseRequest, decide_lease, decide_lease_again, decide_lease_extension,
    decide_lease_renewal,
};
pub use mint::{Mint, MintRequest, decide_again, decide_mint};
pub use operator::{
    AdmitOperator, CertifyOperator, OperatorAdmission, decide_break_glass, decide_host_operator,
    decide_operator_enrolment, decide_operator_renewal,
};
pub use reveal::{Reveal, decide_reveal};
pub use right::{
    Authorised, BeOneself, Contain, ContainOperators, Counted, Declare, EndLeases, ForgetLeases,
    InviteAgents, OfSigningKeys, PlaceOperators, Reach, ReadDeclared, ReadLeases, ReadLedger, ReadMetrics,
    ReadOperators, ReadSecretNames, ReadSigningKeys, RenewLeases, RequiredRight, RevokeTokens, Right,
    RotateSecrets, RotateSigningKeys, RotateValueKey, StoreSecrets, Unauthorised, authorise,
};
pub use sensitivity::CapabilityConstraints;
