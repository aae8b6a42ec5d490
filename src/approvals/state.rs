use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::approval::{Approval, Ending};
use super::effect::Effect;
use super::opened::OpenedApproval;
use crate::base::limits::{APPROVAL_KEPT_S, APPROVALS_MAX, APPROVALS_OF_AGENT_MAX, APPROVALS_PENDING_MAX};
use crate::base::{AgentId, ApprovalId, ApprovalReference, Timestamp, TokenId, UserCode};
use crate::crypto::Digest;
use crate::store::At;
use crate::wire::ApprovalState;

/// The requests for approval in memory: those that have not ended, and the last ones that have.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(from = "StoredApprovals")]
pub struct Approvals {
    all: BTreeMap<ApprovalId, Approval>,
    #[serde(skip)]
    of_agents: BTreeMap<AgentId, BTreeSet<ApprovalId>>,
    #[serde(skip)]
    codes: BTreeMap<UserCode, ApprovalId>,
}

/// What a snapshot has of [`Approvals`].
#[derive(Deserialize)]
struct StoredApprovals {
    all: BTreeMap<ApprovalId, Approval>,
}

impl From<StoredApprovals> for Approvals {
    fn from(StoredApprovals { all }: StoredApprovals) -> Self {
        let mut approvals = Self::default();
        all.into_values().for_each(|approval| approvals.insert(approval));
        approvals
    }
}

impl Approvals {
    /// The approval of this id.
    #[must_use]
    pub fn get(&self, id: ApprovalId) -> Option<&Approval> {
        self.all.get(&id)
    }

    /// The approval of this id or code.
    #[must_use]
    pub fn find(&self, reference: ApprovalReference) -> Option<&Approval> {
        match reference {
            ApprovalReference::Id(id) => self.get(id),
            ApprovalReference::Code(code) => self.get(*self.codes.get(&code)?),
        }
    }

    /// Whether no approval has this code.
    #[must_use]
    pub fn is_free(&self, code: UserCode) -> bool {
        !self.codes.contains_key(&code)
    }

    /// All approvals, the newest first.
    pub fn newest(&self) -> impl Iterator<Item = &Approval> {
        self.all.values().rev()
    }

    /// The approvals of this agent, the oldest first.
    pub fn of_agent(&self, agent: AgentId) -> impl DoubleEndedIterator<Item = &Approval> + Clone {
        self.of_agents.get(&agent).into_iter().flatten().filter_map(|id| self.get(*id))
    }

