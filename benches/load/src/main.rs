//! `scripts/bench` runs this: it makes a broker in a temporary directory, drives it and the floor in turn, and
//! writes what it measured. `docs/performance.md` says what the figures mean.

mod adversity_report;
mod approver;
mod bed;
mod book;
mod chart;
mod client;
mod containment;
mod drive;
mod fleet;
mod hardship;
mod instructions;
mod listing;
mod listing_report;
mod machine;
mod parts;
mod peer;
mod plan;
mod policies;
mod policy_report;
mod report;
mod simulation;
mod sizes;
mod starts;
mod tally;
mod turns;
mod unrest;

use std::collections::HashMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bed::{Bed, Server};
use book::Book;
use client::Connection;
use containment::Containment;
use drive::{Asker, Load};
use fleet::{Agent, Operator};
use hardship::{Started, overload};
use listing::IndexCost;
use peer::Peers;
use plan::Cast;
use policies::Policies;
use report::Conditions;
use simulation::Simulations;
use sizes::Sizes;
use tally::Spread;
use turns::{Alone, Measured, alone, take_turns};
use unrest::Unrest;

/// Why there are no figures.
pub(crate) type Failed = Box<dyn Error + Send + Sync>;

/// How much is measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Extent {
    /// What shows that it works, in some seconds.
    Smoke,
    /// Keyward alone, its instructions counted.
    Instructions,
    /// What the page shows.
    Standard,
    /// The same, and a million agents.
    All,
}

impl Extent {
    const fn is_small(self) -> bool {
        matches!(self, Self::Smoke | Self::Instructions)
    }
}

/// Agents of a storm, and of everything else.
const STORM_AGENTS: usize = 10_000;
const SMOKE_AGENTS: usize = 40;

