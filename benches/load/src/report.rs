//! The page's tables and charts, from the runs.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::Failed;
use crate::adversity_report::{containment, hardship, unrest};
use crate::chart::{Pair, bars, figure};
use crate::containment::Containment;
use crate::hardship::{Overload, Started};
use crate::listing::{IndexCost, Listing};
use crate::listing_report::index_part;
use crate::machine;
use crate::parts::Part;
use crate::peer::{Compared, Peers};
use crate::policies::Policies;
use crate::policy_report::{policies, simulations};
use crate::simulation::Simulations;
use crate::sizes::{Day, Size, Sizes};
use crate::tally::{Latencies, Spread};
use crate::turns::{Alone, Figures, Measured, Round};
use crate::unrest::Unrest;

/// A figure of a run.
pub(crate) type Of = fn(&Figures) -> f64;

/// What the runs were made on and with.
#[derive(Debug)]
pub(crate) struct Conditions {
    machine: String,
    disk: String,
    /// What a mint's answer comes to over the wire, Keyward's and the floor's, in bytes.
    pub(crate) answers: (usize, usize),
    /// Entries that the ledger had in the end, read back and verified offline.
    pub(crate) entries: u64,
    pub(crate) started: Vec<Started>,
    pub(crate) overload: Option<Overload>,
}

impl Conditions {
    pub(crate) fn of(dir: &Path, syncs: &Latencies) -> Self {
        let [p50, p99] = syncs.within([500, 990]);
        let disk = format!(
            "{}; 16 KiB are durable in {p50:.0} µs (p50), {p99:.0} µs (p99)",
            machine::file_system(dir)
        );
        Self {
            machine: machine::described(),
            disk,
            answers: (0, 0),
            entries: 0,
            started: Vec::new(),
            overload: None,
        }
    }

    pub(crate) fn lines(&self) -> [&str; 2] {
        [&self.machine, &self.disk]
    }
}

/// All there is to tell.
#[derive(Debug)]
pub(crate) struct Results {
    pub(crate) conditions: Conditions,
    pub(crate) measured: Vec<Measured>,
    pub(crate) alone: Vec<Alone>,
    pub(crate) peers: Peers,
    pub(crate) unrest: Unrest,
    pub(crate) containment: Containment,
    pub(crate) policies: Policies,
    pub(crate) simulations: Simulations,
    pub(crate) sizes: Sizes,
    pub(crate) index_cost: IndexCost,
    pub(crate) listing: Option<Listing>,
    pub(crate) parts: Vec<Part>,
    /// Parts that failed, with the reason.
    pub(crate) failed: Vec<(String, String)>,
    /// How long it took so far.
    pub(crate) took: Duration,
}

impl Results {
    /// Nothing but what it is measured on.
    pub(crate) fn of(conditions: Conditions) -> Self {
        Self {
            conditions,
            measured: Vec::new(),
            alone: Vec::new(),
            peers: Peers::default(),
            unrest: Unrest::default(),
            containment: Containment::default(),
            policies: Policies::default(),
            simulations: Simulations::default(),
            sizes: Sizes::default(),
            index_cost: IndexCost::default(),
            listing: None,
            parts: Vec::new(),
            failed: Vec::new(),
            took: Duration::ZERO,
        }
    }
}

const BEGIN: &str = "<!-- measured: scripts/bench writes the part from here on -->\n";
const END: &str = "<!-- measured: end of the part that scripts/bench writes -->\n";

/// Puts the tables between the marks of `performance.md` in `pages`, and the charts beside it.
pub(crate) fn write(pages: &Path, commit: &str, results: &Results) -> Result<(), Failed> {
    let measured = &results.measured;
    let charts = pages.join("performance");
    fs::create_dir_all(&charts)?;
    let draw =
        |name: &str, title: &str, of: Of| fs::write(charts.join(name), bars(title, &pairs(measured, of)));
    draw("rate.svg", "Responses per second (more is better)", |figures| figures.rate)?;
    draw("p50.svg", "Latency, p50, µs (less is better)", |figures| figures.p50_us)?;
    draw("p99.svg", "Latency, p99, µs (less is better)", |figures| figures.p99_us)?;
    draw("cpu.svg", "Server's processor time for one answer, µs (less is better)", |figures| {
        figures.cpu_us
    })?;

    let path = pages.join("performance.md");
    let page = fs::read_to_string(&path)?;
    let (before, rest) = page.split_once(BEGIN).ok_or("performance.md has lost its first mark")?;
    let (_, after) = rest.split_once(END).ok_or("performance.md has lost its last mark")?;
    let written = tables(commit, results);
    fs::write(path, format!("{before}{BEGIN}{written}{END}{after}"))?;
    Ok(())
}

fn good(measured: &Measured) -> impl Iterator<Item = &Round> {
    measured.rounds.iter().filter(|round| !round.is_void())
}

