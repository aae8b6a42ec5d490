use clap::Subcommand;

use super::on_host::OnHostArgs;
use crate::base::OperatorName;
use crate::base::code;
use crate::base::encoding::{base64url, from_hex};
use crate::cli::approval_key::MachineKeys;
use crate::cli::client::Received;
use crate::cli::identity::{Identity, IdentityKind};
use crate::cli::session::VerbSession;
use crate::cli::table::{Row, columns};
use crate::console::CommandFailure;
use crate::wire::{
    ACCEPT_APPROVAL_KEY, AcceptApprovalKeyBody, ApprovalKeyAnswer, ApprovalKeyBody, ApprovalKeysAnswer,
    GET_OWN_APPROVAL_KEYS, Nothing, ORDER_ACCEPT_APPROVAL_KEY, PROPOSE_APPROVAL_KEY, REMOVE_APPROVAL_KEYS,
};

/// `keyward approval key …`
#[derive(Debug, Subcommand)]
pub enum ApprovalKeyCommand {
    /// Make an approval key on this machine, sealed with a passphrase from the terminal, and propose it. It counts after another admin has accepted its fingerprint
    Create {
        /// Make another key; the present one counts until the new one is accepted
        #[arg(long)]
        replace: bool,
    },
    /// Show your approval keys, and whether they are accepted
    Show,
    /// As an admin: accept the approval key that an operator proposed, after the operator has read its fingerprint to you
    Accept {
        /// The operator's name
        name: String,
        /// The key's fingerprint, 64 hexadecimal digits, from the operator and not from the broker
        #[arg(long, value_name = "HEX")]
        fingerprint: String,
        /// On the broker's host, as root: accept without an operator's certificate, e.g. if there is one admin
        #[arg(long)]
        on_host: bool,
        /// The broker
        #[command(flatten)]
        broker: OnHostArgs,
    },
    /// Remove the approval keys of an operator, accepted and proposed
    Remove {
        /// The operator's name
        name: String,
    },
}

impl ApprovalKeyCommand {
    pub(crate) async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        match self {
            Self::Create { replace } => create(session, *replace).await,
            Self::Show => show(session).await,
            Self::Accept { name, fingerprint, on_host, broker } => {
                let (name, body) = (name.parse()?, body_of(fingerprint)?);
                let keys = if *on_host {
                    broker.client()?.call(ORDER_ACCEPT_APPROVAL_KEY, &name, &body).await?
                } else {
                    session.operator().await?.call(ACCEPT_APPROVAL_KEY, &name, &body).await?
                };
                session.print(&keys, |keys| {
                    format!(
                        "accepted: from now on, {} approves with the key {}",
                        keys.operator, body.fingerprint
                    )
                });
                Ok(())
            }
            Self::Remove { name } => {
                let name: OperatorName = name.parse()?;
                let keys =
                    session.revoking_operator().await?.call(REMOVE_APPROVAL_KEYS, &name, &Nothing).await?;
                session
                    .print(&keys, |_| format!("removed: {name} has no approval key, and approves nothing"));
                Ok(())
            }
        }
    }
}

fn body_of(fingerprint: &str) -> Result<AcceptApprovalKeyBody, CommandFailure> {
    // People copy fingerprints in groups, and in upper case.
    let digits: String = fingerprint.chars().filter(|c| !c.is_whitespace() && *c != ':').collect();
    let fingerprint = digits.to_ascii_lowercase();
    if from_hex(&fingerprint).is_none_or(|bytes| bytes.len() != 32) {
        return Err(CommandFailure::new(code::FINGERPRINT_MALFORMED));
    }
    Ok(AcceptApprovalKeyBody { fingerprint })
}

/// Proposes the key of this machine, which is made if there is none. A key that was made and not proposed is proposed again.
async fn create(session: VerbSession<'_>, replace: bool) -> Result<(), CommandFailure> {
    let console = session.console;
    Identity::load(session.home, IdentityKind::Operator)?;
    let client = session.operator().await?;
    let before = client.call(GET_OWN_APPROVAL_KEYS, &Nothing, &Nothing).await?;
    let mut keys = MachineKeys::load(session.home)?;
    let is_known = |fingerprint: &str| before.keys.iter().any(|key| key.fingerprint == fingerprint);
    let newest = keys.newest().map(|key| key.public().hex());
    if newest.as_deref().is_some_and(is_known) && !replace {
        return Err(CommandFailure::new(code::APPROVAL_KEY_ON_MACHINE));
    }
    let key = match keys.newest() {
        Some(unproposed) if !replace => unproposed,
        Some(_) | None => keys.create()?,
    };
    let body = ApprovalKeyBody { csr: base64url(&key.request()?) };
    let proposed = client.call(PROPOSE_APPROVAL_KEY, &Nothing, &body).await?;
    let fingerprint = key.public().hex();
    session.print(&proposed, |_| format!("proposed: the approval key with the fingerprint {fingerprint}"));
    if !console.is_json() {
        console.say(&format!(
            "it counts once another admin has accepted it: read the fingerprint to the admin, who runs `keyward approval key \
             accept {} --fingerprint {fingerprint}`",
            proposed.operator
        ));
    }
    Ok(())
}

async fn show(session: VerbSession<'_>) -> Result<(), CommandFailure> {
    let client = session.operator().await?;
    let keys = client.call(GET_OWN_APPROVAL_KEYS, &Nothing, &Nothing).await?;
    let console = session.console;
    if console.is_json() {
        console.json(&keys.sent);
        return Ok(());
    }
    print_keys(&keys, session);
    let known = |fingerprint: &String| keys.keys.iter().any(|key| key.fingerprint == *fingerprint);
    for unknown in MachineKeys::load(session.home)?.fingerprints().filter(|one| !known(one)) {
        console.say(&format!(
            "note: the broker does not know the approval key {unknown} of this machine; to propose it: `keyward approval key \
             create`"
        ));
    }
    Ok(())
}

fn print_keys(keys: &Received<ApprovalKeysAnswer>, session: VerbSession<'_>) {
    let rows: Vec<Vec<String>> = keys.keys.iter().map(Row::cells).collect();
    session.console.table(ApprovalKeyAnswer::NOUN, &ApprovalKeyAnswer::head(), &rows);
}

columns!(ApprovalKeyAnswer "approval keys": fingerprint, state, proposed_at, accepted_at, accepted_by);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprint_is_read_in_groups_and_in_upper_case() {
        let digits = "AB".repeat(32);
        assert_eq!(body_of(&digits).unwrap().fingerprint, "ab".repeat(32));
        let grouped = format!("{} {}", &digits[..32], &digits[32..]);
        assert_eq!(body_of(&grouped).unwrap().fingerprint, "ab".repeat(32));
        for text in ["", "ab", &"xy".repeat(32), &"ab".repeat(33)] {
            assert_eq!(body_of(text).unwrap_err().code(), "fingerprint_malformed", "{text}");
        }
    }
}
