//! What Keyward does when more is asked of it than it can do, and what starting it costs.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::Failed;
use crate::bed::Server;
use crate::client::{Connection, request};
use crate::drive::{Asker, Load, drive};
use crate::fleet::Operator;
use crate::machine::memory_of;

/// A broker that has just started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Started {
    pub(crate) agents: usize,
    pub(crate) entries: u64,
    /// The entry that the snapshot was as of, when it began with one.
    pub(crate) snapshot: Option<u64>,
    /// From the start of the process to the first good answer of `/readyz`.
    pub(crate) ready: Duration,
    pub(crate) resident_kib: u64,
    /// The most that it ever was until then.
    pub(crate) resident_most_kib: u64,
}

impl Started {
    pub(crate) fn now(
        server: &Server,
        ready: Duration,
        (agents, entries, snapshot): (usize, u64, Option<u64>),
    ) -> Result<Self, Failed> {
        let (resident_kib, resident_most_kib) = memory_of(server.pid())?;
        Ok(Self { agents, entries, snapshot, ready, resident_kib, resident_most_kib })
    }
}

/// What came of asking for twice as much as there is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Overload {
    pub(crate) connections: usize,
    /// Requests a second that were due.
    pub(crate) due: f64,
    /// Those that were answered with a token, and those that were told to come back.
    pub(crate) answered: f64,
    pub(crate) shed: f64,
    /// Of the ones answered with a token, counted from when they were asked. What was due beyond that waited in
    /// the generator, all of whose connections were taken.
    pub(crate) p99_ms: f64,
    pub(crate) resident_kib: u64,
    pub(crate) resident_most_kib: u64,
    /// How long a revocation took, asked for in the middle of it.
    pub(crate) revoked: Duration,
    /// How long after it ended the next mint on a new connection was done within 10 ms.
    pub(crate) recovered: Duration,
}

const CONNECTIONS: usize = 8000;
const SECONDS: f64 = 6.0;
const UNAVAILABLE: u16 = 503;

/// Asks `server` for twice its `capacity`; in the middle of it the operator revokes the first asker.
pub(crate) async fn overload(
    server: &Server,
    operator: &Operator,
    askers: &[Asker],
    capacity: f64,
) -> Result<Overload, Failed> {
    let (others, due) = (askers.get(1..).unwrap_or_default(), capacity * 2.0);
    let resident_kib = memory_of(server.pid())?.0;
    let load = Load::Open { connections: CONNECTIONS, rate: due, seconds: SECONDS };
    let (run, revoked) = tokio::join!(drive(server, load, others), revoke(operator, server.address, askers));
    let (run, revoked) = (run?, revoked?);
    let recovered = recovered(server.address, others).await?;
    let (refused, elapsed) = (&run.counted.refused, run.elapsed.as_secs_f64());
    if refused.keys().any(|status| *status != UNAVAILABLE) {
        return Err(format!("overload: refused otherwise than by 503: {refused:?}").into());
    }
    let shed = refused.get(&UNAVAILABLE).copied().unwrap_or(0) as f64;
    Ok(Overload {
        connections: CONNECTIONS,
        due,
        answered: run.rate(),
        shed: shed / elapsed,
        p99_ms: run.counted.since_asked.within([990])[0] / 1000.0,
        resident_kib,
        resident_most_kib: memory_of(server.pid())?.1,
        revoked,
        recovered,
    })
}

/// How long it takes from asking for a revocation to its answer; the agent has to be refused then.
async fn revoke(operator: &Operator, address: SocketAddr, askers: &[Asker]) -> Result<Duration, Failed> {
    let asker = askers.first().ok_or("nobody to revoke")?;
    let mut admin = operator.connect().await?;
    tokio::time::sleep(Duration::from_secs_f64(SECONDS / 2.0)).await;
    let start = Instant::now();
    let json = "content-type: application/json\r\n";
    let path = format!("/v1/agents/{}/revoke", asker.agent.name);
    let status = admin.ask(&request("POST", &path, json, "{}")).await?.status;
    let took = start.elapsed();
    if status != 200 {
        return Err(format!("overload: the revocation was answered with {status}").into());
    }
    let is_refused = match Connection::open(address, &asker.agent.identity).await {
        // The handshake's refusal arrives with the first answer.
        Ok(mut connection) => {
            !connection.ask(asker.requests.clone().next()).await.is_ok_and(|answer| answer.status == 200)
        }
        Err(_) => true,
    };
    if is_refused { Ok(took) } else { Err("overload: a revoked agent still got a token".into()) }
}

/// How long it takes until a mint is quick again.
async fn recovered(address: SocketAddr, askers: &[Asker]) -> Result<Duration, Failed> {
    const QUICK: Duration = Duration::from_millis(10);
    let (asker, since) = (askers.first().ok_or("nobody to ask")?, Instant::now());
    loop {
        let mut connection = Connection::open(address, &asker.agent.identity).await?;
        let start = Instant::now();
        let is_good = connection.ask(asker.requests.clone().next()).await?.status == 200;
        if is_good && start.elapsed() < QUICK {
            return Ok(since.elapsed());
        }
        if since.elapsed() > Duration::from_secs(60) {
            return Err("overload: not recovered after a minute".into());
        }
    }
}
