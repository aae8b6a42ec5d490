use crate::authn::{Credential, CredentialFault, has_certificate, live};
use crate::base::Timestamp;
use crate::base::limits::BACKDATE_S;
use crate::broker::services::Services;
use crate::broker::world::{World, records};
use crate::keyring::KeyStage;
use crate::pki::PeerCertificate;
use crate::registry::{Agent, Instance, InstanceState};

/// The state of an instance for operators.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InstanceStanding {
    /// Its certificate is valid.
    Live,
    /// Its certificate has expired.
    Expired,
    /// Its agent is suspended.
    Suspended,
    /// It was revoked, alone or with its agent.
    Revoked,
}

impl InstanceStanding {
    /// The state of `instance` of `agent` at `now`.
    pub(crate) fn of(world: &World, agent: &Agent, instance: &Instance, now: Timestamp) -> Self {
        let counts =
            |holding| live(Credential::Certificate { agent, instance, holding, from: None }, records(world));
        let dead = if has_certificate(records(world), agent, instance) {
            None
        } else {
            instance.holdings().find_map(|holding| counts(holding).err())
        };
        match (dead, instance.state(now)) {
            (Some(CredentialFault::Suspended), InstanceState::Live) => Self::Suspended,
            (None | Some(CredentialFault::Suspended), InstanceState::Expired) => Self::Expired,
            (Some(_), _) => Self::Revoked,
            (None, InstanceState::Live) => Self::Live,
        }
    }

    /// The name.
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

impl Services {
    /// Whether the certificate has to be renewed now, because its authority is tainted.
    pub(crate) fn is_of_tainted_authority(&self, peer: &PeerCertificate) -> bool {
        let stage = |world: &World| peer.authority().and_then(|key| world.keys.authority.stage_of(key));
        self.state.store.read(|world, _| stage(world) == Some(KeyStage::Tainted))
    }

    /// Whether an authority that is published or signs was made after the certificate: its holder may not know it.
    pub(crate) fn is_older_than_authorities(&self, peer: &PeerCertificate) -> bool {
        // A certificate has whole seconds.
        let issued = peer.not_before().plus_s(BACKDATE_S).s();
        self.state.store.read(|world, _| {
            let mut ahead = world
                .keys
                .authority
                .generations()
                .all()
                .filter(|(_, standing)| matches!(standing.stage, KeyStage::Prepared | KeyStage::Active));
            ahead.any(|(_, standing)| standing.since.s() > issued)
        })
    }
}
