//! Filtered pages of a ledger with ten million entries, and what the index behind them costs the mints.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::bed::{Bed, Server};
use crate::client::{Connection, request};
use crate::drive::{Asker, Load};
use crate::fleet::{self, Operator};
use crate::tally::Latencies;
use crate::turns::{Figures, What, Workload, one_turn};
use crate::{Extent, Failed};

/// Pages of one filter.
#[derive(Debug)]
pub(crate) struct Pages {
    pub(crate) title: &'static str,
    /// From the request to the whole response.
    pub(crate) latencies: Latencies,
}

/// Filtered pages of a large ledger.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) entries: u64,
    /// The time from the start of the broker until its index had all entries.
    pub(crate) indexed_after: Duration,
    pub(crate) pages: Vec<Pages>,
}

/// What one of the requests with a filter is about.
struct Turn {
    number: usize,
    /// An agent from all over the ledger; none comes twice.
    agent: usize,
    agents: usize,
}

/// A filter, and its parameters.
type Filter = (&'static str, fn(&Turn) -> String);

const FILTERS: [Filter; 4] = [
    ("one agent", |turn| format!("agent=declared-{}", turn.agent)),
    ("one agent's tokens of the last week", |turn| {
        format!("agent=declared-{}&kind=token.minted&since=7d", turn.agent)
    }),
    ("declared capability", |turn| {
        let role = turn.number % turn.agents.div_ceil(100);
        format!("capability=bench.service-{role}.write&outcome=allowed")
    }),
    ("agent without entries", |turn| format!("agent=nobody-{}", turn.number)),
];

/// Longest wait for the index.
const INDEX_WAIT: Duration = Duration::from_secs(1_500);

/// Waits until the index of `server`, which was started at `since`, has all entries. Then asks for pages; no two
/// filters are the same, so that no page comes from memory as a whole.
pub(crate) async fn of(
    operator: &Operator,
    agents: usize,
    since: Instant,
    extent: Extent,
) -> Result<Listing, Failed> {
    let mut admin = operator.connect().await?;
    let entries = indexed(&mut admin, since).await?;
    let indexed_after = since.elapsed();
    println!("the index has {entries} entries after {indexed_after:?}");
    let count = if extent.is_small() { 4 } else { 200 };
    let mut pages = Vec::new();
    for (title, filter) in FILTERS {
        let mut latencies = Latencies::default();
        for turn in 0..count {
            let asked = Turn { number: turn, agent: turn * (agents / count).max(1) % agents, agents };
            let query = format!("order=newest&limit=100&{}", filter(&asked));
            let begun = Instant::now();
            page(&mut admin, &query).await?;
            latencies.add(begun.elapsed());
        }
        println!("{title}: {:?} µs", latencies.within([500, 990, 1000]));
        pages.push(Pages { title, latencies });
    }
    Ok(Listing { entries, indexed_after, pages })
}

/// Waits until the index of a broker, which was started at `since`, has all entries, and gives their number.
pub(crate) async fn indexed(admin: &mut Connection, since: Instant) -> Result<u64, Failed> {
    loop {
        let newest = page(admin, "order=newest&limit=1").await?;
        let (head, indexed) = (newest["head"].as_u64(), newest["indexed_through"].as_u64());
        match head {
            Some(head) if Some(head) == indexed => return Ok(head),
            _ if since.elapsed() > INDEX_WAIT => {
                return Err(format!("the index has {indexed:?} of {head:?} entries").into());
            }
            _ => tokio::time::sleep(Duration::from_millis(500)).await,
        }
    }
}

async fn page(admin: &mut Connection, query: &str) -> Result<Value, Failed> {
    let answer = admin.ask(&request("GET", &format!("/v1/ledger/entries?{query}"), "", "")).await?;
    if answer.status != 200 {
        return Err(format!("{query}: {}", String::from_utf8_lossy(answer.body)).into());
    }
    Ok(serde_json::from_slice(answer.body)?)
}

/// Warm mints of a broker with the index and of one without it, in turn.
#[derive(Debug, Default)]
pub(crate) struct IndexCost {
    pub(crate) indexed: Vec<Figures>,
    pub(crate) unindexed: Vec<Figures>,
}

pub(crate) const CONNECTIONS: usize = 64;

/// A broker of this bench.
struct Broker {
    server: Server,
    operator: Operator,
    askers: Vec<Asker>,
}

impl Broker {
    async fn of(bed: &Bed) -> Result<Self, Failed> {
        let (server, _) = bed.keyward().await?;
        fleet::declare(bed)?;
        let operator = Operator::of(bed)?;
        let agents = fleet::enrol(&operator, server.address, 0, CONNECTIONS).await?;
        let askers = agents.iter().map(|agent| Asker::of(agent, fleet::mint_request())).collect();
        Ok(Self { server, operator, askers })
    }
}

/// Drives two brokers in turn. One has a file in the place of its index's directory, so it has no index.
pub(crate) async fn cost(extent: Extent, main: &Bed, into: &mut IndexCost) -> Result<(), Failed> {
    let (rounds, seconds) = if extent.is_small() { (1, 0.2) } else { (7, 3.0) };
    let (with, without) = (main.sibling("indexed")?, main.sibling("not-indexed")?);
    let postings = without.dir.join("broker/postings");
    fs::remove_dir_all(&postings)?;
    fs::write(&postings, "")?;
    let (with, without) = (Broker::of(&with).await?, Broker::of(&without).await?);
    let mut admin = without.operator.connect().await?;
    let newest = page(&mut admin, "order=newest&limit=1").await?;
    if newest["indexed_through"] != 0 {
        return Err(format!("the broker without an index has one: {newest}").into());
    }
    let load = Load::Warm { connections: CONNECTIONS, seconds };
    let workload = Workload { title: "warm mint", what: What::Mint, load, rounds, target: "" };
    for number in 1..=rounds {
        let indexed = one_turn(workload, &with.server, &with.operator, &with.askers).await?;
        let unindexed = one_turn(workload, &without.server, &without.operator, &without.askers).await?;
        println!("warm mint, with and without the index  {number}/{rounds}  {indexed}   without {unindexed}");
        into.indexed.push(indexed);
        into.unindexed.push(unindexed);
    }
    Bed::stop(with.server)?;
    Bed::stop(without.server)
}
