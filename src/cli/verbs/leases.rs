use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::base::code;
use crate::base::{AgentName, CapabilityName, DecisionId, IdError, LeaseId, io_reason};
use crate::cli::client::Client;
use crate::cli::identity::Kind;
use crate::cli::verbs::agents::{canonical, cell, check_durable};
use crate::cli::verbs::lease_args::{
    LeaseCommand, LeaseGetArgs, LeaseRetryArgs, LeaseRevokeArgs, LoginFormat,
};
use crate::cli::verbs::run::runtime_dir;
use crate::console::{Console, Failure, OnlyCopy, own_uid};
use crate::crypto::sha256;
use crate::files::{private_dir, replace_shared};
use crate::upstream::{ClientLogin, authorities, client_url, client_variables};

/// `keyward lease …`
pub(in crate::cli) async fn lease(
    home: &Path,
    command: &LeaseCommand,
    console: &Console,
) -> Result<(), Failure> {
    match command {
        LeaseCommand::Get(args) => get(home, args, console).await,
        LeaseCommand::Run { capability, life, command } => run(home, capability, *life, command).await,
        LeaseCommand::Renew { id, life } => renew(home, Kind::Agent, (id, *life), console).await,
        LeaseCommand::Extend { id, life } => renew(home, Kind::Operator, (id, *life), console).await,
        LeaseCommand::GiveUp { id, used_by } => give_up(home, id, used_by.as_deref(), console).await,
        LeaseCommand::List { own } => list(home, *own, console).await,
        LeaseCommand::Retry(args) => retry(home, args, console).await,
        LeaseCommand::Forget { id, reason } => {
            let path = format!("/v1/leases/{}/forget", lease_id(id)?);
            let client = Client::of(home, Kind::Operator).await?;
            let answer = client.post_json(&path, &json!({ "reason": reason })).await?.json()?;
            if console.is_json() {
                console.json(&answer);
            } else {
                let seq = cell(answer.get("seq"));
                console.line(&format!("{id} forgotten (entry {seq}): check that its login is gone"));
            }
            Ok(())
        }
        LeaseCommand::Revoke(args) => revoke(home, args, console).await,
    }
}

fn lease_id(text: &str) -> Result<LeaseId, Failure> {
    text.parse()
        .map_err(|error: IdError| Failure::usage(&error.to_string(), "`keyward lease list` shows ids"))
}

const LOGIN: OnlyCopy = OnlyCopy {
    what: "the login of the lease",
    fix: "make standard output writable, then ask again: `keyward lease get --fresh CAPABILITY`; the lost login expires by itself",
};

async fn get(home: &Path, args: &LeaseGetArgs, console: &Console) -> Result<(), Failure> {
    let asked = json!({ "life_s": args.life, "fresh": args.fresh });
    let login = asked_for(home, &args.capability, asked).await?;
    let connection = connection(&login)?;
    if let (Some(path), Some(ca)) = (&args.ca_file, authorities(connection)) {
        std::fs::write(path, ca).map_err(|error| Failure::of_file(path, &error))?;
    }
    let only_copy = console.for_only_copy(LOGIN);
    if console.is_json() {
        only_copy.json(&login);
        return console.delivered();
    }
    let (username, password) = (cell(login.get("username")), cell(login.get("password")));
    let ca_file = args.ca_file.as_deref();
    let client = ClientLogin { connection, username: &username, password: &password, ca_file };
    match args.format {
        LoginFormat::Env => {
            for (name, value) in client_variables(&client).ok_or_else(unknown_driver)? {
                only_copy.line(&format!("{name}={value}"));
            }
        }
        LoginFormat::Url => only_copy.line(&client_url(&client).ok_or_else(unknown_driver)?),
    }
    console.delivered()?;
    console.say(&format!("{} until {}", cell(login.get("lease")), cell(login.get("expires_at"))));
    Ok(())
}

/// The answer to a request for a login of `capability` that says `asked` beside.
async fn asked_for(home: &Path, capability: &str, mut asked: Value) -> Result<Value, Failure> {
    let capability: CapabilityName = canonical(capability)?;
    if let Value::Object(fields) = &mut asked {
        fields.insert("capability".to_owned(), Value::from(capability.as_str()));
    }
    Client::of(home, Kind::Agent).await?.post_json("/v1/leases", &asked).await?.json()
}

/// How the upstream of a login is reached.
fn connection(login: &Value) -> Result<&Map<String, Value>, Failure> {
    login.get("connection").and_then(Value::as_object).ok_or_else(|| Failure::new(code::RESPONSE_INVALID))
}

/// The broker has drivers that this program does not have.
fn unknown_driver() -> Failure {
    let why = "this version of keyward does not know the driver of the login";
    Failure::new(code::RESPONSE_INVALID)
        .because(why)
        .mended_by("take the login from `keyward lease get -o json`, or update keyward")
}

