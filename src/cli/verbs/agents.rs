use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde_json::{Value, json};

use crate::base::code;
use crate::base::{AgentName, IdError, InstanceId, NameError, Network, TokenId};
use crate::cli::client::Client;
use crate::cli::identity::Kind;
use crate::cli::nouns::{AgentCommand, AuditCommand, InviteArgs};
use crate::cli::verbs::rotations::check_planned;
use crate::console::{Console, Failure, OnlyCopy};
use crate::files;
use crate::pki::{Serial, SerialError};

/// Sends declaration files to `path` and prints the changes.
pub(in crate::cli) async fn declare(
    home: &Path,
    files: &[PathBuf],
    prune: bool,
    (path, checks): (&str, Checks),
    console: &Console,
) -> Result<(), Failure> {
    let files = sources(files)?;
    let client = Client::of(home, Kind::Operator).await?;
    let answer = client.post_json(path, &json!({ "files": files, "prune": prune })).await?.json()?;
    if console.is_json() && checks == Checks::None {
        console.json(&answer);
        return check_durable(&answer);
    }
    let changes = answer.get("changes").and_then(Value::as_array).cloned().unwrap_or_default();
    if console.is_json() {
        return check_planned(&client, &files, &changes, console).await;
    }
    for change in &changes {
        let field = |name: &str| change.get(name).and_then(Value::as_str).unwrap_or_default();
        let sign = match field("action") {
            "create" => '+',
            "remove" => '-',
            _ => '~',
        };
        let fields: Vec<&str> = change
            .get("fields")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let fields = if fields.is_empty() { String::new() } else { format!("  ({})", fields.join(", ")) };
        let remark = change.get("remark").and_then(Value::as_str).unwrap_or_default();
        let remark = if remark.is_empty() { String::new() } else { format!("  {remark}") };
        console.line(&format!("{sign} {} {}{fields}{remark}", field("kind"), field("name")));
    }
    match (changes.is_empty(), answer.get("seq").and_then(Value::as_u64)) {
        (true, _) => console.say("nothing to change"),
        (false, Some(seq)) => console.say(&format!("applied in ledger entry {seq}")),
        (false, None) if answer.get("durable").is_some() => {
            console.say("what this takes away is in force; what it gives is not, until the ledger has it");
        }
        (false, None) => console.say("a plan: nothing was changed"),
    }
    check_durable(&answer)?;
    match checks {
        Checks::Upstreams => check_planned(&client, &files, &changes, console).await,
        Checks::None => Ok(()),
    }
}

/// What is tried beside a plan.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::cli) enum Checks {
    /// The upstreams of rotations.
    Upstreams,
    /// Nothing.
    None,
}

/// The files, and those of directories, by name.
fn sources(paths: &[PathBuf]) -> Result<Vec<Value>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let entries = fs::read_dir(path).map_err(|error| Failure::of_file(path, &error))?;
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
        let text = fs::read_to_string(path).map_err(|error| Failure::of_file(path, &error))?;
        Ok(json!({ "name": path.display().to_string(), "text": text }))
    };
    files.iter().map(read).collect()
}

/// `keyward agent …`
pub(in crate::cli) async fn agent(
    home: &Path,
    command: &AgentCommand,
    console: &Console,
) -> Result<(), Failure> {
    match command {
        AgentCommand::Invite(args) => invite(home, args, console).await,
        AgentCommand::List => list(home, "/v1/agents", console).await,
        AgentCommand::Show { name } => {
            let name: AgentName = canonical(name)?;
            let client = Client::of(home, Kind::Operator).await?;
            console.json(&client.get(&format!("/v1/agents/{name}")).await?.json()?);
            Ok(())
        }
        AgentCommand::Revoke { name, instance } => match (name, instance) {
            (_, Some(id)) => {
                let id: InstanceId = id.parse().map_err(bad_id)?;
                change(home, &format!("/v1/instances/{id}/revoke"), "revoked", console).await
            }
            (Some(name), None) => standing(home, name, "revoke", "revoked", console).await,
            (None, None) => {
                Err(Failure::usage("nothing says whom to revoke", "name an agent, or --instance ID"))
            }
        },
        AgentCommand::Suspend { name } => standing(home, name, "suspend", "suspended", console).await,
        AgentCommand::Resume { name } => standing(home, name, "resume", "resumed", console).await,
    }
}

