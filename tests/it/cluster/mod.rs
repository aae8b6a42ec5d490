//! A model of several brokers on one ledger in PostgreSQL, and its check: every order of the steps of append,
//! freshness window and `revoke`, with every fault that the model has, as often as the scope allows.
//!
//! # The protocol
//!
//! **Append.** A node decides on its own state. It takes the lock of the head row, reads the entries of others, checks
//! the decision again, numbers, links, seals and inserts, and sends COMMIT. It tells the client after the answer, and
//! after it has applied the entry.
//!
//! **Unknown outcome.** The answer to COMMIT may be lost. The node then looks up the batch by its id. The look-up holds
//! the lock of the head row, and ends with a COMMIT of its own that has written something. The lock proves that no
//! COMMIT of the batch is under way. The acknowledged write proves that the server is the primary, and that a standby
//! holds what the look-up saw. If the batch is absent, it never will be there: the node decides again, and seals again
//! with a new batch id.
//!
//! **Reading.** A node applies only what a synchronous standby holds. This includes the entries that an append reads
//! under the lock: if the append ends without a COMMIT, because of a conflict, these entries are not applied yet.
//!
//! **Freshness window.** A node reads its boot clock, and then sends a renewal: one transaction that writes the node's
//! freshness row and reads the head without its lock, acknowledged like an append. A renewal that only reads would also
//! be answered by a primary that was replaced. The window begins at the reading of the clock. The node uses it after it
//! has applied all entries up to the head that the renewal read. A check reads the window first, and then the state. A
//! crash ends the window.
//!
//! **Revoke.** A node that has applied a revocation confirms it in its freshness row, in a transaction that reads that
//! the primary shows the entry. (A standby may show it earlier. If a node confirmed then, and crashed, its next renewal
//! could read a head without the entry.) `revoke` returns after its entry is acknowledged, and when each other node has
//! confirmed, or the node of `revoke` has waited on its own boot clock for one window and the drift of two clocks, from
//! the acknowledgement on. It compares no time of another node: a window that was renewed before the acknowledgement
//! has ended then, and a renewal after it reads a head with the entry. A `revoke` that is repeated appends again, or
//! waits in the same way for the entry that it found.
//!
//! # What the model assumes
//!
//! - A promotion loses no acknowledged row: the most advanced synchronous standby takes over, the old primary can no
//!   longer acknowledge, and the next promotion waits until a standby holds all that the new primary had.
//! - While a COMMIT waits for a standby, its row is hidden and the head row is locked. After a restart or a promotion,
//!   rows that no standby holds are shown.
//! - Two clocks differ by at most one tick in a window. The model takes the worst case, a slow clock for a window and a
//!   fast one for the wait of `revoke`, so a window lasts [`node::WINDOW`] ticks.
//! - The nodes are known. A node that joins has to be in the ledger, acknowledged, before its first renewal.
//!
//! # What the model does not have
//!
//! - A pause is no state: a node that takes no step while time passes and others act is paused. A node that is down is
//!   a node that has crashed and takes no step.
//! - A primary that was replaced acknowledges no write, so nodes learn nothing from it; only some faults believe it.
//! - `revoke` may return once the window is over by the true time since the entry was committed, which is not later
//!   than by the clock of its node.
//! - A batch is one entry: it is committed as a whole or not at all, and the sequencer orders the entries in it.
//! - One credential and one enrolment code. An idempotency key is used like the code.
//! - The two standbys are one number, the rows that the more advanced one holds; a node that reads from the other sees
//!   fewer entries, like a node that is slow.
//! - Loss of two servers at once; a head that does not extend the last seen checkpoint; joining, draining, keys; that
//!   anything happens at all in the end.
//!
//! Brokers are alike, so states that differ only in their numbers are one state, unless an error is planted. The steps
//! of a counterexample keep the numbers.

mod append;
mod database;
mod fault;
mod node;
mod properties;
mod rows;
mod state;
mod steps;
mod window;

use stateright::{Checker, HasDiscoveries, Model};

use self::fault::Fault;
use self::properties::{
    ABSENT_FOR_EVER, NO_MINT_AFTER_REVOKE, NOTHING_LOST, ONCE, ONE_HISTORY, REFUSED_EVERYWHERE,
    REFUSES_UNKNOWING,
};
use self::rows::ROWS_MAX;
use self::state::{Cluster, Left};

/// Two brokers append, with a failover and a broken connection.
fn appends() -> Cluster {
    let left =
        Left { mints: 1, redemptions: 2, revocations: 1, failovers: 1, cuts: 1, restarts: 0, crashes: 0 };
    Cluster { nodes: 2, left, batches: 3, has_time: false, fault: None }
}

