use std::fs;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::upstream_checks::conclude;
use crate::cli::client::{Client, Received};
use crate::cli::session::{VerbSession, check_durable};
use crate::console::{CommandFailure, Console};
use crate::wire::{
    APPLY_DECLARATIONS, AppliedAnswer, CHECK_PLANNED_ROTATION, DeclarationFileBody, DeclareBody,
    DeclaredKind, EndedAnswer, Nothing, PLAN_DECLARATIONS, PlannedAction, PlannedChange, UpstreamCheckAnswer,
};

/// `keyward plan`
#[derive(Args, Debug)]
pub struct PlanArgs {
    #[command(flatten)]
    declared: DeclaredArgs,
    /// Also check the upstream of each rotation that the plan adds or changes; nothing is changed there
    #[arg(long)]
    check: bool,
}

/// `keyward apply`
#[derive(Args, Debug)]
pub struct ApplyArgs {
    #[command(flatten)]
    declared: DeclaredArgs,
}

#[derive(Args, Debug)]
struct DeclaredArgs {
    /// A file, or a directory of *.toml files
    #[arg(short = 'f', long = "file", required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Also remove declared objects that the files do not name
    #[arg(long)]
    prune: bool,
}

impl PlanArgs {
    pub(crate) async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        let body = self.declared.body()?;
        let client = session.operator().await?;
        let planned = client.call(PLAN_DECLARATIONS, &Nothing, &body).await?;
        if !self.check {
            return tell(&planned, session.console);
        }
        if !session.console.is_json() {
            tell(&planned, session.console)?;
        }
        let checks = check_rotations(&client, &body, &planned.changes).await?;
        if session.console.is_json() {
            session.console.json(&json!({ "changes": planned.sent.get("changes"), "checks": checks }));
        }
        conclude(&checks, session.console)
    }
}

impl ApplyArgs {
    pub(crate) async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        let body = self.declared.body()?;
        let applied = session.operator().await?.call(APPLY_DECLARATIONS, &Nothing, &body).await?;
        tell(&applied, session.console)
    }
}

fn tell(applied: &Received<AppliedAnswer>, console: &Console) -> Result<(), CommandFailure> {
    if console.is_json() {
        console.json(&applied.sent);
    } else {
        applied.changes.iter().for_each(|change| console.line(&line(change)));
        match (applied.changes.is_empty(), applied.seq) {
            (true, _) => console.say("no changes"),
            (false, Some(seq)) => console.say(&format!("applied in ledger entry {seq}")),
            (false, None) if applied.durable.is_some() => {
                console.say("removals are in force; additions take effect when the ledger has recorded them");
            }
            (false, None) => console.say(&dry_run(&applied.changes)),
        }
    }
    let AppliedAnswer { seq, durable, kept, .. } = applied.answer;
    check_durable(&EndedAnswer { seq, durable: durable.unwrap_or(true), kept })
}

fn dry_run(changes: &[PlannedChange]) -> String {
    let count =
        |action: PlannedAction| changes.iter().filter(|change| change.action == action.as_str()).count();
    format!(
        "dry run: {} to add, {} to change, {} to remove",
        count(PlannedAction::Create),
        count(PlannedAction::Update),
        count(PlannedAction::Remove)
    )
}

fn line(change: &PlannedChange) -> String {
    let signs = [(PlannedAction::Create, '+'), (PlannedAction::Remove, '-'), (PlannedAction::Update, '~')];
    let known = signs.iter().find(|(action, _)| change.action == action.as_str());
    // A newer broker may have more actions.
    let sign = known.map_or_else(|| change.action.to_string(), |(_, sign)| sign.to_string());
    let fields = &change.fields;
    let fields = if fields.is_empty() { String::new() } else { format!("  ({})", fields.join(", ")) };
    let remark = change.remark.as_deref().filter(|remark| !remark.is_empty());
    let remark = remark.map_or_else(String::new, |remark| format!("  {remark}"));
    format!("{sign} {} {}{fields}{remark}", change.kind, change.name)
}

/// Checks the upstreams of the rotations that `changes` declare.
async fn check_rotations(
    client: &Client,
    body: &DeclareBody,
    changes: &[PlannedChange],
) -> Result<Vec<Received<UpstreamCheckAnswer>>, CommandFailure> {
    let mut checked = Vec::new();
    for change in changes {
        if change.kind == DeclaredKind::Rotation.as_str() && change.action != PlannedAction::Remove.as_str() {
            checked.push(client.call(CHECK_PLANNED_ROTATION, &change.name.parse()?, body).await?);
        }
    }
    Ok(checked)
}

impl DeclaredArgs {
    /// The files, and those in directories in the order of their names.
    fn body(&self) -> Result<DeclareBody, CommandFailure> {
        let mut files = Vec::new();
        for path in &self.files {
            if path.is_dir() {
                let entries = fs::read_dir(path).map_err(|error| CommandFailure::of_file(path, &error))?;
                let mut inside: Vec<PathBuf> =
                    entries.filter_map(|entry| entry.ok().map(|one| one.path())).collect();
                inside.retain(|one| one.extension().is_some_and(|extension| extension == "toml"));
                inside.sort();
                files.extend(inside);
            } else {
                files.push(path.clone());
            }
        }
        let read = |path: &PathBuf| {
            let text = fs::read_to_string(path).map_err(|error| CommandFailure::of_file(path, &error))?;
            Ok(DeclarationFileBody { name: path.display().to_string(), text })
        };
        let files = files.iter().map(read).collect::<Result<_, CommandFailure>>()?;
        Ok(DeclareBody { files, prune: self.prune })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn change_of_a_newer_broker_is_shown() {
        let shown = |change| line(&serde_json::from_value(change).unwrap());
        let known =
            json!({ "action": "update", "kind": "resource-server", "name": "a", "fields": ["audience"] });
        assert_eq!(shown(known), "~ resource-server a  (audience)");
        let newer = json!({ "action": "adopt", "kind": "queue", "name": "a", "remark": "of tomorrow" });
        assert_eq!(shown(newer), "adopt queue a  of tomorrow");
    }
}
