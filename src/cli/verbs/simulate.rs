use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use clap::Args;

use super::declarations::read_files;
use crate::base::Moment;
use crate::cli::session::VerbSession;
use crate::cli::table::columns;
use crate::console::{CommandFailure, moment};
use crate::wire::{
    NotReplayedAnswer, Nothing, SIMULATE_DECLARATIONS, SimulateBody, SimulatedChangeAnswer, SimulationAnswer,
};

/// `keyward simulate`
#[derive(Args, Debug)]
pub struct SimulateArgs {
    /// A file with declarations, a directory of *.toml files, or `-` for standard input
    #[arg(short = 'f', long = "file", required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Also remove declared objects that the files do not name
    #[arg(long)]
    prune: bool,
    /// Replay the requests since this time: a time such as `2026-11-30T02:00:00Z`, a date, or a length of time before now
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = moment)]
    against: Moment,
}

impl SimulateArgs {
    pub(crate) async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        let (files, prune, since) = (read_files(&self.files)?, self.prune, self.against.to_string());
        let client = session.operator().await?;
        let mut whole = Simulation::default();
        let mut body = SimulateBody { files, prune, since, before: None };
        let progress = session.console.progress("replaying requests");
        loop {
            let part = client.call(SIMULATE_DECLARATIONS, &Nothing, &body).await?.answer;
            progress.counted().fetch_add(part.requests, Ordering::Relaxed);
            body.before = part.next_before;
            whole.add(part);
            if body.before.is_none() {
                break;
            }
        }
        drop(progress);
        let answer = whole.answer();
        if session.console.is_json() {
            session.console.json(&answer);
            return Ok(());
        }
        session.print_table(&client, &answer, answer.changes.iter()).await;
        let further = match answer.further {
            0 => String::new(),
            count => format!("; at least {count} further changes are not listed"),
        };
        let replayed = answer.requests.saturating_sub(answer.not_replayed);
        let others = not_replayed(&answer);
        let replayed = match replayed {
            1 => "1 request was replayed".to_owned(),
            count => format!("{count} requests were replayed"),
        };
        session.console.say(&format!("{replayed}{others}{further}"));
        Ok(())
    }
}

/// The requests that were not decided again, by cause.
fn not_replayed(answer: &SimulationAnswer) -> String {
    let NotReplayedAnswer { sensitive_parameter, refused_parameters, target } = answer.not_replayed_causes;
    // A broker of an earlier version names no causes.
    let others = answer.not_replayed.saturating_sub(answer.not_replayed_causes.total());
    let causes = [
        (sensitive_parameter, "a policy tests a sensitive parameter, whose value is not recorded"),
        (refused_parameters, "the request was refused for its parameters, which are not recorded"),
        (target, "the entry is of an earlier version, and has no audience and no actions"),
        (others, "the entry does not have what decides"),
    ];
    let told = causes.into_iter().filter(|(count, _)| *count > 0);
    told.map(|(count, cause)| format!("; {count} cannot be decided again: {cause}")).collect()
}

/// The parts of a simulation together.
#[derive(Default)]
struct Simulation {
    requests: u64,
    not_replayed: u64,
    not_replayed_causes: NotReplayedAnswer,
    further: usize,
    changes: BTreeMap<(String, String, String), SimulatedChangeAnswer>,
}

impl Simulation {
    fn add(&mut self, part: SimulationAnswer) {
        self.requests = self.requests.saturating_add(part.requests);
        self.not_replayed = self.not_replayed.saturating_add(part.not_replayed);
        self.not_replayed_causes = self.not_replayed_causes.and(part.not_replayed_causes);
        self.further = self.further.saturating_add(part.further);
        for change in part.changes {
            let key = (change.agent.to_string(), change.capability.to_string(), change.change.to_string());
            let requests = change.requests;
            // The newest part comes first, and its decision stays.
            let known = self.changes.entry(key).or_insert(SimulatedChangeAnswer { requests: 0, ..change });
            known.requests = known.requests.saturating_add(requests);
        }
    }

    fn answer(self) -> SimulationAnswer {
        let Self { requests, not_replayed, not_replayed_causes, further, changes } = self;
        let changes = changes.into_values().collect();
        SimulationAnswer { requests, not_replayed, not_replayed_causes, changes, further, next_before: None }
    }
}

columns!(SimulatedChangeAnswer "changes of decisions": agent, capability, change, requests, rules);
