use std::path::PathBuf;

use clap::Args;

use super::credential_form::{
    DOCKER_HAS_NONE, Fetched, HelperFormat, Operation, docker_list, is_same_server, said_by_program,
    server_of, written,
};
use super::token::TokenRequest;
use crate::base::{Clock, SecretName, SystemClock, code};
use crate::cli::client::{Client, Received, RevealedSecret};
use crate::cli::session::VerbSession;
use crate::console::{CommandFailure, Console, OnlyCopy, OutFile, duration_s};
use crate::wire::{AGENT_WHOAMI, AgentWhoamiAnswer, Nothing, TokenAnswer};

/// `keyward get`
#[derive(Args, Debug)]
pub struct GetArgs {
    /// The secret's name
    #[arg(value_name = "SECRET")]
    pub secret: String,
    /// The operation that git or docker asks its credential helper for
    #[arg(value_enum)]
    pub operation: Option<Operation>,
    /// The capability that delivers the secret [default: the one in `whoami`]
    #[arg(long, value_name = "CAPABILITY")]
    pub capability: Option<String>,
    /// Format for the program that reads the secret; `-o json` is the same as `--format json`
    #[arg(long, value_enum, default_value = "raw")]
    pub format: HelperFormat,
    /// The only server for which the helper answers: `registry.example` for docker, `https://git.example` for git;
    /// required for docker
    #[arg(long, value_name = "SERVER")]
    pub server: Option<String>,
    /// Fail if the secret expires sooner than this; only for formats that contain an expiry time
    #[arg(long, value_parser = duration_s, default_value = "60s", value_name = "DURATION")]
    pub min_ttl: u32,
    /// Write the secret to this new file, which only its owner can read, instead of standard output
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

const VALUE: OnlyCopy = OnlyCopy {
    what: "the value of the secret",
    fix: "make standard output writable or use `--out FILE`, then read the secret again",
};

/// Least remaining life of a cached token that reads a secret, in seconds.
const KEPT_TTL_S: i64 = 10;

impl GetArgs {
    /// Reads a secret with a token for the capability that delivers it, and prints it in the program's format.
    pub(crate) async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        if matches!(self.operation, Some(Operation::Store | Operation::Erase)) {
            return Ok(());
        }
        let (console, secret): (_, SecretName) = (session.console, self.secret.parse()?);
        let asked_for = said_by_program(self.format, self.operation)?;
        let asked_for = self.declared_server(&asked_for, console)?;
        if self.operation == Some(Operation::List) && self.server.is_none() {
            // Without a declared server this helper has no credential.
            console.line("{}");
            return Ok(());
        }
        let out =
            self.out.as_deref().map(|path| OutFile::open(path, "the secret was not read")).transpose()?;
        let revealed = match (&self.capability, self.reveal(session, &secret).await) {
            (Some(named), Err(failure)) => Err(explained(session, named, &secret, failure).await),
            (_, read) => read,
        }?;
        if let (Some(Operation::List), Some(server)) = (self.operation, &self.server) {
            console.bytes(docker_list(&revealed.value, server)?.as_bytes());
            return Ok(());
        }
        let fetched = Fetched {
            name: secret.as_str(),
            version: revealed.version,
            next_rotation: revealed.next_rotation.as_deref(),
            value: &revealed.value,
        };
        let now = SystemClock::new().now();
        let is_json = self.format == HelperFormat::Raw && console.is_json();
        let format = if is_json { HelperFormat::Json } else { self.format };
        let written = written(&fetched, format, &asked_for, i64::from(self.min_ttl), now)?;
        match out {
            Some(out) => out.fill(written.expose()),
            None => {
                console.for_only_copy(VALUE).bytes(written.expose());
                Ok(())
            }
        }
    }

