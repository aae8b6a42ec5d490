//! The steps of the model, one at a time and in every order.

use stateright::{Model, Property};

use super::database::Stage;
use super::fault::Fault;
use super::node::{Job, Node};
use super::properties;
use super::rows::Kind;
use super::state::{Cluster, State};

/// A step. The number is the node's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step {
    Decide(usize, Kind),
    Send(usize),
    /// The COMMIT reaches the primary.
    Arrive,
    /// The primary notices that the node behind the open transaction is gone.
    Abort,
    Replicate,
    /// The COMMIT has waited long enough.
    Finish,
    Acknowledge(usize),
    Cut(usize),
    LookUp(usize),
    LookUpAtDeposed(usize),
    Guess(usize),
    Cancel(usize),
    RestartPrimary,
    Promote,
    Crash(usize),
    Apply(usize),
    Renew(usize),
    Serve(usize),
    ServeAtDeposed(usize),
    Adopt(usize),
    Confirm(usize),
    ReturnRevoke(usize),
    BeginCheck(usize),
    Tick,
    TickWithout(usize),
}

impl Cluster {
    /// Whether the step was possible; then `s` is the state after it.
    fn take(&self, s: &mut State, step: Step) -> bool {
        match step {
            Step::Decide(n, kind) => self.decide(s, n, kind),
            Step::Send(n) => self.send(s, n),
            Step::Arrive => s.database.arrive(),
            Step::Abort => self.abort(s),
            Step::Replicate => s.database.replicate(),
            Step::Finish => s.database.finish(),
            Step::Acknowledge(n) => self.acknowledge(s, n),
            Step::Cut(n) => self.cut(s, n),
            Step::LookUp(n) => self.look_up(s, n),
            Step::LookUpAtDeposed(n) => self.look_up_at_deposed(s, n),
            Step::Guess(n) => self.guess(s, n),
            Step::Cancel(n) => self.cancel(s, n),
            Step::RestartPrimary => self.restart_primary(s),
            Step::Promote => self.promote(s),
            Step::Crash(n) => self.crash(s, n),
            Step::Apply(n) => self.apply(s, n),
            Step::Renew(n) => self.renew(s, n),
            Step::Serve(n) => self.serve(s, n),
            Step::ServeAtDeposed(n) => self.serve_at_deposed(s, n),
            Step::Adopt(n) => self.adopt(s, n),
            Step::Confirm(n) => self.confirm(s, n),
            Step::ReturnRevoke(n) => self.return_revoke(s, n),
            Step::BeginCheck(n) => self.begin_check(s, n),
            Step::Tick => self.tick(s, None),
            Step::TickWithout(n) => self.tick(s, Some(n)),
        }
    }

    /// The transaction of a node that is gone ends before its COMMIT arrives.
    fn abort(&self, s: &mut State) -> bool {
        let Some(head) = s.database.head.filter(|head| head.stage != Stage::Waiting) else { return false };
        let is_owner = |node: &Node| match node.job {
            Job::Sent(_, batch) => batch == head.entry.batch,
            Job::Idle | Job::Decided(_) | Job::Unknown(..) | Job::Returning => false,
        };
        let can = !s.nodes.iter().any(is_owner);
        if can {
            s.database.head = None;
        }
        can
    }

    fn restart_primary(&self, s: &mut State) -> bool {
        if s.left.restarts == 0 {
            return false;
        }
        s.left.restarts -= 1;
        s.database.restart();
        s.nodes.iter_mut().for_each(Node::lose_sessions);
        true
    }

    fn promote(&self, s: &mut State) -> bool {
        if s.left.failovers == 0 || !s.database.can_promote() {
            return false;
        }
        s.left.failovers -= 1;
        s.database.promote(self.fault.is_some_and(Fault::trusts_deposed));
        s.nodes.iter_mut().for_each(Node::lose_sessions);
        true
    }

    fn crash(&self, s: &mut State, n: usize) -> bool {
        if s.left.crashes == 0 {
            return false;
        }
        s.left.crashes -= 1;
        s.nodes[n].crash();
        true
    }
}

impl Model for Cluster {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State { left: self.left, ..State::default() }]
    }

    fn actions(&self, _: &State, steps: &mut Vec<Step>) {
        steps.extend([Step::Arrive, Step::Abort, Step::Replicate, Step::Finish]);
        steps.extend([Step::RestartPrimary, Step::Promote, Step::Tick]);
        for n in 0..self.nodes {
            steps.extend(Kind::ALL.map(|kind| Step::Decide(n, kind)));
            steps.extend([Step::Send(n), Step::Acknowledge(n), Step::Cut(n), Step::LookUp(n)]);
            steps.extend([Step::Crash(n), Step::Apply(n)]);
            if self.has_time {
                steps.extend([Step::Renew(n), Step::Serve(n), Step::Adopt(n)]);
                steps.extend([Step::Confirm(n), Step::ReturnRevoke(n), Step::BeginCheck(n)]);
            }
            if self.fault.is_some() {
                steps.extend([
                    Step::Guess(n),
                    Step::Cancel(n),
                    Step::LookUpAtDeposed(n),
                    Step::ServeAtDeposed(n),
                ]);
                steps.push(Step::TickWithout(n));
            }
        }
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut next = *last;
        let was_possible = self.take(&mut next, step);
        self.note_revoked(&mut next);
        if self.fault.is_none() {
            // Brokers are alike. Their numbers stay as they are where a person reads the steps.
            next.nodes[..self.nodes].sort_unstable();
        }
        (was_possible && next != *last).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut all = properties::of_appends();
        if self.has_time {
            all.extend(properties::of_windows());
            all.extend(properties::reached_by_windows());
            all.extend((self.left.failovers > 0).then(properties::reached_by_failovers));
        } else {
            all.extend(properties::reached_by_appends());
        }
        all
    }
}
