use std::path::Path;

use serde_json::{Value, json};

use crate::base::limits::SECRET_BYTES_MAX;
use crate::base::{OwnerName, SecretName, Sensitivity};
use crate::cli::client::{Client, Storing};
use crate::cli::identity::Kind;
use crate::cli::key_nouns::ValueKeyCommand;
use crate::cli::nouns::{PutArgs, SecretCommand};
use crate::cli::verbs::agents::{canonical, cell, check_durable, list};
use crate::cli::verbs::rotations::{self, Wait};
use crate::console::{Console, Failure, input};

/// `keyward secret …`
pub(in crate::cli) async fn secret(
    home: &Path,
    command: &SecretCommand,
    console: &Console,
) -> Result<(), Failure> {
    match command {
        SecretCommand::Put(args) => put(home, args, console).await,
        SecretCommand::List => list(home, "/v1/secrets", console).await,
        SecretCommand::Show { name } => {
            let client = Client::of(home, Kind::Operator).await?;
            console.json(&client.get(&path("secrets", name)?).await?.json()?);
            Ok(())
        }
        SecretCommand::Classify { name, sensitivity } => classify(home, name, *sensitivity, console).await,
        SecretCommand::Versions { name } => versions(home, name, console).await,
        SecretCommand::Readers { name } => readers(home, name, console).await,
        SecretCommand::Rollback { name, number } => {
            change(home, (name, *number), ("roll-back", "handed out again"), console).await
        }
        SecretCommand::Destroy { name, number, yes, now } => {
            if !yes {
                let why = "a destroyed version cannot be brought back";
                return Err(Failure::usage(why, "say `--yes` when that is what you want"));
            }
            change(home, (name, *number), ("destroy", "destroyed"), console).await?;
            if *now {
                return turn(home, console).await;
            }
            console.say("after the next rotation of the value key it cannot be decrypted; rotate now: `keyward value-key rotate`");
            Ok(())
        }
        SecretCommand::Rotate { name, plan: true, .. } => rotations::plan(home, name, console).await,
        SecretCommand::Rotate { name, no_wait, .. } => {
            let wait = if *no_wait { Wait::No } else { Wait::Yes };
            rotations::rotate(home, name, wait, console).await
        }
    }
}

fn path(below: &str, name: &str) -> Result<String, Failure> {
    Ok(format!("/v1/{below}/{}", canonical::<SecretName>(name)?))
}

async fn put(home: &Path, args: &PutArgs, console: &Console) -> Result<(), Failure> {
    input::not_an_argument(&args.argument)?;
    input::not_an_argument(args.value.as_slice())?;
    let name: SecretName = canonical(&args.name)?;
    let owner: Option<OwnerName> = args.owner.as_deref().map(canonical).transpose()?;
    let client = Client::of(home, Kind::Operator).await?;
    let value = input::secret(args.file.as_deref(), "Value", SECRET_BYTES_MAX, console)?;
    if value.expose().ends_with(b"\n") {
        console.say("note: the value ends with a line break, which is stored as part of it");
    }
    let storing = Storing {
        owner: owner.as_ref(),
        sensitivity: args.sensitivity,
        if_match: args.if_match,
        if_new: args.new,
    };
    let answer = client.put_secret(&name, &storing, &value).await?.json()?;
    if console.is_json() {
        console.json(&answer);
    } else {
        let version = answer.get("version").and_then(Value::as_u64).unwrap_or_default();
        console.line(&format!("{name} version {version}"));
    }
    Ok(())
}

async fn classify(
    home: &Path,
    name: &str,
    sensitivity: Sensitivity,
    console: &Console,
) -> Result<(), Failure> {
    let client = Client::of(home, Kind::Operator).await?;
    let body = json!({ "sensitivity": sensitivity.as_str() });
    let answer = client.post_json(&path("secret-sensitivity", name)?, &body).await?.json()?;
    if console.is_json() {
        console.json(&answer);
        return Ok(());
    }
    console.line(&format!("{name}: {}", sensitivity.as_str()));
    let cut_off = cell(answer.get("cut_off"));
    if !cut_off.is_empty() {
        console.say(&format!("capabilities of another owner, which do not reach it: {cut_off}"));
    }
    Ok(())
}

async fn versions(home: &Path, name: &str, console: &Console) -> Result<(), Failure> {
    let client = Client::of(home, Kind::Operator).await?;
    let answer = client.get(&path("secrets", name)?).await?.json()?;
    let items = answer.get("versions").and_then(Value::as_array).cloned().unwrap_or_default();
    if console.is_json() {
        console.json(&json!({ "items": items }));
        return Ok(());
    }
    let row =
        |item: &Value| ["number", "stage", "stored_at", "seq"].map(|field| cell(item.get(field))).to_vec();
    console.table(&["VERSION", "STAGE", "STORED AT", "SEQ"], &items.iter().map(row).collect::<Vec<_>>());
    Ok(())
}

async fn readers(home: &Path, name: &str, console: &Console) -> Result<(), Failure> {
    let client = Client::of(home, Kind::Operator).await?;
    let answer = client.get(&path("secret-readers", name)?).await?.json()?;
    if console.is_json() {
        console.json(&answer);
        return Ok(());
    }
    let items = answer.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
    let row = |item: &Value| ["agent", "version", "at"].map(|field| cell(item.get(field))).to_vec();
    console.table(&["AGENT", "VERSION", "LAST AT"], &items.iter().map(row).collect::<Vec<_>>());
    console.say(&format!("as of ledger entry {}", cell(answer.get("since_seq"))));
    Ok(())
}

async fn change(
    home: &Path,
    (name, version): (&str, u32),
    (action, done): (&str, &str),
    console: &Console,
) -> Result<(), Failure> {
    let client = Client::of_taking_away(home, Kind::Operator).await?;
    let body = json!({ "action": action, "version": version });
    let answer = client.post_json(&path("secret-versions", name)?, &body).await?.json()?;
    if console.is_json() {
        console.json(&answer);
    } else {
        console.line(&format!("{name} version {version}: {done}"));
    }
    check_durable(&answer)
}

/// `keyward value-key …`
pub(in crate::cli) async fn value_key(
    home: &Path,
    command: &ValueKeyCommand,
    console: &Console,
) -> Result<(), Failure> {
    let ValueKeyCommand::Rotate = command;
    turn(home, console).await
}

async fn turn(home: &Path, console: &Console) -> Result<(), Failure> {
    let client = Client::of(home, Kind::Operator).await?;
    let answer = client.post_json("/v1/value-key/rotate", &json!({})).await?.json()?;
    if console.is_json() {
        console.json(&answer);
    } else {
        let field = |name: &str| cell(answer.get(name));
        let (generation, carried) = (field("generation"), field("carried_over"));
        console.line(&format!("value key generation {generation}: {carried} versions carried over"));
    }
    Ok(())
}
