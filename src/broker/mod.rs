//! The use cases, one file each: the only place where rooms meet.
//!
//! The outside reaches three services: an agent's request reaches [`AgentServices`] and has no way to what
//! [`AdminServices`] does, nor either of them to what [`HostServices`] does for users of the broker's host.
//! Nothing here knows HTTP.

mod administration;
mod approvals;
mod caller_services;
mod changes;
mod deciding;
mod declarations;
mod denial;
mod effect;
mod evidence;
mod failure;
mod host;
mod identity;
mod incidents;
mod keyed_locks;
mod keys;
mod last_seen;
mod leases;
mod open_connections;
mod owners;
mod page;
mod policies;
mod reading;
mod removals;
mod replay;
mod requested_object;
mod retry;
mod rotation;
mod secrets;
mod services;
mod tokens;
mod upstreams;
mod webhook;
mod world;

pub use administration::apply::Applied;
pub use administration::events::{event_kinds, event_name};
pub use administration::heavy::{HeavyRequest, HeavyWork, Priority};
pub use administration::ledger_readers::LedgerReadings;
pub use administration::overview::AgentOverview;
pub use administration::plan::Planned;
pub use administration::simulate::ReplayedSpan;
pub use administration::upload::{PlanApproval, Uploaded};
pub use administration::watch::Warning;
pub use approvals::ask::{ApprovalInput, AskedApproval};
pub use approvals::vote::VoteInput;
pub use approvals::wait::ApprovalWait;
pub use caller_services::{AdminServices, AgentServices};
pub use changes::OperatorRequest;
pub use declarations::export::ExportFilter;
pub use declarations::schema::declaration_schema;
pub use denial::MemoryRevocation;
pub use evidence::export::{EvidenceOf, EvidenceQuery, EvidenceSince};
pub use evidence::proofs::Proofs;
pub use failure::Failure;
pub use host::break_glass::OrderOutcome;
pub use host::clock::{Adjustment, ClockWatch};
pub use host::custody::{KeyringContents, record_slots};
pub use host::host_services::{HostServices, HostStanding, HostState, ProcessRequest, Unsealed};
pub use host::kept::KeptOrders;
pub use host::location::{Located, record_location};
pub use host::outdated_keyring::root_is_current;
pub use host::rollback_watch::RollbackWatch;
pub use host::settled::{OrderSettlement, SettledOrder, SettledOrders};
pub use identity::bootstrap::{certify_operator, certify_server, effect_of_reissue, other_certificates};
pub use identity::certificates::Enrolled;
pub use identity::invite::{Invitation, InviteInput};
pub use identity::operator_profile::{ExpectedProfile, OperatorProfileInput};
pub use identity::operator_uses::OperatorUses;
pub use identity::operators::{OperatorInvitation, OperatorInviteInput, OperatorPlace, OperatorPlaceInput};
pub use identity::redemption::EnrolInput;
pub use identity::renew::RenewInput;
pub use identity::revoke::{HolderRevoked, Revocation};
pub use identity::revoke_code::{CodeUse, RevokedCode};
pub use identity::standing::InstanceStanding;
pub use incidents::{
    AdminsLeft, ClosedIncident, ClosingInput, ContainInput, ContainedSubject, IncidentInput, Lifted,
    NotedIncident, OpenedIncident, OrderedContainment, TextComparison, WantedReport, subject_answer,
    times_answer,
};
pub use keyed_locks::KeyedLocks;
pub use keys::checkpoints::notary;
pub use keys::followed::Followed;
pub use keys::key_order::SigningKey;
pub use keys::notaries::Notaries;
pub use keys::publishing::Publishing;
pub use keys::rotate_value_key::ValueKeyChange;
pub use keys::sealing_keys::{SealingKeys, newest_sealing_keys, record_sealing_keys, sealing_keys};
pub use keys::signing_keys::Founding;
pub use keys::signing_keys::{authorities, checkpoint_key, token_keys};
pub use keys::staging::{Force, StageChange};
pub use keys::value_key::value_key_is_there;
pub use leases::{Chosen, Freshness, LeaseInput, Leased, LeasesEnded, Renewal};
pub use open_connections::{ClosedConnection, OpenConnections};
pub use page::Page;
pub use policies::cases::{PolicyCaseResult, PolicyTest, run_policy_test};
pub use policies::rolled_back::RollbackTarget;
pub use removals::Ended;
pub use requested_object::RequestedObject;
pub use rotation::{Adopted, Adopting, AdoptionProof, PreviousVersion, Progress, Rotating, RotationUpdate};
pub use secrets::classify::{Classification, Classified};
pub use secrets::put_secret::{Expected, PutSecret, StoredSecret};
pub use secrets::put_values::PutValues;
pub use secrets::reveal::Revealed;
pub use secrets::second_operator::SensitivityApproval;
pub use secrets::versions::VersionAct;
pub use services::{
    ElsewhereCredential, EntryLimits, KeyringAccess, Notifications, RequestLimits, Services, Settings,
    Signing, State, UpstreamAccess, Values,
};
pub use tokens::mint_input::MintInput;
pub use webhook::announcements::Announcements;
pub use world::{Effect, World};
