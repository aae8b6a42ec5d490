use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::keys;
use super::record::{
    EndReason, Ending, Lease, LeaseEnds, LeaseIntent, LeaseIssue, LeaseOffer, LeaseSelection, LeaseStage,
    RevocationFailure, StoredLeases,
};
use crate::base::{AgentId, CapabilityName, DecisionId, LeaseId, Timestamp};
use crate::crypto::KeyedDigest;
use crate::ledger::Key;
use crate::store::At;

/// A state change of this room.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum Effect {
    /// Declares what leases of a capability are of.
    Offer(Box<LeaseOffer>),
    /// Removes the offer: no further leases are issued.
    Withdraw(CapabilityName),
    /// Upstream is about to be told of a login.
    Intend(Box<LeaseIntent>),
    /// Upstream made the login of an intended lease.
    Issue {
        /// The lease.
        lease: LeaseId,
        /// The password, sealed.
        sealed: Vec<u8>,
        /// The password's keyed digest.
        digest: KeyedDigest,
    },
    /// A live lease is handed out once more.
    Use {
        /// The lease.
        lease: LeaseId,
        /// The decision that allowed it.
        by: DecisionId,
    },
    /// A live lease ends later.
    Renew {
        /// The lease.
        lease: LeaseId,
        /// When.
        expires_at: Timestamp,
    },
    /// A holder needs a lease no more; with the last use it ends.
    GiveUp {
        /// The lease.
        lease: LeaseId,
        /// The decision whose use ends; all uses without it.
        by: Option<DecisionId>,
    },
    /// Logins are to end.
    End {
        /// Which.
        which: LeaseSelection,
        /// The capability.
        why: EndReason,
    },
    /// The end of a login failed.
    Fail {
        /// The lease.
        lease: LeaseId,
        /// The stable code.
        code: String,
        /// Upstream's own.
        upstream: Option<String>,
        /// When it is tried again.
        retry_at: Timestamp,
    },
    /// A login is known not to be there any more, or an operator answers for it.
    Ended(LeaseId),
    /// Failed revocations are retried now.
    Retry(LeaseSelection),
}

impl Effect {
    /// Adds what it advances: a decision that relied on one of these keys before is made again.
    pub fn advances(&self, keys: &mut Vec<Key>) {
        match self {
            Self::Offer(offer) => keys.push(keys::offer(&offer.capability)),
            Self::Withdraw(capability) => keys.push(keys::offer(capability)),
            Self::Intend(intent) => keys.push(keys::of_agent(intent.holder.agent)),
            Self::Issue { lease, .. }
            | Self::Use { lease, .. }
            | Self::Renew { lease, .. }
            | Self::GiveUp { lease, .. }
            | Self::Fail { lease, .. }
            | Self::Ended(lease) => keys.push(keys::lease(*lease)),
            Self::End { which: LeaseSelection::Each(leases), .. }
            | Self::Retry(LeaseSelection::Each(leases))
                if leases.len() == 1 =>
            {
                keys.extend(leases.iter().copied().map(keys::lease));
            }
            Self::End { .. } | Self::Retry(_) => keys.push(keys::endings()),
        }
    }

    /// Whether it takes something away: such an entry is anchored at once.
    #[must_use]
    pub const fn takes_away(&self) -> bool {
        match self {
            Self::Withdraw(_) | Self::GiveUp { .. } | Self::End { .. } => true,
            Self::Offer(_)
            | Self::Intend(_)
            | Self::Issue { .. }
            | Self::Use { .. }
            | Self::Renew { .. }
            | Self::Fail { .. }
            | Self::Ended(_)
            | Self::Retry(_) => false,
        }
    }
}

/// All leases in memory.
#[derive(Clone, Debug, Default)]
pub struct Leases {
    kept: StoredLeases,
    /// By the moment at which something is due.
    due: BTreeSet<(Timestamp, LeaseId)>,
    of_agents: HashMap<AgentId, BTreeSet<LeaseId>>,
    /// The number of logins at an upstream.
    of_upstreams: HashMap<u64, usize>,
}

impl Leases {
    /// The offer of `capability`, and the entry that declared it.
    #[must_use]
    pub fn offer(&self, capability: &CapabilityName) -> Option<&(LeaseOffer, u64)> {
        self.kept.offers.get(capability)
    }

    /// Everything that is offered.
    pub fn offers(&self) -> impl Iterator<Item = &LeaseOffer> {
        self.kept.offers.values().map(|(offer, _)| offer)
    }

    /// The upstream that entry `declared` declared.
    #[must_use]
    pub fn upstream(&self, declared: u64) -> Option<&str> {
        self.kept.upstreams.get(&declared).map(String::as_str)
    }

