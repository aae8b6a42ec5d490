use clap::Args;
use serde_json::Value;

use crate::base::encoding::hex;
use crate::cli::client::Client;
use crate::cli::confirmation::Question;
use crate::cli::identity::{Identity, IdentityKind};
use crate::cli::own_access::{AccessLoss, say_way_back};
use crate::cli::session::{ReasonArgs, VerbSession, check_durable, said};
use crate::console::CommandFailure;
use crate::pki::{AuthorityCertificate, SpiffeId};
use crate::wire::{AuthorityAnswer, Items, LIST_AUTHORITIES, REVOKE_AUTHORITY, StageBody};

/// `keyward authority revoke`
#[derive(Args, Debug)]
pub struct RevokeAuthorityArgs {
    /// The generation's number
    generation: u32,
    /// Revoke although live instances or operators still hold its certificates and lose access
    #[arg(long)]
    force: bool,
    /// Revoke without a question; required where there is no terminal, if certificates stop working
    #[arg(long)]
    yes: bool,
    /// Why
    #[command(flatten)]
    reason: ReasonArgs,
}

/// The certificates that stop working.
struct Loss {
    generation: u32,
    /// The operator of this machine and the serial number of its certificate, if it is one of them.
    own: Option<(String, String)>,
    /// The number of holders that have no other certificate.
    behind: usize,
    /// Names of these holders, perhaps not all.
    names: Vec<String>,
}

impl RevokeAuthorityArgs {
    /// Says which certificates stop working, asks, and revokes. The certificate of this command may be one of them: so it
    /// sends no request after the revocation.
    pub(crate) async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        let client = session.revoking_operator().await?;
        let loss = self.loss(session, &client).await?;
        if let Some(loss) = &loss {
            session.console.say(&loss.said());
            if !self.yes {
                let act = format!("the revocation of authority generation {}", self.generation);
                let question = format!("Revoke authority generation {}?", self.generation);
                Question { act: &act, question: &question, fix: &loss.fix() }.ask(session.console)?;
            }
        }
        let body = StageBody { force: self.force, reason: self.reason.text(session.console) };
        let staged = client.call(REVOKE_AUTHORITY, &self.generation, &body).await?;
        let sent =
            Items { items: staged.sent.get("items").and_then(Value::as_array).cloned().unwrap_or_default() };
        session.print_table(&client, &sent, &staged.items).await;
        session.console.say(&said(staged.ended.seq, "revoked"));
        let is_own = loss.is_some_and(|loss| loss.own.is_some());
        say_way_back(is_own.then_some(AccessLoss::Revoked), session.console);
        check_durable(&staged.ended)
    }

    /// The certificates that stop working; none if the broker will refuse the request because of them.
    async fn loss(&self, session: VerbSession<'_>, client: &Client) -> Result<Option<Loss>, CommandFailure> {
        let all = client.items(LIST_AUTHORITIES).await?;
        let has_signed = |one: &AuthorityAnswer| matches!(&*one.stage, "old" | "tainted");
        let found = all.into_iter().map(|one| one.answer);
        let mut found = found.filter(|one| one.generation == self.generation && has_signed(one));
        let Some(AuthorityAnswer { generation, pin, behind, behind_names: names, .. }) = found.next() else {
            return Ok(None);
        };
        if behind > 0 && !self.force {
            return Ok(None);
        }
        let identity = Identity::load(session.home, IdentityKind::Operator)?;
        let own = own_certificate(&identity, &pin)?;
        Ok((own.is_some() || behind > 0).then_some(Loss { generation, own, behind, names }))
    }
}

/// The name and the serial number of the certificate of `identity`, if the authority with this pin signed it.
fn own_certificate(identity: &Identity, pin: &str) -> Result<Option<(String, String)>, CommandFailure> {
    let certificate = identity.certificate()?;
    let known = identity.authorities()?.into_iter().filter_map(|der| AuthorityCertificate::parse(der).ok());
    let mut signers = known.filter(|one| Some(one.key_id()) == certificate.authority());
    let is_own = signers.any(|one| one.key_pin().hex() == pin);
    let SpiffeId::Operator { name, .. } = certificate.spiffe() else { return Ok(None) };
    Ok(is_own.then(|| (name.to_string(), hex(certificate.serial().as_bytes()))))
}

impl Loss {
    fn said(&self) -> String {
        let mut text =
            format!("authority generation {}: the certificates that it signed stop working", self.generation);
        if let Some((name, serial)) = &self.own {
            text.push_str(&format!(
                ", including the one you use now (operator `{name}`, serial {serial}; to keep access, renew it first: \
                 `keyward renew --operator`)"
            ));
        }
        let own = self.own.as_ref().map(|(name, _)| name);
        let others: Vec<&str> =
            self.names.iter().filter(|name| Some(*name) != own).map(String::as_str).collect();
        if !others.is_empty() {
            let unnamed = if self.behind > self.names.len() { " and others" } else { "" };
            text.push_str(&format!("; without another certificate are: {}{unnamed}", others.join(", ")));
        }
        text
    }

    fn fix(&self) -> String {
        let renewal = if self.own.is_some() {
            "renew your certificate first (`keyward renew --operator`), or "
        } else {
            ""
        };
        format!("{renewal}add `--yes` to revoke the authority")
    }
}
