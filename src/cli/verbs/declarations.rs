use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::plan_approval::{ApproveArgs, approve, read_approval};
use super::plan_lines::{counts, dry_run, lines};
use super::upstream_checks::{UpstreamCheck, conclude};
use crate::base::code;
use crate::base::limits::DECLARATION_BYTES_MAX;
use crate::cli::client::{Client, Received};
use crate::cli::session::{VerbSession, check_durable, did_you_mean};
use crate::console::{CommandFailure, Console};
use crate::wire::{
    APPLY_DECLARATIONS, AppliedAnswer, ApplyBody, CHECK_PLANNED_LEASE, CHECK_PLANNED_ROTATION,
    DeclarationFileBody, DeclareBody, DeclaredKind, EndedAnswer, NewOwnerAnswer, Nothing, PLAN_DECLARATIONS,
    PlannedAction,
};

/// `keyward plan`
#[derive(Args, Debug)]
pub struct PlanArgs {
    #[command(flatten)]
    declared: DeclaredArgs,
    #[command(flatten)]
    approving: ApproveArgs,
    /// Also check the upstream of each rotation and lease in the files, also of those that are applied already; nothing is
    /// changed there
    #[arg(long)]
    check: bool,
}

/// `keyward apply`
#[derive(Args, Debug)]
pub struct ApplyArgs {
    #[command(flatten)]
    declared: DeclaredArgs,
    /// Make exactly the changes of the plan with this id, which `keyward plan` shows; if the changes would differ now, nothing is changed
    #[arg(long, value_name = "ID")]
    plan: Option<String>,
    /// Remove without a question; where there is no terminal, `--prune` needs this option or `--plan`
    #[arg(long, conflicts_with = "plan")]
    yes: bool,
    /// Confirm that the changes give more access than before: `keyward plan` lists what becomes reachable
    #[arg(long)]
    widen: bool,
    /// The approval of the plan by a second operator, from `keyward plan --approve`; needed with `--widen` if the broker demands it
    #[arg(long, value_name = "FILE", requires = "widen")]
    approved: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct DeclaredArgs {
    /// A file, a directory of *.toml files, or `-` for standard input
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
        note_empty_files(&body, session.console);
        if !self.check || !session.console.is_json() {
            tell(&planned, session.console)?;
        }
        let checked = if self.check {
            check_upstreams(&client, &body, &planned, session.console).await
        } else {
            Ok(())
        };
        if let Some(out) = self.approving.out().filter(|_| checked.is_ok()) {
            approve(session, &client, &body, &planned, out).await?;
            let command = format!("{} --widen --approved {}", self.declared.command(), quoted(out));
            session.console.say(&format!("approved; another person applies it: {command}"));
            return Ok(());
        }
        // The last line, also after failed checks and in a file.
        let is_told = !session.console.is_json() && !planned.changes.is_empty();
        if let Some(id) = planned.plan.as_ref().filter(|_| is_told) {
            let widen = if planned.widening.is_some() { " --widen" } else { "" };
            let command = format!("{} --plan {id}{widen}", self.declared.command());
            if planned.to_approve.is_some() {
                session.console.say(NEEDS_SECOND);
            }
            session.console.line(&format!("to make exactly these changes: {command}"));
        }
        checked
    }
}

impl ApplyArgs {
    pub(crate) async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        let can_ask = session.console.is_interactive();
        if self.declared.prune && self.plan.is_none() && !self.yes && !can_ask {
            return Err(CommandFailure::usage(
                "`--prune` may remove objects, and there is no terminal to confirm it",
                "add `--plan ID` to apply a plan that you have read (`keyward plan --prune -f FILE`), or `--yes`",
            ));
        }
        let declared = self.declared.body()?;
        let client = session.operator().await?;
        let approval = self.approved.as_deref().map(read_approval).transpose()?;
        let (plan, widen) = (self.plan.clone(), self.widen);
        let mut body = ApplyBody { plan, widen, approval, ..ApplyBody::of(declared) };
        if body.prune && body.plan.is_none() {
            body.plan = Some(confirmed_plan(session, &client, &body, self.yes).await?);
        }
        let applied = client.call(APPLY_DECLARATIONS, &Nothing, &body).await?;
        tell(&applied, session.console)
    }
}

