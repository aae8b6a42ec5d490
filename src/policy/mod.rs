//! The decision: declared ∩ granted ∩ requested, and nothing when nothing is left.
//!
//! Pure and synchronous: the same snapshot and the same facts give the same answer. This room knows
//! no storage, no key and no HTTP. It makes the proof [`Grant`], in one place, and what is not
//! granted is a [`Denial`] that says why and what would change it.

mod decide;
mod enrolment;
mod grant;
mod introspection;
mod operator;
mod renewal;
mod request;

pub use decide::{LifeLimits, decide_mint, decide_reveal};
pub use enrolment::{Enrol, EnrolmentRefused, EnrolmentRequest, decide_enrolment};
pub use grant::{Basis, Certifying, Decision, Denial, Grant, Mint, Reveal};
pub use introspection::{Introspection, NoResourceServer, decide_introspection};
pub use operator::{CertifyOperator, decide_host_operator};
pub use renewal::{Renew, RenewalRefused, RenewalStep, decide_renewal};
pub use request::{MintRequest, RevealRequest};
