//! Replays of recorded requests, and explanations of decisions, at a broker that has recorded many.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::bed::{Bed, SERVER_CORE};
use crate::client::{Connection, request};
use crate::fleet::{JSON, Operator, answered, text};
use crate::tally::Latencies;
use crate::{Extent, Failed, listing};

/// All of it, as far as it was measured.
#[derive(Debug, Default)]
pub(crate) struct Simulations {
    /// Entries of the ledger.
    pub(crate) entries: u64,
    pub(crate) replays: Vec<Replay>,
    /// From the request of an explanation to the whole response.
    pub(crate) explained: Latencies,
}

/// A simulation of a draft that denies the requests of one agent.
#[derive(Debug)]
pub(crate) struct Replay {
    /// Declared policies, besides the draft.
    pub(crate) policies: usize,
    pub(crate) requests: u64,
    /// From the request of each part to its answer: a client shows its progress after each.
    pub(crate) parts: Latencies,
    /// All parts, one after the other.
    pub(crate) whole: Duration,
    /// `keyward simulate` as a whole process.
    pub(crate) command: Duration,
}

/// The agent of the draft.
const DENIED: &str = "declared-7";

/// Has a broker's ledger filled by `fill`, and lets the broker replay and explain what it has.
pub(crate) async fn measure(
    extent: Extent,
    main: &Bed,
    fill: &Path,
    into: &mut Simulations,
) -> Result<(), Failed> {
    // Each agent has three entries before its first token.
    let (agents, entries, policies, explained) = match extent {
        Extent::Smoke | Extent::Instructions => (20_usize, 200_u64, [0, 20], 4),
        Extent::Standard | Extent::All => (1_000, 104_000, [0, 1_000], 400),
    };
    let bed = main.sibling("with-decisions")?;
    // On all cores: nothing is measured meanwhile.
    let mut filling = Command::new("taskset");
    filling.args(["-c", &format!("{SERVER_CORE},{}", SERVER_CORE + 1)]).arg(fill);
    filling.args([bed.config(), agents.to_string(), entries.to_string()]);
    let filled = filling.output()?;
    if !filled.status.success() {
        return Err(String::from_utf8_lossy(&filled.stderr).into());
    }
    let begun = Instant::now();
    let (keyward, _) = bed.keyward().await?;
    let operator = Operator::of(&bed)?;
    let mut admin = operator.connect().await?;
    into.entries = listing::indexed(&mut admin, begun).await?;
    let draft = bed.dir.join("draft.toml");
    std::fs::write(&draft, policy("denied", DENIED, ""))?;
    let replaying = Replaying { bed: &bed, draft, agents: agents as u64 };
    for declared in policies {
        if declared > 0 {
            declare(&bed, declared)?;
        }
        let replay = replaying.replay(&mut admin, declared).await?;
        println!(
            "{} requests replayed with {declared} policies in {:?}, {:?} by the command; its parts took {:?} µs",
            replay.requests,
            replay.whole,
            replay.command,
            replay.parts.within([500, 1000])
        );
        into.replays.push(replay);
    }
    for number in 0..explained {
        let after = into.entries / 10 + number * (into.entries * 8 / 10) / explained;
        into.explained.add(explain(&mut admin, after).await?);
    }
    println!("explanations: {:?} µs", into.explained.within([500, 990, 1000]));
    Bed::stop(keyward)
}

/// A broker whose requests are replayed.
struct Replaying<'a> {
    bed: &'a Bed,
    draft: PathBuf,
    agents: u64,
}

impl Replaying<'_> {
    /// Replays all requests, part by part, and again by the command.
    async fn replay(&self, admin: &mut Connection, policies: usize) -> Result<Replay, Failed> {
        let files = json!([{ "name": "draft.toml", "text": std::fs::read_to_string(&self.draft)? }]);
        let (mut parts, mut answers) = (Latencies::default(), Vec::new());
        let mut body = json!({ "files": files, "since": "7d" });
        let begun = Instant::now();
        loop {
            let asked = request("POST", "/v1/simulations", JSON, &body.to_string());
            let since = Instant::now();
            let answer = answered(admin, &asked).await?;
            parts.add(since.elapsed());
            body["before"] = answer["next_before"].clone();
            answers.push(answer);
            if body["before"].is_null() {
                break;
            }
        }
        let whole = begun.elapsed();
        let requests = self.check(&answers)?;
        let begun = Instant::now();
        let draft = self.draft.display().to_string();
        let said = self.bed.run(&["simulate", "-f", &draft, "--against", "7d", "-o", "json"], b"")?;
        let command = begun.elapsed();
        if self.check(&[serde_json::from_slice(&said)?])? != requests {
            return Err("the command replayed other requests".into());
        }
        Ok(Replay { policies, requests, parts, whole, command })
    }

    /// The number of replayed requests. Those of the denied agent, and no others, are decided otherwise.
    fn check(&self, answers: &[Value]) -> Result<u64, Failed> {
        let (mut requests, mut denied) = (0, 0);
        for answer in answers {
            requests += answer["requests"].as_u64().ok_or("a simulation without a number of requests")?;
            for change in answer["changes"].as_array().ok_or("a simulation without changes")? {
                if (text(change, "agent")?, text(change, "change")?) != (DENIED, "newly-denied") {
                    return Err(format!("{change} is no change of the draft").into());
                }
                denied += change["requests"].as_u64().ok_or("a change without a number of requests")?;
            }
        }
        if denied.abs_diff(requests / self.agents) > 1 {
            return Err(
                format!("{denied} of {requests} requests are denied, of {} agents", self.agents).into()
            );
        }
        Ok(requests)
    }
}

/// The time of an explanation of the next decision after the entry `after`.
async fn explain(admin: &mut Connection, after: u64) -> Result<Duration, Failed> {
    let page = format!("/v1/ledger/entries?after={after}&limit=1&kind=token.minted");
    let found = answered(admin, &request("GET", &page, "", "")).await?;
    let entry = &found["items"][0];
    let asked = request("GET", &format!("/v1/decisions/{}", text(&entry["event"], "decision")?), "", "");
    let since = Instant::now();
    let explained = answered(admin, &asked).await?;
    let took = since.elapsed();
    if explained["seq"] != entry["seq"] || explained["now"]["outcome"] != "allow" {
        return Err(format!("{explained} does not explain {entry}").into());
    }
    Ok(took)
}

/// Declares so many policies, each about one of as many agents.
fn declare(bed: &Bed, policies: usize) -> Result<(), Failed> {
    let file = bed.dir.join("policies.toml");
    let about = |number: usize| {
        policy(&format!("p-{number}"), &format!("declared-{number}"), " when { context.time.hour > 23 }")
    };
    std::fs::write(&file, (0..policies).map(about).collect::<String>())?;
    bed.run(&["apply", "-f", &file.display().to_string()], b"")?;
    Ok(())
}

fn policy(name: &str, agent: &str, condition: &str) -> String {
    let head = format!("principal == Keyward::Agent::\"{agent}\", action, resource");
    format!("[[policy]]\nname = \"{name}\"\nrule = '''\nforbid ({head}){condition};\n'''\n")
}
