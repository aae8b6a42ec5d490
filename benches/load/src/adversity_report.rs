//! The page's parts about requests in the middle of revocations, containments and overload.

use crate::chart::figure;
use crate::containment::Containment;
use crate::hardship::Overload;
use crate::report::Of;
use crate::tally::Spread;
use crate::turns::Figures;
use crate::unrest::{CONNECTIONS, REVOKED_PER_S, ROTATED_PER_S, Unrest};

pub(crate) fn unrest(unrest: &Unrest) -> String {
    let Unrest { calm, stirred, revoked, rotated } = unrest;
    if stirred.is_empty() {
        return String::new();
    }
    let median = |of: Of, runs: &[Figures]| figure(Spread::of(runs.iter().map(of)).median);
    let ratio = |of: Of| Spread::of(stirred.iter().zip(calm).map(|(stirred, calm)| of(stirred) / of(calm)));
    let (rate, p99) = (ratio(|run| run.rate), ratio(|run| run.p99_us));
    let [p50_us, p99_us, most_us] = revoked.within([500, 990, 1000]);
    format!(
        "**While others are revoked and rotated** ({REVOKED_PER_S:.0} agents and {ROTATED_PER_S:.0} generated secrets a \
         second; at each revocation every open connection asks again whether it may stay): warm mints over {CONNECTIONS} \
         connections **{:.2}** ({:.2} to {:.2}) of their rate without it, {} instead of {} a second, p99 {} instead of {} \
         µs, {:.2} times. Of {} revocations half were durable and in effect within {:.1} ms, 99 of 100 within {:.1}, all \
         within {:.1}; {rotated} rotations were begun.\n\n",
        rate.median,
        rate.least,
        rate.most,
        median(|run| run.rate, stirred),
        median(|run| run.rate, calm),
        median(|run| run.p99_us, stirred),
        median(|run| run.p99_us, calm),
        p99.median,
        revoked.len(),
        p50_us / 1e3,
        p99_us / 1e3,
        most_us / 1e3,
    )
}

pub(crate) fn containment(Containment { answered, closed }: &Containment) -> String {
    if answered.len() == 0 {
        return String::new();
    }
    let [p50, p99, most] = answered.within([500, 990, 1000]).map(|us| us / 1e3);
    let [closed_p50, closed_p99, closed_most] = closed.within([500, 990, 1000]).map(|us| us / 1e3);
    format!(
        "**Containments** of agents with one open connection each: of {} half were durable and in effect within {p50:.1} ms, \
         99 of 100 within {p99:.1}, all within {most:.1}. The connection had ended within {closed_p50:.1} ms of the request \
         in half of them, within {closed_p99:.1} in 99 of 100, and within {closed_most:.1} in all.\n\n",
        answered.len(),
    )
}

pub(crate) fn hardship(overload: &Overload) -> String {
    format!(
        "**Overload.** {} mints a second were due, twice what it did over 64 connections, over {} connections: {} a \
         second were answered with a token (p99 {:.0} ms after they were asked for), {} a second were told to come back \
         (503, Retry-After). Resident memory went from {} to at most {} MiB. A revocation in the middle of it was \
         durable and in effect after {:.0} ms. The next mint on a new connection was done within 10 ms {:.0} ms after \
         it ended.\n\n",
        figure(overload.due),
        figure(overload.connections as f64),
        figure(overload.answered),
        overload.p99_ms,
        figure(overload.shed),
        overload.resident_kib / 1024,
        overload.resident_most_kib / 1024,
        overload.revoked.as_secs_f64() * 1e3,
        overload.recovered.as_secs_f64() * 1e3,
    )
}
