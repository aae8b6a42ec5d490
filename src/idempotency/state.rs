use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::keys;
use super::request::IdempotencyKey;
use crate::base::limits::{
    OPERATOR_OUTCOMES_MAX, OUTCOMES_MAX, OUTCOMES_PER_AGENT_MAX, OUTCOMES_PER_CALLER_MAX,
};
use crate::base::{Audience, CapabilityName, CodeId, DecisionId, LeaseId, Timestamp, TokenId};
use crate::crypto::Digest;
use crate::ledger::Key;
use crate::store::At;

/// The outcome of a request. Never a secret.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Outcome {
    /// The outcome in the entry.
    Recorded,
    /// It stored this version of a secret.
    Stored(u32),
    /// It made this enrolment code, whose secret was in the first answer and nowhere else.
    Invited(CodeId),
    /// It issued this token.
    Minted(MintedBefore),
    /// It issued this login.
    Lent(LeaseId),
}

/// A token that was minted: what its claims are made of, besides its holder's certificate.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct MintedBefore {
    /// Its id.
    pub token: TokenId,
    /// The decision that allowed it.
    pub decision: DecisionId,
    /// The capabilities, with `read` or `write`.
    pub capabilities: Vec<(CapabilityName, String)>,
    /// The audience.
    pub audience: Audience,
    /// The life, in seconds.
    pub life_s: u32,
    /// The parts of the request that were not granted, in words.
    pub constrained: Vec<String>,
}

/// A state change of this room.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum Effect {
    /// The entry did what a request with a key asked for.
    Remember {
        /// The caller.
        caller: Digest,
        /// The caller's key, on its route.
        slot: Digest,
        /// The request.
        request: Digest,
        /// The time for which it is remembered, in seconds.
        life_s: u32,
        /// The outcome.
        outcome: Outcome,
    },
}

impl Effect {
    /// Adds what it advances: a decision that relied on one of these keys before is made again.
    pub fn advances(&self, keys: &mut Vec<Key>) {
        match self {
            Self::Remember { slot, .. } => keys.push(keys::slot(slot)),
        }
    }

    /// Whether it takes something away: such an entry is anchored at once.
    #[must_use]
    pub const fn takes_away(&self) -> bool {
        match self {
            Self::Remember { .. } => false,
        }
    }

    /// Remembers for `life_s` seconds that the request of `idempotency` had this outcome.
    #[must_use]
    pub const fn remember(idempotency: &IdempotencyKey, life_s: u32, outcome: Outcome) -> Self {
        let IdempotencyKey { caller, slot, request, .. } = *idempotency;
        Self::Remember { caller, slot, request, life_s, outcome }
    }
}

/// An outcome, and the entry that has it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Remembered {
    /// The entry's sequence.
    pub seq: u64,
    /// Its time.
    pub time: Timestamp,
    /// The outcome.
    pub outcome: Outcome,
}

/// Whether a request has come before.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Lookup {
    /// Not that anybody remembers.
    New,
    /// It was carried out with this outcome.
    Same(Remembered),
    /// Its key came with another request.
    Different,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct OutcomeSlot {
    caller: Digest,
    request: Digest,
    until: Timestamp,
    remembered: Remembered,
}

/// The outcomes that are remembered, in memory: so many of one caller, and so many in all, those of agents apart from
/// those of operators and of the host, so that no agent pushes out what an operator did.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Outcomes {
    slots: HashMap<Digest, OutcomeSlot>,
    agents: Pool,
    operators: Pool,
}

/// Outcomes that have a limit together; what is over goes first, then the oldest.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Pool {
    order: BTreeMap<u64, Digest>,
    ends: BTreeSet<(Timestamp, u64)>,
    by_caller: HashMap<Digest, VecDeque<u64>>,
}

/// What a pool holds: of one caller, and in all.
struct Limits {
    per_caller: usize,
    all: usize,
}

const OF_AGENTS: Limits = Limits { per_caller: OUTCOMES_PER_AGENT_MAX, all: OUTCOMES_MAX };
const OF_OPERATORS: Limits = Limits { per_caller: OUTCOMES_PER_CALLER_MAX, all: OPERATOR_OUTCOMES_MAX };

impl Outcome {
    /// Whether an agent asked for it, and not an operator or the host.
    const fn is_of_agent(&self) -> bool {
        match self {
            Self::Minted(_) | Self::Lent(_) => true,
            Self::Recorded | Self::Stored(_) | Self::Invited(_) => false,
        }
    }
}