fn pairs(measured: &[Measured], of: Of) -> Vec<Pair> {
    let pair = |measured: &Measured| Pair {
        label: measured.workload.title,
        keyward: Spread::of(good(measured).map(|round| of(&round.keyward))),
        floor: Spread::of(good(measured).map(|round| of(&round.floor))),
    };
    measured.iter().map(pair).collect()
}

fn tables(commit: &str, results: &Results) -> String {
    let Results { conditions, measured, .. } = results;
    let (keyward, floor) = conditions.answers;
    let runs = || {
        measured.iter().flat_map(|measured| &measured.rounds).flat_map(|round| [&round.keyward, &round.floor])
    };
    let others = Spread::of(runs().map(|figures| figures.other_busy * 100.0));
    let client = Spread::of(runs().map(|figures| figures.client_busy * 100.0));
    let minutes = results.took.as_secs_f64() / 60.0;
    let mut text = format!(
        "\nCommit `{commit}`. {}. {}. Everything else on the machine, the kernel's threads included, used {:.0} % of \
         its cores (median; at most {:.0} %); the generator was busy for {:.0} % of its core (at most {:.0} %). A \
         mint's answer is {keyward} bytes of HTTP from Keyward and {floor} from the floor. {} entries in the ledger \
         afterwards, every one read back and verified offline. All of it took {minutes:.0} minutes.\n\n",
        conditions.machine,
        conditions.disk,
        others.median,
        others.most,
        client.median,
        client.most,
        figure(conditions.entries as f64),
    );
    text += &failures(&results.failed);
    text += "| workload | Keyward, responses/s | floor, responses/s | ratio | rounds that pass | required ratio |\n|---|---|---|---|---|---|\n";
    for one in measured {
        text += &rates(one);
    }
    text += "\n| workload | p50, µs | floor | ratio | p99, µs | floor | ratio | slowest, µs | floor | CPU, µs | floor | ratio |\n";
    text += "|---|---|---|---|---|---|---|---|---|---|---|---|\n";
    for one in measured {
        text += &times(one);
    }
    text += "\n![responses per second](performance/rate.svg)\n![CPU per response](performance/cpu.svg)\n";
    text += "![latency, p50](performance/p50.svg)\n![latency, p99](performance/p99.svg)\n\n";
    let mut started = conditions.started.clone();
    started.extend(&results.sizes.started);
    text + &peers(&results.peers)
        + &alone(&results.alone)
        + &unrest(&results.unrest)
        + &containment(&results.containment)
        + &policies(&results.policies)
        + &simulations(&results.simulations)
        + &sizes(&results.sizes.sizes)
        + &index_part(&results.index_cost, results.listing.as_ref())
        + &parts(&results.parts)
        + &starts(&started)
        + &results.sizes.day.map(growth).unwrap_or_default()
        + &conditions.overload.as_ref().map(hardship).unwrap_or_default()
}

/// What this run lacks.
fn failures(failed: &[(String, String)]) -> String {
    let line = |(part, why): &(String, String)| format!("**This run lacks** {part}: {}\n\n", why.trim());
    failed.iter().map(line).collect()
}

/// Beside a secrets manager of another make.
fn peers(peers: &Peers) -> String {
    if peers.compared.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "| beside OpenBao {} | Keyward, responses/s | OpenBao, responses/s | ratio | p99, µs | OpenBao | CPU, µs | OpenBao |\n\
         |---|---|---|---|---|---|---|---|\n",
        peers.version
    );
    for Compared { title, keyward, openbao } in &peers.compared {
        let median = |of: Of, runs: &[Figures]| figure(Spread::of(runs.iter().map(of)).median);
        let ratio = Spread::of(keyward.iter().zip(openbao).map(|(ours, theirs)| ours.rate / theirs.rate));
        text += &format!(
            "| {title} | {} | {} | **{:.1}** ({:.1} to {:.1}) | {} | {} | {} | {} |\n",
            median(|run| run.rate, keyward),
            median(|run| run.rate, openbao),
            ratio.median,
            ratio.least,
            ratio.most,
            median(|run| run.p99_us, keyward),
            median(|run| run.p99_us, openbao),
            median(|run| run.cpu_us, keyward),
            median(|run| run.cpu_us, openbao),
        );
    }
    text + "\n"
}

/// What the floor has nothing of.
fn alone(all: &[Alone]) -> String {
    if all.is_empty() {
        return String::new();
    }
    let mut text =
        "| Keyward alone | responses/s | p50, µs | p99, µs | p99.9, µs | slowest, µs | CPU, µs |\n\
                    |---|---|---|---|---|---|---|\n"
            .to_owned();
    for one in all {
        let good = || one.runs.iter().filter(|run| !run.is_void());
        let median = |of: Of| figure(Spread::of(good().map(of)).median);
        text += &format!(
            "| {} | {} | {} | {} | {} | {} | {} |\n",
            one.workload.title,
            median(|run| run.rate),
            median(|run| run.p50_us),
            median(|run| run.p99_us),
            median(|run| run.p999_us),
            median(|run| run.most_us),
            median(|run| run.cpu_us)
        );
    }
    text + "\nIn the mix, requests come at fixed times: of a hundred requests eighty are mints, fifteen read a secret, four renew a \
            certificate, one is an operator's invitation; latency counts from when each was due.\n\n"
}

