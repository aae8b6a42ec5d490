use clap::Subcommand;

use super::approval_key_notes::{has_uncounted, say_ending, say_uncounted};
use super::approval_view::{Line, text_of};
use super::on_host::OnHostArgs;
use crate::base::OperatorName;
use crate::base::code;
use crate::base::encoding::base64url;
use crate::cli::approval_key::{MachineKeys, check_own, check_role, sign_approval};
use crate::cli::client::Received;
use crate::cli::identity::{Identity, IdentityKind};
use crate::cli::owners::roles_of;
use crate::cli::session::VerbSession;
use crate::cli::table::{Row, columns};
use crate::console::{CommandFailure, visible};
use crate::crypto::Digest;
use crate::policy::PlaceOperators;
use crate::wire::{
    ACCEPT_APPROVAL_KEY, AcceptApprovalKeyBody, ApprovalKeyAcceptance, ApprovalKeyAnswer, ApprovalKeyBody,
    ApprovalKeysAnswer, GET_OPERATOR, GET_OWN_APPROVAL_KEYS, Nothing, ORDER_ACCEPT_APPROVAL_KEY,
    OperatorAnswer, OrderAcceptApprovalKeyBody, PROPOSE_APPROVAL_KEY, REMOVE_APPROVAL_KEYS,
};

/// `keyward approval key …`
#[derive(Debug, Subcommand)]
pub enum ApprovalKeyCommand {
    /// Make an approval key on this machine, sealed with a passphrase from the terminal, and propose it. It counts after another admin, or root on the broker's host, has accepted its fingerprint
    Create {
        /// Make another key; the present one counts until the new one is accepted
        #[arg(long)]
        replace: bool,
    },
    /// Show your approval keys, and whether they are accepted
    Show,
    /// As an admin with an accepted approval key: accept the key that another operator proposed, after the person has read its fingerprint to you; asks for the passphrase of your key. While no admin has an accepted key: `--on-host`
    Accept {
        /// The operator's name
        name: String,
        /// The key's fingerprint, 64 hexadecimal digits, from the operator and not from the broker
        #[arg(long, value_name = "HEX")]
        fingerprint: String,
        /// On the broker's host, as root: accept without a key and a certificate, e.g. the first key of a broker
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
                let (name, fingerprint) = (name.parse()?, digits_of(fingerprint)?);
                let keys = if *on_host {
                    let body = OrderAcceptApprovalKeyBody { fingerprint: fingerprint.clone() };
                    broker.client()?.call(ORDER_ACCEPT_APPROVAL_KEY, &name, &body).await?
                } else {
                    accept(session, &name, &fingerprint).await?
                };
                session.print(&keys, |keys| {
                    format!("accepted: from now on, {} approves with the key {fingerprint}", keys.operator)
                });
                if !session.console.is_json() {
                    say_uncounted(&keys, session.console);
                }
                Ok(())
            }
            Self::Remove { name } => {
                let name: OperatorName = name.parse()?;
                let keys =
                    session.revoking_operator().await?.call(REMOVE_APPROVAL_KEYS, &name, &Nothing).await?;
                session
                    .print(&keys, |_| format!("removed: {name} has no approval key, and approves nothing"));
                if !session.console.is_json() {
                    say_uncounted(&keys, session.console);
                }
                Ok(())
            }
        }
    }
}

/// Accepts the key of another operator with a signature by the own approval key, so that no program accepts one.
async fn accept(
    session: VerbSession<'_>,
    name: &OperatorName,
    fingerprint: &str,
) -> Result<Received<ApprovalKeysAnswer>, CommandFailure> {
    let client = session.operator().await?;
    let mut machine = MachineKeys::load(session.home)?;
    let key = machine.accepted_by(&client).await?;
    let operator = client.call(GET_OPERATOR, name, &Nothing).await?;
    // Before the passphrase: it is not entered for an acceptance that would not count.
    check_acceptable(&operator, fingerprint)?;
    let person = operator.person.clone().unwrap_or_default();
    let message = ApprovalKeyAcceptance::new(name, &person, fingerprint).canonical();
    let message = message.map_err(|_| CommandFailure::internal("the acceptance has no canonical form"))?;
    let lines: [Line; 4] = [
        ("operator", name.to_string()),
        ("person", visible(&person, PERSON_CHARS)),
        ("key", fingerprint.to_owned()),
        ("you accept", "this key: the person has read the fingerprint to you".to_owned()),
    ];
    let signature = base64url(&sign_approval(key, &message, &text_of(&lines))?);
    let body = AcceptApprovalKeyBody { fingerprint: fingerprint.to_owned(), signature };
    client.call(ACCEPT_APPROVAL_KEY, name, &body).await
}

