use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};

use super::incident_subject::{body_of, written};
use super::incidents::FreezeArgs;
use super::on_host::OnHostArgs;
use crate::base::encoding::base64url;
use crate::base::{Reason, code};
use crate::cli::client::{Client, Received};
use crate::cli::identity::{Identity, IdentityKind};
use crate::cli::session::{ReasonArgs, check_durable, said, sent_reason};
use crate::config::Config;
use crate::console::{CommandFailure, Console};
use crate::operators::is_of_host;
use crate::pki::{SpiffeId, new_key_and_request};
use crate::wire::{
    BREAK_GLASS, BreakGlassOutput, EndedAnswer, Endpoint, Nothing, ORDER_CONTAIN, ORDER_FREEZE,
    ORDER_REVOKE_AGENT, ORDER_REVOKE_CERTIFICATE, ORDER_REVOKE_INSTANCE, ORDER_REVOKE_OPERATOR,
    ORDER_REVOKE_TOKEN, ORDER_SUSPEND_AGENT, ORDER_SUSPEND_OPERATOR, Optional, OrderContainBody,
    OrderedAnswer, OrderedContainmentAnswer, ReasonBody, RenewBody, Target,
};

/// `keyward break-glass …`
#[derive(Debug, Subcommand)]
pub enum BreakGlassCommand {
    /// Revoke one token, or all credentials of an agent, instance, certificate or operator. A sealed broker stores the order, and revokes before it serves again
    Revoke {
        /// Kind of object
        #[arg(value_enum)]
        what: Revocable,
        /// Name of the agent or operator, id of the instance or token, or serial number of the certificate
        which: String,
        /// Why
        #[command(flatten)]
        reason: ReasonArgs,
        /// The broker
        #[command(flatten)]
        broker: OnHostArgs,
    },
    /// Suspend an agent or operator until an operator resumes it. A sealed broker stores the order, and suspends before it serves again
    Suspend {
        /// Kind of object
        #[arg(value_enum)]
        what: Suspendable,
        /// Name of the agent or operator
        which: String,
        /// Why
        #[command(flatten)]
        reason: ReasonArgs,
        /// The broker
        #[command(flatten)]
        broker: OnHostArgs,
    },
    /// Contain a subject: revoke what was issued under it, and refuse it until an operator lifts the containment. A sealed broker stores the order, and contains before it serves again
    Contain {
        /// agent/NAME, instance/ID, operator/NAME, role/NAME, capability/NAME, owner/NAME, secret/NAME, certificate/SERIAL, token/ID, network/CIDR, everything
        subject: String,
        /// Reason, in one line; the ledger keeps it
        #[arg(long, value_name = "TEXT")]
        reason: Reason,
        /// The broker
        #[command(flatten)]
        broker: OnHostArgs,
    },
    /// Freeze the broker: it issues no tokens, reveals no secrets and gives no leases until an operator thaws it. A sealed broker stores the order
    Freeze {
        #[command(flatten)]
        freeze: FreezeArgs,
        /// The broker
        #[command(flatten)]
        broker: OnHostArgs,
    },
    /// Get an admin's certificate for one hour: the broker raises an alarm and revokes the previous such certificate
    Operator {
        /// Directory for the identity; use it with `--home DIR`
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// The broker
        #[command(flatten)]
        broker: OnHostArgs,
    },
}

/// Kinds of objects that can be revoked.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Revocable {
    /// All credentials of an agent.
    Agent,
    /// One instance of an agent.
    Instance,
    /// The instance or operator that holds a certificate.
    Certificate,
    /// One token.
    Token,
    /// All credentials of an operator.
    Operator,
}

/// Kinds of subjects that can be suspended.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Suspendable {
    /// An agent.
    Agent,
    /// An operator.
    Operator,
}

impl BreakGlassCommand {
    pub(crate) async fn run(&self, console: &Console) -> Result<(), CommandFailure> {
        match self {
            Self::Revoke { what, which, reason, broker } => {
                let client = broker.client()?;
                let ordered = match what {
                    Revocable::Agent => {
                        order(&client, ORDER_REVOKE_AGENT, which.parse()?, reason, console).await
                    }
                    Revocable::Instance => {
                        order(&client, ORDER_REVOKE_INSTANCE, which.parse()?, reason, console).await
                    }
                    Revocable::Certificate => {
                        order(&client, ORDER_REVOKE_CERTIFICATE, which.parse()?, reason, console).await
                    }
                    Revocable::Token => {
                        order(&client, ORDER_REVOKE_TOKEN, which.parse()?, reason, console).await
                    }
                    Revocable::Operator => {
                        order(&client, ORDER_REVOKE_OPERATOR, which.parse()?, reason, console).await
                    }
                };
                tell(&ordered?, "revoked", console)
            }
            Self::Suspend { what, which, reason, broker } => {
                let client = broker.client()?;
                let ordered = match what {
                    Suspendable::Agent => {
                        order(&client, ORDER_SUSPEND_AGENT, which.parse()?, reason, console).await
                    }
                    Suspendable::Operator => {
                        order(&client, ORDER_SUSPEND_OPERATOR, which.parse()?, reason, console).await
                    }
                };
                tell(&ordered?, "suspended", console)
            }
            Self::Contain { subject, reason, broker } => {
                let subject = body_of(&written(subject, console)?);
                let body = OrderContainBody { subject, reason: sent_reason(reason, console) };
                let ordered = broker.client()?.call(ORDER_CONTAIN, &Nothing, &body).await?;
                tell_contained(&ordered, console)
            }
            Self::Freeze { freeze, broker } => {
                let ordered = broker.client()?.call(ORDER_FREEZE, &Nothing, &freeze.body(console)).await?;
                tell(&ordered, "the broker is frozen", console)
            }
            Self::Operator { out, broker } => operator(&Config::load(&broker.config)?, out, console).await,
        }
    }
}

