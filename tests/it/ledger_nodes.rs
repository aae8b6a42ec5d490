//! Several writers on one ledger in PostgreSQL: each reads the entries of the others before it appends, whatever happens
//! to its connection and to the servers.

use std::sync::Arc;

use keyward::base::{Sensitive, encoding};
use keyward::database::{DatabaseTarget, LogUse, PostgresLog};
use keyward::ledger::{AppendError, Draft, Key, Kind, Ledger};
use keyward::store::{Change, CommitError, Event, Store, StoreOptions};

use crate::ledger_database::{append_through_failures, events, refusal, sql};
use crate::support::ledger_bed::{Bed, Recorder, draft, fill, using, wait};
use crate::support::ledger_database::{DatabaseBed, DatabaseSite, OWNER, Pair, Trio};
use crate::support::proxy::{Cut, Proxy};
use crate::support::test_state::{TestEffect, TestState, key, new_store};
use crate::support::waiting::{LONGEST, Patience, wait_until};

/// A writer, and what it has applied.
struct Node {
    ledger: Arc<Ledger>,
    seen: Recorder,
}

fn node_at(site: &DatabaseSite, target: DatabaseTarget) -> Node {
    let seen = Recorder::default();
    let ledger = site.open_as(target, LogUse::Share, OWNER, Box::new(seen.clone())).unwrap();
    Node { ledger, seen }
}

fn node(bed: &DatabaseBed) -> Node {
    node_at(&bed.site, bed.pair.broker(&bed.database))
}

impl Node {
    fn append(&self, event: &str) -> Result<u64, AppendError> {
        wait(self.ledger.append(draft(event, b""))).map(|committed| committed.seq())
    }

    fn applied(&self) -> Vec<u64> {
        self.seen.taken().iter().map(|taken| taken.seq).collect()
    }
}

#[test]
fn each_node_applies_the_entries_of_all_in_one_order() {
    const EACH: u64 = 40;
    let bed = DatabaseBed::new();
    let nodes = [node(&bed), node(&bed), node(&bed)];
    std::thread::scope(|scope| {
        for (node, name) in nodes.iter().zip(["a", "b", "c"]) {
            scope.spawn(move || {
                for n in 0..EACH {
                    node.append(&format!("{name}{n}")).unwrap();
                }
            });
        }
    });
    let last: Vec<u64> = nodes.iter().map(|node| node.append("last").unwrap()).collect();
    assert_eq!(last, [3 * EACH + 1, 3 * EACH + 2, 3 * EACH + 3]);
    let opened = node(&bed);
    let there = opened.seen.taken();
    assert_eq!(opened.applied(), (1..=3 * EACH + 3).collect::<Vec<_>>(), "no gap");
    for (node, last) in nodes.iter().zip(last) {
        // A probe may have read what the others appended since.
        let seen = node.seen.taken();
        assert!(seen.len() as u64 >= last);
        assert_eq!(seen, there[..seen.len()], "no fork, and no other order");
    }
    assert_eq!(nodes[2].ledger.tree().root(), opened.ledger.tree().root());
}

#[derive(serde::Serialize)]
struct Happened {
    what: &'static str,
}

impl Event for Happened {
    const KIND: Kind = Kind(9998);
    const NAME: &'static str = "thing.happened";
}

#[tokio::test]
async fn a_revocation_on_one_node_forbids_a_mint_that_another_has_decided() {
    let bed = DatabaseBed::new();
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let ((ring, of_one), (_, of_other)) = (new_store(here.path()), new_store(there.path()));
    let open = |options: &StoreOptions| {
        let log = PostgresLog::new(bed.pair.broker(&bed.database), LogUse::Share, OWNER).unwrap();
        Store::<TestState>::open_on(options, &ring, Box::new(log)).unwrap().0
    };
    let (one, other) = (open(&of_one), open(&of_other));
    let change = |what| Change::<TestEffect>::new(&Happened { what }).unwrap();
    let state = || other.read(|state, as_of| (state.applied, as_of));
    // Given a mint that a node has decided on its state
    let mint = || change("mint").rely(key(), state().1);
    assert_eq!(state(), (0, 0));
    let decided = mint();
    // When another node revokes what the mint relies on
    one.commit(change("revoke").effect(TestEffect::Advance), ()).await.unwrap().redeem();
    // Then the mint is refused, and the node has applied the revocation before it says so
    let refused = other.commit(decided, ()).await.unwrap_err();
    assert_eq!(refused, CommitError::Append(AppendError::Conflict(key())));
    assert_eq!(state(), (1, 1));
    // A decision on the new state is recorded after the revocation
    assert_eq!(other.commit(mint(), ()).await.unwrap().seq(), 2);
}

