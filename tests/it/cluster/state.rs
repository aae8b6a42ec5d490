//! The state of the model: brokers, servers, what clients were told, and how many faults are left to happen.

use super::database::Database;
use super::fault::Fault;
use super::node::Node;
use super::rows::{Batch, Batches, Kind};

/// Most brokers in the model.
pub(super) const NODES_MAX: usize = 3;

/// How many of the events that the model limits may still happen.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub(super) struct Left {
    /// Requests of clients, by [`Kind`].
    pub(super) mints: u8,
    pub(super) redemptions: u8,
    pub(super) revocations: u8,
    /// Promotions of a standby.
    pub(super) failovers: u8,
    /// Restarts of the primary.
    pub(super) restarts: u8,
    /// Connections that break alone.
    pub(super) cuts: u8,
    /// Crashes of brokers.
    pub(super) crashes: u8,
}

impl Left {
    pub(super) fn requests(&mut self, kind: Kind) -> &mut u8 {
        match kind {
            Kind::Mint => &mut self.mints,
            Kind::Redeem => &mut self.redemptions,
            Kind::Revoke => &mut self.revocations,
        }
    }
}

/// What clients were told, and what an observer with the true time sees.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub(super) struct Seen {
    /// The batches that a client was told are committed.
    pub(super) acknowledged: Batches,
    /// The batches that a node has found to be absent for ever.
    pub(super) absent: Batches,
    /// `revoke` returned.
    pub(super) revoke_returned: bool,
    /// The ticks since the revocation is replicated and the primary shows it; counted up to [`super::node::WINDOW`].
    pub(super) revoked_for: Option<u8>,
}

/// A state.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub(super) struct State {
    pub(super) nodes: [Node; NODES_MAX],
    pub(super) database: Database,
    pub(super) seen: Seen,
    pub(super) left: Left,
    /// The last batch id that was used.
    pub(super) last_batch: Batch,
}

/// What is explored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cluster {
    /// The number of brokers.
    pub(super) nodes: usize,
    /// The events that may happen.
    pub(super) left: Left,
    /// Most attempts to commit.
    pub(super) batches: Batch,
    /// Whether time passes, so that there are freshness windows.
    pub(super) has_time: bool,
    /// The planted error, if any.
    pub(super) fault: Option<Fault>,
}

impl Cluster {
    pub(super) fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// Whether the node would now answer that the credential is good: at an introspection, a handshake, or the next
    /// use of an open connection.
    pub(super) fn accepts(&self, node: &Node) -> bool {
        self.may_answer(node) && !node.knows_revoked()
    }

    /// Whether the first half of a check passes: the window. The state is read after it.
    pub(super) fn passes_first(&self, node: &Node) -> bool {
        if self.has(Fault::StateBeforeWindow) { !node.knows_revoked() } else { self.may_answer(node) }
    }

    /// Whether the second half of a check passes: the state.
    pub(super) fn passes_second(&self, node: &Node) -> bool {
        if self.has(Fault::StateBeforeWindow) { self.may_answer(node) } else { !node.knows_revoked() }
    }

    fn may_answer(&self, node: &Node) -> bool {
        node.window > 0 || self.has(Fault::WindowIgnored)
    }
}
