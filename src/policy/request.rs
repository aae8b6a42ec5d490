use std::collections::BTreeSet;

use super::sensitivity::Demands;
use crate::authn::{AgentPrincipal, BoundToken};
use crate::base::{Audience, CapabilityName, DecisionId, LeaseId, SecretId, SecretName};
use crate::crypto::{Digest, MacKey};

/// An agent asks for a token.
#[derive(Debug)]
pub struct MintRequest {
    /// What it asks for; at least one.
    pub scope: BTreeSet<CapabilityName>,
    /// Whom the token is to be for, when it says so (RFC 8707).
    pub resource: Option<Audience>,
    /// How long the token is to hold, in seconds, when it says so.
    pub life_s: Option<u32>,
}

impl MintRequest {
    /// The keyed digest of the canonical request: names it without being a dictionary of guesses.
    pub(super) fn digest(&self, who: &AgentPrincipal, decision: DecisionId, key: &MacKey) -> Digest {
        let mut text = Canonical::new("mint", who, decision);
        for capability in &self.scope {
            text.field(capability.as_str());
        }
        text.field(self.resource.as_ref().map_or("", Audience::as_str));
        text.field(&self.life_s.map_or_else(String::new, |life_s| life_s.to_string()));
        key.tag(&text.0)
    }
}

/// An agent presents a token for a secret.
#[derive(Debug)]
pub struct RevealRequest {
    /// The token and who presented it.
    pub token: BoundToken,
    /// The secret it wants.
    pub secret: SecretName,
    /// What there is of it: its id and its current version.
    pub current: Option<(SecretId, u32)>,
    /// What the secrets ask that the token reaches.
    pub demands: Demands,
}

impl RevealRequest {
    pub(super) fn digest(&self, decision: DecisionId, key: &MacKey) -> Digest {
        let mut text = Canonical::new("reveal", self.token.holder(), decision);
        text.field(&self.token.token().to_string());
        text.field(self.secret.as_str());
        key.tag(&text.0)
    }
}

/// An agent asks for a login of its own, or for a later end of one.
#[derive(Debug)]
pub struct LeaseRequest {
    /// What it is for.
    pub capability: CapabilityName,
    /// How long it is to last from now on, in seconds, when the request says so.
    pub life_s: Option<u32>,
    /// Whether it is about one that there is.
    pub renewed: Renewed,
}

/// Whether a lease is one that there is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Renewed {
    /// This one.
    Lease(LeaseId),
    /// None is named.
    No,
}

impl LeaseRequest {
    pub(super) fn digest(&self, who: &AgentPrincipal, decision: DecisionId, key: &MacKey) -> Digest {
        let mut text = Canonical::new("lease", who, decision);
        text.field(self.capability.as_str());
        text.field(&self.life_s.map_or_else(String::new, |life_s| life_s.to_string()));
        match self.renewed {
            Renewed::Lease(lease) => text.bytes(lease.as_bytes()),
            Renewed::No => text.field(""),
        }
        key.tag(&text.0)
    }
}

/// Length-prefixed fields: no two requests have one text.
struct Canonical(Vec<u8>);

impl Canonical {
    fn new(action: &str, who: &AgentPrincipal, decision: DecisionId) -> Self {
        let mut text = Self(Vec::with_capacity(256));
        text.field(action);
        text.bytes(decision.as_bytes());
        text.bytes(who.agent().as_bytes());
        text.bytes(who.instance().as_bytes());
        text
    }

    fn field(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
        self.0.extend_from_slice(bytes);
    }
}
