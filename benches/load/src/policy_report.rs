//! The page's parts about policies, approvals, and replays of requests.

use crate::chart::figure;
use crate::policies::{CONNECTIONS, LIFE_MAX_S, Policies, PolicyRound};
use crate::report::Of;
use crate::simulation::{Replay, Simulations};
use crate::tally::Spread;
use crate::turns::Figures;

/// One of the servers, under one of the conditions.
type Side = fn(&PolicyRound) -> &Figures;

pub(crate) fn policies(policies: &Policies) -> String {
    let Policies { rounds, uses } = policies;
    if rounds.is_empty() {
        return String::new();
    }
    let good = || rounds.iter().filter(|round| !round.is_void());
    let mut text = format!(
        "| mint, {CONNECTIONS} warm connections | responses/s | to the floor | to the first row | p50, µs | p99, µs | CPU, µs | CPU to the floor |\n\
         |---|---|---|---|---|---|---|---|\n"
    );
    let sides: [(String, Side); 4] = [
        ("no policy matches".to_owned(), |round| &round.plain),
        (format!("a policy limits the life to {LIFE_MAX_S} s"), |round| &round.limited),
        (format!("with an approval for {uses} tokens"), |round| &round.approved),
        ("floor".to_owned(), |round| &round.floor),
    ];
    for (title, side) in sides {
        let median = |of: Of| figure(Spread::of(good().map(|round| of(side(round)))).median);
        let ratio = |of: Of, to: Side| Spread::of(good().map(|round| of(side(round)) / of(to(round))));
        let (rate, cpu): (Of, Of) = (|figures| figures.rate, |figures| figures.cpu_us);
        let [to_floor, to_plain] = [ratio(rate, |round| &round.floor), ratio(rate, |round| &round.plain)];
        text += &format!(
            "| {title} | {} | **{:.2}** ({:.2} to {:.2}) | **{:.2}** ({:.2} to {:.2}) | {} | {} | {} | {:.2} |\n",
            median(rate),
            to_floor.median,
            to_floor.least,
            to_floor.most,
            to_plain.median,
            to_plain.least,
            to_plain.most,
            median(|figures| figures.p50_us),
            median(|figures| figures.p99_us),
            median(cpu),
            ratio(cpu, |round| &round.floor).median,
        );
    }
    text + "\n"
}

pub(crate) fn simulations(simulations: &Simulations) -> String {
    let Simulations { entries, replays, explained } = simulations;
    let entries = figure(*entries as f64);
    let mut text = String::new();
    if !replays.is_empty() {
        text += &format!(
            "| `keyward simulate`, {entries} entries in the ledger | requests | seconds | seconds of the broker | longest time between two steps of the progress, s |\n\
             |---|---|---|---|---|\n"
        );
    }
    for Replay { policies, requests, parts, whole, command } in replays {
        let [longest_us] = parts.within([1000]);
        text += &format!(
            "| a draft of one policy, {} others declared | {} | {:.2} | {:.2} | {:.2} |\n",
            figure(*policies as f64),
            figure(*requests as f64),
            command.as_secs_f64(),
            whole.as_secs_f64(),
            longest_us / 1e6,
        );
    }
    if !replays.is_empty() {
        text += "\n";
    }
    if explained.len() > 0 {
        let [p50, p99, most] = explained.within([500, 990, 1000]).map(|us| us / 1e3);
        text += &format!(
            "**Explanations** of {} decisions from all over this ledger: half took {p50:.1} ms at most, 99 of 100 {p99:.1}, all \
             {most:.1}.\n\n",
            explained.len(),
        );
    }
    text
}
