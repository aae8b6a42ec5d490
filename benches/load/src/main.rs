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
mod report;
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
use report::Conditions;
use tally::Spread;
use turns::{Measured, What, Workload, take_turns};

/// Why there are no figures.
pub(crate) type Failed = Box<dyn Error + Send + Sync>;

/// How much is measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Extent {
    /// What shows that it works, in some seconds.
    Smoke,
    /// Keyward alone, its instructions counted.
    Instructions,
    /// What the page's first tables show.
    Standard,
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
    let mut workloads = workloads(extent, seconds);
    if let Some(only) = arguments.get("only") {
        workloads.retain(|workload| workload.title.contains(only.as_str()));
    }
    let (conditions, measured) = runtime.block_on(measure(&bed, extent, &workloads))?;
    if let Some(pages) = arguments.get("pages") {
        report::write(&PathBuf::from(pages), given("commit")?, &conditions, &measured)?;
    }
    Ok(())
}

/// Thousands of instructions for a warm mint.
async fn count(bed: &Bed) -> Result<f64, Failed> {
    let keyward = bed.keyward_counted().await?;
    fleet::declare(bed)?;
    let agents = fleet::enrol(&Operator::of(bed)?, keyward.address, 0, SMOKE_AGENTS).await?;
    let asker = |agent: &Arc<Agent>| Asker { agent: agent.clone(), request: fleet::mint_request().into() };
    let askers: Vec<Asker> = agents.iter().map(asker).collect();
    instructions::for_a_mint(bed, &keyward, &askers).await
}

/// Sets up both servers and runs all workloads.
async fn measure(
    bed: &Bed,
    extent: Extent,
    workloads: &[Workload],
) -> Result<(Conditions, Vec<Measured>), Failed> {
    let syncs = machine::sync_latency(&bed.dir, if extent == Extent::Smoke { 20 } else { 400 })?;
    let mut conditions = Conditions::of(&bed.dir, &syncs);
    println!("{}\n", conditions.lines().join("\n"));
    let (keyward, ready) = bed.keyward().await?;
    conditions.started.push(Started::now(&keyward, ready, 0, 0)?);
    fleet::declare(bed)?;
    let operator = Operator::of(bed)?;
    let count = if extent == Extent::Smoke { SMOKE_AGENTS } else { STORM_AGENTS };
    let agents = fleet::enrol(&operator, keyward.address, 0, count).await?;
    println!("{count} agents are enrolled");

    let mint = Sized::of(&keyward, &agents[0], &fleet::mint_request()).await?;
    let read =
        Sized::of(&keyward, &agents[0], &fleet::read_request(&agents[0], keyward.address).await?).await?;
    let floor = bed.floor(mint.body, read.body)?;
    let floors = Sized::of(&floor, &agents[0], &fleet::mint_request()).await?;
    println!("a mint's answer: Keyward {mint:?}, floor {floors:?}\n");
    conditions.answers = (mint.head + mint.body, floors.head + floors.body);

    let mut measured = Vec::new();
    for &workload in workloads {
        let askers = askers(workload, &agents, &keyward).await?;
        measured.push(take_turns(workload, (&keyward, &floor), &operator, &askers).await?);
    }
    if let Some(capacity) = measured.iter().find_map(capacity).filter(|_| extent == Extent::Standard) {
        let asker =
            |agent: &Arc<Agent>| Asker { agent: agent.clone(), request: fleet::mint_request().into() };
        let askers: Vec<Asker> = agents.iter().map(asker).collect();
        let came_of_it = overload(&keyward, &operator, &askers, capacity).await?;
        println!("{came_of_it:?}");
        conditions.overload = Some(came_of_it);
    }
    let head = operator.head().await?;
    Bed::stop(keyward)?;
    let entries = bed.verify()?;
    if entries != head {
        return Err(format!("the ledger has {entries} entries, and its head was {head}").into());
    }
    println!("\nthe ledger verifies offline: {entries} entries");
    conditions.entries = entries;
    let (keyward, ready) = bed.keyward().await?;
    let started = Started::now(&keyward, ready, count, entries)?;
    println!("{started:?}");
    conditions.started.push(started);
    Bed::stop(keyward)?;
    Ok((conditions, measured))
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

/// Who asks what in `workload`. Reading takes a token first, which is not a part of what is measured.
async fn askers(workload: Workload, agents: &[Arc<Agent>], keyward: &Server) -> Result<Vec<Asker>, Failed> {
    let mint = fleet::mint_request();
    let needed = match workload.load {
        Load::Warm { connections, .. } | Load::Open { connections, .. } => connections.min(agents.len()),
        Load::Cold { .. } | Load::Storm { .. } => agents.len(),
    };
    let mut askers = Vec::with_capacity(needed);
    for agent in agents.iter().take(needed) {
        let request = match workload.what {
            What::Mint => mint.clone(),
            What::Read => fleet::read_request(agent, keyward.address).await?,
        };
        askers.push(Asker { agent: agent.clone(), request: request.into() });
    }
    Ok(askers)
}

/// A run lasts for `seconds`, unless it is for the extent to say.
fn workloads(extent: Extent, seconds: Option<f64>) -> Vec<Workload> {
    let smoke = extent == Extent::Smoke;
    let (usual, rounds) = if smoke { (0.2, 1) } else { (2.0, 7) };
    let seconds = seconds.unwrap_or(usual);
    let mint = |title, target, load| Workload { title, what: What::Mint, load, rounds, target };
    let warm = |connections| Load::Warm { connections, seconds };
    let cold = Load::Cold { connections: 16, seconds };
    let read = Workload { what: What::Read, ..mint("secret read, 16 connections", "0.80", warm(16)) };
    let (storm, at_once) = if smoke { ("storm of 40 agents", 16) } else { ("storm of 10,000 agents", 512) };
    let storm = mint(storm, "0.87", Load::Storm { connections: at_once });
    let mut all = vec![
        mint("warm mint, 1 connection", "p50 at most 1.25 times", warm(1)),
        mint("warm mint, 16 connections", "0.80; p99 at most 1.5 times", warm(16)),
        mint("warm mint, 64 connections", "0.80; p99 at most 1.5 times", warm(64)),
        mint("warm mint, 256 connections", "", warm(256)),
        mint("cold connect + mint, 16 at a time", "0.90", cold),
        read,
        Workload { rounds: rounds.min(3), ..storm },
    ];
    // A clock asks, not the answer before; latency counts from when a request was due.
    let open = |rate| Load::Open { connections: 64, rate, seconds };
    all.push(if smoke {
        mint("200 mints a second, open loop", "", open(200.0))
    } else {
        mint("5,000 mints a second, open loop", "", open(5000.0))
    });
    all
}
