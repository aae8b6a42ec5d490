use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::containment::Containment;
use super::denial::Denial;
use super::denied_codes::DeniedCodes;
use super::effect::Effect;
use super::judged::{CredentialForm, Judged};
use super::mark::{SubjectMark, UnrecordedMarks};
use super::subject::Subject;
use crate::base::limits::{LEEWAY_S, TOKEN_LIFE_MAX_S};
use crate::base::{IncidentId, Network, OperatorEnrolment, Reason, Timestamp, TokenId};
use crate::store::At;

/// A revoked token is remembered until it would have ended by itself, with as much again to spare.
const TOKEN_MEMORY_S: i64 = 2 * (TOKEN_LIFE_MAX_S + LEEWAY_S);

/// The result of the marks of a credential's subjects.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Liveness {
    /// Nothing against it.
    Live,
    /// A subject that it was issued under is suspended.
    Suspended,
    /// A subject that it was issued under was revoked since.
    Revoked,
}

/// All marks, in memory.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Revocations {
    /// Denials until their entries are durable. Never stored: a snapshot contains only recorded state.
    #[serde(skip)]
    denied: HashMap<Subject, UnrecordedMarks>,
    /// Enrolment codes that ended in memory.
    #[serde(skip)]
    pub codes: DeniedCodes,
    marks: HashMap<Subject, SubjectMark>,
    /// The networks that have marks: an address is looked for in each of them.
    networks: Vec<Network>,
    /// The subjects of each incident whose containments are recorded and not lifted.
    contained: BTreeMap<IncidentId, Vec<Subject>>,
    /// Revoked tokens, oldest first: forgotten when no token of their time can hold any more.
    tokens: VecDeque<(Timestamp, TokenId)>,
    /// Tokens of entries before this one are dead: time went back, so that some could hold again that had expired.
    tokens_void_before: u64,
}

impl Revocations {
    /// What the marks say of a credential. Asked by `authn::live` alone, which knows the subjects.
    #[must_use]
    pub fn judge(&self, credential: &Judged<'_>) -> Liveness {
        let Judged { subjects, addresses, .. } = credential;
        let networks =
            self.networks.iter().filter(|one| addresses.iter().any(|address| one.contains(*address)));
        let networks = networks.map(|network| self.of(credential, &Subject::Network(*network)));
        let subjects = subjects.iter().map(|subject| self.of(credential, subject));
        subjects.chain(networks).max().unwrap_or(Liveness::Live)
    }

    fn of(&self, credential: &Judged<'_>, subject: &Subject) -> Liveness {
        let Judged { issued, form, .. } = credential;
        let denied = self.denied.get(subject);
        let mark = self.marks.get(subject);
        let is_void = matches!(subject, Subject::Token(_)) && *issued < self.tokens_void_before;
        // An unrecorded revocation counts regardless of the sequence: an entry of the subject may commit later in a
        // group commit that hangs.
        let is_dead = denied.is_some_and(|denied| denied.kills(form))
            || mark.is_some_and(|mark| *issued < mark.dead_before)
            || is_void;
        let counts = *form == CredentialForm::Issued || subject.ends_certificates();
        if is_dead && counts {
            Liveness::Revoked
        } else if denied.is_some_and(|denied| denied.blocks(form))
            || mark.is_some_and(|mark| mark.blocks(form))
        {
            Liveness::Suspended
        } else {
            Liveness::Live
        }
    }

    /// What was issued under the subject before this entry is revoked for good; 0 if nothing is.
    #[must_use]
    pub fn dead_before(&self, subject: &Subject) -> u64 {
        self.marks.get(subject).map_or(0, |mark| mark.dead_before)
    }

    /// Whether a revocation or suspension of the subject is in force that is not durable yet.
    #[must_use]
    pub fn is_unrecorded(&self, subject: &Subject) -> bool {
        !self.denied.is_empty() && self.denied.contains_key(subject)
    }

    /// Whether the subject is suspended or contained.
    #[must_use]
    pub fn is_blocked(&self, subject: &Subject) -> bool {
        self.marks.get(subject).is_some_and(SubjectMark::is_blocked)
            || self.denied.get(subject).is_some_and(UnrecordedMarks::is_blocked)
    }

    /// Whether a contained network has the address.
    #[must_use]
    pub fn is_network_contained(&self, address: IpAddr) -> bool {
        let around = self.networks.iter().filter(|network| network.contains(address));
        around.map(|network| Subject::Network(*network)).any(|network| self.is_blocked(&network))
    }