/// Runs a command in this process's place. The login lasts as long as its lease, and the next command gets
/// the same one.
async fn run(home: &Path, capability: &str, life: Option<u32>, command: &[OsString]) -> Result<(), Failure> {
    let (program, rest) = command.split_first().ok_or_else(|| {
        Failure::usage("there is no command", "`keyward lease run CAPABILITY -- COMMAND ARG…`")
    })?;
    let login = asked_for(home, capability, json!({ "life_s": life })).await?;
    let connection = connection(&login)?;
    let ca_file = authorities(connection).map(|ca| kept_ca(home, ca)).transpose()?;
    let (username, password) = (cell(login.get("username")), cell(login.get("password")));
    let ca_file = ca_file.as_deref();
    let client = ClientLogin { connection, username: &username, password: &password, ca_file };
    let variables = client_variables(&client).ok_or_else(unknown_driver)?;
    let error = Command::new(program).args(rest).envs(variables).exec();
    let why = format!("the command cannot be run: {}", io_reason(&error));
    Err(Failure::new(code::COMMAND_FAILED).because(why))
}

/// A file with these certificates, the same one each time. A home that cannot be written to keeps none: the
/// file is in the user's directory for temporary files then.
fn kept_ca(home: &Path, ca: &str) -> Result<PathBuf, Failure> {
    kept_ca_in(&home.join("server-authorities"), ca).or_else(|_| {
        let dir = runtime_dir().join(format!("keyward-server-authorities-{}", own_uid()));
        let path = kept_ca_in(&dir, ca)?;
        let is_own = |found: std::fs::Metadata| {
            found.is_dir() && found.uid() == own_uid() && found.mode() & 0o077 == 0
        };
        if std::fs::symlink_metadata(&dir).is_ok_and(is_own) {
            return Ok(path);
        }
        let why = format!("`{}` is not a directory of this user alone", dir.display());
        Err(Failure::new(code::FILE_UNUSABLE).because(why))
    })
}

fn kept_ca_in(dir: &Path, ca: &str) -> Result<PathBuf, Failure> {
    let path = dir.join(format!("{}.pem", sha256(ca.as_bytes()).hex()));
    if !std::fs::read_to_string(&path).is_ok_and(|kept| kept == ca) {
        let written = private_dir(dir).and_then(|()| replace_shared(&path, ca.as_bytes()));
        written.map_err(|error| Failure::of_file(&path, &error))?;
    }
    Ok(path)
}

async fn renew(
    home: &Path,
    kind: Kind,
    (id, life): (&str, Option<u32>),
    console: &Console,
) -> Result<(), Failure> {
    let path = format!("/v1/leases/{}/renew", lease_id(id)?);
    let asked = json!({ "life_s": life });
    let renewed = Client::of(home, kind).await?.post_json(&path, &asked).await?.json()?;
    if console.is_json() {
        console.json(&renewed);
    } else {
        console.line(&format!("{id} until {}", cell(renewed.get("expires_at"))));
        for why in renewed.get("constrained").and_then(Value::as_array).into_iter().flatten() {
            console.say(&cell(Some(why)));
        }
    }
    Ok(())
}

async fn give_up(home: &Path, id: &str, used_by: Option<&str>, console: &Console) -> Result<(), Failure> {
    let path = format!("/v1/leases/{}/give-up", lease_id(id)?);
    let used_by: Option<DecisionId> = used_by.map(str::parse).transpose().map_err(|error: IdError| {
        Failure::usage(&error.to_string(), "it is the `decision_id` of `keyward lease get -o json`")
    })?;
    let asked = json!({ "decision_id": used_by.map(|id| id.to_string()) });
    let answer = Client::of(home, Kind::Agent).await?.post_json(&path, &asked).await?.json()?;
    if console.is_json() {
        console.json(&answer);
    } else {
        console.line(&format!("{id}: given up"));
    }
    Ok(())
}

async fn list(home: &Path, own: bool, console: &Console) -> Result<(), Failure> {
    let items = if own {
        let answer = Client::of(home, Kind::Agent).await?.get("/v1/leases").await?.json()?;
        answer.get("items").and_then(Value::as_array).cloned().unwrap_or_default()
    } else {
        all(&Client::of(home, Kind::Operator).await?).await?
    };
    if console.is_json() {
        console.json(&json!({ "items": items }));
        return Ok(());
    }
    let row = |item: &Value| {
        let field = |name: &str| cell(item.get(name));
        vec![
            field("lease"),
            field("agent"),
            field("capability"),
            field("login"),
            field("expires_at"),
            state(item),
        ]
    };
    let rows: Vec<_> = items.iter().map(row).collect();
    console.table(&["LEASE", "AGENT", "CAPABILITY", "LOGIN", "EXPIRES AT", "STATE"], &rows);
    Ok(())
}

/// Every lease within reach, page by page.
async fn all(client: &Client) -> Result<Vec<Value>, Failure> {
    let (mut items, mut path) = (Vec::new(), "/v1/leases".to_owned());
    loop {
        let page = client.get(&path).await?.json()?;
        items.extend(page.get("items").and_then(Value::as_array).cloned().unwrap_or_default());
        match page.get("next_after").and_then(Value::as_str) {
            Some(after) => path = format!("/v1/leases?after={after}"),
            None => return Ok(items),
        }
    }
}

