//! Drives one server for a while and counts what it answers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use crate::Failed;
use crate::bed::{SERVER_CORE, Server};
use crate::client::{Answer, Connection, Identity};
use crate::fleet::Agent;
use crate::machine;
use crate::tally::Latencies;

/// A token's id, as an answer or the ledger says it; longer ones are cut.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct TokenName([u8; 40]);

impl TokenName {
    pub(crate) fn of(text: &[u8]) -> Self {
        let mut name = [0; 40];
        let bytes = text.len().min(name.len());
        name[..bytes].copy_from_slice(&text[..bytes]);
        Self(name)
    }

    fn in_body(body: &[u8]) -> Option<Self> {
        const FIELD: &[u8] = b"\"token_id\":\"";
        let text = &body[memchr::memmem::find(body, FIELD)? + FIELD.len()..];
        Some(Self::of(&text[..memchr::memchr(b'"', text)?]))
    }
}

/// Somebody who asks, and what.
#[derive(Clone)]
pub(crate) struct Asker {
    pub(crate) agent: Arc<Agent>,
    pub(crate) requests: Requests,
    /// Where else it asks than at the server's own address: an operator at the other listener, who takes one
    /// of a hundred turns of a clock.
    pub(crate) elsewhere: Option<SocketAddr>,
}

impl Asker {
    /// An agent that asks the same again and again.
    pub(crate) fn of(agent: &Arc<Agent>, request: Vec<u8>) -> Self {
        Self { agent: Arc::clone(agent), requests: Requests::of(vec![request]), elsewhere: None }
    }
}

/// What is asked, one after the other, and again from the first.
#[derive(Clone)]
pub(crate) struct Requests {
    all: Arc<[Vec<u8>]>,
    next: usize,
}

impl Requests {
    pub(crate) fn of(all: Vec<Vec<u8>>) -> Self {
        Self { all: all.into(), next: 0 }
    }

    /// The same, to begin with the `first`.
    pub(crate) fn starting(self, first: usize) -> Self {
        Self { next: first, ..self }
    }

    pub(crate) fn next(&mut self) -> &[u8] {
        let turn = self.next;
        self.next += 1;
        &self.all[turn % self.all.len()]
    }
}

/// What is asked of a server, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Load {
    /// So many connections are kept; each asks again as soon as it is answered.
    Warm { connections: usize, seconds: f64 },
    /// So many connections at a time are made; each asks once.
    Cold { connections: usize, seconds: f64 },
    /// Each asker connects and asks once, so many at a time, until all have been answered.
    Storm { connections: usize },
    /// So many connections are kept; each asks so many times, again as soon as it is answered.
    Turns { connections: usize, turns: usize },
    /// So many requests a second are due, whether or not the one before is answered, over so many kept
    /// connections. A request's latency counts from when it was due.
    Open { connections: usize, rate: f64, seconds: f64 },
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    pub(crate) latencies: Latencies,
    /// Of requests of a clock, counted from when they were asked instead of from when they were due.
    pub(crate) since_asked: Latencies,
    /// The ids of minted tokens, where tokens were minted.
    pub(crate) tokens: Vec<TokenName>,
    /// Answers that were no success, by status.
    pub(crate) refused: BTreeMap<u16, u64>,
}

impl Counted {
    fn take(&mut self, answer: Answer<'_>, since: Instant) {
        if answer.is_good() {
            self.latencies.add(since.elapsed());
            self.tokens.extend(TokenName::in_body(answer.body));
        } else {
            *self.refused.entry(answer.status).or_default() += 1;
        }
    }

    fn add(&mut self, other: Self) {
        self.latencies.extend(&other.latencies);
        self.since_asked.extend(&other.since_asked);
        self.tokens.extend(other.tokens);
        for (status, count) in other.refused {
            *self.refused.entry(status).or_default() += count;
        }
    }
}

/// A run, and what it took of the machine.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) counted: Counted,
    pub(crate) elapsed: Duration,
    pub(crate) server_cpu: Duration,
    pub(crate) client_cpu: Duration,
    /// What everybody else used of the two cores; the kernel's own threads count here.
    pub(crate) other_cpu: Duration,
}

impl Run {
    pub(crate) fn rate(&self) -> f64 {
        self.counted.latencies.len() as f64 / self.elapsed.as_secs_f64()
    }

