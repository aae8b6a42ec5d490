//! Workloads, each run against both servers in turn.

use std::collections::HashSet;
use std::fmt;

use crate::Failed;
use crate::bed::{Server, Side};
use crate::drive::{Asker, Load, Run, drive};
use crate::fleet::Operator;

/// A client busier than this measures itself: the run counts for nothing.
const CLIENT_BUSY_MAX: f64 = 0.8;

/// One line of the page's tables.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    pub(crate) title: &'static str,
    pub(crate) what: What,
    pub(crate) load: Load,
    pub(crate) rounds: usize,
    /// What the ratio is to reach.
    pub(crate) target: &'static str,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum What {
    /// A token.
    Mint,
    /// The value of a secret.
    Read,
    /// Whether tokens count, by a resource server.
    Introspect,
    /// The next certificate.
    Renew,
    /// Of a hundred, eighty tokens, fifteen values, four certificates, and one invitation by an operator.
    Mix,
}

impl What {
    /// Whether answers have tokens, of which the ledger has to know.
    const fn mints(self) -> bool {
        matches!(self, Self::Mint | Self::Mix)
    }
}

/// The figures of one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    pub(crate) rate: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
    pub(crate) most_us: f64,
    pub(crate) cpu_us: f64,
    pub(crate) client_busy: f64,
    pub(crate) server_busy: f64,
    pub(crate) other_busy: f64,
}

impl Figures {
    fn of(run: &Run) -> Self {
        let [p50_us, p99_us, p999_us, most_us] = run.counted.latencies.within([500, 990, 999, 1000]);
        Self {
            rate: run.rate(),
            p50_us,
            p99_us,
            p999_us,
            most_us,
            cpu_us: run.cpu_us(),
            client_busy: run.client_busy(),
            server_busy: run.server_busy(),
            other_busy: run.other_busy(),
        }
    }

    /// Whether the client was so busy that this says nothing of the server's rate and latency.
    pub(crate) fn is_void(&self) -> bool {
        self.client_busy > CLIENT_BUSY_MAX
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rate, p50_us, p99_us, cpu_us, .. } = self;
        let busy = [self.server_busy, self.client_busy, self.other_busy].map(|share| share * 100.0);
        write!(f, "{rate:>6.0}/s p50 {p50_us:>6.0} p99 {p99_us:>6.0} cpu {cpu_us:>5.1} µs ")?;
        write!(f, "(busy: server {:.0}, client {:.0}, others {:.0} %)", busy[0], busy[1], busy[2])
    }
}

/// Keyward and the floor, one after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    pub(crate) keyward: Figures,
    pub(crate) floor: Figures,
}

impl Round {
    pub(crate) fn is_void(&self) -> bool {
        self.keyward.is_void() || self.floor.is_void()
    }
}

/// What came of a workload.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) workload: Workload,
    pub(crate) rounds: Vec<Round>,
}

/// Runs the workload against `keyward` and `floor` in turn, as often as it says. Rounds before one that fails stay.
pub(crate) async fn take_turns(
    measured: &mut Measured,
    (keyward, floor): (&Server, &Server),
    operator: &Operator,
    askers: &[Asker],
) -> Result<(), Failed> {
    let workload = measured.workload;
    for number in 1..=workload.rounds {
        let round = Round {
            keyward: one_turn(workload, keyward, operator, askers).await?,
            floor: one_turn(workload, floor, operator, askers).await?,
        };
        println!(
            "{:<34} {number}/{}  keyward {}   floor {}   ratio {:.2}{}",
            workload.title,
            workload.rounds,
            round.keyward,
            round.floor,
            round.keyward.rate / round.floor.rate,
            if round.is_void() { "  void: the client was over 80 % busy" } else { "" }
        );
        measured.rounds.push(round);
    }
    Ok(())
}

/// Runs the workload against `keyward` alone, as often as it says: what the floor has nothing of.
pub(crate) async fn alone(
    measured: &mut Alone,
    keyward: &Server,
    operator: &Operator,
    askers: &[Asker],
) -> Result<(), Failed> {
    let workload = measured.workload;
    for number in 1..=workload.rounds {
        let run = one_turn(workload, keyward, operator, askers).await?;
        println!("{:<34} {number}/{}  keyward {run}", workload.title, workload.rounds);
        measured.runs.push(run);
    }
    Ok(())
}

/// What came of a workload that Keyward ran alone.
#[derive(Debug)]
pub(crate) struct Alone {
    pub(crate) workload: Workload,
    pub(crate) runs: Vec<Figures>,
}

/// One run, and its proof: every answer a success, every token another one, and of Keyward's all in the
/// ledger and no other.
pub(crate) async fn one_turn(
    workload: Workload,
    server: &Server,
    operator: &Operator,
    askers: &[Asker],
) -> Result<Figures, Failed> {
    let head = operator.head().await?;
    let run = drive(server, workload.load, askers).await?;
    let counted = &run.counted;
    let broken = |what: String| Err(format!("{}: {:?} {what}", workload.title, server.side).into());
    if !counted.refused.is_empty() {
        return broken(format!("refused, by status: {:?}", counted.refused));
    }
    if workload.what.mints() {
        let distinct: HashSet<_> = counted.tokens.iter().copied().collect();
        let is_short = workload.what == What::Mint && distinct.len() < counted.latencies.len();
        if distinct.len() != counted.tokens.len() || is_short {
            return broken("gave a token twice, or none".to_owned());
        }
        if server.side == Side::Keyward && operator.minted_after(head).await? != distinct {
            return broken("has other tokens in its ledger than in its answers".to_owned());
        }
    }
    Ok(Figures::of(&run))
}
