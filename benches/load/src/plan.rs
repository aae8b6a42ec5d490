//! What is measured: the workloads, and who asks what in each.

use std::sync::Arc;

use crate::Extent;
use crate::Failed;
use crate::bed::Server;
use crate::drive::{Asker, Load, Requests};
use crate::fleet::{self, Agent, Operator};
use crate::turns::{What, Workload};

/// Connections of agents in the mix, and of operators.
const MIX_AGENTS: usize = 64;
const MIX_OPERATORS: usize = 4;
/// Tokens that the resource server asks about in turn.
const TOKENS: usize = 64;
/// Keys that one agent asks certificates for in turn: each replaces the one before, which was never used.
const KEYS: usize = 4;

/// What is run against both servers. A run lasts for `seconds`, unless it is for the extent to say.
pub(crate) fn paired(extent: Extent, seconds: Option<f64>) -> Vec<Workload> {
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

/// What Keyward runs alone, because the floor has nothing of it.
pub(crate) fn alone(extent: Extent) -> Vec<Workload> {
    let smoke = extent == Extent::Smoke;
    let (seconds, rounds) = if smoke { (0.2, 1) } else { (2.0, 3) };
    let warm = Load::Warm { connections: 16, seconds };
    let workload = |title, what, load| Workload { title, what, load, rounds, target: "" };
    let mut all = vec![
        workload("introspection, 16 connections", What::Introspect, warm),
        workload("renewal, 16 connections", What::Renew, warm),
    ];
    let connections = MIX_AGENTS + MIX_OPERATORS;
    let mix = |title, rate| {
        let seconds = if smoke { 0.5 } else { 4.0 };
        workload(title, What::Mix, Load::Open { connections, rate, seconds })
    };
    if smoke {
        all.push(mix("mix, 200 a second", 200.0));
    } else {
        all.push(mix("mix, 1,000 a second", 1000.0));
        all.push(mix("mix, 2,500 a second", 2500.0));
        all.push(mix("mix, 5,000 a second", 5000.0));
        all.push(mix("mix, 10,000 a second", 10000.0));
    }
    all
}

/// Everybody who asks.
pub(crate) struct Cast<'a> {
    pub(crate) keyward: &'a Server,
    pub(crate) agents: &'a [Arc<Agent>],
    pub(crate) operator: &'a Operator,
    pub(crate) resource_server: &'a Arc<Agent>,
}

impl Cast<'_> {
    /// Who asks what in `workload`. What has to be had for it first is no part of what is measured.
    pub(crate) async fn askers(&self, workload: Workload) -> Result<Vec<Asker>, Failed> {
        let needed = match workload.load {
            Load::Warm { connections, .. } | Load::Open { connections, .. } => {
                connections.min(self.agents.len())
            }
            Load::Cold { .. } | Load::Storm { .. } => self.agents.len(),
            Load::Turns { connections, .. } => connections,
        };
        let agents = || self.agents.iter().cycle().take(needed);
        match workload.what {
            What::Mint => Ok(agents().map(|agent| Asker::of(agent, fleet::mint_request())).collect()),
            What::Read => self.readers(agents()).await,
            What::Introspect => self.inspectors(needed).await,
            What::Renew => agents().map(renewing).collect(),
            What::Mix => self.mixed().await,
        }
    }

    async fn readers(&self, agents: impl Iterator<Item = &Arc<Agent>>) -> Result<Vec<Asker>, Failed> {
        let mut askers = Vec::new();
        for agent in agents {
            askers.push(Asker::of(agent, fleet::read_request(agent, self.keyward.address).await?));
        }
        Ok(askers)
    }

    async fn inspectors(&self, connections: usize) -> Result<Vec<Asker>, Failed> {
        let mut questions = Vec::with_capacity(TOKENS);
        for agent in self.agents.iter().take(TOKENS) {
            questions.push(fleet::introspect_request(agent, self.keyward.address).await?);
        }
        let requests = Requests::of(questions);
        let asker = |first| Asker {
            agent: Arc::clone(self.resource_server),
            requests: requests.clone().starting(first),
            elsewhere: None,
        };
        Ok((0..connections).map(asker).collect())
    }

    async fn mixed(&self) -> Result<Vec<Asker>, Failed> {
        let mut askers = Vec::new();
        for (number, agent) in self.agents.iter().cycle().take(MIX_AGENTS).enumerate() {
            let read = fleet::read_request(agent, self.keyward.address).await?;
            let mut requests = Vec::new();
            // The hundredth is the operators'.
            for turn in 0..99 {
                requests.push(match turn {
                    12 | 36 | 61 | 86 => fleet::renew_request()?,
                    _ if turn % 20 % 7 == 3 => read.clone(),
                    _ => fleet::mint_request(),
                });
            }
            // Not all of them do the same at the same time.
            let requests = Requests::of(requests).starting(number * 7);
            askers.push(Asker { agent: Arc::clone(agent), requests, elsewhere: None });
        }
        let invited = self.agents.iter().take(MIX_OPERATORS);
        askers.extend(invited.map(|agent| self.operator.asker(vec![fleet::invitation(&agent.name, &[])])));
        Ok(askers)
    }
}

fn renewing(agent: &Arc<Agent>) -> Result<Asker, Failed> {
    let requests = (0..KEYS).map(|_| fleet::renew_request()).collect::<Result<_, _>>()?;
    Ok(Asker { agent: Arc::clone(agent), requests: Requests::of(requests), elsewhere: None })
}

/// What an agent asks in a day, twice over: a token every five minutes, a secret every fifteen, a certificate
/// every twelve hours.
pub(crate) async fn day_of(agent: &Arc<Agent>, keyward: &Server) -> Result<Asker, Failed> {
    let read = fleet::read_request(agent, keyward.address).await?;
    let mut requests = vec![fleet::renew_request()?];
    for _ in 0..48 {
        requests.extend([fleet::mint_request(), fleet::mint_request(), fleet::mint_request(), read.clone()]);
    }
    Ok(Asker { agent: Arc::clone(agent), requests: Requests::of(requests), elsewhere: None })
}

/// Requests of one agent in a day.
pub(crate) const DAY: usize = 2 * (1 + 4 * 48);
