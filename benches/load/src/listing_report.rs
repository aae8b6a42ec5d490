//! The page's part about the index of the ledger.

use crate::chart::figure;
use crate::listing::{CONNECTIONS, IndexCost, Listing};
use crate::report::Of;
use crate::tally::Spread;
use crate::turns::Figures;

/// Its tables, as far as they were measured.
pub(crate) fn index_part(cost: &IndexCost, listing: Option<&Listing>) -> String {
    index_cost(cost) + &listing.map(listed).unwrap_or_default()
}

fn index_cost(cost: &IndexCost) -> String {
    let IndexCost { indexed, unindexed } = cost;
    if unindexed.is_empty() {
        return String::new();
    }
    let median = |of: Of, runs: &[Figures]| figure(Spread::of(runs.iter().map(of)).median);
    let ratio =
        |of: Of| Spread::of(indexed.iter().zip(unindexed).map(|(with, without)| of(with) / of(without)));
    let (rate, cpu) = (ratio(|run| run.rate), ratio(|run| run.cpu_us));
    format!(
        "**The index of the ledger.** A broker that indexes its entries mints **{:.2}** ({:.2} to {:.2}) times as many \
         tokens a second over {} warm connections as one without an index: {} instead of {}. Processor time of an answer: \
         {:.2} times.\n\n",
        rate.median,
        rate.least,
        rate.most,
        CONNECTIONS,
        median(|run| run.rate, indexed),
        median(|run| run.rate, unindexed),
        cpu.median,
    )
}

fn listed(listing: &Listing) -> String {
    let mut text = format!(
        "| filter of a page of 100, {} entries in the ledger | p50, ms | p99, ms | slowest, ms |\n|---|---|---|---|\n",
        figure(listing.entries as f64)
    );
    for pages in &listing.pages {
        let [p50, p99, most] = pages.latencies.within([500, 990, 1000]).map(|us| us / 1000.0);
        text += &format!("| {} | {p50:.1} | {p99:.1} | {most:.1} |\n", pages.title);
    }
    let seconds = listing.indexed_after.as_secs_f64();
    text + &format!("\nThe index had all entries {seconds:.0} s after the first start of the broker.\n\n")
}
