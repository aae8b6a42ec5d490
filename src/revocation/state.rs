use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::base::limits::{LEEWAY_S, TOKEN_LIFE_MAX_S};
use crate::base::{AgentId, InstanceId, OperatorId, Timestamp, TokenId};
use crate::ledger::Kind;
use crate::store::{At, Event};

/// Somebody or something that credentials are issued under.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum Subject {
    /// An agent, with all its instances, tokens and enrolment codes.
    Agent(AgentId),
    /// One instance of an agent, with its certificate and tokens.
    Instance(InstanceId),
    /// One token.
    Token(TokenId),
    /// An operator, with all its certificates and enrolment codes.
    Operator(OperatorId),
}

impl Subject {
    /// The word for what it is.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Agent(_) => "agent",
            Self::Instance(_) => "instance",
            Self::Token(_) => "token",
            Self::Operator(_) => "operator",
        }
    }
}

/// A subject was revoked, suspended or resumed.
#[derive(Debug, Serialize)]
pub struct RevocationChanged<'a> {
    /// Who did: an operator's name, or (no name has a space) `its holder` for an agent's own token and
    /// `host uid N` for somebody on the broker's host.
    pub by: &'a str,
    /// `revoke`, `suspend` or `resume`.
    pub action: &'static str,
    /// `agent`, `instance`, `token` or `operator`.
    pub subject: &'static str,
    /// The agent's name, as far as it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The operator's name, when it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    /// The subject's id.
    pub id: String,
}

impl Event for RevocationChanged<'_> {
    const KIND: Kind = Kind(0x0601);
    const NAME: &'static str = "revocation.changed";
}

/// A state change of this room.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum Effect {
    /// Everything issued under the subject before this entry is dead. Never taken back.
    Kill(Subject),
    /// Nothing issued under the subject counts, until it is unblocked.
    Block(Subject),
    /// Ends a block. What was killed stays dead.
    Unblock(Subject),
}

impl Effect {
    /// Whether it takes something away: such an entry is anchored at once.
    #[must_use]
    pub const fn takes_away(&self) -> bool {
        match self {
            Self::Kill(_) | Self::Block(_) => true,
            Self::Unblock(_) => false,
        }
    }
}

/// What a revocation or suspension does when it cannot be recorded. There is no way to take one back
/// without a record.
#[derive(Clone, Copy, Debug)]
pub enum Denial {
    /// Everything issued under the subject so far is dead.
    Kill(Subject),
    /// Nothing issued under the subject counts.
    Block(Subject),
}

impl Denial {
    /// Of whom or what.
    #[must_use]
    pub const fn subject(&self) -> Subject {
        match self {
            Self::Kill(subject) | Self::Block(subject) => *subject,
        }
    }

    const fn count_in<'a>(&self, denied: &'a mut Unrecorded) -> &'a mut u32 {
        match self {
            Self::Kill(_) => &mut denied.kills,
            Self::Block(_) => &mut denied.blocks,
        }
    }
}

/// A revoked token is remembered until it would have ended by itself, with as much again to spare.
const TOKEN_MEMORY_S: i64 = 2 * (TOKEN_LIFE_MAX_S + LEEWAY_S);

#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
struct Mark {
    /// Sequence of the latest `Kill`; never lowered.
    dead_before: u64,
    blocked: bool,
}

/// Whether a credential still counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Liveness {
    /// It does.
    Live,
    /// It does not: one of the subjects it was issued under is revoked or suspended.
    Dead,
}

/// How many revocations and suspensions of a subject are in force whose entries are not durable yet.
#[derive(Clone, Copy, Debug, Default)]
struct Unrecorded {
    kills: u32,
    blocks: u32,
}

/// All marks, in memory.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Revocations {
    /// What is denied until its entry is durable. Never stored: a snapshot holds what entries say.
    #[serde(skip)]
    denied: HashMap<Subject, Unrecorded>,
    marks: HashMap<Subject, Mark>,
    /// Revoked tokens, oldest first: forgotten when no token of their time can hold any more.
    tokens: VecDeque<(Timestamp, TokenId)>,
    /// Tokens of entries before this one are dead: time went back, so that some could hold again that had expired.
    tokens_void_before: u64,
}

impl Revocations {
    /// Whether what entry `issued` issued under `subjects` still counts.
    #[must_use]
    pub fn judge(&self, issued: u64, subjects: &[Subject]) -> Liveness {
        // Regardless of the sequence: an entry of the subject may commit later in a group commit that hangs.
        if subjects.iter().any(|subject| self.is_unrecorded(subject)) {
            return Liveness::Dead;
        }
        let is_void = |subject| matches!(subject, &Subject::Token(_)) && issued < self.tokens_void_before;
        let dead = subjects.iter().any(|subject| {
            let mark = self.marks.get(subject);
            mark.is_some_and(|mark| mark.blocked || issued < mark.dead_before) || is_void(subject)
        });
        if dead { Liveness::Dead } else { Liveness::Live }
    }