async fn standing(home: &Path, name: &str, verb: &str, done: &str, console: &Console) -> Result<(), Failure> {
    let name: AgentName = canonical(name)?;
    change(home, &format!("/v1/agents/{name}/{verb}"), done, console).await
}

/// `keyward token revoke`
pub(in crate::cli) async fn revoke_token(home: &Path, id: &str, console: &Console) -> Result<(), Failure> {
    let id: TokenId = id.parse().map_err(bad_id)?;
    change(home, &format!("/v1/tokens/{id}/revoke"), "revoked", console).await
}

/// `keyward cert revoke`
pub(in crate::cli) async fn revoke_certificate(
    home: &Path,
    serial: &str,
    console: &Console,
) -> Result<(), Failure> {
    let serial = serial_of(serial)?;
    change(home, &format!("/v1/certificates/{serial}/revoke"), "revoked", console).await
}

pub(in crate::cli) async fn change(
    home: &Path,
    path: &str,
    done: &str,
    console: &Console,
) -> Result<(), Failure> {
    let client = Client::of_taking_away(home, Kind::Operator).await?;
    let answer = client.post_json(path, &json!({})).await?.json()?;
    tell_change(&answer, done, console)
}

/// Says what became of a change, which counts from the next request on.
pub(in crate::cli) fn tell_change(answer: &Value, done: &str, console: &Console) -> Result<(), Failure> {
    if console.is_json() {
        console.json(answer);
    } else if answer.get("queued").and_then(Value::as_bool) == Some(true) {
        console.line("queued: the broker is sealed, and does so before it serves anybody again");
    } else if let Some(seq) = answer.get("seq").and_then(Value::as_u64) {
        console.line(&format!("{done} in ledger entry {seq}: the next request meets it"));
    } else {
        console.line(&format!("{done}: the next request meets it"));
    }
    check_durable(answer)
}

/// Refuses an answer that says that the ledger does not have what was done.
pub(in crate::cli) fn check_durable(answer: &Value) -> Result<(), Failure> {
    if answer.get("durable").and_then(Value::as_bool) != Some(false) {
        return Ok(());
    }
    let failure = Failure::new(code::NOT_DURABLE);
    if answer.get("kept").and_then(Value::as_bool) != Some(true) {
        return Err(failure);
    }
    let why = "it is in force in memory: the ledger has not taken it yet. It is kept in the runtime directory, \
               so that the next start carries it out";
    let fix = "free space on the broker's disk or mend it: the ledger takes it by itself as soon as it can";
    Err(failure.because(why).mended_by(fix))
}

pub(in crate::cli) fn serial_of(text: &str) -> Result<Serial, Failure> {
    text.parse().map_err(|error: SerialError| {
        Failure::usage(
            &error.to_string(),
            "take the serial from `keyward agent show` or `keyward audit list`",
        )
    })
}

pub(in crate::cli) fn bad_id(error: IdError) -> Failure {
    Failure::usage(&error.to_string(), "take the id from `keyward agent show` or `keyward audit list`")
}

async fn invite(home: &Path, args: &InviteArgs, console: &Console) -> Result<(), Failure> {
    let name: AgentName = canonical(&args.name)?;
    let network: Option<Network> = args.network.as_deref().map(canonical).transpose()?;
    let client = Client::of(home, Kind::Operator).await?;
    let path = format!("/v1/agents/{name}/invitations");
    let body = json!({
        "roles": args.roles, "uses": args.uses, "life_s": args.expires_in,
        "network": network.map(|network| network.to_string()),
    });
    let answer = client.post_json(&path, &body).await?.json()?;
    let uses = args.uses.filter(|uses| *uses > 1).map_or("one use".to_owned(), |uses| format!("{uses} uses"));
    hand_over(&answer, args.out.as_deref(), (&uses, "on the agent's machine"), console)
}

const ENROLMENT_CODE: OnlyCopy = OnlyCopy {
    what: "the enrolment code",
    fix: "make standard output writable or use `--out FILE`, then invite again; the lost code expires by itself",
};

