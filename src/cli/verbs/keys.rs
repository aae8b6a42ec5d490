use std::path::Path;

use serde_json::{Value, json};

use crate::cli::client::Client;
use crate::cli::identity::Kind;
use crate::cli::key_nouns::{AuthorityCommand, CheckpointKeyCommand, TokenKeyCommand};
use crate::cli::verbs::agents::{cell, check_durable, list};
use crate::console::{Console, Failure};

/// `keyward authority …`
pub(in crate::cli) async fn authority(
    home: &Path,
    command: &AuthorityCommand,
    console: &Console,
) -> Result<(), Failure> {
    let of = |generation: u32, verb: &str| format!("/v1/authorities/{generation}/{verb}");
    let answer = match command {
        AuthorityCommand::List => return list(home, "/v1/authorities", console).await,
        AuthorityCommand::Prepare => post(home, "/v1/authorities", json!({})).await,
        AuthorityCommand::Activate { generation, force } => {
            post(home, &of(*generation, "activate"), json!({ "force": force })).await
        }
        AuthorityCommand::Taint { generation } => post(home, &of(*generation, "taint"), json!({})).await,
        AuthorityCommand::Revoke { generation, force } => {
            post(home, &of(*generation, "revoke"), json!({ "force": force })).await
        }
    }?;
    list(home, "/v1/authorities", console).await?;
    check_durable(&answer)
}

/// `keyward token-key …`
pub(in crate::cli) async fn token_key(
    home: &Path,
    command: &TokenKeyCommand,
    console: &Console,
) -> Result<(), Failure> {
    let of = |generation: u32, verb: &str| format!("/v1/token-keys/{generation}/{verb}");
    let answer = match command {
        TokenKeyCommand::List => return list(home, "/v1/token-keys", console).await,
        TokenKeyCommand::Prepare => post(home, "/v1/token-keys", json!({})).await,
        TokenKeyCommand::Activate { generation, force } => {
            post(home, &of(*generation, "activate"), json!({ "force": force })).await
        }
        TokenKeyCommand::Revoke { generation } => post(home, &of(*generation, "revoke"), json!({})).await,
    }?;
    list(home, "/v1/token-keys", console).await?;
    check_durable(&answer)
}

/// `keyward checkpoint-key …`
pub(in crate::cli) async fn checkpoint_key(
    home: &Path,
    command: &CheckpointKeyCommand,
    console: &Console,
) -> Result<(), Failure> {
    let CheckpointKeyCommand::Rotate = command;
    let client = Client::of(home, Kind::Operator).await?;
    let answer = client.post_json("/v1/checkpoint-key/rotate", &json!({})).await?.json()?;
    if console.is_json() {
        console.json(&answer);
    } else {
        console.line(&format!("checkpoint key generation {} signs", cell(answer.get("generation"))));
    }
    Ok(())
}

async fn post(home: &Path, path: &str, body: Value) -> Result<Value, Failure> {
    Client::of_taking_away(home, Kind::Operator).await?.post_json(path, &body).await?.json()
}
