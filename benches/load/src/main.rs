//! `scripts/bench` runs this: it makes a broker in a temporary directory, drives it and the floor in turn, and
//! writes what it measured. `docs/performance.md` says what the figures mean.

mod bed;
mod chart;
mod client;
mod drive;
mod fleet;
mod hardship;
mod instructions;
mod machine;
mod parts;
mod plan;
mod report;
mod sizes;
mod tally;
mod turns;

use std::collections::HashMap;
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use bed::{Bed, Server};
use client::Connection;
use drive::{Asker, Load};
use fleet::{Agent, Operator};
use hardship::{Started, overload};
use plan::Cast;
use report::{Conditions, Results};
use tally::Spread;
use turns::{Measured, Workload, alone, take_turns};

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
    let only = arguments.get("only");
    let wanted = |workload: &Workload| only.is_none_or(|only| workload.title.contains(only.as_str()));
    let mut workloads = (plan::paired(extent, seconds), plan::alone(extent));
    workloads.0.retain(wanted);
    workloads.1.retain(wanted);
    let mut results = runtime.block_on(measure(&bed, extent, &workloads))?;
    if only.is_none_or(|only| "sizes".contains(only.as_str())) {
        results.sizes = Some(runtime.block_on(sizes::compare(extent, &bed))?);
    }
    if only.is_none_or(|only| "parts".contains(only.as_str())) {
        results.parts = parts::measure(&PathBuf::from(given("parts")?), &bed.dir.join("parts"))?;
        println!("{:#?}", results.parts);
    }
    if let Some(pages) = arguments.get("pages") {
        report::write(&PathBuf::from(pages), given("commit")?, &results)?;
    }
    Ok(())
}

/// Thousands of instructions for a warm mint.
async fn count(bed: &Bed) -> Result<f64, Failed> {
    let keyward = bed.keyward_counted().await?;
    fleet::declare(bed)?;
    let agents = fleet::enrol(&Operator::of(bed)?, keyward.address, 0, SMOKE_AGENTS).await?;
    let askers = minting(&agents);
    instructions::for_a_mint(bed, &keyward, &askers).await
}

/// Sets up both servers and runs all workloads.
async fn measure(
    bed: &Bed,
    extent: Extent,
    (paired, lone): &(Vec<Workload>, Vec<Workload>),
) -> Result<Results, Failed> {
    let syncs = machine::sync_latency(&bed.dir, if extent.is_small() { 20 } else { 400 })?;
    let mut conditions = Conditions::of(&bed.dir, &syncs);
    println!("{}\n", conditions.lines().join("\n"));
    let (keyward, ready) = bed.keyward().await?;
    conditions.started.push(Started::now(&keyward, ready, 0, 0)?);
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
    conditions.answers = (mint.head + mint.body, floors.head + floors.body);

    let resource_server = &fleet::resource_server(&operator, keyward.address).await?;
    let cast = Cast { keyward: &keyward, agents: &agents, operator: &operator, resource_server };
    let mut measured = Vec::new();
    for &workload in paired {
        let askers = cast.askers(workload).await?;
        measured.push(take_turns(workload, (&keyward, &floor), &operator, &askers).await?);
    }
    let mut by_itself = Vec::new();
    for &workload in lone {
        let askers = cast.askers(workload).await?;
        by_itself.push(alone(workload, &keyward, &operator, &askers).await?);
    }
    if let Some(capacity) = measured.iter().find_map(capacity).filter(|_| !extent.is_small()) {
        let came_of_it = overload(&keyward, &operator, &minting(&agents), capacity).await?;
        println!("{came_of_it:?}");
        conditions.overload = Some(came_of_it);
    }
    let head = operator.head().await?;
    Bed::stop(keyward)?;
    let entries = bed.verify()?;
    // One may have come between: that a snapshot of the state was taken.
    if entries < head {
        return Err(format!("the ledger has {entries} entries, and its head was {head}").into());
    }
    println!("\nthe ledger verifies offline: {entries} entries");
    conditions.entries = entries;
    let (keyward, ready) = bed.keyward().await?;
    let started = Started::now(&keyward, ready, count, entries)?;
    println!("{started:?}");
    conditions.started.push(started);
    Bed::stop(keyward)?;
    Ok(Results { conditions, measured, alone: by_itself, sizes: None, parts: Vec::new() })
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