    /// Microseconds of the server's processor time for one answer.
    pub(crate) fn cpu_us(&self) -> f64 {
        self.server_cpu.as_secs_f64() * 1e6 / self.counted.latencies.len() as f64
    }

    /// How busy the client's core was with the client, 0 to 1.
    pub(crate) fn client_busy(&self) -> f64 {
        self.client_cpu.as_secs_f64() / self.elapsed.as_secs_f64()
    }

    /// How busy the server's core was with the server.
    pub(crate) fn server_busy(&self) -> f64 {
        self.server_cpu.as_secs_f64() / self.elapsed.as_secs_f64()
    }

    /// How busy the two cores were with anything else.
    pub(crate) fn other_busy(&self) -> f64 {
        self.other_cpu.as_secs_f64() / self.elapsed.as_secs_f64() / 2.0
    }
}

/// The clocks of the machine at one moment.
struct Clocks {
    at: Instant,
    server: Duration,
    client: Duration,
    cores: Duration,
}

impl Clocks {
    fn read(server: &Server) -> Result<Self, Failed> {
        Ok(Self {
            server: machine::used_by(server.pid())?,
            client: machine::used_by(std::process::id())?,
            cores: machine::used_on(&[SERVER_CORE, SERVER_CORE + 1])?,
            at: Instant::now(),
        })
    }
}

/// Runs `load` against `server`; asker `i` is that of connection `i`, or the `i`-th of a storm.
pub(crate) async fn drive(server: &Server, load: Load, askers: &[Asker]) -> Result<Run, Failed> {
    let address = server.address;
    let (connections, first) = match load {
        Load::Warm { connections, .. } | Load::Open { connections, .. } | Load::Turns { connections, .. } => {
            connect(address, askers, connections).await?
        }
        Load::Cold { .. } | Load::Storm { .. } => Default::default(),
    };
    let before = Clocks::read(server)?;
    let mut counted = match load {
        Load::Warm { seconds, .. } => {
            let until = before.at + Duration::from_secs_f64(seconds);
            warm(connections, move |since, _| since < until).await?
        }
        Load::Turns { turns, .. } => warm(connections, move |_, turn| turn < turns).await?,
        Load::Cold { connections, seconds } => {
            let until = Some(before.at + Duration::from_secs_f64(seconds));
            cold(address, askers, connections, until).await?
        }
        Load::Storm { connections } => cold(address, askers, connections, None).await?,
        Load::Open { rate, seconds, .. } => open(connections, before.at, rate, seconds).await?,
    };
    let after = Clocks::read(server)?;
    counted.tokens.extend(first);
    let (server_cpu, client_cpu) = (after.server - before.server, after.client - before.client);
    let all = after.cores - before.cores;
    Ok(Run {
        counted,
        elapsed: after.at - before.at,
        server_cpu,
        client_cpu,
        other_cpu: all.saturating_sub(server_cpu + client_cpu),
    })
}

/// Connections that are made at the same time: one that waits too long for its first use is closed.
const AT_ONCE: usize = 32;

/// A kept connection, how to make it again, what it asks, and whether it is an operator's.
struct Kept {
    connection: Connection,
    again: (SocketAddr, Identity),
    requests: Requests,
    by: By,
}

