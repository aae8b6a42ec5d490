use std::path::Path;

use serde_json::Value;

use crate::base::code;
use crate::base::{Clock, NameError, SecretName, Sensitive, SystemClock};
use crate::cli::agent_args::{GetArgs, TokenArgs};
use crate::cli::client::{Answer, Client};
use crate::cli::identity::{Identity, KeptTokens, Kind};
use crate::cli::verbs::credential_form::{
    DOCKER_HAS_NONE, Fetched, HelperFormat, Operation, docker_list, is_same_server, said_by_program,
    server_of, written,
};
use crate::console::{Console, Failure, OnlyCopy};
use crate::files;

/// Gets a token and prints it: raw for people and pipes, the whole answer as JSON.
pub(in crate::cli) async fn token(home: &Path, args: &TokenArgs, console: &Console) -> Result<(), Failure> {
    let asked =
        Asked { scope: args.capabilities.join(" "), resource: &args.resource, life_s: args.expires_in };
    let answer = if args.cached {
        asked.kept_or_fresh(home, i64::from(args.min_ttl)).await?
    } else {
        asked.fresh(&Client::of(home, Kind::Agent).await?).await?
    };
    if answer.get("expires_in").and_then(Value::as_u64).unwrap_or(0) < u64::from(args.min_ttl) && args.cached
    {
        return Err(Failure::new(code::LIFETIME_TOO_SHORT));
    }
    let only_copy = console.for_only_copy(TOKEN);
    if console.is_json() {
        only_copy.json(&answer);
        return Ok(());
    }
    for constraint in answer.get("constrained").and_then(Value::as_array).into_iter().flatten() {
        console.say(&format!("note: {}", constraint.as_str().unwrap_or_default()));
    }
    only_copy.line(answer.get("access_token").and_then(Value::as_str).unwrap_or_default());
    Ok(())
}

const TOKEN: OnlyCopy =
    OnlyCopy { what: "the token", fix: "make standard output writable, then ask for a token again" };
const VALUE: OnlyCopy = OnlyCopy {
    what: "the value of the secret",
    fix: "make standard output writable or use `--out FILE`, then read the secret again",
};

/// What a token is asked for.
struct Asked<'a> {
    scope: String,
    resource: &'a Option<String>,
    life_s: Option<u32>,
}

impl Asked<'_> {
    async fn fresh(&self, client: &Client) -> Result<Value, Failure> {
        ask(client, &self.scope, self.resource.as_deref(), self.life_s).await?.json()
    }

    /// The answer of an earlier call that has as much time left, found before anything else is set up; or
    /// a fresh one, which is kept.
    async fn kept_or_fresh(&self, home: &Path, min_ttl_s: i64) -> Result<Value, Failure> {
        let (asked, now) = (self.words(), SystemClock::new().now());
        let kept = KeptTokens::of(home, &Identity::load(home, Kind::Agent)?);
        if let Some(answer) = kept.find(&asked, min_ttl_s, now) {
            return Ok(answer);
        }
        self.fresh_and_kept(home).await
    }

    async fn fresh_and_kept(&self, home: &Path) -> Result<Value, Failure> {
        let client = Client::of(home, Kind::Agent).await?;
        let now = SystemClock::new().now();
        let answer = self.fresh(&client).await?;
        // The identity may just have been renewed.
        KeptTokens::of(home, &Identity::load(home, Kind::Agent)?).keep(&self.words(), &answer, now);
        Ok(answer)
    }

    fn forget(&self, home: &Path) -> Result<(), Failure> {
        KeptTokens::of(home, &Identity::load(home, Kind::Agent)?).forget(&self.words());
        Ok(())
    }

    fn words(&self) -> String {
        format!("{}\n{:?}\n{:?}", self.scope, self.resource, self.life_s)
    }
}

pub(in crate::cli) async fn ask(
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

/// Gets a secret by way of a token for the capability that names it, in the form that whoever reads it
/// wants.
pub(in crate::cli) async fn get(home: &Path, args: &GetArgs, console: &Console) -> Result<(), Failure> {
    if matches!(args.operation, Some(Operation::Store | Operation::Erase)) {
        return Ok(());
    }
    let secret: SecretName = args
        .secret
        .parse()
        .map_err(|error: NameError| Failure::usage(&error.to_string(), &format!("use {}", error.rule())))?;
    let asked_for = said_by_program(args.format, args.operation)?;
    let asked_for = declared_server(args, &asked_for, console)?;
    let client = Client::of(home, Kind::Agent).await?;
    let capability = match &args.capability {
        Some(name) => name.clone(),
        None => capability_for(&client, &secret).await?,
    };
    let asked = Asked { scope: capability, resource: &None, life_s: None };
    let value = if args.format == HelperFormat::Raw {
        read(&client, &secret, &asked.fresh(&client).await?).await?
    } else {
        // A program asks often: the token of the time before does, unless it was ended meanwhile.
        match read(&client, &secret, &asked.kept_or_fresh(home, KEPT_TTL_S).await?).await {
            Err(failure) if failure.is_unauthenticated() => {
                asked.forget(home)?;
                // Not the kept one again, where forgetting it is not possible.
                read(&client, &secret, &asked.fresh_and_kept(home).await?).await?
            }
            read => read?,
        }
    };
    if let (Some(Operation::List), Some(server)) = (args.operation, &args.server) {
        console.bytes(docker_list(&value.body, server)?.as_bytes());
        return Ok(());
    }
    let fetched = Fetched { name: secret.as_str(), version: value.version, value: &value.body };
    let now = SystemClock::new().now();
    let written = written(&fetched, args.format, &asked_for, (i64::from(args.min_ttl), now))?;
    match &args.out {
        Some(path) => files::create(path, written.expose()).map_err(|error| Failure::of_file(path, &error)),
        None => {
            console.for_only_copy(VALUE).bytes(written.expose());
            Ok(())
        }
    }
}

/// The server to answer for, as the program names it. Git and docker ask a helper about any server.
fn declared_server(args: &GetArgs, asked: &str, console: &Console) -> Result<String, Failure> {
    let is_docker = args.format == HelperFormat::Docker;
    if args.operation == Some(Operation::List) && !is_docker {
        return Err(Failure::usage("only docker asks for a list", "`--format docker --server SERVER list`"));
    }
    let Some(server) = &args.server else {
        if is_docker {
            let why = "docker asks a helper about every registry, and this one has the password of one";
            return Err(Failure::usage(why, "name the registry as docker does: `--server registry.example`"));
        }
        return Ok(asked.to_owned());
    };
    if args.operation != Some(Operation::Get) {
        return Ok(server.clone());
    }
    if is_same_server(server, &server_of(args.format, asked)) {
        return Ok(asked.to_owned());
    }
    if is_docker {
        console.line(DOCKER_HAS_NONE);
    }
    Err(Failure::new(code::SERVER_NOT_DECLARED))
}

/// What a token that was kept must have left to be read a secret with, in seconds.
const KEPT_TTL_S: i64 = 10;

async fn read(client: &Client, secret: &SecretName, answer: &Value) -> Result<Answer, Failure> {
    let token = answer.get("access_token").and_then(Value::as_str).unwrap_or_default();
    client.get_bearing(&format!("/v1/secrets/{secret}"), &Sensitive::new(token.to_owned())).await
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
pub(in crate::cli) async fn whoami(home: &Path, operator: bool, console: &Console) -> Result<(), Failure> {
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