impl Outcomes {
    /// Whether the request of `idempotency` has come before.
    #[must_use]
    pub fn look_up(&self, idempotency: &IdempotencyKey, now: Timestamp) -> Lookup {
        match self.slots.get(&idempotency.slot) {
            Some(slot) if slot.until > now && slot.request == idempotency.request => {
                Lookup::Same(slot.remembered.clone())
            }
            Some(slot) if slot.until > now => Lookup::Different,
            Some(_) | None => Lookup::New,
        }
    }

    /// Applies an effect.
    pub fn apply(&mut self, at: At, effect: &Effect) {
        let Effect::Remember { caller, slot, request, life_s, outcome } = effect;
        self.forget(slot);
        let is_of_agent = outcome.is_of_agent();
        let limits = if is_of_agent { OF_AGENTS } else { OF_OPERATORS };
        while let Some(surplus) = self.pool(is_of_agent).surplus(caller, at.time, &limits) {
            self.forget(&surplus);
        }
        let remembered = Remembered { seq: at.seq, time: at.time, outcome: outcome.clone() };
        let until = at.time.plus_s(i64::from(*life_s));
        self.slots.insert(*slot, OutcomeSlot { caller: *caller, request: *request, until, remembered });
        let pool = self.pool(is_of_agent);
        pool.order.insert(at.seq, *slot);
        pool.ends.insert((until, at.seq));
        pool.by_caller.entry(*caller).or_default().push_back(at.seq);
    }

    /// Entry times go on from before `was`. What was over by then stays forgotten, and so does every token that was
    /// minted: it is void, and the same request mints another.
    pub fn time_went_back(&mut self, was: Timestamp) {
        let is_over =
            |slot: &OutcomeSlot| slot.until <= was || matches!(slot.remembered.outcome, Outcome::Minted(_));
        let over = self.slots.iter().filter(|one| is_over(one.1)).map(|one| *one.0);
        for slot in over.collect::<Vec<_>>() {
            self.forget(&slot);
        }
    }

    const fn pool(&mut self, is_of_agent: bool) -> &mut Pool {
        if is_of_agent { &mut self.agents } else { &mut self.operators }
    }

    fn forget(&mut self, slot: &Digest) {
        let Some(forgotten) = self.slots.remove(slot) else { return };
        let seq = forgotten.remembered.seq;
        let pool = self.pool(forgotten.remembered.outcome.is_of_agent());
        pool.order.remove(&seq);
        pool.ends.remove(&(forgotten.until, seq));
        if let Some(mine) = pool.by_caller.get_mut(&forgotten.caller) {
            mine.retain(|one| *one != seq);
            if mine.is_empty() {
                pool.by_caller.remove(&forgotten.caller);
            }
        }
    }
}