#[test]
fn a_node_that_appends_nothing_reads_the_entries_of_others() {
    let bed = DatabaseBed::new();
    let (one, other) = (node(&bed), node(&bed));
    fill(&one.ledger, 3);
    wait_until(|| other.ledger.head().seq == 3);
    assert_eq!(other.applied(), [1, 2, 3]);
}

#[test]
fn a_node_that_is_far_behind_catches_up_before_it_appends() {
    const BURSTS: u64 = 5;
    const BURST: u64 = 1000;
    let bed = DatabaseBed::new();
    let (one, other) = (node(&bed), node(&bed));
    for _ in 0..BURSTS {
        let burst: Vec<_> = (0..BURST).map(|_| one.ledger.append(draft("many", b""))).collect();
        for pending in burst {
            wait(pending).unwrap();
        }
    }
    assert_eq!(other.append("late").unwrap(), BURSTS * BURST + 1);
    assert_eq!(other.applied(), (1..=BURSTS * BURST + 1).collect::<Vec<_>>());
    assert_eq!(one.append("next").unwrap(), BURSTS * BURST + 2);
}

/// Large enough that the proxy knows its batch.
static DELTA: [u8; 20_000] = [7; 20_000];

/// Uses the thing of this round, if no node has.
fn use_once(node: &Node, round: u64) -> bool {
    let (key, event) = (Key::of("once", &round.to_be_bytes()), round.to_string());
    let patience = Patience::new();
    loop {
        patience.try_again();
        let as_of = node.ledger.head().seq;
        if node.seen.taken().iter().any(|taken| taken.event == event.as_bytes()) {
            return false;
        }
        let used = Draft {
            event: event.clone().into_bytes(),
            delta: Sensitive::new(DELTA.to_vec()),
            ..using(key, as_of)
        };
        match wait(node.ledger.append(used)) {
            Ok(_) => return true,
            Err(AppendError::Conflict(_) | AppendError::Unwritten) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_thing_is_used_once_by_whichever_node_wherever_commits_are_cut() {
    const ROUNDS: u64 = 24;
    let bed = DatabaseBed::new();
    let proxies = [0, 1].map(|_| Proxy::of(bed.pair.primary.port));
    let nodes = proxies.each_ref().map(|proxy| {
        let mut target = bed.pair.broker(&bed.database);
        target.hosts.truncate(1);
        target.hosts[0].port = proxy.port;
        node_at(&bed.site, target)
    });
    let wins: usize = std::thread::scope(|scope| {
        let threads = [0_usize, 1].map(|at| {
            let (node, proxy) = (&nodes[at], &proxies[at]);
            scope.spawn(move || {
                let wins = (0..ROUNDS).filter(|round| {
                    match (round + at as u64) % 4 {
                        0 => proxy.cut(Cut::Request),
                        1 => proxy.cut(Cut::Answer),
                        _ => {}
                    }
                    use_once(node, *round)
                });
                wins.count()
            })
        });
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    let opened = node(&bed);
    let there = events(&opened.seen);
    let rounds: Vec<_> = (0..ROUNDS).map(|round| (round + 1, round.to_string())).collect();
    assert_eq!((wins as u64, &there), (ROUNDS, &rounds), "acknowledged once is there once");
    for node in &nodes {
        let seen = events(&node.seen);
        assert_eq!(seen[..], there[..seen.len()]);
    }
}

/// In place of the power cut: the primary is killed while two nodes append, and a standby takes over.
#[test]
fn a_failover_under_two_nodes_loses_no_acknowledged_entry() {
    const EACH: usize = 150;
    let mut servers = Trio::start();
    let database = servers.pair.new_database();
    servers.pair.prepare(&database).unwrap();
    let (site, target) = (DatabaseSite::new(), servers.broker(&database));
    // Each remembers by itself which server was the last good one.
    let other_target = DatabaseTarget { last_good: Arc::default(), ..target.clone() };
    let (one, other) = (node_at(&site, target.clone()), node_at(&site, other_target));
    let mut acknowledged = std::thread::scope(|scope| {
        let threads = [(&one, "a"), (&other, "b")]
            .map(|(node, name)| scope.spawn(move || append_through_failures(&node.ledger, name, EACH)));
        wait_until(|| one.ledger.head().seq >= 60);
        servers.fail_over();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    acknowledged.sort();
    let opened = node_at(&site, target);
    assert_eq!(events(&opened.seen), acknowledged, "each once, in order, and nothing else");
    for node in [&one, &other] {
        let seen = events(&node.seen);
        assert_eq!(seen[..], acknowledged[..seen.len()]);
    }
}

/// A primary that has crashed shows rows that no standby has. They can still be lost.
#[test]
fn a_node_applies_nothing_of_others_that_no_standby_has() {
    let mut pair = Pair::start();
    let database = pair.new_database();
    pair.prepare(&database).unwrap();
    let (site, target) = (DatabaseSite::new(), pair.broker(&database));
    let (one, other) = (node_at(&site, target.clone()), node_at(&site, target));
    other.append("first").unwrap();
    one.append("replicated").unwrap();
    // Given an entry that only the primary has
    pair.standby.kill();
    let waiting = one.ledger.append(draft("only here", b""));
    pair.primary.until_a_commit_waits();
    pair.primary.stop();
    one.ledger.close();
    assert_eq!(wait(waiting).unwrap_err(), AppendError::Failed);
    pair.primary.run();
    assert_eq!(pair.primary.sql_of(&database, "SELECT count(*) FROM keyward.entries"), "3");
    // Then another node does not apply it
    wait_until(|| other.append("refused") == Err(AppendError::Unwritten));
    assert_eq!(other.applied(), [1]);
    // Until a standby has it
    pair.standby.run();
    pair.primary.until_replicated();
    wait_until(|| other.append("next").is_ok());
    let expected =
        [(2, "replicated"), (3, "only here"), (4, "next")].map(|(seq, event)| (seq, event.to_owned()));
    assert_eq!(events(&other.seen)[1..], expected);
}

#[test]
fn a_node_whose_entries_were_replaced_stops() {
    let bed = DatabaseBed::new();
    let (one, other) = (node(&bed), node(&bed));
    fill(&one.ledger, 3);
    let lost = one.ledger.entries_lost();
    // Given a database that has lost two entries, and other ones in their place
    let first = encoding::hex(one.ledger.read(1, 1).unwrap()[0].node().as_bytes());
    sql(&bed, "DELETE FROM keyward.entries WHERE seq > 1");
    sql(&bed, &format!("UPDATE keyward.head SET seq = 1, node = decode('{first}', 'hex')"));
    fill(&other.ledger, 4);
    assert_eq!(other.ledger.head().seq, 5);
    // Then the node that had acknowledged them applies nothing more, and says why
    assert_eq!(one.append("next").unwrap_err(), AppendError::Failed);
    assert_eq!((one.ledger.is_writable(), one.applied()), (false, vec![1, 2, 3]));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let why = runtime.block_on(async { tokio::time::timeout(LONGEST, lost).await }).unwrap();
    assert!(why.contains("does not continue entry 3"), "{why}");
    fill(&other.ledger, 1);
}

#[test]
fn a_ledger_has_one_writer_at_a_time_or_is_shared() {
    let bed = DatabaseBed::new();
    fill(&bed.open(Box::new(Recorder::default())).unwrap(), 1);
    let target = bed.pair.broker(&bed.database);
    let why = refusal(bed.site.open_as(target, LogUse::Share, OWNER, Box::new(Recorder::default())));
    assert!(why.contains("belongs to one broker"), "{why}");
    let shared = DatabaseBed::new();
    let one = node(&shared);
    fill(&one.ledger, 1);
    let why = refusal(shared.open(Box::new(Recorder::default())));
    assert!(why.contains("several brokers write"), "{why}");
    fill(&one.ledger, 1);
    assert_eq!(node(&shared).ledger.head().seq, 2);
}