fn main() -> Result<(), Failed> {
    let mut arguments: HashMap<String, String> = HashMap::new();
    for argument in std::env::args().skip(1) {
        let (name, value) = argument.split_once('=').ok_or("usage: load name=value …; see scripts/bench")?;
        arguments.insert(name.to_owned(), value.to_owned());
    }
    let given = |name: &str| arguments.get(name).ok_or_else(|| format!("`{name}=` is missing"));
    let extent = match given("extent")?.as_str() {
        "smoke" => Extent::Smoke,
        "instructions" => Extent::Instructions,
        "standard" => Extent::Standard,
        "all" => Extent::All,
        other => return Err(format!("no such extent: {other}").into()),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let dir = PathBuf::from(given("dir")?);
    if machine::forgets(&dir) {
        return Err(format!("{} forgets what is synced to it: name another with --dir", dir.display()).into());
    }
    let bed = Bed::make(dir, given("keyward")?.into(), given("floor")?.into())?;
    if extent == Extent::Instructions {
        let thousands = runtime.block_on(count(&bed))?;
        println!("{thousands:.1} thousand instructions for a warm mint");
        return Ok(());
    }
    let seconds = arguments.get("seconds").map(|text| text.parse()).transpose()?;
    let wanted = Wanted { extent, seconds, only: arguments.get("only").cloned() };
    let programs = Programs {
        parts: given("parts")?.into(),
        fill: given("fill")?.into(),
        openbao: given("openbao")?.into(),
    };
    let syncs = machine::sync_latency(&bed.dir, if extent.is_small() { 20 } else { 400 })?;
    let conditions = Conditions::of(&bed.dir, &syncs);
    println!("{}\n", conditions.lines().join("\n"));
    let page = arguments.get("pages").map(|pages| Ok::<_, String>((pages.into(), given("commit")?.clone())));
    let is_long = extent == Extent::All || wanted.only.as_deref() == Some("million");
    let mut book = Book::of(conditions, page.transpose()?, is_long);
    runtime.block_on(measure(&bed, &wanted, &programs, &mut book))?;
    book.close()
}

/// Programs of `benches/parts`, and `OpenBao`'s.
struct Programs {
    parts: PathBuf,
    fill: PathBuf,
    openbao: PathBuf,
}

/// What is to be measured.
struct Wanted {
    extent: Extent,
    seconds: Option<f64>,
    only: Option<String>,
}

impl Wanted {
    fn has(&self, title: &str) -> bool {
        self.only.as_ref().is_none_or(|only| title.contains(only.as_str()))
    }
}

/// Thousands of instructions for a warm mint.
async fn count(bed: &Bed) -> Result<f64, Failed> {
    let keyward = bed.keyward_counted().await?;
    fleet::declare(bed)?;
    let agents = fleet::enrol(&Operator::of(bed)?, keyward.address, 0, SMOKE_AGENTS).await?;
    let askers = minting(&agents);
    instructions::for_a_mint(bed, &keyward, &askers).await
}

/// Everything that is wanted, one part after the other. What cannot be set up ends it; a part that fails is noted,
/// and the next one begins.
async fn measure(bed: &Bed, wanted: &Wanted, programs: &Programs, book: &mut Book) -> Result<(), Failed> {
    let extent = wanted.extent;
    drive_both(bed, wanted, &programs.openbao, book).await?;
    if wanted.has("sizes") {
        let mut sizes = Sizes::default();
        let done = book.within(sizes::compare(extent, bed, &mut sizes)).await;
        book.results.sizes = sizes;
        book.note("few and many agents", done)?;
    }
    if wanted.has("index") {
        let mut cost = IndexCost::default();
        let done = book.within(listing::cost(extent, bed, &mut cost)).await;
        book.results.index_cost = cost;
        book.note("mints with and without the index", done)?;
    }
    if wanted.has("simulation") {
        let mut simulations = Simulations::default();
        let done = book.within(simulation::measure(extent, bed, &programs.fill, &mut simulations)).await;
        book.results.simulations = simulations;
        book.note("simulations and explanations", done)?;
    }
    if wanted.has("million") && (extent != Extent::Standard || wanted.only.is_some()) {
        let done = book.within(starts::with_a_million(bed, &programs.fill, extent)).await;
        let done = done.map(|million| {
            book.results.conditions.started.extend(million.started);
            book.results.listing = Some(million.listing);
        });
        book.note("a million agents", done)?;
    }
    if wanted.has("parts") {
        let done = parts::measure(&programs.parts, &bed.dir.join("parts"), extent);
        let done = done.map(|parts| book.results.parts = parts);
        println!("{:#?}", book.results.parts);
        book.note("parts by themselves", done)?;
    }
    Ok(())
}

/// Sets up both servers and runs all workloads.
async fn drive_both(bed: &Bed, wanted: &Wanted, openbao: &Path, book: &mut Book) -> Result<(), Failed> {
    let extent = wanted.extent;
    let (keyward, ready) = bed.keyward().await?;
    book.results.conditions.started.push(Started::now(&keyward, ready, (0, 0, None))?);
    fleet::declare(bed)?;
    let operator = Operator::of(bed)?;
    let count = if extent.is_small() { SMOKE_AGENTS } else { STORM_AGENTS };
    let agents = fleet::enrol(&operator, keyward.address, 0, count).await?;
    println!("{count} agents are enrolled");

    let mint = Sized::of(&keyward, &agents[0], &fleet::mint_request()).await?;
    let read =
        Sized::of(&keyward, &agents[0], &fleet::read_request(&agents[0], keyward.address).await?).await?;
    let floor = bed.floor(mint.body, read.body)?;
    let floors = Sized::of(&floor, &agents[0], &fleet::mint_request()).await?;
    println!("a mint's answer: Keyward {mint:?}, floor {floors:?}\n");
    book.results.conditions.answers = (mint.head + mint.body, floors.head + floors.body);

    let resource_server = &fleet::resource_server(&operator, keyward.address).await?;
    let cast = Cast { keyward: &keyward, agents: &agents, operator: &operator, resource_server };
    run_workloads(wanted, &cast, &floor, book).await?;
    if wanted.has("peer") {
        let mut peers = Peers::default();
        let done = book.within(peer::compare(extent, bed, openbao, &cast, &mut peers)).await;
        book.results.peers = peers;
        book.note("OpenBao beside Keyward", done)?;
    }
    if wanted.has("unrest") {
        let mut unrest = Unrest::default();
        let done = book.within(unrest::compare(extent, bed, &cast, &mut unrest)).await;
        book.results.unrest = unrest;
        book.note("mints while others are revoked and rotated", done)?;
    }
    if let Some(capacity) = book.results.measured.iter().find_map(capacity).filter(|_| !extent.is_small()) {
        let done = book.within(overload(&keyward, &operator, &minting(&agents), capacity)).await;
        println!("{done:?}");
        let done = done.map(|came_of_it| book.results.conditions.overload = Some(came_of_it));
        book.note("overload", done)?;
    }
    if wanted.has("containment") {
        let mut contained = Containment::default();
        let done = book.within(containment::measure(extent, &cast, &mut contained)).await;
        book.results.containment = contained;
        book.note("containments of agents", done)?;
    }
    if wanted.has("policies") {
        let mut conditions = Policies::default();
        let done = book.within(policies::compare(extent, bed, &cast, &floor, &mut conditions)).await;
        book.results.policies = conditions;
        book.note("mints under policies and with approvals", done)?;
    }
    let done = book.within(start_again(bed, (keyward, &operator), count)).await;
    let done = done.map(|started| {
        book.results.conditions.entries = started.entries;
        book.results.conditions.started.push(started);
    });
    book.note("verification and the next start", done)
}

/// Runs the workloads of both servers, and those of Keyward alone.
async fn run_workloads(
    wanted: &Wanted,
    cast: &Cast<'_>,
    floor: &Server,
    book: &mut Book,
) -> Result<(), Failed> {
    let keyward = cast.keyward;
    for workload in
        plan::paired(wanted.extent, wanted.seconds).into_iter().filter(|one| wanted.has(one.title))
    {
        let mut measured = Measured { workload, rounds: Vec::new() };
        let part = async {
            let askers = cast.askers(workload).await?;
            take_turns(&mut measured, (keyward, floor), cast.operator, &askers).await
        };
        let done = book.within(part).await;
        book.results.measured.push(measured);
        book.note(workload.title, done)?;
    }
    for workload in plan::alone(wanted.extent).into_iter().filter(|one| wanted.has(one.title)) {
        let mut measured = Alone { workload, runs: Vec::new() };
        let part = async {
            let askers = cast.askers(workload).await?;
            alone(&mut measured, keyward, cast.operator, &askers).await
        };
        let done = book.within(part).await;
        book.results.alone.push(measured);
        book.note(workload.title, done)?;
    }
    Ok(())
}

/// Stops the broker, verifies its ledger, and starts it again.
async fn start_again(
    bed: &Bed,
    (keyward, operator): (Server, &Operator),
    agents: usize,
) -> Result<Started, Failed> {
    let head = operator.head().await?;
    Bed::stop(keyward)?;
    let entries = bed.verify()?;
    // Some may have come between: the broker says by itself that a snapshot was taken.
    if entries < head {
        return Err(format!("the ledger has {entries} entries, and its head was {head}").into());
    }
    let snapshot = bed.newest_snapshot()?;
    let (keyward, ready) = bed.keyward().await?;
    let started = Started::now(&keyward, ready, (agents, entries, snapshot))?;
    println!("{started:?}");
    Bed::stop(keyward)?;
    Ok(started)
}

fn minting(agents: &[Arc<Agent>]) -> Vec<Asker> {
    agents.iter().map(|agent| Asker::of(agent, fleet::mint_request())).collect()
}

/// What Keyward does at most, by the workload that shows it.
fn capacity(measured: &Measured) -> Option<f64> {
    let shows_it = matches!(measured.workload.load, Load::Warm { connections: 64, .. });
    shows_it.then(|| Spread::of(measured.rounds.iter().map(|round| round.keyward.rate)).median)
}

/// How large an answer is.
#[derive(Debug)]
struct Sized {
    head: usize,
    body: usize,
}

impl Sized {
    async fn of(server: &Server, agent: &Agent, request: &[u8]) -> Result<Self, Failed> {
        let mut connection = Connection::open(server.address, &agent.identity).await?;
        let answer = connection.ask(request).await?;
        if answer.status != 200 {
            return Err(format!("{:?}: {}", server.side, String::from_utf8_lossy(answer.body)).into());
        }
        Ok(Self { head: answer.head.len(), body: answer.body.len() })
    }
}