    /// All upstreams that are offered or still have logins.
    pub fn upstreams(&self) -> impl Iterator<Item = (u64, &str)> {
        self.kept.upstreams.iter().map(|(declared, upstream)| (*declared, upstream.as_str()))
    }

    /// The lease of this id, unless it has ended.
    #[must_use]
    pub fn lease(&self, id: LeaseId) -> Option<&Lease> {
        self.kept.leases.get(&id)
    }

    /// All leases that have not ended, by id, which is by time.
    pub fn all(&self) -> impl Iterator<Item = &Lease> {
        self.kept.leases.values()
    }

    /// Those after `after`.
    pub fn after(&self, after: Option<LeaseId>) -> impl Iterator<Item = &Lease> {
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        self.kept.leases.range((from, std::ops::Bound::Unbounded)).map(|(_, lease)| lease)
    }

    /// Those before `before`, the newest first.
    pub fn before(&self, before: Option<LeaseId>) -> impl Iterator<Item = &Lease> {
        let through = before.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        self.kept.leases.range((std::ops::Bound::Unbounded, through)).rev().map(|(_, lease)| lease)
    }

    /// Those of one agent.
    pub fn of_agent(&self, agent: AgentId) -> impl Iterator<Item = &Lease> {
        let ids = self.of_agents.get(&agent).into_iter().flatten();
        ids.filter_map(|id| self.kept.leases.get(id))
    }

    /// Those about which something is to be done by `now`, the longest waiting first.
    pub fn due(&self, now: Timestamp) -> impl Iterator<Item = &Lease> {
        let due = self.due.iter().take_while(move |(at, _)| *at <= now);
        due.filter_map(|(_, id)| self.kept.leases.get(id))
    }

    /// Applies an effect.
    pub fn apply(&mut self, at: At, effect: &Effect) {
        match effect {
            Effect::Offer(offer) => self.declare(at, offer),
            Effect::Withdraw(capability) => {
                if let Some((_, declared)) = self.kept.offers.remove(capability) {
                    self.forget_unused(declared);
                }
            }
            Effect::Intend(intent) => self.insert(Lease::intended(intent, at)),
            Effect::Issue { lease, sealed, digest } => self.with(*lease, |lease| {
                if lease.stage == LeaseStage::Intended {
                    lease.stage = LeaseStage::Live { sealed: sealed.clone(), digest: *digest };
                }
            }),
            Effect::Use { lease, by } => self.with(*lease, |lease| {
                lease.uses.insert(*by);
            }),
            Effect::Renew { lease, expires_at } => self.with(*lease, |lease| {
                if matches!(lease.stage, LeaseStage::Live { .. }) {
                    lease.ends.expires_at = *expires_at;
                }
            }),
            Effect::GiveUp { lease, by } => self.with(*lease, |lease| {
                match by {
                    Some(by) => lease.uses.retain(|used| used != by),
                    None => lease.uses.clear(),
                }
                if lease.uses.is_empty() {
                    lease.end(EndReason::Revoked, at.time);
                }
            }),
            Effect::End { which, why } => {
                for id in self.selected(which) {
                    self.with(id, |lease| lease.end(*why, at.time));
                }
            }
            Effect::Fail { lease, code, upstream, retry_at } => self.with(*lease, |lease| {
                if let LeaseStage::Ending(ending) = &mut lease.stage {
                    ending.failures = ending.failures.saturating_add(1);
                    let (code, upstream) = (code.clone(), upstream.clone());
                    ending.trouble =
                        Some(RevocationFailure { code, upstream, at: at.time, retry_at: *retry_at });
                }
            }),
            Effect::Ended(lease) => self.remove(*lease),
            Effect::Retry(which) => {
                for id in self.selected(which) {
                    self.with(id, |lease| lease.retry(at.time));
                }
            }
        }
    }

    /// Entry times go on from `now`, which is before `was`: what a wrong clock put off is due now, what it lent ends
    /// now, and what had expired by it stays so.
    pub fn time_went_back(&mut self, now: Timestamp, was: Timestamp) {
        let all: Vec<LeaseId> = self.kept.leases.keys().copied().collect();
        for id in all {
            self.with(id, |lease| {
                if lease.issued.at > now {
                    lease.issued.at = now;
                    lease.ends = LeaseEnds { expires_at: now, renewable_until: now };
                } else if lease.ends.expires_at <= was {
                    lease.ends.expires_at = lease.ends.expires_at.min(now);
                    lease.ends.renewable_until = lease.ends.renewable_until.min(now);
                }
                if let LeaseStage::Ending(ending) = &mut lease.stage {
                    ending.since = ending.since.min(now);
                    if let Some(trouble) = &mut ending.trouble {
                        (trouble.at, trouble.retry_at) = (trouble.at.min(now), trouble.retry_at.min(now));
                    }
                }
            });
        }
    }

