//! How a broker follows the ledger, keeps its right to answer, and when `revoke` returns.

use super::fault::Fault;
use super::node::{Job, Node, Renewal, WINDOW};
use super::rows::Kind;
use super::state::{Cluster, State};

impl Cluster {
    /// The node applies the next entry that a synchronous standby holds.
    pub(super) fn apply(&self, s: &mut State, n: usize) -> bool {
        let has_proof = s.database.replicated;
        let through = if self.has(Fault::AppliedUnreplicated) {
            s.database.visible().max(has_proof)
        } else {
            has_proof
        };
        let log = &mut s.nodes[n].log;
        let next = s.database.rows.get(log.len()).filter(|_| log.len() < through);
        let Some(next) = next else { return false };
        log.push(next);
        true
    }

    /// The node reads its clock, and sends a renewal.
    pub(super) fn renew(&self, s: &mut State, n: usize) -> bool {
        let node = &mut s.nodes[n];
        let can = self.has_time && node.renewal == Renewal::None;
        if can {
            node.renewal = Renewal::Sent { left: WINDOW };
        }
        can
    }

    /// The primary carries the renewal out: it writes the node's freshness row, and reads the head.
    pub(super) fn serve(&self, s: &mut State, n: usize) -> bool {
        let head = s.database.visible();
        self.serve_with(&mut s.nodes[n], head)
    }

    /// A primary that was replaced answers a renewal that only reads.
    pub(super) fn serve_at_deposed(&self, s: &mut State, n: usize) -> bool {
        let deposed = s.database.deposed.filter(|_| self.has(Fault::RenewalOnlyReads));
        deposed.is_some_and(|deposed| self.serve_with(&mut s.nodes[n], deposed.len()))
    }

    fn serve_with(&self, node: &mut Node, head: u8) -> bool {
        let Renewal::Sent { left } = node.renewal else { return false };
        let head = if node.log.len() < head { head } else { 0 };
        node.renewal = Renewal::Served { left, head };
        true
    }

    /// The answer has reached the node, and it has applied what the renewal saw: it has a window, for what is left.
    pub(super) fn adopt(&self, s: &mut State, n: usize) -> bool {
        let node = &mut s.nodes[n];
        let Renewal::Served { left, head } = node.renewal else { return false };
        if node.log.len() < head && !self.has(Fault::WindowBeforeApplied) {
            return false;
        }
        let left = if self.has(Fault::WindowFromAnswer) { WINDOW } else { left };
        node.window = node.window.max(left);
        node.renewal = Renewal::None;
        true
    }

    /// The node writes into its freshness row that it has applied the revocation, if the primary shows it in the same
    /// transaction: then every later renewal reads a head that includes it, also after a crash of the node.
    pub(super) fn confirm(&self, s: &mut State, n: usize) -> bool {
        let through = s.nodes[n].log.through_kind(Kind::Revoke);
        let is_shown = |at| at <= s.database.visible() || self.has(Fault::ConfirmedHidden);
        let can = self.has_time && !s.nodes[n].has_confirmed && through.is_some_and(is_shown);
        s.nodes[n].has_confirmed |= can;
        can
    }

    /// `revoke` returns: each other node has applied it, or so much time passed that every window has ended that was
    /// renewed before.
    pub(super) fn return_revoke(&self, s: &mut State, n: usize) -> bool {
        let waits_for = if self.has(Fault::WaitWithoutDrift) { WINDOW - 1 } else { WINDOW };
        let is_over = s.seen.revoked_for.is_some_and(|ticks| ticks >= waits_for);
        let has_applied = |other: usize| other == n || s.nodes[other].has_confirmed;
        let can = self.has_time
            && s.nodes[n].job == Job::Returning
            && (is_over || (0..self.nodes).all(has_applied));
        if can {
            s.nodes[n].job = Job::Idle;
            s.seen.revoke_returned = true;
        }
        can
    }

    /// A request to check the credential arrives after `revoke` has returned, and passes the first half of the check.
    /// The node may pause before the second half.
    pub(super) fn begin_check(&self, s: &mut State, n: usize) -> bool {
        let can = s.seen.revoke_returned && self.passes_first(&s.nodes[n]);
        s.nodes[n].is_checking |= can;
        can
    }

    /// Time passes; the clock of `stopped` does not notice.
    pub(super) fn tick(&self, s: &mut State, stopped: Option<usize>) -> bool {
        if !self.has_time || stopped.is_some() && !self.has(Fault::ClockStops) {
            return false;
        }
        let keeps_renewal = self.has(Fault::WindowFromAnswer);
        let running = s.nodes.iter_mut().enumerate().filter(|(n, _)| Some(*n) != stopped);
        running.for_each(|(_, node)| node.tick(keeps_renewal));
        if let Some(ticks) = &mut s.seen.revoked_for {
            *ticks = WINDOW.min(*ticks + 1);
        }
        true
    }

    /// The time of the revocation begins once a standby holds it and the primary shows it.
    pub(super) fn note_revoked(&self, s: &mut State) {
        let proved = s.database.visible().min(s.database.replicated);
        let at = s.database.rows.through_kind(Kind::Revoke);
        if self.has_time && s.seen.revoked_for.is_none() && at.is_some_and(|at| at <= proved) {
            s.seen.revoked_for = Some(0);
        }
    }
}