    /// The approvals of this agent for requests with this digest under policies with this hash, which can be used or approved.
    pub fn open_for<'a>(
        &'a self,
        agent: AgentId,
        digest: &Digest,
        rules: &Digest,
        now: Timestamp,
    ) -> impl Iterator<Item = &'a Approval> {
        let (digest, rules) = (*digest, *rules);
        self.of_agent(agent).filter(move |one| {
            let terms = &one.opened.terms;
            !one.state(now).is_ended() && terms.rules == rules && terms.request.digest() == digest
        })
    }

    /// The approval with which this token of the agent was issued.
    #[must_use]
    pub fn of_token(&self, agent: AgentId, token: TokenId) -> Option<&Approval> {
        self.of_agent(agent).find(|one| one.tokens.contains(&token))
    }

    /// The pending ones of this agent, the oldest first.
    pub fn pending_of(&self, agent: AgentId, now: Timestamp) -> impl Iterator<Item = &Approval> {
        self.of_agent(agent).filter(move |one| one.state(now) == ApprovalState::Pending)
    }

    /// Whether one more approval of this agent can be opened at `now`.
    #[must_use]
    pub fn has_room_for(&self, agent: AgentId, now: Timestamp) -> bool {
        let pending = self.pending_of(agent, now).count();
        let has_room =
            || self.all.len() < APPROVALS_MAX || self.all.values().any(|one| one.state(now).is_ended());
        pending < APPROVALS_PENDING_MAX && has_room()
    }

    /// Applies an effect.
    pub fn apply(&mut self, at: At, effect: &Effect) {
        match effect {
            Effect::Open(opened) | Effect::OpenWithParameters(opened) => {
                self.forget(opened, at.time);
                self.insert(Approval::new((**opened).clone(), at));
            }
            Effect::Vote { approval, ballot, completes } => {
                self.change(*approval, |one| one.vote(ballot.clone(), *completes, at));
            }
            Effect::Use { approval, token } => self.change(*approval, |one| one.use_once(*token, at)),
            Effect::Withdraw { approval } => self.change(*approval, |one| {
                one.ended.get_or_insert(Ending::Withdrawn);
            }),
            Effect::Tell { approval, reason } => self.change(*approval, |one| one.tell(reason.clone())),
        }
    }

    fn change(&mut self, id: ApprovalId, change: impl FnOnce(&mut Approval)) {
        if let Some(approval) = self.all.get_mut(&id) {
            change(approval);
        }
    }

    fn insert(&mut self, approval: Approval) {
        let OpenedApproval { id, code, requester, .. } = &approval.opened;
        self.of_agents.entry(requester.agent).or_default().insert(*id);
        self.codes.insert(*code, *id);
        self.all.insert(*id, approval);
    }

    fn remove(&mut self, id: ApprovalId) {
        let Some(Approval { opened: OpenedApproval { code, requester, .. }, .. }) = self.all.remove(&id)
        else {
            return;
        };
        self.codes.remove(&code);
        if let Some(ids) = self.of_agents.get_mut(&requester.agent) {
            ids.remove(&id);
            if ids.is_empty() {
                self.of_agents.remove(&requester.agent);
            }
        }
    }

    /// Makes room for an approval: forgets old ones, and the oldest ended ones beyond the limits. The ledger has all.
    fn forget(&mut self, opened: &OpenedApproval, now: Timestamp) {
        let is_old = |one: &Approval| now.seconds_since(one.opened_at) > APPROVAL_KEPT_S;
        // Ids sort by the time of their making.
        while let Some(id) = self.all.iter().next().filter(|(_, one)| is_old(one)).map(|(id, _)| *id) {
            self.remove(id);
        }
        let agent = opened.requester.agent;
        let is_full = self.of_agents.get(&agent).is_some_and(|ids| ids.len() >= APPROVALS_OF_AGENT_MAX);
        if is_full && let Some(id) = first_forgotten(self.of_agent(agent), now) {
            self.remove(id);
        }
        if self.all.len() >= APPROVALS_MAX
            && let Some(id) = first_forgotten(self.all.values(), now)
        {
            self.remove(id);
        }
    }

    /// Times that a wrong clock put into the future move back.
    pub fn time_went_back(&mut self, now: Timestamp) {
        self.all.values_mut().for_each(|approval| approval.time_went_back(now));
    }
}

fn first_ended<'a>(mut all: impl Iterator<Item = &'a Approval>, now: Timestamp) -> Option<ApprovalId> {
    all.find(|one| one.state(now).is_ended()).map(|one| one.opened.id)
}

/// The first one that ended without a denial: a denial is remembered longer, so that the next approver sees it.
fn first_forgotten<'a>(
    all: impl Iterator<Item = &'a Approval> + Clone,
    now: Timestamp,
) -> Option<ApprovalId> {
    let undenied = all.clone().filter(|one| one.ended != Some(Ending::Denied));
    first_ended(undenied, now).or_else(|| first_ended(all, now))
}

#[cfg(test)]
mod tests {
    use super::super::approval::Ballot;
    use super::super::opened::Requester;
    use super::super::terms::{ApprovalTerms, PolicyDemand, RequestedCapability, RequestedGrant};
    use super::*;
    use crate::base::limits::{APPROVAL_PENDING_S, APPROVAL_UNUSED_S};
    use crate::base::{
        ApprovalDemand, DemandKind, InstanceId, OperatorId, ParametersByCapability, RecordedParameters,
        RecordedValue, SystemEntropy,
    };
    use crate::crypto::sha256;

    const NOW: Timestamp = Timestamp::from_s(1_800_000_000);

    fn at(seconds: i64) -> At {
        At { seq: 1, time: NOW.plus_s(seconds) }
    }

