use std::path::PathBuf;

use clap::Args;

use super::agents::NewCode;
use crate::base::{BindingNetwork, OperatorName, OwnerName, Person, PersonError, length_text};
use crate::cli::named_network::named_network;
use crate::cli::owners::note_new_owner;
use crate::cli::session::{VerbSession, optional};
use crate::console::{CommandFailure, duration_s};
use crate::operators::{OperatorKind, OperatorRole, UnknownRole};
use crate::wire::{
    CHANGE_OPERATOR_PROFILE, ExpectedOperatorProfile, GET_OPERATOR, INVITE_OPERATOR, InviteOperatorBody,
    Nothing, OperatorProfileBody,
};

/// `keyward operator invite`
#[derive(Args, Debug)]
pub struct OperatorInviteArgs {
    /// The operator's name
    name: String,
    /// Create the operator with this role if it does not exist: admin, security, approver or auditor
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    /// Limit the operator's scope to this owner's objects
    #[arg(long, value_name = "OWNER")]
    owner: Option<String>,
    /// Create a service: a program that only reads, with the role metrics (by default) or auditor
    #[arg(long)]
    service: bool,
    /// Create an automation: a program that applies the declarations of one owner, with the role deployer (by default), or
    /// only reads, with the role auditor
    #[arg(long, conflicts_with = "service")]
    automation: bool,
    /// Network from which a service or an automation calls, e.g. 10.0.0.0/8; repeat it for further networks
    #[arg(long = "network", value_name = "NETWORK")]
    networks: Vec<String>,
    /// Life of the certificates of a service (up to 90d; default: 30d) or an automation (up to 24h; default: 24h)
    #[arg(long, value_parser = duration_s, value_name = "DURATION")]
    life: Option<u32>,
    /// The person who is the operator, or who is responsible for the program, e.g. an email address
    #[arg(long, value_name = "TEXT", value_parser = person)]
    person: Option<Person>,
    /// Write the code to this new file, which only its owner can read, instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// `keyward operator update`
#[derive(Args, Debug)]
pub struct OperatorUpdateArgs {
    /// The operator's name
    name: String,
    /// The person who is the operator, or who is responsible for the program, e.g. an email address
    #[arg(long, value_name = "TEXT", value_parser = person)]
    person: Option<Person>,
    /// Remove the person from the operator's record
    #[arg(long, conflicts_with = "person")]
    no_person: bool,
    /// Network from which the program calls; it replaces the present networks; repeat it for further networks
    #[arg(long = "network", value_name = "NETWORK")]
    networks: Vec<String>,
    /// Let an automation call from every network
    #[arg(long, conflicts_with = "networks")]
    no_network: bool,
    /// Life of the program's certificates, from the next renewal on
    #[arg(long, value_parser = duration_s, value_name = "DURATION")]
    life: Option<u32>,
    /// Refused: another verb changes it
    #[arg(long, hide = true)]
    role: Option<String>,
    /// Refused: another verb changes it
    #[arg(long, hide = true)]
    owner: Option<String>,
}

impl OperatorInviteArgs {
    pub(super) async fn invite(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        let name: OperatorName = self.name.parse()?;
        let owner: Option<OwnerName> = optional(self.owner.as_deref())?;
        let kind = match (self.service, self.automation) {
            (true, _) => Some(OperatorKind::Service),
            (false, true) => Some(OperatorKind::Automation),
            (false, false) => None,
        };
        let body = InviteOperatorBody {
            role: self.role.as_deref().map(role_name).transpose()?.map(str::to_owned),
            owner: owner.as_ref().map(ToString::to_string),
            kind: kind.map(|kind| kind.to_string()),
            networks: canonical(&self.networks)?,
            life_s: self.life,
            person: self.person.as_ref().map(ToString::to_string),
        };
        let client = session.operator().await?;
        let out = NewCode::out(self.out.as_deref())?;
        note_new_owner(&client, owner.as_ref(), session.console).await;
        let invited = client.call(INVITE_OPERATOR, &name, &body).await?;
        let until = &invited.expires_at;
        let life = invited.certificate_life_s.map_or_else(String::new, |life_s| self.granted(life_s));
        let join = NewCode::join(self.out.as_deref());
        let said = format!("one use, until {until}{life}; on the operator's machine: `{join}`");
        NewCode { sent: &invited.sent, code: &invited.code, said }.hand_over(out, session.console)
    }
}

impl OperatorInviteArgs {
    /// The life of the certificates, if the operator is a program, or the requested one was shortened.
    fn granted(&self, life_s: u32) -> String {
        let granted = length_text(life_s);
        match self.life {
            Some(asked) if asked > life_s => format!(
                "; its certificates are valid for {granted}, not for {}: the setting `certificates.service_life_s` \
                 of the broker limits them",
                length_text(asked)
            ),
            None if !self.service && !self.automation => String::new(),
            Some(_) | None => format!("; its certificates are valid for {granted}"),
        }
    }
}

impl OperatorUpdateArgs {
    pub(super) async fn update(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        let name: OperatorName = self.name.parse()?;
        if self.role.is_some() || self.owner.is_some() {
            return Err(CommandFailure::usage(
                "`operator update` changes neither the role nor the owner of an operator",
                &format!(
                    "change them with `keyward operator role {name} ROLE`, with `--owner OWNER` for an owner"
                ),
            ));
        }
        let networks = canonical(&self.networks)?;
        let changes = self.person.is_some() || self.no_person || self.no_network || self.life.is_some();
        if !changes && networks.is_empty() {
            return Err(CommandFailure::usage(
                "no change is named",
                "name one, e.g. `--person ann@corp.example` or `--network 10.0.0.0/8`",
            ));
        }
        let client = session.operator().await?;
        let now = client.call(GET_OPERATOR, &name, &Nothing).await?.answer;
        let expected = ExpectedOperatorProfile {
            networks: now.networks.clone(),
            life_s: now.life_s,
            person: now.person.clone(),
        };
        let body = OperatorProfileBody {
            networks: if networks.is_empty() && !self.no_network { now.networks } else { networks },
            life_s: self.life.or(now.life_s),
            person: match &self.person {
                Some(person) => Some(person.to_string()),
                None if self.no_person => None,
                None => now.person,
            },
            expected: Some(expected),
        };
        let changed = client.call(CHANGE_OPERATOR_PROFILE, &name, &body).await?;
        session.print(&changed, |_| told(&name, &body));
        if !changed.ended_approval_keys.is_empty() && !session.console.is_json() {
            session.console.say(&format!(
                "the approval keys of {name} ended, because they were proposed for another person: {name} approves again after \
                 `keyward approval key create`, and after another admin, or root on the broker's host (`--on-host`), has accepted the new key"
            ));
        }
        Ok(())
    }
}

/// What the change of a profile changed.
fn told(name: &OperatorName, body: &OperatorProfileBody) -> String {
    let OperatorProfileBody { networks, life_s, person, expected } = body;
    let mut changes = Vec::new();
    if expected.as_ref().is_none_or(|before| before.person != *person) {
        changes.push(match person {
            Some(person) => format!("the person is {person}"),
            None => "the operator has no person".to_owned(),
        });
    }
    if expected.as_ref().is_none_or(|before| before.networks != *networks) {
        let networks = if networks.is_empty() { "all".to_owned() } else { networks.join(", ") };
        changes.push(format!("the networks are {networks}, from the next request on"));
    }
    if expected.as_ref().is_none_or(|before| before.life_s != *life_s) {
        let life = life_s.map_or_else(|| "the default".to_owned(), length_text);
        changes.push(format!("the life of certificates is {life}, from the next renewal on"));
    }
    if changes.is_empty() {
        return format!("{name} has this profile already: nothing changed");
    }
    format!("changed {name}: {}", changes.join("; "))
}

pub(super) fn role_name(role: &str) -> Result<&'static str, CommandFailure> {
    let parsed = role.parse().map(OperatorRole::as_str);
    parsed.map_err(|error: UnknownRole| CommandFailure::usage(&error.to_string(), "name one of these roles"))
}

fn canonical(networks: &[String]) -> Result<Vec<String>, CommandFailure> {
    let canonical = |text: &String| {
        let network = named_network(text)?;
        BindingNetwork::try_from(network).map_err(|error| {
            CommandFailure::usage(
                &error.to_string(),
                "name the networks from which the program calls, e.g. `--network 10.0.0.0/8`",
            )
        })?;
        Ok(network.to_string())
    };
    networks.iter().map(canonical).collect()
}

fn person(text: &str) -> Result<Person, String> {
    text.parse().map_err(|error: PersonError| error.to_string())
}