/// Has the person confirm the plan of `body`, unless `is_confirmed`. Its id; the application then makes exactly its changes.
async fn confirmed_plan(
    session: VerbSession<'_>,
    client: &Client,
    body: &ApplyBody,
    is_confirmed: bool,
) -> Result<String, CommandFailure> {
    let request =
        DeclareBody { files: body.files.clone(), prune: body.prune, rollback: body.rollback.clone() };
    let planned = client.call(PLAN_DECLARATIONS, &Nothing, &request).await?;
    let id = id_of(&planned)?;
    note_empty_files(&request, session.console);
    if !is_confirmed {
        confirm(session, &planned)?;
    }
    Ok(id)
}

/// The id of a plan.
pub(super) fn id_of(planned: &AppliedAnswer) -> Result<String, CommandFailure> {
    planned.plan.clone().ok_or_else(|| {
        CommandFailure::new(code::RESPONSE_INVALID)
            .because("this broker gives no plan ids, so it cannot check that only the changes are made that were shown")
            .mended_by("upgrade the broker")
    })
}

/// Has the person confirm the changes of a plan, if it has some.
pub(super) fn confirm(session: VerbSession<'_>, planned: &AppliedAnswer) -> Result<(), CommandFailure> {
    if planned.changes.is_empty() {
        return Ok(());
    }
    show(planned, session.console);
    let question = format!("Make these changes ({})?", counts(&planned.changes));
    if session.console.confirms(&question)? {
        return Ok(());
    }
    Err(CommandFailure::new(code::NOT_CONFIRMED))
}

/// Says that a plan needs a second operator.
const NEEDS_SECOND: &str = "note: this broker demands that a second operator approves this plan: another person runs the same command with \
     `--approve --out plan-approval.json`, and `--approved plan-approval.json` is added to the command below";

/// Shows a plan to the person who is asked about it.
fn show(planned: &AppliedAnswer, console: &Console) {
    note_new_owners(planned, console);
    lines(planned).for_each(|line| console.say(&line));
}