    fn demand(policy: &str, quorum: u32) -> PolicyDemand {
        let demand = ApprovalDemand { kind: DemandKind::Approval, group: None, quorum };
        PolicyDemand { policy: policy.parse().unwrap(), demand, reason: None }
    }

    fn opened(agent: AgentId, life_s: u32, demands: Vec<PolicyDemand>) -> OpenedApproval {
        OpenedApproval {
            id: ApprovalId::mint(NOW, &SystemEntropy),
            code: UserCode::draw(&SystemEntropy),
            requester: Requester {
                agent,
                name: "deploy-bot".parse().unwrap(),
                instance: InstanceId::mint(NOW, &SystemEntropy),
                person: None,
                source: None,
            },
            decision: None,
            terms: ApprovalTerms {
                request: RequestedGrant {
                    agent: "spiffe://keyward.test/agent/deploy-bot".to_owned(),
                    capabilities: Vec::new(),
                    audience: "https://a".parse().unwrap(),
                    life_s,
                    uses: 1,
                    grant_life_s: None,
                    reason: None,
                    parameters: ParametersByCapability::new(),
                },
                rules: sha256(b"rules"),
                policies: Vec::new(),
                demands,
            },
            requested_life_s: None,
            is_detailed: false,
        }
    }

    fn ballot(person: &str, approves: bool, meets: &[&str]) -> Ballot {
        Ballot {
            operator: "ann".parse().unwrap(),
            operator_id: OperatorId::mint(NOW, &SystemEntropy),
            enrolled_seq: 1,
            person: Some(person.parse().unwrap()),
            key: None,
            approves,
            meets: meets.iter().map(|policy| policy.parse().unwrap()).collect(),
        }
    }

    fn agent() -> AgentId {
        AgentId::mint(NOW, &SystemEntropy)
    }

    fn vote(id: ApprovalId, approves: bool) -> Effect {
        Effect::Vote { approval: id, ballot: ballot("ann", approves, &["a"]), completes: approves }
    }

    fn used(id: ApprovalId) -> (TokenId, Effect) {
        let token = TokenId::mint(NOW, &SystemEntropy);
        (token, Effect::Use { approval: id, token })
    }

    #[test]
    fn a_vote_that_completes_the_demands_approves() {
        let one = opened(agent(), 60, vec![demand("a", 2)]);
        let (id, mut approvals) = (one.id, Approvals::default());
        approvals.apply(at(0), &Effect::Open(Box::new(one)));
        for (person, completes, state) in
            [("ann", false, ApprovalState::Pending), ("bob", true, ApprovalState::Approved)]
        {
            let ballot = ballot(person, true, &["a"]);
            approvals.apply(at(1), &Effect::Vote { approval: id, ballot, completes });
            assert_eq!(approvals.get(id).unwrap().state(NOW.plus_s(1)), state);
        }
        let policy = "a".parse().unwrap();
        assert_eq!(approvals.get(id).unwrap().votes_for(&policy).count(), 2);
    }

    #[test]
    fn the_approval_of_a_token_is_found() {
        let one = opened(agent(), 60, vec![demand("a", 1)]);
        let (id, agent, mut approvals) = (one.id, one.requester.agent, Approvals::default());
        approvals.apply(at(0), &Effect::Open(Box::new(one)));
        approvals.apply(at(1), &vote(id, true));
        let (token, using) = used(id);
        approvals.apply(at(2), &using);
        assert_eq!(approvals.of_token(agent, token).map(|one| one.opened.id), Some(id));
        assert!(approvals.of_token(agent, used(id).0).is_none());
        assert!(approvals.of_token(super::tests::agent(), token).is_none());
    }

