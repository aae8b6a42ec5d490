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
//! freshness row and reads the head, acknowledged like an append. A renewal that only reads would also be answered by a
//! primary that was replaced. The window begins at the reading of the clock. The node uses it after it has applied
//! all entries up to the head that the renewal read. A check reads the window first, and then the state. A crash ends
//! the window.
//!
//! **Revoke.** `revoke` returns after its entry is acknowledged, and each other node has either written into its
//! freshness row that it has applied the entry, or had no time to keep a window: the node of `revoke` waits on its own
//! boot clock for one window and the drift of two clocks, from the acknowledgement on. No time of another node is
//! compared. A node that was sent no entry for so long has no window.
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
//! - A batch is one entry: it is committed as a whole or not at all, and the sequencer orders the entries in it.
//! - One credential and one enrolment code. An idempotency key is used like the code.
//! - The two standbys are one number, the rows that the more advanced one holds; a node that reads from the other sees
//!   fewer entries, like a node that is slow.
//! - Loss of two servers at once; a head that does not extend the last seen checkpoint; joining, draining, keys; that
//!   anything happens at all in the end.

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
use self::rows::ROWS_MAX;
use self::state::{Cluster, Left};

/// Two brokers, and all that can happen to appends.
fn appends() -> Cluster {
    let left =
        Left { mints: 1, redemptions: 2, revocations: 1, failovers: 1, restarts: 1, cuts: 1, crashes: 1 };
    Cluster { nodes: 2, left, batches: 4, has_time: false, fault: None }
}

/// Two brokers, and all that can happen to freshness windows.
fn windows() -> Cluster {
    let left = Left { mints: 1, revocations: 1, failovers: 1, restarts: 1, crashes: 1, ..Left::default() };
    Cluster { nodes: 2, left, batches: 2, has_time: true, fault: None }
}

/// Three brokers with freshness windows, and a failover.
fn three() -> Cluster {
    let left = Left { revocations: 1, failovers: 1, ..Left::default() };
    Cluster { nodes: 3, left, batches: 1, has_time: true, fault: None }
}

fn check(cluster: Cluster) {
    assert!(usize::from(cluster.batches) <= ROWS_MAX);
    let started = std::time::Instant::now();
    let checker = cluster.checker().threads(2).spawn_bfs().join();
    println!(
        "{} of {} states, depth {}, {:?}",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        started.elapsed()
    );
    checker.assert_properties();
}

#[test]
fn appends_of_two_brokers_keep_every_property() {
    check(appends());
}

#[test]
fn windows_of_two_brokers_keep_every_property() {
    check(windows());
}

#[test]
fn windows_of_three_brokers_keep_every_property() {
    check(three());
}

/// Where a planted error is looked for, and the property that it breaks.
fn broken_by(fault: Fault) -> (Cluster, &'static str) {
    match fault {
        Fault::WindowFromAnswer
        | Fault::WindowBeforeApplied
        | Fault::RenewalOnlyReads
        | Fault::WaitWithoutDrift
        | Fault::ConfirmedHidden
        | Fault::ClockStops
        | Fault::StateBeforeWindow => (windows(), properties::REFUSED_EVERYWHERE),
        Fault::WindowIgnored => (windows(), properties::REFUSES_UNKNOWING),
        Fault::RecheckSkipped => (appends(), properties::NO_MINT_AFTER_REVOKE),
        Fault::UnknownIsCommitted | Fault::WaitCancelled => (appends(), properties::NOTHING_LOST),
        Fault::UnknownIsAbsent | Fault::LookUpWithoutLock | Fault::LookUpOnlyReads => {
            (appends(), properties::ABSENT_FOR_EVER)
        }
        Fault::AppliedUnreplicated => (appends(), properties::ONE_HISTORY),
    }
}

/// The model has to find the error.
fn find(fault: Fault) {
    let (cluster, property) = broken_by(fault);
    let started = std::time::Instant::now();
    let wanted = HasDiscoveries::AnyOf([property].into());
    let checker =
        Cluster { fault: Some(fault), ..cluster }.checker().threads(2).finish_when(wanted).spawn_bfs().join();
    let steps = checker.assert_any_discovery(property).into_actions();
    println!(
        "{fault:?} {:?}: {} states, {} steps, {steps:?}",
        started.elapsed(),
        checker.unique_state_count(),
        steps.len()
    );
}

#[test]
fn a_window_counted_from_the_answer_is_found() {
    find(Fault::WindowFromAnswer);
}

#[test]
fn a_check_without_a_window_is_found() {
    find(Fault::WindowIgnored);
}

#[test]
fn a_skipped_recheck_is_found() {
    find(Fault::RecheckSkipped);
}

#[test]
fn an_unknown_outcome_taken_as_committed_is_found() {
    find(Fault::UnknownIsCommitted);
}

#[test]
fn further_errors_are_found() {
    for fault in [
        Fault::StateBeforeWindow,
        Fault::WindowBeforeApplied,
        Fault::RenewalOnlyReads,
        Fault::WaitWithoutDrift,
        Fault::ConfirmedHidden,
        Fault::ClockStops,
        Fault::UnknownIsAbsent,
        Fault::LookUpWithoutLock,
        Fault::LookUpOnlyReads,
        Fault::WaitCancelled,
        Fault::AppliedUnreplicated,
    ] {
        find(fault);
    }
}
