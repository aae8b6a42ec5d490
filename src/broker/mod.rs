//! The use cases, one file each: the only place where rooms meet.
//!
//! Three desks face the outside: an agent's request reaches [`AgentDesk`] and has no way to what
//! [`AdminDesk`] does, nor either of them to what [`HostDesk`] does for whoever is on the broker's host.
//! Nothing here knows HTTP.

mod admit_operator;
mod apply;
mod audit;
mod authorise;
mod bootstrap;
mod break_glass;
mod certificates;
mod classify;
mod clock;
mod custody;
mod denial;
mod desk;
mod end_keys;
mod enrol;
mod failure;
mod heavy;
mod host;
mod introspect;
mod invite;
mod kept;
mod key_order;
mod key_schedule;
mod keyring_file;
mod leases;
mod location;
mod mint;
mod narrow;
mod notaries;
mod once;
mod operators;
mod order_keys;
mod orders;
mod overview;
mod page;
mod publishing;
mod put_secret;
mod put_values;
mod readiness;
mod renew;
mod reveal;
mod revoke;
mod rollback;
mod rotate_keys;
mod rotation;
mod sealing_keys;
mod shed_signing_keys;
mod signing_keys;
mod standing;
mod turn_checkpoint_key;
mod turn_value_key;
mod turns;
mod upstreams;
mod versions;
mod watch;
mod world;

pub use apply::{Applied, Uploaded};
pub use audit::{AuditEntry, AuditPage, event_name};
pub use bootstrap::{Founding, certify_operator, certify_server};
pub use break_glass::TakenAway;
pub use certificates::Enrolled;
pub use classify::Classified;
pub use clock::{Adjustment, ClockWatch};
pub use custody::{KeyringContents, record_slots, root_is_current};
pub use denial::Denial;
pub use desk::{AdminDesk, AgentDesk, Core, Settings};
pub use enrol::EnrolInput;
pub use failure::Failure;
pub use heavy::{HeavyRequest, HeavyWork, Priority};
pub use host::{HostDesk, HostStanding, HostState, Unsealed, Wish};
pub use invite::{Invitation, InviteInput};
pub use kept::KeptOrders;
pub use key_order::Followed;
pub use leases::{Chosen, Freshness, LeaseInput, LeasePage, LeaseView, Leased, LeasesEnded, Renewal};
pub use location::{Located, record_location};
pub use mint::MintInput;
pub use notaries::Notaries;
pub use operators::{OperatorInvitation, OperatorInviteInput, OperatorState, OperatorView};
pub use overview::{AgentOverview, AgentView, CapabilityView, InstanceView, RoleView, SecretView};
pub use page::{Page, Paged};
pub use publishing::Publishing;
pub use put_secret::{Expected, PutSecret, Stored};
pub use put_values::PutValues;
pub use renew::RenewInput;
pub use reveal::Revealed;
pub use revoke::{Ended, Revocation};
pub use rollback::RollbackWatch;
pub use rotate_keys::{AuthorityView, Force, TokenKeyView};
pub use rotation::{
    Adopted, Adopting, CalendarLine, Consumer, Pace, Proof, Rotating, RotationPlan, RotationView, Steer,
    UpstreamCheck,
};
pub use sealing_keys::{SealingKeys, newest_sealing_keys, record_sealing_keys, sealing_keys};
pub use signing_keys::{authorities, checkpoint_key, notary, token_keys};
pub use standing::InstanceStanding;
pub use turn_value_key::{Turned, value_key_is_there};
pub use turns::Turns;
pub use versions::{Reader, SecretDetail, VersionAct};
pub use watch::Warning;
pub use world::{Effect, World};