    #[test]
    fn a_denial_is_remembered_longer_than_other_ends() {
        let (agent, mut approvals) = (agent(), Approvals::default());
        let first = opened(agent, 1, vec![demand("a", 1)]);
        let denied = first.id;
        approvals.apply(at(0), &Effect::Open(Box::new(first)));
        approvals.apply(at(0), &vote(denied, false));
        for _ in 0..2 * APPROVALS_OF_AGENT_MAX {
            let one = opened(agent, 2, vec![demand("a", 1)]);
            let id = one.id;
            approvals.apply(at(0), &Effect::Open(Box::new(one)));
            approvals.apply(at(0), &Effect::Withdraw { approval: id });
        }
        assert_eq!(approvals.newest().count(), APPROVALS_OF_AGENT_MAX);
        assert!(approvals.get(denied).is_some());
    }

    #[test]
    fn a_denial_ends_a_request_and_an_approval() {
        for approved_first in [false, true] {
            let one = opened(agent(), 60, vec![demand("a", 1)]);
            let (id, mut approvals) = (one.id, Approvals::default());
            approvals.apply(at(0), &Effect::Open(Box::new(one)));
            for approves in if approved_first { [true, false] } else { [false, true] } {
                approvals.apply(at(1), &vote(id, approves));
            }
            assert_eq!(approvals.get(id).unwrap().state(NOW), ApprovalState::Denied);
        }
    }

    #[test]
    fn each_wait_of_an_approval_has_its_end() {
        let mut one = opened(agent(), 60, vec![demand("a", 1)]);
        (one.terms.request.uses, one.terms.request.grant_life_s) = (2, Some(600));
        let (id, mut approvals) = (one.id, Approvals::default());
        approvals.apply(at(0), &Effect::Open(Box::new(one)));
        let state = |approvals: &Approvals, s| approvals.get(id).unwrap().state(NOW.plus_s(s));
        assert_eq!(state(&approvals, APPROVAL_PENDING_S - 1), ApprovalState::Pending);
        assert_eq!(state(&approvals, APPROVAL_PENDING_S), ApprovalState::Expired);
        approvals.apply(at(100), &vote(id, true));
        assert_eq!(state(&approvals, 100 + APPROVAL_UNUSED_S - 1), ApprovalState::Approved);
        assert_eq!(state(&approvals, 100 + APPROVAL_UNUSED_S), ApprovalState::Expired);
        approvals.apply(at(3000), &used(id).1);
        assert_eq!(state(&approvals, 3599), ApprovalState::Approved, "the grant begins with the first use");
        assert_eq!(state(&approvals, 3600), ApprovalState::Expired);
        assert_eq!(approvals.get(id).unwrap().uses_left(NOW.plus_s(3001)), 1);
        approvals.apply(at(3500), &used(id).1);
        assert_eq!(state(&approvals, 3501), ApprovalState::Used);
    }

    #[test]
    fn so_many_requests_of_an_agent_are_pending() {
        let (agent, mut approvals) = (agent(), Approvals::default());
        for life_s in 0..APPROVALS_PENDING_MAX {
            assert!(approvals.has_room_for(agent, NOW));
            let one = opened(agent, u32::try_from(life_s).unwrap(), vec![demand("a", 1)]);
            approvals.apply(at(0), &Effect::Open(Box::new(one)));
        }
        assert!(!approvals.has_room_for(agent, NOW));
        assert!(approvals.has_room_for(super::tests::agent(), NOW), "another agent");
        assert!(approvals.has_room_for(agent, NOW.plus_s(APPROVAL_PENDING_S)), "they have expired");
    }

    #[test]
    fn so_many_ended_requests_are_remembered() {
        let (agent, mut approvals) = (agent(), Approvals::default());
        for life_s in 0..=APPROVALS_OF_AGENT_MAX {
            let one = opened(agent, u32::try_from(life_s).unwrap(), vec![demand("a", 1)]);
            let id = one.id;
            approvals.apply(at(0), &Effect::Open(Box::new(one)));
            approvals.apply(at(0), &Effect::Withdraw { approval: id });
        }
        assert_eq!(approvals.newest().count(), APPROVALS_OF_AGENT_MAX);
        let late = opened(agent, 1, vec![demand("a", 1)]);
        approvals.apply(at(APPROVAL_KEPT_S + 1), &Effect::Open(Box::new(late)));
        assert_eq!(approvals.newest().count(), 1);
        assert_eq!((approvals.codes.len(), approvals.of_agents.len()), (1, 1));
    }