impl Pool {
    /// One that has to go before `caller` has another one.
    fn surplus(&self, caller: &Digest, now: Timestamp, limits: &Limits) -> Option<Digest> {
        let over = self.ends.first().filter(|(until, _)| *until <= now).map(|(_, seq)| *seq);
        let mine =
            || self.by_caller.get(caller).filter(|all| all.len() >= limits.per_caller)?.front().copied();
        let oldest =
            || self.order.first_key_value().filter(|_| self.order.len() >= limits.all).map(|one| *one.0);
        let seq = over.or_else(mine).or_else(oldest)?;
        self.order.get(&seq).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Sensitive;
    use crate::base::limits::OUTCOME_LIFE_S;
    use crate::crypto::MacKey;
    use crate::idempotency::{IdempotencyCaller, IdempotentRequest};

    const NOW: Timestamp = Timestamp::from_s(1_800_000_000);
    const LIFE_S: i64 = OUTCOME_LIFE_S as i64;

    fn idempotency(caller: &str, key: &str, body: &[u8]) -> IdempotencyKey {
        let request = IdempotentRequest { key, route: "POST /v1/apply", target: "/v1/apply", body };
        IdempotencyKey::of(
            IdempotencyCaller::named(caller),
            &request,
            &MacKey::new(&Sensitive::new([7; 32])),
            &[],
        )
    }

    fn remember(outcomes: &mut Outcomes, seq: u64, idempotency: &IdempotencyKey) {
        outcomes
            .apply(At { seq, time: NOW }, &Effect::remember(idempotency, OUTCOME_LIFE_S, Outcome::Recorded));
    }

    fn is_known(outcomes: &Outcomes, idempotency: &IdempotencyKey, now: Timestamp) -> bool {
        matches!(outcomes.look_up(idempotency, now), Lookup::Same(_))
    }

    /// Invariant I12.
    #[test]
    fn a_request_is_known_again_under_the_digest_key_before_the_newest() {
        let request =
            IdempotentRequest { key: "k", route: "POST /v1/apply", target: "/v1/apply", body: b"body" };
        let key = |byte| MacKey::new(&Sensitive::new([byte; 32]));
        let mut outcomes = Outcomes::default();
        remember(
            &mut outcomes,
            1,
            &IdempotencyKey::of(IdempotencyCaller::named("a"), &request, &key(7), &[]),
        );
        let known = |idempotency: &IdempotencyKey| {
            idempotency.under_each_key().any(|idempotency| is_known(&outcomes, idempotency, NOW))
        };
        assert!(known(&IdempotencyKey::of(
            IdempotencyCaller::named("a"),
            &request,
            &key(9),
            &[key(8), key(7)]
        )));
        assert!(!known(&IdempotencyKey::of(IdempotencyCaller::named("a"), &request, &key(9), &[key(8)])));
        assert!(!known(&IdempotencyKey::of(IdempotencyCaller::named("b"), &request, &key(9), &[key(7)])));
    }

    /// Invariant I12.
    #[test]
    fn a_request_is_replayed_until_it_expires_and_a_changed_one_refused() {
        let mut outcomes = Outcomes::default();
        let mine = idempotency("a", "k", b"body");
        assert_eq!(outcomes.look_up(&mine, NOW), Lookup::New);
        remember(&mut outcomes, 5, &mine);
        let same = Remembered { seq: 5, time: NOW, outcome: Outcome::Recorded };
        assert_eq!(outcomes.look_up(&mine, NOW.plus_s(LIFE_S - 1)), Lookup::Same(same));
        assert_eq!(outcomes.look_up(&idempotency("a", "k", b"other"), NOW), Lookup::Different);
        assert_eq!(outcomes.look_up(&idempotency("b", "k", b"body"), NOW), Lookup::New, "another caller");
        assert_eq!(outcomes.look_up(&idempotency("a", "k2", b"body"), NOW), Lookup::New, "another key");
        assert_eq!(outcomes.look_up(&mine, NOW.plus_s(LIFE_S)), Lookup::New, "its time is over");
    }

    #[test]
    fn what_was_over_stays_forgotten_when_time_goes_back() {
        let mut outcomes = Outcomes::default();
        let (over, fresh) = (idempotency("a", "k", b""), idempotency("a", "k2", b""));
        remember(&mut outcomes, 1, &over);
        let was = NOW.plus_s(LIFE_S);
        outcomes
            .apply(At { seq: 2, time: was }, &Effect::remember(&fresh, OUTCOME_LIFE_S, Outcome::Recorded));
        remember(&mut outcomes, 3, &over);
        outcomes.time_went_back(was);
        assert!(!is_known(&outcomes, &over, NOW) && is_known(&outcomes, &fresh, NOW));
    }

    #[test]
    fn one_caller_pushes_out_its_own_oldest_and_nobody_else_s() {
        let mut outcomes = Outcomes::default();
        let other = idempotency("b", "k", b"");
        remember(&mut outcomes, 1, &other);
        let all: Vec<IdempotencyKey> =
            (0..=OUTCOMES_PER_CALLER_MAX).map(|i| idempotency("a", &format!("k{i}"), b"")).collect();
        for (seq, one) in (2..).zip(&all[..OUTCOMES_PER_CALLER_MAX]) {
            remember(&mut outcomes, seq, one);
        }
        assert!(is_known(&outcomes, &all[0], NOW), "at the limit");
        remember(&mut outcomes, 1000, &all[OUTCOMES_PER_CALLER_MAX]);
        assert!(!is_known(&outcomes, &all[0], NOW), "one beyond it");
        assert!(is_known(&outcomes, &all[1], NOW) && is_known(&outcomes, &other, NOW));
    }

    /// An outcome of an agent, whichever certificate it shows.
    fn lent(outcomes: &mut Outcomes, seq: u64, life_s: u32, idempotency: &IdempotencyKey) {
        let lease = LeaseId::mint(NOW, &crate::base::SystemEntropy);
        outcomes.apply(At { seq, time: NOW }, &Effect::remember(idempotency, life_s, Outcome::Lent(lease)));
    }

    fn once_of_agent(agent: &str, certificate: usize, key: &str) -> IdempotencyKey {
        let request = IdempotentRequest { key, route: "POST /v1/leases", target: "/v1/leases", body: b"" };
        let caller = IdempotencyCaller { identity: agent, credential: &format!("certificate {certificate}") };
        IdempotencyKey::of(caller, &request, &MacKey::new(&Sensitive::new([7; 32])), &[])
    }

    #[test]
    fn all_operators_together_push_out_the_oldest() {
        let mut outcomes = Outcomes::default();
        let nth = |i: usize| idempotency(&format!("a{i}"), "k", b"");
        for i in 0..OPERATOR_OUTCOMES_MAX {
            remember(&mut outcomes, i as u64 + 1, &nth(i));
        }
        assert!(is_known(&outcomes, &nth(0), NOW), "at the limit");
        remember(&mut outcomes, OPERATOR_OUTCOMES_MAX as u64 + 1, &nth(OPERATOR_OUTCOMES_MAX));
        assert!(!is_known(&outcomes, &nth(0), NOW), "one beyond it");
        assert!(is_known(&outcomes, &nth(1), NOW));
        outcomes.apply(
            At { seq: 1 << 40, time: NOW.plus_s(LIFE_S) },
            &Effect::remember(&nth(0), 60, Outcome::Recorded),
        );
        assert_eq!((outcomes.slots.len(), outcomes.operators.by_caller.len()), (1, 1), "what is over goes");
    }

    #[test]
    fn an_agent_pushes_out_its_own_whatever_certificates_it_shows() {
        let mut outcomes = Outcomes::default();
        let (operator, other) = (idempotency("operator", "k", b""), once_of_agent("b", usize::MAX, "k"));
        remember(&mut outcomes, 1, &operator);
        lent(&mut outcomes, 2, OUTCOME_LIFE_S, &other);
        let nth = |i: usize| once_of_agent("a", i, "k");
        for i in 0..OUTCOMES_PER_AGENT_MAX {
            lent(&mut outcomes, i as u64 + 3, OUTCOME_LIFE_S, &nth(i));
        }
        assert!(is_known(&outcomes, &nth(0), NOW), "at the limit");
        lent(&mut outcomes, 1 << 40, OUTCOME_LIFE_S, &nth(OUTCOMES_PER_AGENT_MAX));
        assert!(!is_known(&outcomes, &nth(0), NOW), "one beyond it");
        assert!(is_known(&outcomes, &nth(1), NOW) && is_known(&outcomes, &other, NOW));
        assert!(is_known(&outcomes, &operator, NOW));
    }

    #[test]
    fn agents_together_push_out_no_operator_s() {
        let mut outcomes = Outcomes::default();
        let operator = idempotency("operator", "k", b"");
        remember(&mut outcomes, 1, &operator);
        let nth = |i: usize| once_of_agent(&format!("a{}", i / OUTCOMES_PER_AGENT_MAX), i, "k");
        for i in 0..=OUTCOMES_MAX {
            lent(&mut outcomes, i as u64 + 2, OUTCOME_LIFE_S, &nth(i));
        }
        assert!(!is_known(&outcomes, &nth(0), NOW) && is_known(&outcomes, &nth(1), NOW));
        assert!(is_known(&outcomes, &operator, NOW));
    }

    #[test]
    fn what_is_over_goes_before_what_is_not() {
        let mut outcomes = Outcomes::default();
        let (long, short) = (once_of_agent("a", 0, "long"), once_of_agent("a", 0, "short"));
        lent(&mut outcomes, 1, OUTCOME_LIFE_S, &long);
        lent(&mut outcomes, 2, 60, &short);
        let later = At { seq: 3, time: NOW.plus_s(60) };
        let outcome = outcomes.slots[&long.slot].remembered.outcome.clone();
        outcomes.apply(later, &Effect::remember(&once_of_agent("a", 0, "new"), 60, outcome));
        assert_eq!(outcomes.agents.order.len(), 2);
        assert!(is_known(&outcomes, &long, later.time));
    }
}