fn sizes(sizes: &[Size]) -> String {
    let mut text =
        "| agents declared | roles and capabilities | mints/s, 64 connections | to those with ten \
                    agents | CPU, µs |\n|---|---|---|---|---|\n"
            .to_owned();
    let Some(least) = sizes.first() else { return String::new() };
    for size in sizes {
        let rounds = || size.runs.iter().zip(&least.runs);
        let ratio = Spread::of(rounds().map(|(run, least)| run.rate / least.rate));
        text += &format!(
            "| {} | {} | {} | **{:.2}** ({:.2} to {:.2}) | {} |\n",
            figure(size.agents as f64),
            figure(size.agents.div_ceil(100) as f64),
            figure(Spread::of(size.runs.iter().map(|run| run.rate)).median),
            ratio.median,
            ratio.least,
            ratio.most,
            figure(Spread::of(size.runs.iter().map(|run| run.cpu_us)).median),
        );
    }
    text + "\n"
}

fn parts(parts: &[Part]) -> String {
    if parts.is_empty() {
        return String::new();
    }
    let mut text =
        "| part of a request, by itself | µs | to the first of its kind |\n|---|---|---|\n".to_owned();
    for Part { name, ns, ratio } in parts {
        let ratio = ratio.map_or_else(String::new, |Spread { median, least, most }| {
            format!("**{median:.2}** ({least:.2} to {most:.2})")
        });
        text += &format!("| {name} | {:.2} | {ratio} |\n", ns / 1000.0);
    }
    text + "\n"
}

fn growth(Day { agents, entries, bytes }: Day) -> String {
    let per_entry = bytes as f64 / entries as f64;
    format!(
        "**A day of {} agents**, each with a token every five minutes, a secret every fifteen and a certificate every \
         twelve hours, in fast motion: {} entries, {:.0} MiB of ledger, {per_entry:.0} bytes an entry.\n\n",
        figure(agents as f64),
        figure(entries as f64),
        bytes as f64 / 1024.0 / 1024.0,
    )
}

fn starts(started: &[Started]) -> String {
    let mut text = "| started with | from | ready after | resident memory then | at most by then |\n|---|---|---|---|---|\n".to_owned();
    for Started { agents, entries, snapshot, ready, resident_kib, resident_most_kib } in started {
        let from = match snapshot {
            _ if *entries == 0 => "nothing".to_owned(),
            None => "every entry".to_owned(),
            Some(through) => {
                format!("a snapshot, {} entries since", figure(entries.saturating_sub(*through) as f64))
            }
        };
        text += &format!(
            "| {} agents, {} entries | {from} | {:.2} s | {} MiB | {} MiB |\n",
            figure(*agents as f64),
            figure(*entries as f64),
            ready.as_secs_f64(),
            resident_kib / 1024,
            resident_most_kib / 1024
        );
    }
    text + "\n"
}

/// The median of the rounds' ratios, so that what disturbs both sides of a round cancels.
fn ratio(measured: &Measured, of: Of) -> Spread {
    Spread::of(good(measured).map(|round| of(&round.keyward) / of(&round.floor)))
}

fn rates(measured: &Measured) -> String {
    let median = |of: fn(&Round) -> f64| figure(Spread::of(good(measured).map(of)).median);
    let ratio = ratio(measured, |figures| figures.rate);
    format!(
        "| {} | {} | {} | **{:.2}** ({:.2} to {:.2}) | {} of {} | {} |\n",
        measured.workload.title,
        median(|round| round.keyward.rate),
        median(|round| round.floor.rate),
        ratio.median,
        ratio.least,
        ratio.most,
        good(measured).count(),
        measured.rounds.len(),
        measured.workload.target,
    )
}

fn times(measured: &Measured) -> String {
    let mut row = format!("| {} |", measured.workload.title);
    let columns: [(Of, bool); 4] = [
        (|figures| figures.p50_us, true),
        (|figures| figures.p99_us, true),
        (|figures| figures.most_us, false),
        (|figures| figures.cpu_us, true),
    ];
    for (of, with_ratio) in columns {
        let [keyward, floor] = [
            Spread::of(good(measured).map(|round| of(&round.keyward))).median,
            Spread::of(good(measured).map(|round| of(&round.floor))).median,
        ];
        row += &format!(" {} | {} |", figure(keyward), figure(floor));
        if with_ratio {
            row += &format!(" {:.2} |", ratio(measured, of).median);
        }
    }
    row + "\n"
}
