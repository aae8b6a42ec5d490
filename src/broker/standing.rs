use super::world::World;
use crate::base::Timestamp;
use crate::registry::{Agent, Instance, InstanceState};
use crate::revocation::Subject;

/// What has become of an instance, as operators are told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InstanceStanding {
    /// Its certificate holds.
    Live,
    /// Its certificate has ended.
    Expired,
    /// Its agent is suspended.
    Suspended,
    /// It was ended for good, alone or with its agent.
    Revoked,
}

impl InstanceStanding {
    /// What `instance` of `agent` has come to at `now`.
    pub(super) fn of(world: &World, agent: &Agent, instance: &Instance, now: Timestamp) -> Self {
        let subjects = [Subject::Agent(agent.id), Subject::Instance(instance.id)];
        if world.revocations.is_killed(instance.enrolled_seq, &subjects) {
            return Self::Revoked;
        }
        match instance.state(now) {
            InstanceState::Expired => Self::Expired,
            InstanceState::Live if subjects.iter().any(|one| world.revocations.is_blocked(one)) => {
                Self::Suspended
            }
            InstanceState::Live => Self::Live,
        }
    }

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Expired => "expired",
            Self::Suspended => "suspended",
            Self::Revoked => "revoked",
        }
    }
}