/// How a lease stands, in a word or some.
fn state(item: &Value) -> String {
    let at = |path: &str| item.pointer(path).and_then(Value::as_str);
    let overdue = if item.get("overdue").and_then(Value::as_bool) == Some(true) { ", overdue" } else { "" };
    let stage = match (at("/ending/why"), at("/ending/code")) {
        (Some(why), Some(code)) => {
            let upstream = at("/ending/upstream_code").map_or_else(String::new, |own| format!(" ({own})"));
            let again = at("/ending/retry_at").unwrap_or_default();
            format!("ending ({why}), failed: {code}{upstream}, again at {again}")
        }
        (Some(why), None) => format!("ending ({why})"),
        (None, _) => at("/stage").unwrap_or_default().to_owned(),
    };
    format!("{stage}{overdue}")
}

/// How long the end of logins is waited for, in looks a second apart.
const LOOKS: u32 = 30;

async fn retry(home: &Path, args: &LeaseRetryArgs, console: &Console) -> Result<(), Failure> {
    let (asked, _) = meant(&Meant { id: &args.id, agent: &args.agent, capability: &args.capability })?;
    let client = Client::of(home, Kind::Operator).await?;
    let retried = client.post_json("/v1/lease-retries", &asked).await?.json()?;
    if console.is_json() {
        console.json(&retried);
    } else {
        let count = retried.get("leases").and_then(Value::as_u64).unwrap_or(0);
        let noun = if count == 1 { "revocation" } else { "revocations" };
        let seq = cell(retried.get("seq"));
        console.line(&format!("{count} {noun} retried now (entry {seq}): `keyward lease list`"));
    }
    Ok(())
}

/// Which leases a command names; all when it names none.
struct Meant<'a> {
    id: &'a Option<String>,
    agent: &'a Option<String>,
    capability: &'a Option<String>,
}

async fn revoke(home: &Path, args: &LeaseRevokeArgs, console: &Console) -> Result<(), Failure> {
    let (asked, is_meant) = meant(&Meant { id: &args.id, agent: &args.agent, capability: &args.capability })?;
    let client = Client::of_taking_away(home, Kind::Operator).await?;
    // What was there before: one that comes meanwhile is not waited for.
    let mut left: Vec<String> = ids(&all(&client).await?, &*is_meant);
    let ended = client.post_json("/v1/lease-endings", &asked).await?.json()?;
    // No server is called before the ledger has it.
    let durable = check_durable(&ended);
    for look in 0..LOOKS {
        if left.is_empty() || args.no_wait || durable.is_err() {
            break;
        }
        if look > 0 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let there = ids(&all(&client).await?, &*is_meant);
        left.retain(|lease| there.contains(lease));
    }
    if console.is_json() {
        console.json(&ended);
    } else {
        let count = ended.get("leases").and_then(Value::as_u64).unwrap_or(0);
        let noun = if count == 1 { "lease ends" } else { "leases end" };
        let by =
            ended.get("seq").and_then(Value::as_u64).map_or(String::new(), |seq| format!(" by entry {seq}"));
        console.line(&format!("{count} {noun}{by}"));
    }
    durable?;
    if left.is_empty() || args.no_wait {
        return Ok(());
    }
    let why = format!(
        "{} logins are still there; nobody is handed them again, and they are ended for as long as it takes",
        left.len()
    );
    Err(Failure::new(code::LEASES_NOT_REVOKED).because(why))
}

/// What is asked of the broker, and which items of its list that means.
#[expect(clippy::type_complexity, reason = "a body and a predicate, used in one place")]
fn meant(args: &Meant<'_>) -> Result<(Value, Box<dyn Fn(&Value) -> bool + Send + Sync>), Failure> {
    let by = |field: &'static str, name: String| -> (Value, Box<dyn Fn(&Value) -> bool + Send + Sync>) {
        let asked = json!({ field: name });
        (asked, Box::new(move |item| item.get(field).and_then(Value::as_str) == Some(name.as_str())))
    };
    if let Some(id) = args.id {
        return Ok(by("lease", lease_id(id)?.to_string()));
    }
    if let Some(agent) = args.agent {
        return Ok(by("agent", canonical::<AgentName>(agent)?.to_string()));
    }
    if let Some(capability) = args.capability {
        return Ok(by("capability", canonical::<CapabilityName>(capability)?.to_string()));
    }
    Ok((json!({ "all": true }), Box::new(|_| true)))
}

fn ids(items: &[Value], is_meant: &dyn Fn(&Value) -> bool) -> Vec<String> {
    items.iter().filter(|item| is_meant(item)).map(|item| cell(item.get("lease"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_said_in_a_word_or_some() {
        assert_eq!(state(&json!({ "stage": "live", "ending": null, "overdue": false })), "live");
        let ending =
            json!({ "stage": "ending", "ending": { "why": "expired", "code": null }, "overdue": true });
        assert_eq!(state(&ending), "ending (expired), overdue");
        let failed = json!({ "why": "revoked", "code": "c", "upstream_code": "2BP01", "retry_at": "then" });
        let failed = json!({ "stage": "ending", "ending": failed, "overdue": false });
        assert_eq!(state(&failed), "ending (revoked), failed: c (2BP01), again at then");
    }
}