/// Prints an enrolment code, or writes it to a new file, and says what it is good for and `whose` it is.
pub(in crate::cli) fn hand_over(
    answer: &Value,
    out: Option<&Path>,
    (uses, whose): (&str, &str),
    console: &Console,
) -> Result<(), Failure> {
    let field = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or_default();
    if let Some(path) = out {
        let line = zeroize::Zeroizing::new(format!("{}\n", field("code")));
        files::create(path, line.as_bytes()).map_err(|error| Failure::of_file(path, &error))?;
    } else {
        let only_copy = console.for_only_copy(ENROLMENT_CODE);
        if console.is_json() {
            only_copy.json(answer);
        } else {
            only_copy.line(field("code"));
        }
        console.delivered()?;
    }
    console.say(&format!("{uses}, until {}; {whose}: `keyward join`", field("expires_at")));
    Ok(())
}

/// Prints a listing of `path`.
pub(in crate::cli) async fn list(home: &Path, path: &str, console: &Console) -> Result<(), Failure> {
    let items = Client::of(home, Kind::Operator).await?.list(path).await?;
    if console.is_json() {
        console.json(&json!({ "items": items }));
        return Ok(());
    }
    let columns: &[&str] = match path {
        "/v1/agents" => &["name", "owner", "roles", "audience", "state", "max_instances", "instances"],
        "/v1/operators" => &["name", "role", "owner", "state"],
        "/v1/roles" => &["name", "owner", "capabilities"],
        "/v1/secrets" => &["name", "owner", "sensitivity", "version", "updated_at"],
        "/v1/authorities" => &["generation", "stage", "since", "not_after", "behind", "pin"],
        "/v1/token-keys" => &["generation", "stage", "since"],
        _ => &["name", "owner", "access", "delivery", "secret", "audience", "max_life_s"],
    };
    let row = |item: &Value| columns.iter().map(|column| cell(item.get(*column))).collect();
    let rows: Vec<Vec<String>> = items.iter().map(row).collect();
    let head: Vec<String> = columns.iter().map(|column| column.replace('_', " ").to_uppercase()).collect();
    console.table(&head.iter().map(String::as_str).collect::<Vec<_>>(), &rows);
    Ok(())
}

/// One cell: text as it is, lists joined, instances counted by state.
pub(in crate::cli) fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => {
            let part = |item: &Value| match item {
                Value::Object(fields) => cell(fields.get("state")),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                    cell(Some(item))
                }
            };
            items.iter().map(part).collect::<Vec<_>>().join(",")
        }
        Some(other @ (Value::Bool(_) | Value::Number(_) | Value::Object(_))) => other.to_string(),
    }
}

/// `keyward audit …`
pub(in crate::cli) async fn audit(
    home: &Path,
    command: &AuditCommand,
    console: &Console,
) -> Result<(), Failure> {
    let AuditCommand::List(wanted) = command;
    let client = Client::of(home, Kind::Operator).await?;
    let page = async |after: u64, limit: u64| {
        client.get(&format!("/v1/ledger/entries?after={after}&limit={limit}")).await?.json()
    };
    let answer = match wanted.last {
        None => page(wanted.after, wanted.limit).await?,
        Some(newest) => {
            let head = page(0, 1).await?.get("head").and_then(Value::as_u64).unwrap_or(0);
            page(head.saturating_sub(newest), newest).await?
        }
    };
    if console.is_json() {
        console.json(&answer);
        return Ok(());
    }
    let rows: Vec<Vec<String>> = answer
        .get("items")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|item| {
            let event = item.get("event");
            let field = |name: &&&str| event.is_some_and(|event| event.get(**name).is_some());
            let value = |name: &&str| event.and_then(|event| event.get(*name));
            // Who did it: whoever is named first of these. What it was done to: the next name.
            let who = ["by", "operator", "agent"].iter().find(field);
            let what = [
                "capabilities",
                "secret",
                "agent",
                "operator",
                "right",
                "code",
                "instance",
                "trust_domain",
                "token",
            ];
            let what = what.iter().filter(|name| Some(*name) != who).find_map(value);
            vec![
                cell(item.get("seq")),
                cell(item.get("time")),
                cell(item.get("kind")),
                cell(who.and_then(value)),
                cell(what),
            ]
        })
        .collect();
    console.table(&["SEQ", "TIME", "WHAT", "WHO", "ON"], &rows);
    Ok(())
}

pub(in crate::cli) fn canonical<N: FromStr<Err = NameError>>(text: &str) -> Result<N, Failure> {
    text.parse()
        .map_err(|error: NameError| Failure::usage(&error.to_string(), &format!("use {}", error.rule())))
}
