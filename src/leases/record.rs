use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::base::code;
use crate::base::{AgentId, AgentName, CapabilityName, DecisionId, InstanceId, LeaseId, Timestamp};
use crate::crypto::KeyedDigest;

/// The declared offer of leases of one capability.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LeaseOffer {
    /// The capability.
    pub capability: CapabilityName,
    /// The upstream in JSON, which its driver reads.
    pub upstream: String,
    /// Most outstanding leases of one agent.
    pub per_agent: u32,
}

/// A lease that has been decided on, before upstream knows of it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LeaseIntent {
    /// The lease.
    pub id: LeaseId,
    /// The holder.
    pub holder: LeaseHolder,
    /// The capability.
    pub capability: CapabilityName,
    /// The login.
    pub login: LeaseLogin,
    /// The first use of it: the decision that allowed it.
    pub first_use: DecisionId,
    /// Its end.
    pub ends: LeaseEnds,
}

/// The holder of a lease.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LeaseHolder {
    /// The agent.
    pub agent: AgentId,
    /// Its name: the agent may be gone before the lease is.
    pub agent_name: AgentName,
    /// The instance that asked.
    pub instance: InstanceId,
}

/// The login of a lease.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LeaseLogin {
    /// Its name at the upstream.
    pub name: String,
    /// The entry that declared the upstream; [`Leases::upstream`](super::Leases::upstream) has it.
    pub upstream: u64,
}

/// The end of a lease.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LeaseEnds {
    /// When it ends.
    pub expires_at: Timestamp,
    /// Beyond this it is never renewed.
    pub renewable_until: Timestamp,
}

/// The entry of the intent of a lease.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LeaseIssue {
    /// Its sequence: a later revocation revokes the lease.
    pub seq: u64,
    /// Its time.
    pub at: Timestamp,
}

/// One login upstream, from its intent to its end. What has ended is forgotten.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Lease {
    /// Its id.
    pub id: LeaseId,
    /// The holder.
    pub holder: LeaseHolder,
    /// The capability.
    pub capability: CapabilityName,
    /// The login.
    pub login: LeaseLogin,
    /// The entry of the intent.
    pub issued: LeaseIssue,
    /// Its end.
    pub ends: LeaseEnds,
    /// The decisions that issued it. With the last of them the lease ends.
    pub uses: BTreeSet<DecisionId>,
    /// The stage.
    pub stage: LeaseStage,
}

/// The stage of a lease.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum LeaseStage {
    /// Recorded; upstream may know of the login or not.
    Intended,
    /// Upstream made the login.
    Live {
        /// The password, sealed: the same instance may be handed it again.
        sealed: Vec<u8>,
        /// The password's keyed digest.
        digest: KeyedDigest,
    },
    /// The login is to end.
    Ending(Ending),
}

impl LeaseStage {
    /// The word for it.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Intended => "intended",
            Self::Live { .. } => "live",
            Self::Ending(_) => "ending",
        }
    }
}

/// The end of a login, until upstream has brought it about.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Ending {
    /// The capability.
    pub why: EndReason,
    /// The beginning.
    pub since: Timestamp,
    /// The number of failures.
    pub failures: u32,
    /// The last failure.
    pub trouble: Option<RevocationFailure>,
    /// The password's keyed digest, until the login has ended; `None` if no login was made known.
    pub digest: Option<KeyedDigest>,
}

/// Why a login ends.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum EndReason {
    /// Its time is over.
    Expired,
    /// It was revoked.
    Revoked,
    /// Its holder was revoked, suspended or taken away, or holds its capability no more.
    Ineligible,
    /// It is unknown whether the login was created; no agent got it.
    Unfinished,
}

impl EndReason {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Ineligible => "ineligible",
            Self::Unfinished => "unfinished",
        }
    }
}

/// The last failure of a revocation.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RevocationFailure {
    /// Its stable code.
    pub code: String,
    /// Upstream's own code.
    pub upstream: Option<String>,
    /// When.
    pub at: Timestamp,
    /// When it is tried again. There is always a next time.
    pub retry_at: Timestamp,
}

/// The leases.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum LeaseSelection {
    /// These.
    Each(BTreeSet<LeaseId>),
    /// Those of an agent.
    Agent(AgentId),
    /// Those of a capability.
    Capability(CapabilityName),
    /// All.
    All,
    /// Those of any of these agents or capabilities.
    Within {
        /// The agents.
        agents: BTreeSet<AgentId>,
        /// The capabilities.
        capabilities: BTreeSet<CapabilityName>,
    },
}

impl LeaseSelection {
    /// Whether `lease` is one of them.
    #[must_use]
    pub fn has(&self, lease: &Lease) -> bool {
        match self {
            Self::Each(ids) => ids.contains(&lease.id),
            Self::Agent(agent) => lease.holder.agent == *agent,
            Self::Capability(capability) => lease.capability == *capability,
            Self::All => true,
            Self::Within { agents, capabilities } => {
                agents.contains(&lease.holder.agent) || capabilities.contains(&lease.capability)
            }
        }
    }
}

impl Lease {
    /// Whether its time is over and the login is shut out, although its role is still there, e.g. because a database
    /// with objects of it accepts no connections.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        let LeaseStage::Ending(Ending { trouble: Some(trouble), .. }) = &self.stage else { return false };
        self.ends.expires_at <= now && trouble.code == code::UPSTREAM_LOGIN_NOT_DROPPED.as_str()
    }

    /// Whether its end has failed.
    #[must_use]
    pub const fn is_failing(&self) -> bool {
        matches!(&self.stage, LeaseStage::Ending(Ending { trouble: Some(_), .. }))
    }

    /// When something is to be done about it by itself: for one that is intended, as soon as nobody is at
    /// it any more.
    #[must_use]
    pub fn due_at(&self) -> Timestamp {
        match &self.stage {
            LeaseStage::Intended => self.issued.at,
            LeaseStage::Live { .. } => self.ends.expires_at,
            LeaseStage::Ending(ending) => {
                ending.trouble.as_ref().map_or(ending.since, |trouble| trouble.retry_at)
            }
        }
    }

    /// The moment at which it was to end, for one whose end is due.
    #[must_use]
    pub fn was_to_end_at(&self) -> Timestamp {
        match &self.stage {
            LeaseStage::Intended | LeaseStage::Live { .. } => self.ends.expires_at,
            LeaseStage::Ending(ending) => ending.since.min(self.ends.expires_at),
        }
    }
}

/// Leases and what they are of, in their stored form, without derived facts.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct StoredLeases {
    /// The offer, and the entry that declared it.
    pub(super) offers: BTreeMap<CapabilityName, (LeaseOffer, u64)>,
    /// Upstreams that are offered or still have logins, by the entries that declared them.
    pub(super) upstreams: BTreeMap<u64, String>,
    pub(super) leases: BTreeMap<LeaseId, Lease>,
}