/// Two brokers append, with every event that the model has.
fn appends_with_every_event() -> Cluster {
    let left =
        Left { mints: 1, redemptions: 0, revocations: 1, failovers: 1, cuts: 1, restarts: 1, crashes: 1 };
    Cluster { nodes: 2, left, batches: 3, has_time: false, fault: None }
}

/// Two brokers with freshness windows, a failover, and a crash of a broker.
fn windows() -> Cluster {
    let left = Left { revocations: 1, failovers: 1, crashes: 1, ..Left::default() };
    Cluster { nodes: 2, left, batches: 1, has_time: true, fault: None }
}

/// Three brokers with freshness windows.
fn windows_of_three() -> Cluster {
    let left = Left { revocations: 1, ..Left::default() };
    Cluster { nodes: 3, left, batches: 1, has_time: true, fault: None }
}

/// Every property holds in every state, of which there are at least so many.
fn check(cluster: Cluster, at_least: usize) {
    assert!(usize::from(cluster.batches) <= ROWS_MAX);
    let checker = cluster.checker().threads(2).spawn_bfs().join();
    checker.assert_properties();
    assert!(checker.unique_state_count() >= at_least, "{} states", checker.unique_state_count());
}

#[test]
fn appends_keep_every_property() {
    check(appends(), 38_000);
    check(appends_with_every_event(), 22_000);
}

#[test]
fn windows_keep_every_property() {
    check(windows(), 170_000);
}

#[test]
fn windows_of_three_brokers_keep_every_property() {
    check(windows_of_three(), 350_000);
}

#[test]
#[ignore = "8 million states take minutes: scripts/soak"]
fn soak_several_brokers_with_more_events() {
    let left =
        Left { mints: 1, redemptions: 2, revocations: 1, failovers: 2, cuts: 1, restarts: 1, crashes: 1 };
    check(Cluster { left, batches: 4, ..appends() }, 2_900_000);
    check(Cluster { left: Left { restarts: 1, ..windows().left }, ..windows() }, 370_000);
    check(
        Cluster { left: Left { revocations: 2, failovers: 0, ..windows().left }, batches: 2, ..windows() },
        1_200_000,
    );
    check(Cluster { left: Left { mints: 1, ..windows().left }, batches: 2, ..windows() }, 2_000_000);
    check(
        Cluster { left: Left { failovers: 1, ..windows_of_three().left }, ..windows_of_three() },
        1_400_000,
    );
}

/// The check finds a planted error, because it breaks the property.
fn find(fault: Fault, cluster: Cluster, property: &'static str) {
    let faulty = Cluster { fault: Some(fault), ..cluster };
    let wanted = HasDiscoveries::AnyOf([property].into());
    let checker = faulty.checker().threads(2).finish_when(wanted).spawn_bfs().join();
    checker.assert_any_discovery(property);
}

#[test]
fn a_window_counted_from_the_answer_is_found() {
    find(Fault::WindowFromAnswer, windows(), REFUSED_EVERYWHERE);
}

#[test]
fn a_check_without_a_window_is_found() {
    find(Fault::WindowIgnored, windows(), REFUSED_EVERYWHERE);
    find(Fault::WindowIgnored, windows(), REFUSES_UNKNOWING);
}

#[test]
fn a_skipped_recheck_is_found() {
    find(Fault::RecheckSkipped, appends(), NO_MINT_AFTER_REVOKE);
    find(Fault::RecheckSkipped, appends(), ONCE);
}

#[test]
fn an_unknown_outcome_taken_as_committed_is_found() {
    find(Fault::UnknownIsCommitted, appends(), NOTHING_LOST);
}

#[test]
fn further_errors_of_windows_are_found() {
    for fault in [
        Fault::StateBeforeWindow,
        Fault::WindowBeforeApplied,
        Fault::RenewalOnlyReads,
        Fault::ConfirmedHidden,
        Fault::WaitWithoutDrift,
        Fault::ClockStops,
    ] {
        find(fault, windows(), REFUSED_EVERYWHERE);
    }
}

#[test]
fn further_errors_of_appends_are_found() {
    for fault in [Fault::UnknownIsAbsent, Fault::LookUpWithoutLock, Fault::LookUpOnlyReads] {
        find(fault, appends(), ABSENT_FOR_EVER);
    }
    find(Fault::WaitCancelled, appends(), NOTHING_LOST);
    find(Fault::AppliedUnreplicated, appends_with_every_event(), ONE_HISTORY);
}
