//! How fast Keyward is with few and with many agents and grants declared, how it starts with them, and how its
//! ledger grows.

use std::fs;
use std::sync::Arc;

use serde_json::json;

use crate::bed::{Bed, Server};
use crate::client::{Connection, Identity, request};
use crate::drive::{Asker, Load, drive};
use crate::fleet::{self, Agent, Operator};
use crate::hardship::Started;
use crate::plan::{DAY, day_of};
use crate::turns::{Figures, What, Workload, one_turn};
use crate::{Extent, Failed};

/// A broker with so many agents declared, and what it did in each round.
#[derive(Debug)]
pub(crate) struct Size {
    pub(crate) agents: usize,
    pub(crate) runs: Vec<Figures>,
}

/// What became of the ledger in a day.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Day {
    pub(crate) agents: usize,
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
}

/// All of it, as far as it was measured.
#[derive(Debug, Default)]
pub(crate) struct Sizes {
    pub(crate) sizes: Vec<Size>,
    pub(crate) started: Vec<Started>,
    pub(crate) day: Option<Day>,
}

/// Connections of a round; agents that ask, where so many are declared.
const CONNECTIONS: usize = 64;
/// Agents with a role of their own, which grants a capability of its own.
const AGENTS_PER_ROLE: usize = 100;
/// Agents in one upload of declarations.
const UPLOAD: usize = 5_000;

/// Brokers of all sizes are up at the same time and are driven in turn; then one of them lives through a day.
pub(crate) async fn compare(extent: Extent, main: &Bed, into: &mut Sizes) -> Result<(), Failed> {
    let (counts, rounds, seconds, day_agents) = match extent {
        Extent::Smoke | Extent::Instructions => (&[10, 20][..], 1, 0.2, 1),
        Extent::Standard | Extent::All => (&[10, 1_000, 100_000][..], 5, 2.0, 1_000),
    };
    let mut brokers = Vec::new();
    for count in counts {
        brokers.push(Broker::with(main, *count).await?);
    }
    let load = Load::Warm { connections: CONNECTIONS, seconds };
    let workload = Workload { title: "warm mint", what: What::Mint, load, rounds, target: "" };
    into.sizes = counts.iter().map(|agents| Size { agents: *agents, runs: Vec::new() }).collect();
    for round in 1..=rounds {
        for (broker, size) in brokers.iter().zip(&mut into.sizes) {
            let run = one_turn(workload, &broker.server, &broker.operator, &broker.askers()).await?;
            println!("{:>9} agents declared {round}/{rounds}  {run}", size.agents);
            size.runs.push(run);
        }
    }
    for (broker, agents) in brokers.into_iter().zip(counts) {
        let (stopped, entries) = broker.stop()?;
        let snapshot = stopped.bed.newest_snapshot()?;
        let (server, ready) = stopped.bed.keyward().await?;
        let start = Started::now(&server, ready, (*agents, entries, snapshot))?;
        println!("{start:?}");
        into.started.push(start);
        if into.day.is_none() {
            into.day = Some(stopped.live_through_a_day(server, day_agents, entries).await?);
        } else {
            Bed::stop(server)?;
        }
    }
    Ok(())
}

struct Broker {
    bed: Bed,
    server: Server,
    operator: Operator,
    agents: Vec<(Arc<Agent>, usize)>,
}

struct Stopped {
    bed: Bed,
    agents: Vec<Arc<Agent>>,
}

impl Broker {
    /// A broker with `count` agents declared; as many as ask are enrolled, from all over.
    async fn with(main: &Bed, count: usize) -> Result<Self, Failed> {
        let bed = main.sibling(&format!("with-{count}"))?;
        let (server, _) = bed.keyward().await?;
        fleet::declare(&bed)?;
        let operator = Operator::of(&bed)?;
        let mut admin = operator.connect().await?;
        for first in (0..count).step_by(UPLOAD) {
            let files = json!({ "files": [{ "name": "agents.toml", "text": declared(first, count.min(first + UPLOAD)) }] });
            let asked =
                request("POST", "/v1/apply", "content-type: application/json\r\n", &files.to_string());
            let answer = admin.ask(&asked).await?;
            if answer.status != 200 {
                return Err(String::from_utf8_lossy(answer.body).into());
            }
        }
        let mut nobody = Connection::open(server.address, &Identity::none()?).await?;
        let mut agents = Vec::new();
        for number in (0..count).step_by(count.div_ceil(CONNECTIONS)) {
            let agent = fleet::enrol_as(&mut admin, &mut nobody, name(number), &[]).await?;
            agents.push((Arc::new(agent), number / AGENTS_PER_ROLE));
        }
        println!("{count} agents are declared, {} enrolled", agents.len());
        Ok(Self { bed, server, operator, agents })
    }

    fn askers(&self) -> Vec<Asker> {
        let asker = |(agent, role): &(Arc<Agent>, usize)| {
            Asker::of(agent, fleet::mint_request_for(&format!("bench.service-{role}.write")))
        };
        self.agents.iter().map(asker).collect()
    }

    fn stop(self) -> Result<(Stopped, u64), Failed> {
        Bed::stop(self.server)?;
        let entries = self.bed.verify()?;
        let agents = self.agents.into_iter().map(|(agent, _)| agent).collect();
        Ok((Stopped { bed: self.bed, agents }, entries))
    }
}

impl Stopped {
    /// What `agents` agents do in a day, as fast as it goes; whose hands it is done by is one to the ledger.
    async fn live_through_a_day(&self, server: Server, agents: usize, entries: u64) -> Result<Day, Failed> {
        let bytes = self.ledger_bytes()?;
        let mut askers = Vec::new();
        for agent in &self.agents {
            askers.push(day_of(agent, &server).await?);
        }
        let turns = (agents * DAY).div_ceil(CONNECTIONS);
        let run = drive(&server, Load::Turns { connections: CONNECTIONS, turns }, &askers).await?;
        if !run.counted.refused.is_empty() {
            return Err(format!("the day: refused, by status: {:?}", run.counted.refused).into());
        }
        Bed::stop(server)?;
        let day = Day { agents, entries: self.bed.verify()? - entries, bytes: self.ledger_bytes()? - bytes };
        println!("{day:?}");
        Ok(day)
    }

    /// Of a broker that was stopped, or has written nothing since it was started.
    fn ledger_bytes(&self) -> Result<u64, Failed> {
        let mut bytes = 0;
        for file in fs::read_dir(self.bed.ledger())? {
            bytes += file?.metadata()?.len();
        }
        Ok(bytes)
    }
}

fn name(number: usize) -> String {
    format!("declared-{number}")
}

/// Declarations of agents number `first` to `end - 1`, with their roles and capabilities.
fn declared(first: usize, end: usize) -> String {
    let mut text = String::new();
    for number in first..end {
        let role = number / AGENTS_PER_ROLE;
        if number % AGENTS_PER_ROLE == 0 {
            text += &format!(
                "[[capability]]\nname = \"bench.service-{role}.write\"\naccess = \"write\"\ndelivery = \"mint\"\n\
                 audience = \"https://service.bench.internal\"\nmax_life_s = 300\n\
                 [[role]]\nname = \"bench-{role}\"\ncapabilities = [\"bench.service-{role}.write\"]\n"
            );
        }
        text += &format!("[[agent]]\nname = \"{}\"\nroles = [\"bench\", \"bench-{role}\"]\n", name(number));
    }
    text
}