    /// Whether a network is contained.
    #[must_use]
    pub fn has_contained_network(&self) -> bool {
        self.networks.iter().any(|network| self.is_blocked(&Subject::Network(*network)))
    }

    /// The incident whose containment of the subject, with this spared operator, is in force and not recorded yet.
    #[must_use]
    pub fn unrecorded_containment(
        &self,
        subject: &Subject,
        spared: Option<OperatorEnrolment>,
    ) -> Option<IncidentId> {
        self.denied.get(subject)?.containment_sparing(spared)
    }

    /// Whether a containment like this one is recorded and in force, and nothing else about its subject is unrecorded.
    #[must_use]
    pub fn has_containment(&self, containment: &Containment) -> bool {
        let subject = &containment.subject;
        !self.is_unrecorded(subject)
            && self.marks.get(subject).is_some_and(|mark| mark.has_containment(containment))
    }

    /// The incidents that contain the subject.
    #[must_use]
    pub fn containing(&self, subject: &Subject) -> Vec<IncidentId> {
        let recorded = self.marks.get(subject).into_iter().flat_map(SubjectMark::incidents);
        let unrecorded = self.denied.get(subject).into_iter().flat_map(UnrecordedMarks::incidents);
        let mut all: Vec<IncidentId> = recorded.chain(unrecorded).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The incidents whose containment refuses a credential, in ascending order.
    #[must_use]
    pub fn incidents_against(&self, credential: &Judged<'_>) -> Vec<IncidentId> {
        let form = &credential.form;
        let mut found = Vec::new();
        for subject in self.subjects_of(credential) {
            found.extend(self.marks.get(&subject).into_iter().flat_map(|mark| mark.incidents_against(form)));
            let denied = self.denied.get(&subject);
            found.extend(denied.into_iter().flat_map(|marks| marks.incidents_against(form)));
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The subjects whose suspension or containment refuses a credential, each once.
    #[must_use]
    pub fn blocking(&self, credential: &Judged<'_>) -> Vec<Subject> {
        let form = &credential.form;
        let mut found = Vec::new();
        for subject in self.subjects_of(credential) {
            let is_marked = self.marks.get(&subject).is_some_and(|mark| mark.blocks(form));
            let is_denied = self.denied.get(&subject).is_some_and(|denied| denied.blocks(form));
            if (is_marked || is_denied) && !found.contains(&subject) {
                found.push(subject);
            }
        }
        found
    }

    /// The subjects of a credential, with the networks that have marks and contain one of its addresses.
    fn subjects_of(&self, credential: &Judged<'_>) -> impl Iterator<Item = Subject> {
        let Judged { subjects, addresses, .. } = *credential;
        let is_around = move |network: &&Network| addresses.iter().any(|address| network.contains(*address));
        let networks = self.networks.iter().filter(is_around).map(|network| Subject::Network(*network));
        subjects.iter().cloned().chain(networks)
    }

    /// The subjects that the incident contains, whose containments are recorded and not lifted.
    #[must_use]
    pub fn contained_by(&self, incident: IncidentId) -> &[Subject] {
        self.contained.get(&incident).map_or(&[], Vec::as_slice)
    }

    /// Why the subject was revoked or suspended last, where the operator said it.
    #[must_use]
    pub fn reason(&self, subject: &Subject) -> Option<&Reason> {
        self.marks.get(subject)?.reason.as_ref()
    }

    /// Applies an effect.
    pub fn apply(&mut self, at: At, effect: &Effect) {
        self.forget_tokens(at.time);
        if let Effect::Kill(Subject::Token(token)) = effect {
            self.tokens.push_back((at.time, *token));
        }
        let subject = effect.subject();
        self.take_network(subject);
        match effect {
            Effect::Contain(Containment { incident, .. }) => {
                let contained = self.contained.entry(*incident).or_default();
                if !contained.contains(subject) {
                    contained.push(subject.clone());
                }
            }
            Effect::Lift { incident, .. } => self.forget_containment(*incident, subject),
            Effect::Kill(_) | Effect::Block(_) | Effect::Unblock(_) | Effect::Explain { .. } => {}
        }
        let mark = self.marks.entry(subject.clone()).or_default();
        match effect {
            Effect::Kill(_) => (mark.dead_before, mark.reason) = (mark.dead_before.max(at.seq), None),
            Effect::Block(_) => (mark.suspended, mark.reason) = (true, None),
            Effect::Unblock(_) => mark.resume(at.seq),
            Effect::Contain(containment) => mark.contain(containment, at.seq),
            Effect::Lift { incident, .. } => mark.lift(*incident),
            // It stands beside the effect that it is the reason of.
            Effect::Explain { reason, .. } => mark.reason = Some(reason.clone()),
        }
    }

    /// Takes in what no entry says yet: every credential of the subject is invalid, earlier and later ones.
    pub fn deny(&mut self, denial: &Denial) {
        self.take_network(denial.subject());
        self.denied.entry(denial.subject().clone()).or_default().add(denial);
    }

    /// Takes in that the entry of `denial` has been taken in: from now on its mark alone counts.
    pub fn recorded(&mut self, denial: &Denial) {
        let subject = denial.subject();
        let Some(denied) = self.denied.get_mut(subject) else { return };
        denied.remove(denial);
        if denied.is_empty() {
            self.denied.remove(subject);
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

    fn forget_containment(&mut self, incident: IncidentId, subject: &Subject) {
        if let Some(contained) = self.contained.get_mut(&incident) {
            contained.retain(|one| one != subject);
            if contained.is_empty() {
                self.contained.remove(&incident);
            }
        }
    }

    fn take_network(&mut self, subject: &Subject) {
        if let Subject::Network(network) = subject
            && !self.networks.contains(network)
        {
            self.networks.push(*network);
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{AgentId, InstanceId, SystemEntropy};

    const NOW: Timestamp = Timestamp::from_s(1_800_000_000);

    fn at(seq: u64) -> At {
        At { seq, time: NOW }
    }

    /// The judgement of a token, code or lease.
    fn judge(revocations: &Revocations, issued: u64, subjects: &[Subject], addresses: &[IpAddr]) -> Liveness {
        revocations.judge(&Judged { issued, subjects, addresses, form: CredentialForm::Issued })
    }

    #[test]
    fn what_was_issued_before_a_kill_is_dead_and_what_comes_after_is_not() {
        let agent = Subject::Agent(AgentId::mint(NOW, &SystemEntropy));
        let mut revocations = Revocations::default();
        assert_eq!(judge(&revocations, 5, std::slice::from_ref(&agent), &[]), Liveness::Live);
        revocations.apply(at(10), &Effect::Kill(agent.clone()));
        assert_eq!(judge(&revocations, 9, std::slice::from_ref(&agent), &[]), Liveness::Revoked);
        assert_eq!(judge(&revocations, 11, std::slice::from_ref(&agent), &[]), Liveness::Live);
    }

    #[test]
    fn a_block_ends_and_a_kill_does_not() {
        let agent = Subject::Agent(AgentId::mint(NOW, &SystemEntropy));
        let mut revocations = Revocations::default();
        revocations.apply(at(1), &Effect::Kill(agent.clone()));
        revocations.apply(at(2), &Effect::Block(agent.clone()));
        assert_eq!(judge(&revocations, 3, std::slice::from_ref(&agent), &[]), Liveness::Suspended);
        revocations.apply(at(4), &Effect::Unblock(agent.clone()));
        assert_eq!(
            (
                judge(&revocations, 3, std::slice::from_ref(&agent), &[]),
                judge(&revocations, 0, std::slice::from_ref(&agent), &[])
            ),
            (Liveness::Live, Liveness::Revoked)
        );
    }

    #[test]
    fn the_reason_of_a_mark_goes_with_it() {
        let agent = Subject::Agent(AgentId::mint(NOW, &SystemEntropy));
        let mut revocations = Revocations::default();
        let reason: Reason = "laptop stolen".parse().unwrap();
        revocations.apply(at(1), &Effect::Block(agent.clone()));
        revocations.apply(at(1), &Effect::Explain { subject: agent.clone(), reason: reason.clone() });
        assert_eq!(revocations.reason(&agent), Some(&reason));
        revocations.apply(at(2), &Effect::Unblock(agent.clone()));
        assert_eq!(revocations.reason(&agent), None);
    }

    #[test]
    fn a_forgotten_token_stays_dead_when_time_goes_back() {
        let token = Subject::Token(TokenId::mint(NOW, &SystemEntropy));
        let other = Subject::Token(TokenId::mint(NOW, &SystemEntropy));
        let mut revocations = Revocations::default();
        revocations.apply(at(5), &Effect::Kill(token.clone()));
        let wrong = NOW.plus_s(10 * 365 * 86_400);
        revocations.apply(At { seq: 7, time: wrong }, &Effect::Kill(other));
        assert_eq!(
            judge(&revocations, 4, std::slice::from_ref(&token), &[]),
            Liveness::Live,
            "forgotten: it has ended by itself"
        );
        revocations.time_went_back(at(9));
        assert_eq!(judge(&revocations, 4, std::slice::from_ref(&token), &[]), Liveness::Revoked);
        assert_eq!(judge(&revocations, 9, std::slice::from_ref(&token), &[]), Liveness::Live);
        assert!(revocations.marks.is_empty());
    }

    #[test]
    fn an_expired_token_stays_dead_however_little_time_goes_back() {
        let token = Subject::Token(TokenId::mint(NOW, &SystemEntropy));
        let mut revocations = Revocations::default();
        revocations.time_went_back(At { seq: 9, time: NOW.plus_s(-6) });
        assert!(revocations.has_time_gone_back() && !Revocations::default().has_time_gone_back());
        assert_eq!(judge(&revocations, 8, std::slice::from_ref(&token), &[]), Liveness::Revoked);
        assert_eq!(judge(&revocations, 9, std::slice::from_ref(&token), &[]), Liveness::Live);
    }

    #[test]
    fn a_revoked_token_is_forgotten_once_it_has_ended_by_itself() {
        let token = TokenId::mint(NOW, &SystemEntropy);
        let mut revocations = Revocations::default();
        revocations.apply(at(5), &Effect::Kill(Subject::Token(token)));
        assert_eq!(judge(&revocations, 4, &[Subject::Token(token)], &[]), Liveness::Revoked);
        let later = At { seq: 6, time: NOW.plus_s(TOKEN_MEMORY_S) };
        revocations.apply(later, &Effect::Kill(Subject::Token(TokenId::mint(NOW, &SystemEntropy))));
        assert_eq!(revocations.marks.len(), 1);
    }

    #[test]
    fn an_unrecorded_kill_blocks_every_sequence_until_it_is_recorded() {
        let agent = Subject::Agent(AgentId::mint(NOW, &SystemEntropy));
        let mut revocations = Revocations::default();
        revocations.deny(&Denial::Kill(agent.clone()));
        revocations.deny(&Denial::Block(agent.clone()));
        assert_eq!(
            judge(&revocations, u64::MAX, std::slice::from_ref(&agent), &[]),
            Liveness::Revoked,
            "also for entries that commit later"
        );
        assert!(revocations.is_blocked(&agent));
        revocations.apply(at(10), &Effect::Kill(agent.clone()));
        revocations.recorded(&Denial::Kill(agent.clone()));
        assert_eq!(
            judge(&revocations, 11, std::slice::from_ref(&agent), &[]),
            Liveness::Suspended,
            "which is not recorded yet"
        );
        revocations.recorded(&Denial::Block(agent.clone()));
        revocations.recorded(&Denial::Block(agent.clone()));
        assert_eq!(judge(&revocations, 9, std::slice::from_ref(&agent), &[]), Liveness::Revoked);
        assert_eq!(judge(&revocations, 11, std::slice::from_ref(&agent), &[]), Liveness::Live);
        assert!(!revocations.is_unrecorded(&agent));
    }

    #[test]
    fn a_mark_on_a_network_is_on_every_address_in_it() {
        let network: Network = "10.1.0.0/16".parse().unwrap();
        let (within, beyond) = ("10.1.2.3".parse().unwrap(), "10.2.0.1".parse().unwrap());
        let mut revocations = Revocations::default();
        revocations.apply(at(7), &Effect::Kill(Subject::Network(network)));
        revocations.apply(at(8), &Effect::Block(Subject::Network(network)));
        assert_eq!(judge(&revocations, 6, &[], &[beyond, within]), Liveness::Revoked);
        assert_eq!(judge(&revocations, 9, &[], &[within]), Liveness::Suspended);
        assert_eq!(judge(&revocations, 6, &[], &[beyond]), Liveness::Live);
    }

    #[test]
    fn one_dead_subject_is_enough() {
        let agent = Subject::Agent(AgentId::mint(NOW, &SystemEntropy));
        let instance = Subject::Instance(InstanceId::mint(NOW, &SystemEntropy));
        let mut revocations = Revocations::default();
        revocations.apply(at(7), &Effect::Kill(instance.clone()));
        assert_eq!(judge(&revocations, 5, &[agent.clone(), instance], &[]), Liveness::Revoked);
        assert_eq!(judge(&revocations, 5, std::slice::from_ref(&agent), &[]), Liveness::Live);
    }
}