pub(super) fn tell(applied: &Received<AppliedAnswer>, console: &Console) -> Result<(), CommandFailure> {
    note_new_owners(applied, console);
    if console.is_json() {
        console.json(&applied.sent);
    } else {
        lines(applied).for_each(|line| console.line(&line));
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
    check_durable(&EndedAnswer { seq, durable: durable.unwrap_or(true), kept, ..EndedAnswer::default() })
}

/// Says which owners are named for the first time: their names may be misspelt.
fn note_new_owners(planned: &AppliedAnswer, console: &Console) {
    for NewOwnerAnswer { name, near } in &planned.new_owners {
        let question = did_you_mean(near);
        console
            .say(&format!("note: the owner `{name}` is new: no object and no operator has it yet{question}"));
    }
}

/// Says that the files declare nothing, if `--prune` therefore removes all objects.
fn note_empty_files(body: &DeclareBody, console: &Console) {
    let is_blank = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
    if body.prune && body.files.iter().all(|file| file.text.lines().all(is_blank)) {
        let files: Vec<&str> = body.files.iter().map(|file| file.name.as_str()).collect();
        console.say(&format!(
            "note: {} declares nothing, so `--prune` removes every declared object in your scope",
            files.join(", ")
        ));
    }
}

/// Checks the upstreams of the declared rotations and leases, and prints the results.
async fn check_upstreams(
    client: &Client,
    body: &DeclareBody,
    planned: &Received<AppliedAnswer>,
    console: &Console,
) -> Result<(), CommandFailure> {
    let changed = planned.changes.iter().filter(|change| change.action != PlannedAction::Remove.as_str());
    let changed = changed.map(|change| (&change.kind, &change.name));
    let unchanged = planned.unchanged.iter().map(|object| (&object.kind, &object.name));
    let (mut checks, mut lease_checks, mut not_checked) = (Vec::new(), Vec::new(), Vec::new());
    for (kind, name) in changed.chain(unchanged) {
        match DeclaredKind::ALL.into_iter().find(|known| *kind == known.as_str()) {
            Some(DeclaredKind::Rotation) => {
                checks.push(client.call(CHECK_PLANNED_ROTATION, &name.parse()?, body).await?);
            }
            Some(DeclaredKind::Lease) => {
                lease_checks.push(client.call(CHECK_PLANNED_LEASE, &name.parse()?, body).await?);
            }
            Some(
                DeclaredKind::Capability
                | DeclaredKind::Environment
                | DeclaredKind::Policy
                | DeclaredKind::ApproverGroup
                | DeclaredKind::Role
                | DeclaredKind::Agent
                | DeclaredKind::ResourceServer,
            ) => {}
            None => not_checked.push(format!("{kind} {name}")),
        }
    }
    if console.is_json() {
        let (changes, plan) = (planned.sent.get("changes"), &planned.plan);
        console.json(&json!({
            "changes": changes, "checks": checks, "lease_checks": lease_checks, "plan": plan,
            "not_checked": not_checked,
        }));
    } else {
        let unchanged = planned.unchanged.iter();
        unchanged.for_each(|object| console.line(&format!("unchanged: {} {}", object.kind, object.name)));
        not_checked.iter().for_each(|object| console.line(&format!("not checked: {object}")));
    }
    let rotations =
        checks.iter().map(|check| UpstreamCheck { of: check.secret.as_str(), findings: &check.findings });
    let leases = lease_checks
        .iter()
        .map(|check| UpstreamCheck { of: check.capability.as_str(), findings: &check.findings });
    conclude(rotations.chain(leases), console)
}

impl DeclaredArgs {
    /// The command that applies the files.
    fn command(&self) -> String {
        let files: Vec<String> = self.files.iter().map(|path| format!(" -f {}", quoted(path))).collect();
        let prune = if self.prune { " --prune" } else { "" };
        format!("keyward apply{}{prune}", files.concat())
    }

    fn body(&self) -> Result<DeclareBody, CommandFailure> {
        Ok(DeclareBody { files: read_files(&self.files)?, prune: self.prune, rollback: None })
    }
}

/// The path as an argument of a shell command.
pub(super) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// The files at `paths`, and those in directories in the order of their names.
pub(crate) fn read_files(paths: &[PathBuf]) -> Result<Vec<DeclarationFileBody>, CommandFailure> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let entries = fs::read_dir(path).map_err(|error| CommandFailure::of_file(path, &error))?;
            let mut inside: Vec<PathBuf> =
                entries.filter_map(|entry| entry.ok().map(|one| one.path())).collect();
            inside.retain(|one| one.extension().is_some_and(|extension| extension == "toml"));
            if inside.is_empty() {
                // With `--prune`, no declarations would remove every object.
                let why = format!("`{}` contains no *.toml files", path.display());
                let fix = "name a directory with declarations, or a file: `-f FILE`";
                return Err(CommandFailure::usage(&why, fix));
            }
            inside.sort();
            files.extend(inside);
        } else {
            files.push(path.clone());
        }
    }
    let read = |path: &PathBuf| {
        if path.as_os_str() == "-" {
            return standard_input();
        }
        let text = fs::read_to_string(path).map_err(|error| CommandFailure::of_file(path, &error))?;
        Ok(DeclarationFileBody { name: path.display().to_string(), text })
    };
    files.iter().map(read).collect()
}

/// Declarations on standard input.
fn standard_input() -> Result<DeclarationFileBody, CommandFailure> {
    let (name, mut text) = ("standard input", String::new());
    // One byte more than the broker takes: it says what is wrong with a longer text.
    let limit = u64::try_from(DECLARATION_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    io::stdin()
        .lock()
        .take(limit)
        .read_to_string(&mut text)
        .map_err(|error| CommandFailure::of_file(Path::new(name), &error))?;
    Ok(DeclarationFileBody { name: name.to_owned(), text })
}