async fn order<T: Target>(
    client: &Client,
    endpoint: Endpoint<T, Optional<ReasonBody>, OrderedAnswer>,
    target: T,
    reason: &ReasonArgs,
    console: &Console,
) -> Result<Received<OrderedAnswer>, CommandFailure> {
    client.call(endpoint, &target, &reason.body(console)).await
}

fn tell(ordered: &Received<OrderedAnswer>, done: &str, console: &Console) -> Result<(), CommandFailure> {
    console.record(
        &ordered.sent,
        || {
            if ordered.queued { QUEUED.to_owned() } else { said(ordered.seq, done) }
        },
    );
    let OrderedAnswer { seq, durable, kept, .. } = ordered.answer;
    check_durable(&EndedAnswer { seq, durable, kept, ..EndedAnswer::default() })
}

fn tell_contained(
    ordered: &Received<OrderedContainmentAnswer>,
    console: &Console,
) -> Result<(), CommandFailure> {
    let OrderedContainmentAnswer { incident, seq, durable, kept, queued } = ordered.answer;
    console.record_lines(&ordered.sent, || {
        let done = if queued { QUEUED.to_owned() } else { said(seq, "contained") };
        vec![format!("incident {incident}"), done]
    });
    check_durable(&EndedAnswer { seq, durable, kept, ..EndedAnswer::default() })
}

const QUEUED: &str = "queued: the broker is sealed, and carries this out before it serves requests again; it checks the \
                      name only then: the output of `keyward unseal`, and later `keyward doctor --config FILE` here or \
                      `keyward status` of an operator, says if the order failed";

/// Refuses a directory with another operator's identity, before the broker records the alarm.
fn check_out(config: &Config, out: &Path) -> Result<(), CommandFailure> {
    let Some(dir) = Identity::existing(out, IdentityKind::Operator)? else { return Ok(()) };
    let held = Identity::load(out, IdentityKind::Operator).and_then(|found| found.certificate());
    let is_of_this_host = held.is_ok_and(|held| match held.spiffe() {
        SpiffeId::Operator { trust_domain, name } => *trust_domain == config.trust_domain && is_of_host(name),
        SpiffeId::Agent { .. } | SpiffeId::ResourceServer { .. } => false,
    });
    if is_of_this_host {
        return Ok(());
    }
    let why = format!("`{}` holds another identity; nothing was changed", dir.display());
    Err(CommandFailure::new(code::IDENTITY_EXISTS)
        .because(why)
        .mended_by("name a new directory: `--out DIR`"))
}

async fn operator(config: &Config, out: &Path, console: &Console) -> Result<(), CommandFailure> {
    check_out(config, out)?;
    let (key_pem, request) =
        new_key_and_request().map_err(|error| CommandFailure::internal(&error.to_string()))?;
    let body = RenewBody { csr: base64url(&request) };
    let taken = Client::on_host(&config.listen.host).call(BREAK_GLASS, &Nothing, &body).await?;
    let identity = Identity {
        address: config.server.admin_address.clone(),
        key_pem,
        certificate_pem: taken.certificate.clone(),
        authority_pem: taken.authority.clone(),
    };
    identity.save(out, IdentityKind::Operator)?;
    let made = BreakGlassOutput {
        operator: taken.spiffe_id.clone(),
        operator_until: taken.not_after.clone(),
        operator_identity: out.join("operator").display().to_string(),
    };
    if console.is_json() {
        console.json(&made);
    } else {
        console.line(&format!("operator {} until {}", made.operator, made.operator_until));
        console.line(&format!(
            "identity in {}: `keyward --home {} …`",
            made.operator_identity,
            out.display()
        ));
    }
    console.say(
        "note: the broker has raised an alarm; this certificate cannot be renewed, and the previous one is revoked",
    );
    Ok(())
}
