//! What becomes of warm mints while operators revoke agents and rotate secrets at a steady rate.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::bed::Bed;
use crate::client::{Connection, request};
use crate::drive::Load;
use crate::plan::Cast;
use crate::tally::Latencies;
use crate::turns::{Figures, What, Workload, one_turn};
use crate::{Extent, Failed};

/// Runs without and with unrest, in turn.
#[derive(Debug, Default)]
pub(crate) struct Unrest {
    pub(crate) calm: Vec<Figures>,
    pub(crate) stirred: Vec<Figures>,
    /// From asking for a revocation to its answer: it is durable and in effect then.
    pub(crate) revoked: Latencies,
    /// Rotations that were begun.
    pub(crate) rotated: usize,
}

pub(crate) const CONNECTIONS: usize = 64;
/// Revocations of agents a second, and rotations of generated secrets.
pub(crate) const REVOKED_PER_S: f64 = 20.0;
pub(crate) const ROTATED_PER_S: f64 = 5.0;
const JSON: &str = "content-type: application/json\r\n";

/// Drives Keyward without and with unrest, in turn. Whoever is revoked is none of those who ask.
pub(crate) async fn compare(
    extent: Extent,
    bed: &Bed,
    cast: &Cast<'_>,
    into: &mut Unrest,
) -> Result<(), Failed> {
    let (rounds, seconds) = if extent.is_small() { (1, 0.4) } else { (5, 2.0) };
    let connections = if extent.is_small() { 16 } else { CONNECTIONS };
    let load = Load::Warm { connections, seconds };
    let workload = Workload { title: "warm mint", what: What::Mint, load, rounds, target: "" };
    let askers = cast.askers(workload).await?;
    let mut victims = cast.agents.iter().rev().take(cast.agents.len().saturating_sub(connections));
    let mut secrets =
        declare_rotations(bed, cast, (f64::from(rounds as u32) * seconds * ROTATED_PER_S) as usize + 1)
            .await?
            .into_iter();
    for number in 1..=rounds {
        let calm = one_turn(workload, cast.keyward, cast.operator, &askers).await?;
        let mut stir = Stir::of(cast, seconds).await?;
        let revoked = victims
            .by_ref()
            .map(|agent| request("POST", &format!("/v1/agents/{}/revoke", agent.name), JSON, "{}"));
        let rotate = json!({ "action": "rotate" }).to_string();
        let rotated =
            secrets.by_ref().map(|secret| request("POST", &format!("/v1/rotations/{secret}"), JSON, &rotate));
        let (stirred, stirring) =
            tokio::join!(one_turn(workload, cast.keyward, cast.operator, &askers), stir.go(revoked, rotated));
        let stirred = stirred?;
        stirring?;
        println!("warm mint, revoking and rotating   {number}/{rounds}  calm {calm}   stirred {stirred}");
        into.calm.push(calm);
        into.stirred.push(stirred);
        into.revoked.extend(&stir.revoked);
        into.rotated += stir.rotated.len();
    }
    Ok(())
}

/// Secrets that the broker itself makes new values for.
async fn declare_rotations(bed: &Bed, cast: &Cast<'_>, count: usize) -> Result<Vec<String>, Failed> {
    let secrets: Vec<String> = (0..count).map(|number| format!("bench/turning-{number}")).collect();
    let mut admin = cast.operator.connect().await?;
    let mut text = String::new();
    for secret in &secrets {
        let put = request(
            "PUT",
            &format!("/v1/secrets/{secret}"),
            "content-type: application/octet-stream\r\n",
            "first",
        );
        done(&mut admin, &put).await?;
        text += &format!("[[rotation]]\nsecret = \"{secret}\"\n[rotation.upstream]\ndriver = \"generate\"\n");
    }
    let file = bed.dir.join("rotations.toml");
    std::fs::write(&file, text)?;
    bed.run(&["apply", "-f", &file.display().to_string()], b"")?;
    Ok(secrets)
}

async fn done(admin: &mut Connection, asked: &[u8]) -> Result<(), Failed> {
    let answer = admin.ask(asked).await?;
    if answer.is_good() { Ok(()) } else { Err(String::from_utf8_lossy(answer.body).into()) }
}

/// Two operators at work for some seconds.
struct Stir {
    revoking: Connection,
    rotating: Connection,
    seconds: f64,
    revoked: Latencies,
    rotated: Latencies,
}

impl Stir {
    async fn of(cast: &Cast<'_>, seconds: f64) -> Result<Self, Failed> {
        let (revoking, rotating) = (cast.operator.connect().await?, cast.operator.connect().await?);
        Ok(Self { revoking, rotating, seconds, revoked: Latencies::default(), rotated: Latencies::default() })
    }

    async fn go(
        &mut self,
        revoked: impl Iterator<Item = Vec<u8>>,
        rotated: impl Iterator<Item = Vec<u8>>,
    ) -> Result<(), Failed> {
        let (one, other) = tokio::join!(
            steadily(&mut self.revoking, revoked, (REVOKED_PER_S, self.seconds), &mut self.revoked),
            steadily(&mut self.rotating, rotated, (ROTATED_PER_S, self.seconds), &mut self.rotated)
        );
        one.and(other)
    }
}

/// Asks one after the other, so many a second, for so many seconds.
async fn steadily(
    admin: &mut Connection,
    mut requests: impl Iterator<Item = Vec<u8>>,
    (per_s, seconds): (f64, f64),
    took: &mut Latencies,
) -> Result<(), Failed> {
    let begun = Instant::now();
    for turn in 0..(per_s * seconds) as usize {
        let due = begun + Duration::from_secs_f64(turn as f64 / per_s);
        tokio::time::sleep_until(due.into()).await;
        let asked = requests.next().ok_or("there is nobody left to revoke, or nothing to rotate")?;
        let since = Instant::now();
        done(admin, &asked).await?;
        took.add(since.elapsed());
    }
    Ok(())
}
