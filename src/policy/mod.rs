//! Decisions: declared ∩ granted ∩ requested, restricted by policies; a denial if nothing remains.
//!
//! Pure and synchronous: the same snapshot and the same facts give the same decision. This room knows no storage, no key
//! and no HTTP. It makes the proof [`Grant`], in one place, and [`Authorised`], which every use case of operators
//! requires. A [`Denial`] has the reason and the next step.

mod approval;
mod approval_refusal;
mod approver;
mod canonical;
mod certificate_renewal;
mod context;
mod decision;
mod enrolment;
mod granted;
mod introspection;
mod judged;
mod judged_mint;
mod lease;
mod lease_end;
mod left_out;
mod mint;
mod mint_request;
mod operator;
mod policy_refusal;
mod refusal;
mod remedy;
mod request_parameters;
mod request_target;
mod requester;
mod reveal;
mod right;
mod sensitivity;
mod smaller_request;
mod trial;
mod vote_lapse;

pub use approval::is_of;
pub use approval_refusal::ApprovalRefusal;
pub use approver::{
    approved_by, counts_for_any, demands_met_by, is_met_with, is_still_met, is_within, lapse_of, persons,
};
pub use certificate_renewal::{Renew, RenewalStep, decide_renewal};
pub use context::{DecisionContext, LifeLimits, Past};
pub use decision::{Act, AgentAct, Basis, Certifying, Decision, Denial, Grant};
pub use enrolment::{Enrol, EnrolmentRequest, Maker, decide_enrolment, revoked_user};
pub use introspection::{Introspection, decide_introspection};
pub use lease::{
    Extend, IssueLease, LeaseCount, LeaseRequest, created_lease_refusal, decide_lease, decide_lease_again,
    decide_lease_extension, decide_lease_renewal, sufficient_lease,
};
pub use left_out::LeftOut;
pub use mint::{Mint, ReplayedMint, decide_again, decide_mint};
pub use mint_request::{AskedGrant, MintRequest, RequestedActions};
pub use operator::{
    AdmitOperator, CertifyOperator, OperatorAdmission, decide_break_glass, decide_host_operator,
    decide_operator_enrolment, decide_operator_renewal,
};
pub use policy_refusal::PolicyRefusal;
pub use refusal::Refusal;
pub use requester::Requester;
pub use reveal::{Reveal, decide_reveal};
pub use right::{
    Authorised, BeOneself, CheckPlanned, CheckValues, Contain, ContainOperators, Counted, Declare,
    DeleteAgents, EndLeases, ExportDeclarations, ExportEvidence, ForgetLeases, FreezeBroker, HandleIncidents,
    InviteAgents, OfSigningKeys, PlaceOperators, PlanDeclarations, Reach, ReadApprovals, ReadDeclared,
    ReadIncidents, ReadLeases, ReadLedger, ReadMetrics, ReadOperators, ReadPolicySets, ReadSecretNames,
    ReadSigningKeys, RenewLeases, RequiredRight, RevokeTokens, Right, RotateSecrets, RotateSigningKeys,
    RotateValueKey, SimulateDeclarations, StoreSecrets, Unauthorised, VoteApprovals, authorise,
};
pub use sensitivity::CapabilityConstraints;
pub use smaller_request::SmallerRequest;
pub use trial::{Holding, Traced, Trial, TrialOutcome, TrialRequest, trace_request, try_request};
pub use vote_lapse::VoteLapse;