/// Checks that the operator has this key, and that the broker would accept it from the caller.
fn check_acceptable(operator: &OperatorAnswer, fingerprint: &str) -> Result<(), CommandFailure> {
    if !operator.approval_keys.iter().any(|key| key.fingerprint == fingerprint) {
        let name = &operator.name;
        let why = match operator.approval_keys.iter().find(|key| key.state == "proposed") {
            Some(_) => format!("the operator `{name}` proposed an approval key with another fingerprint"),
            None => format!("the operator `{name}` proposed no approval key"),
        };
        return Err(CommandFailure::new(code::APPROVAL_KEY_UNKNOWN).because(why));
    }
    let Some(refused) = &operator.refused_acceptance else { return Ok(()) };
    if *refused == code::OPERATOR_ROLE_INSUFFICIENT.as_str() {
        let needed = roles_of::<PlaceOperators>();
        return Err(CommandFailure::new(code::OPERATOR_ROLE_INSUFFICIENT)
            .because(format!("your role does not accept approval keys; this needs {needed}"))
            .mended_by(format!(
                "ask an operator with the role {needed} to run this command, or use the broker's host: `keyward approval key accept \
                 {} --fingerprint {fingerprint} --on-host`",
                operator.name
            )));
    }
    Err(refused.parse().map_or_else(
        |_| {
            let why = format!("the broker would refuse this acceptance: {}", visible(refused, PERSON_CHARS));
            CommandFailure::new(code::APPROVER_INELIGIBLE).because(why)
        },
        CommandFailure::new,
    ))
}

/// Characters of a person that are shown.
const PERSON_CHARS: usize = 300;

fn digits_of(fingerprint: &str) -> Result<String, CommandFailure> {
    // People copy fingerprints in groups, and in upper case.
    let digits: String = fingerprint.chars().filter(|c| !c.is_whitespace() && *c != ':').collect();
    let fingerprint = digits.to_ascii_lowercase();
    if Digest::from_hex(&fingerprint).is_none() {
        return Err(CommandFailure::new(code::FINGERPRINT_MALFORMED));
    }
    Ok(fingerprint)
}

/// Proposes the key of this machine, which is made if there is none. A key that was made and not proposed is proposed again.
async fn create(session: VerbSession<'_>, replace: bool) -> Result<(), CommandFailure> {
    let console = session.console;
    Identity::load(session.home, IdentityKind::Operator)?;
    let client = session.operator().await?;
    check_role(&client).await?;
    let before = client.call(GET_OWN_APPROVAL_KEYS, &Nothing, &Nothing).await?;
    let mut keys = MachineKeys::load(session.home)?;
    let is_known = |fingerprint: &str| before.keys.iter().any(|key| key.fingerprint == fingerprint);
    let newest = keys.newest().map(|key| key.public().hex());
    if newest.as_deref().is_some_and(is_known) && !replace {
        return Err(CommandFailure::new(code::APPROVAL_KEY_ON_MACHINE));
    }
    let key = match keys.newest() {
        Some(unproposed) if !replace => {
            check_own(unproposed)?;
            unproposed
        }
        Some(_) | None => keys.create()?,
    };
    let body = ApprovalKeyBody { csr: base64url(&key.request()?) };
    let proposed = client.call(PROPOSE_APPROVAL_KEY, &Nothing, &body).await?;
    let fingerprint = key.public().hex();
    session.print(&proposed, |_| format!("proposed: the approval key with the fingerprint {fingerprint}"));
    if !console.is_json() {
        console.say(&format!(
            "it counts once another admin has accepted it: read the fingerprint to the admin, who runs `keyward approval key \
             accept {} --fingerprint {fingerprint}`; while no other admin has an accepted key, root runs this command on the \
             broker's host with `--on-host`",
            proposed.operator
        ));
        say_ending(&proposed, console);
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
    let machine = MachineKeys::load(session.home)?;
    print_keys(&keys, &machine, session);
    let elsewhere = keys.keys.iter().filter(|key| !machine.has(&key.fingerprint));
    for key in elsewhere {
        console.say(&format!(
            "note: the {} key {} is not on this machine: unless you made it on another one, a program did: do not read its \
             fingerprint to anyone, and ask an admin: `keyward approval key remove {}`",
            visible(&key.state, PERSON_CHARS),
            visible(&key.fingerprint, PERSON_CHARS),
            keys.operator
        ));
    }
    let known = |fingerprint: &String| keys.keys.iter().any(|key| key.fingerprint == *fingerprint);
    for unknown in machine.fingerprints().filter(|one| !known(one)) {
        console.say(&format!(
            "note: the broker does not know the approval key {unknown} of this machine; to propose it: `keyward approval key \
             create`"
        ));
    }
    if has_uncounted(&keys) {
        say_uncounted(&keys, console);
    }
    Ok(())
}

/// The keys, and whether each is on this machine.
fn print_keys(keys: &ApprovalKeysAnswer, machine: &MachineKeys, session: VerbSession<'_>) {
    let is_here = |key: &ApprovalKeyAnswer| if machine.has(&key.fingerprint) { "yes" } else { "NO" };
    let row = |key: &ApprovalKeyAnswer| {
        let mut cells = key.cells();
        cells.push(is_here(key).to_owned());
        cells
    };
    let rows: Vec<Vec<String>> = keys.keys.iter().map(row).collect();
    let mut head = ApprovalKeyAnswer::head();
    head.push("ON THIS MACHINE".to_owned());
    session.console.table(ApprovalKeyAnswer::NOUN, &head, &rows);
}

columns!(ApprovalKeyAnswer "approval keys": fingerprint, state, proposed_at, accepted_at, accepted_by);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprint_is_read_in_groups_and_in_upper_case() {
        let digits = "AB".repeat(32);
        assert_eq!(digits_of(&digits).unwrap(), "ab".repeat(32));
        let grouped = format!("{} {}", &digits[..32], &digits[32..]);
        assert_eq!(digits_of(&grouped).unwrap(), "ab".repeat(32));
        for text in ["", "ab", &"xy".repeat(32), &"ab".repeat(33)] {
            assert_eq!(digits_of(text).unwrap_err().code(), "fingerprint_malformed", "{text}");
        }
    }
}