    fn selected(&self, which: &LeaseSelection) -> Vec<LeaseId> {
        match which {
            LeaseSelection::Each(ids) => ids.iter().copied().collect(),
            LeaseSelection::Agent(agent) => self.of_agent(*agent).map(|lease| lease.id).collect(),
            LeaseSelection::Capability(_) | LeaseSelection::All | LeaseSelection::Within { .. } => {
                self.all().filter(|lease| which.has(lease)).map(|lease| lease.id).collect()
            }
        }
    }

    /// A changed upstream is another one: logins that were made at the one before end there.
    fn declare(&mut self, at: At, offer: &LeaseOffer) {
        let before = self.kept.offers.get(&offer.capability);
        let same = before.filter(|(before, _)| before.upstream == offer.upstream);
        let declared = same.map_or(at.seq, |(_, declared)| *declared);
        let replaced = before.map(|(_, declared)| *declared).filter(|old| *old != declared);
        // Several may be declared by one entry: what each is of is told apart by its text.
        let declared = self.place_for(declared, &offer.upstream);
        self.kept.upstreams.insert(declared, offer.upstream.clone());
        self.kept.offers.insert(offer.capability.clone(), (offer.clone(), declared));
        if let Some(replaced) = replaced {
            self.forget_unused(replaced);
        }
    }

    /// The first number from `declared` on that is free, or is this very upstream's.
    fn place_for(&self, declared: u64, upstream: &str) -> u64 {
        let taken = |number: &u64| self.kept.upstreams.get(number).is_some_and(|other| other != upstream);
        (declared..).find(|number| !taken(number)).unwrap_or(declared)
    }

    fn forget_unused(&mut self, declared: u64) {
        let is_offered = self.kept.offers.values().any(|(_, offered)| *offered == declared);
        if !is_offered && !self.of_upstreams.contains_key(&declared) {
            self.kept.upstreams.remove(&declared);
        }
    }

    fn insert(&mut self, lease: Lease) {
        self.due.insert((lease.due_at(), lease.id));
        self.of_agents.entry(lease.holder.agent).or_default().insert(lease.id);
        let logins = self.of_upstreams.entry(lease.login.upstream).or_default();
        *logins = logins.saturating_add(1);
        self.kept.leases.insert(lease.id, lease);
    }

    fn remove(&mut self, id: LeaseId) {
        let Some(lease) = self.kept.leases.remove(&id) else { return };
        self.due.remove(&(lease.due_at(), id));
        if let Some(own) = self.of_agents.get_mut(&lease.holder.agent) {
            own.remove(&id);
            if own.is_empty() {
                self.of_agents.remove(&lease.holder.agent);
            }
        }
        let left = self.of_upstreams.get(&lease.login.upstream).map_or(0, |logins| logins.saturating_sub(1));
        if left == 0 {
            self.of_upstreams.remove(&lease.login.upstream);
            self.forget_unused(lease.login.upstream);
        } else {
            self.of_upstreams.insert(lease.login.upstream, left);
        }
    }

    fn with(&mut self, id: LeaseId, change: impl FnOnce(&mut Lease)) {
        let Some(lease) = self.kept.leases.get_mut(&id) else { return };
        let before = lease.due_at();
        change(lease);
        let after = lease.due_at();
        self.due.remove(&(before, id));
        self.due.insert((after, id));
    }
}

impl From<StoredLeases> for Leases {
    fn from(mut kept: StoredLeases) -> Self {
        let leases = std::mem::take(&mut kept.leases);
        let mut whole = Self { kept, ..Self::default() };
        leases.into_values().for_each(|lease| whole.insert(lease));
        whole
    }
}

impl Serialize for Leases {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.kept.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Leases {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        StoredLeases::deserialize(from).map(Self::from)
    }
}

impl Lease {
    fn intended(intent: &LeaseIntent, at: At) -> Self {
        Self {
            id: intent.id,
            holder: intent.holder.clone(),
            capability: intent.capability.clone(),
            login: intent.login.clone(),
            issued: LeaseIssue { seq: at.seq, at: at.time },
            ends: intent.ends,
            uses: BTreeSet::from([intent.first_use]),
            stage: LeaseStage::Intended,
        }
    }

    fn retry(&mut self, now: Timestamp) {
        if let LeaseStage::Ending(Ending { trouble: Some(trouble), .. }) = &mut self.stage {
            trouble.retry_at = trouble.retry_at.min(now);
        }
    }

    /// The first reason stays the reason.
    fn end(&mut self, why: EndReason, since: Timestamp) {
        let digest = match &self.stage {
            LeaseStage::Ending(_) => return,
            LeaseStage::Intended => None,
            // The login works until upstream has revoked it.
            LeaseStage::Live { digest, .. } => Some(*digest),
        };
        self.stage = LeaseStage::Ending(Ending { why, since, failures: 0, trouble: None, digest });
    }
}