    #[test]
    fn the_broker_remembers_so_many_requests() {
        let mut approvals = Approvals::default();
        for number in 0..=APPROVALS_MAX {
            let one = opened(agent(), 1, vec![demand("a", 1)]);
            let id = one.id;
            assert!(approvals.has_room_for(one.requester.agent, NOW));
            approvals.apply(at(0), &Effect::Open(Box::new(one)));
            if number == 0 {
                approvals.apply(at(0), &Effect::Withdraw { approval: id });
            }
        }
        assert_eq!(approvals.all.len(), APPROVALS_MAX);
        assert!(!approvals.has_room_for(agent(), NOW), "none of them has ended");
    }

    #[test]
    fn identical_requests_are_grouped_while_they_can_be_used() {
        let (agent, mut approvals) = (agent(), Approvals::default());
        let one = opened(agent, 60, vec![demand("a", 1)]);
        let (id, digest, rules) = (one.id, one.terms.request.digest(), one.terms.rules);
        approvals.apply(at(0), &Effect::Open(Box::new(one)));
        let found = |digest: &Digest, rules: &Digest, s| {
            approvals.open_for(agent, digest, rules, NOW.plus_s(s)).map(|one| one.opened.id).next()
        };
        assert_eq!(found(&digest, &rules, 0), Some(id));
        assert_eq!(found(&sha256(b"other"), &rules, 0), None);
        assert_eq!(found(&digest, &sha256(b"other"), 0), None);
        assert_eq!(found(&digest, &rules, APPROVAL_PENDING_S), None);
    }

    #[test]
    fn parameters_of_a_request_are_stored_and_bind_the_approval() {
        let (plain, mut one) = (opened(agent(), 60, Vec::new()), opened(agent(), 60, Vec::new()));
        assert!(matches!(Effect::open(plain), Effect::Open(_)), "the form of earlier entries");
        let before = one.terms.request.digest();
        let amount = RecordedParameters([("amount".parse().unwrap(), RecordedValue::Integer(100))].into());
        one.terms.request.capabilities.push(RequestedCapability {
            name: "payments.refund".parse().unwrap(),
            access: "write".to_owned(),
            environment: None,
            secret: None,
        });
        one.terms.request.parameters = [("payments.refund".parse().unwrap(), amount)].into();
        let (id, digest, mut approvals) = (one.id, one.terms.request.digest(), Approvals::default());
        assert_ne!(digest, before);
        let stored = postcard::to_stdvec(&Effect::open(one)).unwrap();
        approvals.apply(at(0), &postcard::from_bytes(&stored).unwrap());
        assert_eq!(approvals.get(id).unwrap().opened.terms.request.digest(), digest);
        let stored = postcard::to_stdvec(&approvals).unwrap();
        let mut after: Approvals = postcard::from_bytes(&stored).unwrap();
        assert_eq!(after.get(id).unwrap().opened.terms.request.digest(), digest, "also in a snapshot");
        // And another value is another request
        let request = &mut after.all.get_mut(&id).unwrap().opened.terms.request;
        let other = RecordedParameters([("amount".parse().unwrap(), RecordedValue::Integer(101))].into());
        request.parameters = [("payments.refund".parse().unwrap(), other)].into();
        assert_ne!(request.digest(), digest);
    }

    #[test]
    fn approvals_are_stored_and_read_with_their_codes() {
        let one = opened(agent(), 60, vec![demand("a", 1)]);
        let (id, code, mut approvals) = (one.id, one.code, Approvals::default());
        approvals.apply(at(0), &Effect::Open(Box::new(one)));
        let stored = serde_json::to_vec(&approvals).unwrap();
        let mut after: Approvals = serde_json::from_slice(&stored).unwrap();
        assert_eq!(after.find(ApprovalReference::Code(code)).map(|one| one.opened.id), Some(id));
        assert!(!after.is_free(code));
        after.time_went_back(NOW.plus_s(-50));
        assert_eq!(after.get(id).unwrap().opened_at, NOW.plus_s(-50));
    }
}