    /// Whether what entry `issued` issued under `subjects` was revoked, for good.
    #[must_use]
    pub fn is_killed(&self, issued: u64, subjects: &[Subject]) -> bool {
        let unrecorded = |subject: &Subject| self.denied.get(subject).is_some_and(|denied| denied.kills > 0);
        let mut marks = subjects.iter().filter_map(|subject| self.marks.get(subject));
        marks.any(|mark| issued < mark.dead_before) || subjects.iter().any(unrecorded)
    }

    /// Whether a revocation or suspension of the subject is in force that is not durable yet.
    #[must_use]
    pub fn is_unrecorded(&self, subject: &Subject) -> bool {
        !self.denied.is_empty() && self.denied.contains_key(subject)
    }

    /// Whether the subject is suspended.
    #[must_use]
    pub fn is_blocked(&self, subject: &Subject) -> bool {
        self.marks.get(subject).is_some_and(|mark| mark.blocked)
            || self.denied.get(subject).is_some_and(|denied| denied.blocks > 0)
    }

    /// Takes in one effect.
    pub fn apply(&mut self, at: At, effect: &Effect) {
        self.forget_tokens(at.time);
        if let Effect::Kill(Subject::Token(token)) = effect {
            self.tokens.push_back((at.time, *token));
        }
        let (Effect::Kill(subject) | Effect::Block(subject) | Effect::Unblock(subject)) = effect;
        let mark = self.marks.entry(*subject).or_default();
        match effect {
            Effect::Kill(_) => mark.dead_before = mark.dead_before.max(at.seq),
            Effect::Block(_) => mark.blocked = true,
            Effect::Unblock(_) => mark.blocked = false,
        }
    }

    /// Takes in what no entry says yet: the subject is dead, whatever was or will be issued under it.
    pub fn deny(&mut self, denial: Denial) {
        let denied = self.denied.entry(denial.subject()).or_default();
        let count = denial.count_in(denied);
        *count = count.saturating_add(1);
    }

    /// Takes in that the entry of `denial` has been taken in: from now on its mark alone counts.
    pub fn recorded(&mut self, denial: Denial) {
        let subject = denial.subject();
        let Some(denied) = self.denied.get_mut(&subject) else { return };
        let count = denial.count_in(denied);
        *count = count.saturating_sub(1);
        if denied.kills == 0 && denied.blocks == 0 {
            self.denied.remove(&subject);
        }
    }

    /// Entry times go on from `at`, which is earlier than before: no token of before counts any more, whether it
    /// had expired, was revoked, or holds. They live for minutes, and agents mint anew.
    pub fn time_went_back(&mut self, at: At) {
        self.tokens_void_before = at.seq;
        for (_, token) in self.tokens.drain(..) {
            self.marks.remove(&Subject::Token(token));
        }
    }

    /// Whether an entry's time has ever been earlier than that of the one before it, because a clock was adopted.
    #[must_use]
    pub const fn has_time_gone_back(&self) -> bool {
        self.tokens_void_before > 0
    }

    fn forget_tokens(&mut self, now: Timestamp) {
        while let Some((revoked_at, token)) = self.tokens.front().copied() {
            if revoked_at.plus_s(TOKEN_MEMORY_S) > now {
                break;
            }
            self.tokens.pop_front();
            self.marks.remove(&Subject::Token(token));
        }
    }
}

/// The keys that decisions on this room's records rely on.
pub mod keys {
    use super::Subject;
    use crate::ledger::Key;

