use std::path::Path;

use serde_json::Value;

use super::client::{Answer, Client};
use super::console::Console;
use super::failure::Failure;
use super::identity::{Kind, unusable, write_private};
use super::nouns::TokenArgs;
use crate::base::code;
use crate::base::{NameError, SecretName, Sensitive};

/// Gets a token and prints it: raw for people and pipes, the whole answer as JSON.
pub(super) async fn token(home: &Path, args: &TokenArgs, console: &Console) -> Result<(), Failure> {
    let client = Client::of(home, Kind::Agent).await?;
    let scope = args.capabilities.join(" ");
    let answer = ask(&client, &scope, args.resource.as_deref(), args.expires_in).await?.json()?;
    if console.is_json() {
        console.json(&answer);
        return Ok(());
    }
    for constraint in answer.get("constrained").and_then(Value::as_array).into_iter().flatten() {
        console.say(&format!("note: {}", constraint.as_str().unwrap_or_default()));
    }
    console.line(answer.get("access_token").and_then(Value::as_str).unwrap_or_default());
    Ok(())
}

async fn ask(
    client: &Client,
    scope: &str,
    resource: Option<&str>,
    expires_in: Option<u32>,
) -> Result<Answer, Failure> {
    let life = expires_in.map(|seconds| seconds.to_string());
    let mut fields = vec![("grant_type", "client_credentials"), ("scope", scope)];
    fields.extend(resource.map(|resource| ("resource", resource)));
    fields.extend(life.as_deref().map(|life| ("expires_in", life)));
    client.post_form("/oauth/token", &fields).await
}

/// Gets a secret by way of a token for the capability that names it.
pub(super) async fn get(
    home: &Path,
    secret: &str,
    capability: Option<&str>,
    out: Option<&Path>,
    console: &Console,
) -> Result<(), Failure> {
    let secret: SecretName = secret
        .parse()
        .map_err(|error: NameError| Failure::usage(&error.to_string(), &format!("use {}", error.rule())))?;
    let client = Client::of(home, Kind::Agent).await?;
    let capability = match capability {
        Some(name) => name.to_owned(),
        None => capability_for(&client, &secret).await?,
    };
    let answer = ask(&client, &capability, None, None).await?.json()?;
    let token = answer.get("access_token").and_then(Value::as_str).unwrap_or_default();
    let token = Sensitive::new(token.to_owned());
    let value = client.get_bearing(&format!("/v1/secrets/{secret}"), &token).await?;
    match out {
        Some(path) => write_private(path, value.body.expose()).map_err(|error| unusable(path, &error)),
        None => {
            console.bytes(value.body.expose());
            Ok(())
        }
    }
}

async fn capability_for(client: &Client, secret: &SecretName) -> Result<String, Failure> {
    let me = client.get("/v1/whoami").await?.json()?;
    let held = me.get("capabilities").and_then(Value::as_array).into_iter().flatten();
    let mut naming = held.filter(|one| one.get("secret").and_then(Value::as_str) == Some(secret.as_str()));
    let found = naming.next().and_then(|one| one.get("name")).and_then(Value::as_str);
    found.map(str::to_owned).ok_or_else(|| {
        let why = "no capability of this agent names this secret";
        let fix = "`keyward whoami` lists its capabilities; have an operator give it a role that holds the right one";
        Failure::new(code::SECRET_NOT_GRANTED).because(why).mended_by(fix)
    })
}

/// Shows who this machine is to the broker.
pub(super) async fn whoami(home: &Path, operator: bool, console: &Console) -> Result<(), Failure> {
    let kind = if operator { Kind::Operator } else { Kind::Agent };
    let me = Client::of(home, kind).await?.get("/v1/whoami").await?.json()?;
    if console.is_json() {
        console.json(&me);
        return Ok(());
    }
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let at = |path: &str| me.pointer(path).map(text).unwrap_or_default();
    console.line(&format!("{}  (certificate until {})", at("/spiffe_id"), at("/certificate/not_after")));
    console.line(&format!("identity from {}", home.display()));
    if operator {
        let owner = me.get("owner").and_then(Value::as_str);
        let reach = owner.map_or_else(|| "of everything".to_owned(), |owner| format!("of what {owner} has"));
        console.line(&format!("{} {reach}", at("/role")));
        return Ok(());
    }
    if let Some(audience) = me.get("audience").and_then(Value::as_str) {
        console.line(&format!("resource server of {audience}: asks about its tokens, and gets none"));
        return Ok(());
    }
    let rows: Vec<Vec<String>> = me
        .get("capabilities")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|one| {
            ["name", "access", "delivery", "secret", "audience", "max_life_s"]
                .iter()
                .map(|field| one.get(*field).filter(|value| !value.is_null()).map(text).unwrap_or_default())
                .collect()
        })
        .collect();
    console.table(&["CAPABILITY", "ACCESS", "DELIVERY", "SECRET", "AUDIENCE", "MAX LIFE (S)"], &rows);
    Ok(())
}
