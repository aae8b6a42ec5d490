//! Ids, names, clock, randomness, sensitive values, limits and error codes, for every other room.
//!
//! Only [`SystemClock`] and [`SystemEntropy`] do I/O. Text becomes a typed value here, once; inside the broker no code
//! compares text.

mod announcement_limits;
mod approval_demand;
mod approval_limits;
mod approval_reference;
mod cancellation;
mod canonical_json;
mod clock;
pub mod code;
mod connection;
pub mod encoding;
mod entropy;
mod former_ties;
mod id;
mod incident_limits;
mod io_reason;
mod lease_limits;
mod length;
pub mod limits;
mod moment;
mod name;
mod near;
mod network;
mod operator_reason;
mod parameter;
mod person;
mod policy_limits;
mod recorded_parameters;
mod request_facts;
mod request_outcome;
mod scope;
mod secret_form;
mod sensitive;
mod sensitivity;
mod serial;
mod subject_name;
mod thread;
mod timekeeper;
mod timestamp;

pub use approval_demand::{ApprovalDemand, DemandKind};
pub use approval_reference::{ApprovalReference, ApprovalReferenceError, UserCode};
pub use cancellation::{Cancellation, Cancelled};
pub use canonical_json::{NotCanonical, canonical_json};
pub use clock::{Clock, ManualClock, Stopwatch, SystemClock};
pub use connection::Connection;
pub use entropy::{Entropy, SystemEntropy};
pub use former_ties::FormerTies;
pub use id::{
    AgentId, ApprovalId, CodeId, ConnectionId, DecisionId, IdError, IncidentId, InstanceId, LeaseId,
    LedgerId, OperatorId, RequestId, RotationId, SecretId, SlotId, TokenId,
};
pub use io_reason::io_reason;
pub use length::{length_s, length_text};
pub use moment::{MOMENT_FORMS, Moment};
pub use name::{
    AgentName, ApproverGroupName, Audience, CapabilityName, EnvironmentName, NameError, OperatorName,
    OwnerName, ParameterName, PolicyName, RoleName, SecretName, TrustDomain, UpstreamSlot,
};
pub use near::{NAMES_COMPARED_MAX, NearNames, did_you_mean, near_texts};
pub use network::{BindingNetwork, Network, NetworkTooWide, peer_of};
pub use operator_reason::{Reason, ReasonError};
pub use parameter::{
    GivenParameters, GivenValue, GrantedParameters, ParameterFacts, ParameterType, ParameterValue,
};
pub use person::{Person, PersonError, is_invisible};
pub use recorded_parameters::{ParametersByCapability, RecordedParameters, RecordedValue};
pub use request_facts::{RequestFacts, RequestTarget};
pub use request_outcome::RequestOutcome;
pub use scope::Scope;
pub(crate) use scope::{fix_within, refusal_within};
pub use secret_form::{has_secret_form, without_secret_forms, words_of_secret_form};
pub use sensitive::Sensitive;
pub use sensitivity::{Sensitivity, SensitivityError};
pub use serial::{Serial, SerialError};
pub use subject_name::{OperatorEnrolment, SUBJECT_FORMS, SubjectName, SubjectNameError};
pub use thread::ends_within;
pub use timekeeper::{ClockReading, ClockTrust, RawReading};
pub use timestamp::{TimeText, Timestamp};
