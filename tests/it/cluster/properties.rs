//! What must hold in every state, and what must happen in some.

use stateright::Property;

use super::append::Found;
use super::database::Stage;
use super::node::{Job, WINDOW};
use super::rows::{Kind, Rows};
use super::state::{Cluster, State};

pub(super) const NOTHING_LOST: &str = "no acknowledged entry is lost";
pub(super) const ONE_HISTORY: &str = "there is no gap, fork or reorder";
pub(super) const NO_MINT_AFTER_REVOKE: &str = "no mint commits after the revocation";
pub(super) const ONCE: &str = "a code is redeemed once";
pub(super) const ABSENT_FOR_EVER: &str = "a batch that was found absent never appears";
pub(super) const REFUSED_EVERYWHERE: &str = "no node accepts the credential after revoke returned";
pub(super) const REFUSES_UNKNOWING: &str = "a node that cannot know refuses";

/// What holds of the ledger.
pub(super) fn of_appends() -> Vec<Property<Cluster>> {
    vec![
        Property::always(NOTHING_LOST, |_, s: &State| {
            s.seen.acknowledged.is_within(s.database.rows.batches())
        }),
        Property::always(ONE_HISTORY, |_, s: &State| {
            is_linked(&s.database.rows)
                && s.nodes.iter().all(|node| node.log.is_beginning_of(&s.database.rows))
        }),
        Property::always(NO_MINT_AFTER_REVOKE, |_, s: &State| {
            let mut after = s.database.rows.iter().skip_while(|row| row.kind != Kind::Revoke);
            !after.any(|row| row.kind == Kind::Mint)
        }),
        Property::always(ONCE, |_, s: &State| {
            s.database.rows.iter().filter(|row| row.kind == Kind::Redeem).count() <= 1
        }),
        Property::always(ABSENT_FOR_EVER, |_, s: &State| {
            s.seen.absent.is_apart_from(s.database.rows.batches())
        }),
    ]
}

/// What must happen to appends in some state.
pub(super) fn reached_by_appends() -> Vec<Property<Cluster>> {
    vec![
        Property::sometimes("a mint is acknowledged", |_, s: &State| is_acknowledged(s, Kind::Mint)),
        Property::sometimes("a decision meets a revocation that the node had not applied", |_, s: &State| {
            let decided = |job| job == Job::Decided(Kind::Mint);
            s.database.rows.forbids(Kind::Mint) && s.nodes.iter().any(|node| decided(node.job))
        }),
        Property::sometimes("a failover loses a row that no standby has", |_, s: &State| {
            s.left.failovers > 0 && s.database.can_promote() && !s.database.is_replicated()
        }),
        Property::sometimes("a failover keeps a row that was not acknowledged", |_, s: &State| {
            let is_waiting = s.database.head.is_some_and(|head| head.stage == Stage::Waiting);
            s.left.failovers > 0 && s.database.can_promote() && is_waiting && s.database.is_replicated()
        }),
        Property::sometimes("a look-up finds a batch", |cluster, s: &State| finds(cluster, s, Found::There)),
        Property::sometimes("a look-up finds that a batch never will be there", |cluster, s: &State| {
            finds(cluster, s, Found::Never)
        }),
    ]
}

/// What holds of freshness windows and the return of `revoke`.
pub(super) fn of_windows() -> Vec<Property<Cluster>> {
    vec![
        Property::always(REFUSED_EVERYWHERE, |cluster, s: &State| {
            let mut nodes = s.nodes.iter().take(cluster.nodes);
            let is_accepted = nodes.any(|node| node.is_checking && cluster.passes_second(node));
            !s.seen.revoke_returned || !is_accepted && !any_accepts(cluster, s)
        }),
        Property::always(REFUSES_UNKNOWING, |cluster, s: &State| {
            s.seen.revoked_for.is_none_or(|ticks| ticks < WINDOW) || !any_accepts(cluster, s)
        }),
    ]
}

/// What must happen to windows in some state.
pub(super) fn reached_by_windows() -> Vec<Property<Cluster>> {
    vec![
        Property::sometimes("all nodes accept a good credential", |cluster, s: &State| {
            s.nodes.iter().take(cluster.nodes).all(|node| cluster.accepts(node))
        }),
        Property::sometimes("a node accepts after the revocation was committed", |cluster, s: &State| {
            s.seen.revoked_for.is_some() && any_accepts(cluster, s)
        }),
        Property::sometimes("revoke returns before any window ends", |_, s: &State| {
            s.seen.revoke_returned && s.seen.revoked_for == Some(0)
        }),
        Property::sometimes("revoke returns although a node has not applied it", |cluster, s: &State| {
            let nodes = s.nodes.iter().take(cluster.nodes);
            s.seen.revoke_returned && nodes.into_iter().any(|node| !node.knows_revoked())
        }),
    ]
}

/// What must happen to windows in some state, if there are failovers.
pub(super) fn reached_by_failovers() -> Property<Cluster> {
    Property::sometimes("a node has a window again after a failover", |cluster, s: &State| {
        let fresh = s.nodes.iter().any(|node| node.window == WINDOW && node.knows_revoked());
        s.left.failovers < cluster.left.failovers && fresh
    })
}

fn is_linked(rows: &Rows) -> bool {
    let before = std::iter::once(0).chain(rows.iter().map(|row| row.batch));
    rows.iter().zip(before).all(|(row, before)| row.after == before)
}

fn is_acknowledged(s: &State, kind: Kind) -> bool {
    s.database.rows.iter().any(|row| row.kind == kind && s.seen.acknowledged.has(row.batch))
}

/// Whether a node is about to look up a batch, with this outcome.
fn finds(cluster: &Cluster, s: &State, outcome: Found) -> bool {
    s.nodes.iter().any(|node| match node.job {
        Job::Unknown(_, batch) => cluster.found(s, batch) == Some(outcome),
        Job::Idle | Job::Decided(_) | Job::Sent(..) | Job::Returning => false,
    })
}

fn any_accepts(cluster: &Cluster, s: &State) -> bool {
    s.nodes.iter().take(cluster.nodes).any(|node| cluster.accepts(node))
}