    async fn reveal(
        &self,
        session: VerbSession<'_>,
        secret: &SecretName,
    ) -> Result<RevealedSecret, CommandFailure> {
        let client = session.agent().await?;
        let capability = match &self.capability {
            Some(name) => name.clone(),
            None => {
                let me = client.call(AGENT_WHOAMI, &Nothing, &Nothing).await?;
                match delivering(&me, secret) {
                    Ok(name) => name,
                    Err(none) => return refused_by_broker(&client, &me, secret, none).await,
                }
            }
        };
        let request = TokenRequest::for_scope(capability, None);
        let read =
            async |token: Received<TokenAnswer>| client.reveal(secret, token.access_token.value()).await;
        if self.format == HelperFormat::Raw {
            return read(request.fresh(&client).await?).await;
        }
        // A program asks often: the cached token is used unless it was revoked meanwhile.
        match read(request.kept_or_fresh(session.home, KEPT_TTL_S).await?).await {
            Err(failure) if failure.is_unauthenticated() => {
                request.forget(session.home)?;
                // Not the cached one again: its file may not be removable.
                read(request.fresh_and_kept(session.home).await?).await
            }
            read => read,
        }
    }

    /// The server that the program asks about. Git and docker ask a helper about every server.
    fn declared_server(&self, input: &str, console: &Console) -> Result<String, CommandFailure> {
        let is_docker = self.format == HelperFormat::Docker;
        if self.operation == Some(Operation::List) && !is_docker {
            return Err(CommandFailure::usage(
                "the operation `list` is for docker only",
                "add `--format docker --server SERVER`",
            ));
        }
        let Some(server) = &self.server else {
            if self.operation == Some(Operation::List) {
                return Ok(String::new());
            }
            if is_docker {
                let why =
                    "docker asks a helper about every registry, and the secret is the password of only one";
                return Err(CommandFailure::usage(
                    why,
                    "name the registry as docker does: `--server registry.example`",
                ));
            }
            return Ok(input.to_owned());
        };
        if self.operation != Some(Operation::Get) {
            return Ok(server.clone());
        }
        if is_same_server(server, &server_of(self.format, input)) {
            return Ok(input.to_owned());
        }
        if is_docker {
            console.line(DOCKER_HAS_NONE);
        }
        Err(CommandFailure::new(code::SERVER_NOT_DECLARED))
    }
}

/// The failure of a read with the capability `named`: one that delivers another secret, or none, is the cause.
async fn explained(
    session: VerbSession<'_>,
    named: &str,
    secret: &SecretName,
    failure: CommandFailure,
) -> CommandFailure {
    let Ok(client) = session.agent().await else { return failure };
    let Ok(me) = client.call(AGENT_WHOAMI, &Nothing, &Nothing).await else { return failure };
    let listed = me.capabilities.iter().find(|one| one.name.as_str() == named);
    if listed.is_none_or(|one| one.secret.as_ref() == Some(secret)) {
        return failure;
    }
    let why = format!("the capability `{named}` does not deliver the secret `{secret}`");
    match delivering(&me, secret) {
        Ok(right) => {
            let fix = format!("the capability `{right}` does: `keyward get {secret} --capability {right}`");
            CommandFailure::new(code::SECRET_NOT_GRANTED).because(why).mended_by(fix)
        }
        Err(none) => none,
    }
}

/// Asks the broker, although no capability of the agent `me` delivers `secret`: the broker records the refusal, and a refusal
/// of this program alone would leave no trace. An agent that delivers no secret gets no token to ask with.
async fn refused_by_broker(
    client: &Client,
    me: &AgentWhoamiAnswer,
    secret: &SecretName,
    none: CommandFailure,
) -> Result<RevealedSecret, CommandFailure> {
    let Some(other) = me.capabilities.iter().find(|one| one.secret.is_some()) else { return Err(none) };
    let token = TokenRequest::for_scope(other.name.to_string(), None).fresh(client).await?;
    match client.reveal(secret, token.access_token.value()).await {
        Err(refused) if refused.code() == none.code() => Err(none),
        answered => answered,
    }
}

/// The capability of the agent `me` that delivers `secret`.
pub(crate) fn delivering(me: &AgentWhoamiAnswer, secret: &SecretName) -> Result<String, CommandFailure> {
    let found = me.capabilities.iter().find(|one| one.secret.as_ref() == Some(secret));
    found.map(|one| one.name.to_string()).ok_or_else(|| {
        let why = format!("no capability of this agent delivers the secret `{secret}`");
        let fix = "`keyward whoami` lists the agent's capabilities; ask an operator for a role that holds the capability";
        CommandFailure::new(code::SECRET_NOT_GRANTED).because(why).mended_by(fix)
    })
}
