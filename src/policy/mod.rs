//! The decision: declared ∩ granted ∩ requested, and nothing when nothing is left.
//!
//! Pure and synchronous: the same snapshot and the same facts give the same answer. This room knows
//! no storage, no key and no HTTP. It makes the proofs [`Grant`], in one place, and [`Authorised`],
//! without which no use case of operators begins; what is not granted is a [`Denial`] that says why
//! and what would change it.

mod decide;
mod enrolment;
mod grant;
mod introspection;
mod lease;
mod operator;
mod renewal;
mod request;
mod right;
mod sensitivity;

pub use decide::{LifeLimits, decide_again, decide_mint, decide_reveal};
pub use enrolment::{Enrol, EnrolmentRefused, EnrolmentRequest, Maker, decide_enrolment};
pub use grant::{Basis, Certifying, Decision, Denial, Grant, Mint, Reveal};
pub use introspection::{Introspection, decide_introspection};
pub use lease::{
    Extension, Holder, Lend, decide_lease, decide_lease_again, decide_lease_extension, decide_lease_renewal,
};
pub use operator::{
    Admission, AdmitOperator, CertifyOperator, OperatorRenewalRefused, decide_break_glass,
    decide_host_operator, decide_operator_enrolment, decide_operator_renewal,
};
pub use renewal::{Renew, RenewalRefused, RenewalStep, decide_renewal};
pub use request::{LeaseRequest, MintRequest, Renewed, RevealRequest};
pub use right::{
    Authorised, BeOneself, Contain, ContainOperators, Counted, Declare, EndLeases, ForgetLeases,
    InviteAgents, Need, OfSigningKeys, PlaceOperators, Reach, ReadDeclared, ReadLeases, ReadLedger,
    ReadMetrics, ReadOperators, ReadSecretNames, ReadSigningKeys, RenewLeases, RevokeTokens, Right,
    RotateSecrets, RotateSigningKeys, StoreSecrets, TurnValueKey, Unauthorised, authorise,
};
pub use sensitivity::Demands;
