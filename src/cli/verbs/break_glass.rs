use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::{Args, Subcommand, ValueEnum};
use hyper::Method;
use serde_json::{Value, json};

use crate::base::code;
use crate::base::encoding::base64url;
use crate::base::{AgentName, InstanceId, OperatorName, TokenId};
use crate::cli::client::ask;
use crate::cli::identity::{Identity, Kind};
use crate::cli::verbs::agents::{bad_id, canonical, serial_of, tell_change};
use crate::config::Config;
use crate::console::{Console, Failure};
use crate::operators::is_of_host;
use crate::pki::{SpiffeId, new_key_and_request};

/// `keyward break-glass …`
#[derive(Debug, Subcommand)]
pub enum BreakGlassCommand {
    /// End everything that was issued under something so far; a sealed broker does so before it serves again
    Revoke {
        /// What it is
        #[arg(value_enum)]
        what: Revocable,
        /// Its name, its id or, of a certificate, its serial
        which: String,
        /// Which broker
        #[command(flatten)]
        broker: OnHostArgs,
    },
    /// Let nothing of an agent or an operator count until an operator resumes it; likewise
    Suspend {
        /// What it is
        #[arg(value_enum)]
        what: Suspendable,
        /// Its name
        which: String,
        /// Which broker
        #[command(flatten)]
        broker: OnHostArgs,
    },
    /// Take an administrator's certificate, for an hour: an alarm on the ledger, and the end of the one before
    Operator {
        /// The home to write the identity to: use it with `--home DIR`
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// Which broker
        #[command(flatten)]
        broker: OnHostArgs,
    },
}

/// Which broker of this host.
#[derive(Args, Debug)]
pub struct OnHostArgs {
    /// The configuration: names the socket on the host
    #[arg(long, default_value = "/etc/keyward/keyward.toml", value_name = "FILE")]
    pub config: PathBuf,
}

/// What can be revoked.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Revocable {
    /// Everything that an agent was given.
    Agent,
    /// One instance of an agent.
    Instance,
    /// The holder of a certificate.
    Certificate,
    /// One token.
    Token,
    /// Everything that an operator was given.
    Operator,
}

/// What can be suspended.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Suspendable {
    /// An agent.
    Agent,
    /// An operator.
    Operator,
}

impl BreakGlassCommand {
    /// The configuration of the broker that is meant.
    #[must_use]
    pub fn config(&self) -> &Path {
        let (Self::Revoke { broker, .. } | Self::Suspend { broker, .. } | Self::Operator { broker, .. }) =
            self;
        &broker.config
    }
}

/// `keyward break-glass …`
///
/// # Errors
/// [`Failure`].
pub(in crate::cli) async fn break_glass(
    command: &BreakGlassCommand,
    config: &Config,
    console: &Console,
) -> Result<(), Failure> {
    let (path, done) = match command {
        BreakGlassCommand::Revoke { what, which, .. } => (what.path(which)?, "revoked"),
        BreakGlassCommand::Suspend { what: Suspendable::Agent, which, .. } => {
            (format!("/v1/agents/{}/suspend", canonical::<AgentName>(which)?), "suspended")
        }
        BreakGlassCommand::Suspend { what: Suspendable::Operator, which, .. } => {
            (format!("/v1/operators/{}/suspend", canonical::<OperatorName>(which)?), "suspended")
        }
        BreakGlassCommand::Operator { out, .. } => return operator(config, out, console).await,
    };
    let answer = ask(&config.listen.host, Method::POST, &path, None).await?;
    tell_change(&answer, done, console)
}

impl Revocable {
    fn path(self, which: &str) -> Result<String, Failure> {
        Ok(match self {
            Self::Agent => format!("/v1/agents/{}/revoke", canonical::<AgentName>(which)?),
            Self::Instance => {
                format!("/v1/instances/{}/revoke", which.parse::<InstanceId>().map_err(bad_id)?)
            }
            Self::Certificate => format!("/v1/certificates/{}/revoke", serial_of(which)?),
            Self::Token => format!("/v1/tokens/{}/revoke", which.parse::<TokenId>().map_err(bad_id)?),
            Self::Operator => format!("/v1/operators/{}/revoke", canonical::<OperatorName>(which)?),
        })
    }
}

/// Refuses a home with an operator's identity other than one of this host, before the alarm is recorded.
fn check_out(config: &Config, out: &Path) -> Result<(), Failure> {
    let Some(dir) = Identity::existing(out, Kind::Operator)? else { return Ok(()) };
    let held = Identity::load(out, Kind::Operator).and_then(|found| found.certificate());
    let is_of_this_host = held.is_ok_and(|held| match held.spiffe() {
        SpiffeId::Operator { trust_domain, name } => *trust_domain == config.trust_domain && is_of_host(name),
        SpiffeId::Agent { .. } | SpiffeId::ResourceServer { .. } => false,
    });
    if is_of_this_host {
        return Ok(());
    }
    let why = format!("`{}` holds another identity; nothing was changed", dir.display());
    Err(Failure::new(code::IDENTITY_EXISTS).because(why).mended_by("name a new directory: `--out DIR`"))
}

/// The private key is made here, and stays here.
async fn operator(config: &Config, out: &Path, console: &Console) -> Result<(), Failure> {
    check_out(config, out)?;
    let (key_pem, request) = new_key_and_request().map_err(|error| Failure::internal(&error.to_string()))?;
    let body = Bytes::from(json!({ "csr": base64url(&request) }).to_string());
    let answer = ask(&config.listen.host, Method::POST, "/v1/break-glass", Some(body)).await?;
    let field = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let identity = Identity {
        address: config.server.admin_address.clone(),
        key_pem,
        certificate_pem: field("certificate"),
        authority_pem: field("authority"),
    };
    identity.save(out, Kind::Operator)?;
    let (spiffe, until) = (field("spiffe_id"), field("not_after"));
    if console.is_json() {
        console.json(&json!({ "operator": spiffe, "operator_until": until, "operator_identity": out.join("operator") }));
    } else {
        console.line(&format!("operator {spiffe} until {until}"));
        console.line(&format!(
            "identity in {}: `keyward --home {} …`",
            out.join("operator").display(),
            out.display()
        ));
    }
    console.say(
        "note: this is an alarm on the ledger; it cannot be renewed, and ends the one that was taken before",
    );
    Ok(())
}