impl Kept {
    /// Makes the connection again if it is closed by now: thousands take so long to make that a server gives up
    /// the first of them.
    async fn renew(&mut self) -> Result<(), Failed> {
        if self.connection.has_ended() {
            let (address, identity) = &self.again;
            self.connection = Connection::open(*address, identity).await?;
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum By {
    Agent,
    Operator,
}

/// An operator's turns among all of a clock.
const OPERATORS_TURN: u64 = 100;

/// Opens `count` connections and asks once on each, for what a first request costs more is no part of a
/// warm one; also gives the tokens that were minted thereby.
async fn connect(
    address: SocketAddr,
    askers: &[Asker],
    count: usize,
) -> Result<(Vec<Kept>, Vec<TokenName>), Failed> {
    let mut tasks = JoinSet::new();
    for lane in 0..AT_ONCE.min(count) {
        let askers: Vec<Asker> =
            askers.iter().cycle().take(count).skip(lane).step_by(AT_ONCE).cloned().collect();
        tasks.spawn(async move {
            let (mut kept, mut tokens) = (Vec::with_capacity(askers.len()), Vec::new());
            for Asker { agent, mut requests, elsewhere } in askers {
                let address = elsewhere.unwrap_or(address);
                let by = if elsewhere.is_some() { By::Operator } else { By::Agent };
                let mut connection = Connection::open(address, &agent.identity).await?;
                tokens.extend(TokenName::in_body(connection.ask(requests.next()).await?.body));
                kept.push(Kept { connection, again: (address, agent.identity.clone()), requests, by });
            }
            Ok::<_, Failed>((kept, tokens))
        });
    }
    let (mut kept, mut tokens) = (Vec::with_capacity(count), Vec::new());
    while let Some(lane) = tasks.join_next().await {
        let (more, more_tokens) = lane??;
        kept.extend(more);
        tokens.extend(more_tokens);
    }
    Ok((kept, tokens))
}

async fn all(mut tasks: JoinSet<Result<Counted, Failed>>) -> Result<Counted, Failed> {
    let mut counted = Counted::default();
    while let Some(done) = tasks.join_next().await {
        counted.add(done??);
    }
    Ok(counted)
}

async fn warm(
    connections: Vec<Kept>,
    goes_on: impl Fn(Instant, usize) -> bool + Copy + Send + 'static,
) -> Result<Counted, Failed> {
    let mut tasks = JoinSet::new();
    for Kept { mut connection, mut requests, .. } in connections {
        tasks.spawn(async move {
            let mut counted = Counted::default();
            let (mut since, mut turn) = (Instant::now(), 0);
            while goes_on(since, turn) {
                counted.take(connection.ask(requests.next()).await?, since);
                (since, turn) = (Instant::now(), turn + 1);
            }
            connection.close().await;
            Ok(counted)
        });
    }
    all(tasks).await
}

/// Until `until`, or until everybody has asked once.
async fn cold(
    address: SocketAddr,
    askers: &[Asker],
    connections: usize,
    until: Option<Instant>,
) -> Result<Counted, Failed> {
    let (askers, next) = (Arc::<[Asker]>::from(askers), Arc::new(AtomicUsize::new(0)));
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        let (askers, next) = (Arc::clone(&askers), Arc::clone(&next));
        tasks.spawn(async move {
            let mut counted = Counted::default();
            loop {
                let turn = next.fetch_add(1, Ordering::Relaxed);
                let since = Instant::now();
                let is_over = until.map_or(turn >= askers.len(), |until| since >= until);
                if is_over {
                    return Ok(counted);
                }
                let asker = &askers[turn % askers.len()];
                let mut connection = Connection::open(address, &asker.agent.identity).await?;
                counted.take(connection.ask(asker.requests.clone().next()).await?, since);
                connection.close().await;
            }
        });
    }
    all(tasks).await
}

async fn open(connections: Vec<Kept>, start: Instant, rate: f64, seconds: f64) -> Result<Counted, Failed> {
    let (due, waiting) = mpsc::unbounded_channel();
    let (due_to_operators, operators_waiting) = mpsc::unbounded_channel();
    let with_operators = connections.iter().any(|kept| kept.by == By::Operator);
    // Timers of the runtime go by milliseconds; a thread sleeps more exactly.
    let total = (rate * seconds) as u64;
    let clock = std::thread::spawn(move || {
        for turn in 0..total {
            let at = start + Duration::from_secs_f64(turn as f64 / rate);
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            let is_operators = with_operators && (turn + 1) % OPERATORS_TURN == 0;
            let due = if is_operators { &due_to_operators } else { &due };
            if due.send(at).is_err() {
                return;
            }
        }
    });
    let (waiting, operators_waiting) =
        (Arc::new(Mutex::new(waiting)), Arc::new(Mutex::new(operators_waiting)));
    let mut tasks = JoinSet::new();
    for mut kept in connections {
        let waiting = Arc::clone(if kept.by == By::Operator { &operators_waiting } else { &waiting });
        tasks.spawn(async move {
            let mut counted = Counted::default();
            loop {
                let next = waiting.lock().await.recv().await;
                let Some(at) = next else { return Ok(counted) };
                let asked = Instant::now();
                kept.renew().await?;
                let answer = kept.connection.ask(kept.requests.next()).await?;
                if answer.is_good() {
                    counted.since_asked.add(asked.elapsed());
                }
                counted.take(answer, at);
            }
        });
    }
    let counted = all(tasks).await;
    clock.join().map_err(|_| "the clock's thread panicked")?;
    counted
}
