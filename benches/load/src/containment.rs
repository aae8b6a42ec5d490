//! How long a containment takes: until its answer, and until an open connection of the subject has ended.

use std::time::Instant;

use serde_json::json;

use crate::client::{Connection, request};
use crate::plan::Cast;
use crate::tally::Latencies;
use crate::{Extent, Failed, fleet};

/// Containments of agents, each with one open connection.
#[derive(Debug, Default)]
pub(crate) struct Containment {
    /// From the request to its answer.
    pub(crate) answered: Latencies,
    /// From the request to the end of the agent's connection.
    pub(crate) closed: Latencies,
}

const RUNS: usize = 200;
const JSON: &str = "content-type: application/json\r\n";

/// Contains agents one after the other. None of them asks for anything afterwards.
pub(crate) async fn measure(extent: Extent, cast: &Cast<'_>, into: &mut Containment) -> Result<(), Failed> {
    let mut admin = cast.operator.connect().await?;
    let runs = if extent.is_small() { 4 } else { RUNS };
    // Earlier parts revoke the last agents.
    for agent in cast.agents.iter().skip(cast.agents.len() / 2).take(runs) {
        let mut open = Connection::open(cast.keyward.address, &agent.identity).await?;
        let minted = open.ask(&fleet::mint_request()).await?;
        if !minted.is_good() {
            return Err(String::from_utf8_lossy(minted.body).into());
        }
        let body = json!({ "subject": { "kind": "agent", "name": agent.name }, "reason": "a bench" });
        let asked = request("POST", "/v1/incidents", JSON, &body.to_string());
        let since = Instant::now();
        let contained = async {
            let answer = admin.ask(&asked).await?;
            let took = since.elapsed();
            if answer.is_good() { Ok(took) } else { Err(Failed::from(String::from_utf8_lossy(answer.body))) }
        };
        let ended = async {
            open.ended().await;
            since.elapsed()
        };
        let (contained, ended) = tokio::join!(contained, ended);
        into.answered.add(contained?);
        into.closed.add(ended);
    }
    Ok(())
}