    /// Whether what was issued under this subject counts.
    #[must_use]
    pub fn subject(subject: Subject) -> Key {
        match subject {
            Subject::Agent(id) => Key::of_id("revocation-agent", id.as_bytes()),
            Subject::Instance(id) => Key::of_id("revocation-instance", id.as_bytes()),
            Subject::Token(id) => Key::of_id("revocation-token", id.as_bytes()),
            Subject::Operator(id) => Key::of_id("revocation-operator", id.as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SystemEntropy;

    const NOW: Timestamp = Timestamp::from_s(1_800_000_000);

    fn at(seq: u64) -> At {
        At { seq, time: NOW }
    }

    #[test]
    fn what_was_issued_before_a_kill_is_dead_and_what_comes_after_is_not() {
        let agent = Subject::Agent(AgentId::mint(NOW, &SystemEntropy));
        let mut revocations = Revocations::default();
        assert_eq!(revocations.judge(5, &[agent]), Liveness::Live);
        revocations.apply(at(10), &Effect::Kill(agent));
        assert_eq!(revocations.judge(9, &[agent]), Liveness::Dead);
        assert_eq!(revocations.judge(11, &[agent]), Liveness::Live);
    }

    #[test]
    fn a_block_ends_and_a_kill_does_not() {
        let agent = Subject::Agent(AgentId::mint(NOW, &SystemEntropy));
        let mut revocations = Revocations::default();
        revocations.apply(at(1), &Effect::Kill(agent));
        revocations.apply(at(2), &Effect::Block(agent));
        assert_eq!(revocations.judge(3, &[agent]), Liveness::Dead);
        revocations.apply(at(4), &Effect::Unblock(agent));
        assert_eq!(
            (revocations.judge(3, &[agent]), revocations.judge(0, &[agent])),
            (Liveness::Live, Liveness::Dead)
        );
        assert_eq!((revocations.is_killed(3, &[agent]), revocations.is_killed(0, &[agent])), (false, true));
    }

    #[test]
    fn a_forgotten_token_stays_dead_when_time_goes_back() {
        let token = Subject::Token(TokenId::mint(NOW, &SystemEntropy));
        let other = Subject::Token(TokenId::mint(NOW, &SystemEntropy));
        let mut revocations = Revocations::default();
        revocations.apply(at(5), &Effect::Kill(token));
        let wrong = NOW.plus_s(10 * 365 * 86_400);
        revocations.apply(At { seq: 7, time: wrong }, &Effect::Kill(other));
        assert_eq!(revocations.judge(4, &[token]), Liveness::Live, "forgotten: it has ended by itself");
        revocations.time_went_back(at(9));
        assert_eq!(revocations.judge(4, &[token]), Liveness::Dead);
        assert_eq!(revocations.judge(9, &[token]), Liveness::Live);
        assert!(revocations.marks.is_empty());
    }

    #[test]
    fn an_expired_token_stays_dead_however_little_time_goes_back() {
        let token = Subject::Token(TokenId::mint(NOW, &SystemEntropy));
        let mut revocations = Revocations::default();
        revocations.time_went_back(At { seq: 9, time: NOW.plus_s(-6) });
        assert!(revocations.has_time_gone_back() && !Revocations::default().has_time_gone_back());
        assert_eq!(revocations.judge(8, &[token]), Liveness::Dead);
        assert_eq!(revocations.judge(9, &[token]), Liveness::Live);
    }

    #[test]
    fn a_revoked_token_is_forgotten_once_it_has_ended_by_itself() {
        let token = TokenId::mint(NOW, &SystemEntropy);
        let mut revocations = Revocations::default();
        revocations.apply(at(5), &Effect::Kill(Subject::Token(token)));
        assert_eq!(revocations.judge(4, &[Subject::Token(token)]), Liveness::Dead);
        let later = At { seq: 6, time: NOW.plus_s(TOKEN_MEMORY_S) };
        revocations.apply(later, &Effect::Kill(Subject::Token(TokenId::mint(NOW, &SystemEntropy))));
        assert_eq!(revocations.marks.len(), 1);
    }

    #[test]
    fn an_unrecorded_kill_blocks_every_sequence_until_it_is_recorded() {
        let agent = Subject::Agent(AgentId::mint(NOW, &SystemEntropy));
        let mut revocations = Revocations::default();
        revocations.deny(Denial::Kill(agent));
        revocations.deny(Denial::Block(agent));
        assert_eq!(revocations.judge(u64::MAX, &[agent]), Liveness::Dead, "whatever commits later");
        assert!(revocations.is_killed(u64::MAX, &[agent]) && revocations.is_blocked(&agent));
        revocations.apply(at(10), &Effect::Kill(agent));
        revocations.recorded(Denial::Kill(agent));
        assert_eq!(revocations.judge(11, &[agent]), Liveness::Dead, "the suspension is not recorded yet");
        assert!(!revocations.is_killed(11, &[agent]));
        revocations.recorded(Denial::Block(agent));
        revocations.recorded(Denial::Block(agent));
        assert_eq!(revocations.judge(9, &[agent]), Liveness::Dead);
        assert_eq!(revocations.judge(11, &[agent]), Liveness::Live);
        assert!(!revocations.is_unrecorded(&agent));
    }

    #[test]
    fn one_dead_subject_is_enough() {
        let agent = Subject::Agent(AgentId::mint(NOW, &SystemEntropy));
        let instance = Subject::Instance(InstanceId::mint(NOW, &SystemEntropy));
        let mut revocations = Revocations::default();
        revocations.apply(at(7), &Effect::Kill(instance));
        assert_eq!(revocations.judge(5, &[agent, instance]), Liveness::Dead);
        assert_eq!(revocations.judge(5, &[agent]), Liveness::Live);
    }
}
