use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;

use super::claims::{AuthorizationDetail, Claims};
use super::events::TokenMinted;
use super::seen::Ages;
use crate::base::encoding::{from_base64url, hex};
use crate::base::limits::TOKEN_LIFE_MAX_S;
use crate::base::{
    Audience, CapabilityName, InstanceId, ParameterName, ParametersByCapability, RecordedParameters,
    Timestamp, TokenId,
};
use crate::ledger::Entry;
use crate::store::Event;

/// The ledger entry of a token.
#[derive(Debug)]
pub struct Minted {
    seq: u64,
    time: Timestamp,
    said: MintedEvent,
}

#[derive(Debug, Deserialize)]
struct MintedEvent {
    token: TokenId,
    instance: InstanceId,
    audience: Audience,
    capabilities: Vec<CapabilityName>,
    certificate: String,
    /// Entries of earlier builds do not say it.
    life_s: Option<u32>,
    #[serde(default)]
    facts: MintedFacts,
}

#[derive(Debug, Default, Deserialize)]
struct MintedFacts {
    /// Also those of requested capabilities that the token does not have.
    #[serde(default)]
    parameters: ParametersByCapability,
}

impl Minted {
    /// Reads `entry`; none when it minted no token.
    #[must_use]
    pub fn read(entry: &Entry) -> Option<Self> {
        let said = serde_json::from_slice(&entry.event).ok()?;
        (entry.kind == TokenMinted::KIND).then_some(Self { seq: entry.seq, time: entry.time, said })
    }

    /// Whether a token that says this is the one that was minted, and not one that a stolen key signed.
    #[must_use]
    pub fn issued(&self, claims: &Claims) -> bool {
        let Self { seq, time, said } = self;
        let life_s = said.life_s.map_or(TOKEN_LIFE_MAX_S, i64::from);
        let certificate = from_base64url(&claims.cnf.x5t_s256).map(|thumbprint| hex(&thumbprint));
        let details = claims.authorization_details.iter().map(|detail| detail.capability.as_str());
        claims.seq == *seq
            && claims.jti == said.token
            && claims.instance == said.instance
            && claims.aud == said.audience
            && claims.client_id == claims.sub
            && certificate.as_ref() == Some(&said.certificate)
            && claims.iat <= time.s()
            && claims.exp <= time.s().saturating_add(life_s)
            && claims.scope.split(' ').eq(said.capabilities.iter().map(CapabilityName::as_str))
            && details.eq(said.capabilities.iter().map(CapabilityName::as_str))
            && claims.authorization_details.iter().all(|detail| self.has_parameters_of(detail))
    }

    /// Whether the entry has the parameters of `detail`. Of a sensitive one it has a keyed digest: see [`Self::digests`].
    fn has_parameters_of(&self, detail: &AuthorizationDetail) -> bool {
        match self.said.facts.parameters.get(&detail.capability) {
            Some(recorded) => recorded.are_those_of(&detail.parameters),
            None => detail.parameters.is_empty(),
        }
    }

    /// The keyed digests of the sensitive parameters of `capability`.
    pub fn digests<'a>(
        &'a self,
        capability: &CapabilityName,
    ) -> impl Iterator<Item = (&'a ParameterName, &'a str)> {
        let recorded = self.said.facts.parameters.get(capability);
        recorded.into_iter().flat_map(RecordedParameters::digests)
    }
}

/// What the entries of tokens say that were asked about lately: an entry never changes, and a token is asked about
/// many times.
#[derive(Debug, Default)]
pub struct MintedLately(Mutex<Ages<u64, Arc<Minted>>>);

impl MintedLately {
    /// The cached entry `seq`.
    #[must_use]
    pub fn find(&self, seq: u64) -> Option<Arc<Minted>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).find(&seq)
    }

    /// Keeps what the entry of `minted` says.
    pub fn keep(&self, minted: &Arc<Minted>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keep(minted.seq, Arc::clone(minted));
    }
}
