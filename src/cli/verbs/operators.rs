use clap::Subcommand;

use super::operator_keys::{KeyAgentArgs, SealKeyArgs};
use super::operator_profile::{OperatorInviteArgs, OperatorUpdateArgs, role_name};
use super::resumption::resume_operator;
use crate::base::{OperatorName, OwnerName, SubjectName};
use crate::cli::confirmation::ConfirmArgs;
use crate::cli::listing::ListArgs;
use crate::cli::own_access::{AccessLoss, OwnAccess, OwnAccessArgs, own, say_way_back};
use crate::cli::owners::note_new_owner;
use crate::cli::session::{ReasonArgs, VerbSession, optional};
use crate::cli::table::columns;
use crate::console::CommandFailure;
use crate::operators::OperatorRole;
use crate::wire::{
    DELETE_OPERATOR, ExpectedOperatorPlace, GET_OPERATOR, LIST_OPERATORS, Nothing, OperatorAnswer,
    OperatorDeletedAnswer, PLACE_OPERATOR, PlaceOperatorBody, REVOKE_OPERATOR, SUSPEND_OPERATOR,
};

/// `keyward operator …`
#[derive(Debug, Subcommand)]
pub enum OperatorCommand {
    /// Make an enrolment code for an operator, for one use within 15 minutes
    Invite(OperatorInviteArgs),
    /// List operators
    List(ListArgs),
    /// Show one operator
    Show {
        /// The operator's name
        name: String,
    },
    /// Change an operator's role; its scope stays unless `--owner` or `--no-owner` is given
    Role {
        /// The operator's name
        name: String,
        /// admin, security, approver or auditor; for a service: metrics or auditor; for an automation: deployer or auditor
        role: String,
        /// Limit the operator's scope to this owner's objects
        #[arg(long, value_name = "OWNER")]
        owner: Option<String>,
        /// Give the operator the scope `all`
        #[arg(long, conflicts_with = "owner")]
        no_owner: bool,
        /// Do not ask before you lower your own role or scope; required for that where there is no terminal
        #[arg(long)]
        yes: bool,
    },
    /// Change an operator's person, networks and life of certificates
    Update(OperatorUpdateArgs),
    /// Revoke all certificates and enrolment codes of an operator
    Revoke {
        /// The operator's name
        name: String,
        #[command(flatten)]
        own: OwnAccessArgs,
        /// Why
        #[command(flatten)]
        reason: ReasonArgs,
    },
    /// Delete an operator: its certificates and enrolment codes are revoked for good, and no operator can have its name
    /// again. The ledger keeps all entries about it
    Delete {
        /// The operator's name
        name: String,
        #[command(flatten)]
        confirm: ConfirmArgs,
        /// Why
        #[command(flatten)]
        reason: ReasonArgs,
    },
    /// Suspend an operator: its certificates are refused until it is resumed
    Suspend {
        /// The operator's name
        name: String,
        #[command(flatten)]
        own: OwnAccessArgs,
        /// Why
        #[command(flatten)]
        reason: ReasonArgs,
    },
    /// Resume a suspended operator
    Resume {
        /// The operator's name
        name: String,
        /// Why
        #[command(flatten)]
        reason: ReasonArgs,
    },
    /// Seal this machine's operator key with a passphrase, or change the passphrase
    SealKey(SealKeyArgs),
    /// Run a key agent, which uses this machine's sealed operator key for a stated time, so that commands need no passphrase
    KeyAgent(KeyAgentArgs),
}

impl OperatorCommand {
    pub(crate) async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        match self {
            Self::Invite(args) => args.invite(session).await,
            Self::List(args) => session.list(LIST_OPERATORS, &args.selection()?).await,
            Self::Show { name } => session.show(GET_OPERATOR, &name.parse()?).await,
            Self::Role { name, role, owner, no_owner, yes } => {
                let owner = optional(owner.as_deref())?;
                let new = NewPlace { role: role_name(role)?, owner, no_owner: *no_owner };
                new.give_to(session, &name.parse()?, &OwnAccessArgs::confirmed(*yes)).await
            }
            Self::Update(args) => args.update(session).await,
            Self::Revoke { name, own, reason } => {
                let name: OperatorName = name.parse()?;
                let lost = own.check(session, &SubjectName::Operator(name.clone()), AccessLoss::Revoked)?;
                let ended = session.end(REVOKE_OPERATOR, &name, reason, "revoked").await;
                say_way_back(lost.filter(|_| ended.is_ok()), session.console);
                ended
            }
            Self::Delete { name, confirm, reason } => delete(session, &name.parse()?, confirm, reason).await,
            Self::Suspend { name, own, reason } => {
                let name: OperatorName = name.parse()?;
                let lost = own.check(session, &SubjectName::Operator(name.clone()), AccessLoss::Suspended)?;
                let ended = session.end(SUSPEND_OPERATOR, &name, reason, "suspended").await;
                say_way_back(lost.filter(|_| ended.is_ok()), session.console);
                ended
            }
            Self::Resume { name, reason } => resume_operator(session, &name.parse()?, reason).await,
            Self::SealKey(args) => args.run(session),
            Self::KeyAgent(args) => args.run(session).await,
        }
    }
}

/// The role and scope that an operator is to have.
struct NewPlace {
    role: &'static str,
    owner: Option<OwnerName>,
    no_owner: bool,
}

impl NewPlace {
    async fn give_to(
        self,
        session: VerbSession<'_>,
        name: &OperatorName,
        own: &OwnAccessArgs,
    ) -> Result<(), CommandFailure> {
        let client = session.operator().await?;
        note_new_owner(&client, self.owner.as_ref(), session.console).await;
        let owner = self.owner.map(|owner| owner.to_string());
        let mut body = PlaceOperatorBody { role: self.role.to_owned(), owner, expected: None };
        let before = client.call(GET_OPERATOR, name, &Nothing).await?.answer;
        let before = ExpectedOperatorPlace {
            role: before.role.into_owned(),
            owner: before.owner.map(|owner| owner.to_string()),
        };
        if body.owner.is_none() && !self.no_owner {
            // The scope is not to change, also not if another admin changes it at this moment.
            body.owner.clone_from(&before.owner);
            body.expected = Some(before.clone());
        }
        // Only an admin with the scope `all` gives roles: every other role and scope is a lower one.
        if body.role != ADMIN || body.owner.is_some() {
            own.check_lowered(session, name, &body.role, &scope_text(body.owner.as_ref()))?;
        }
        let placed = client.call(PLACE_OPERATOR, name, &body).await?;
        session.print(&placed, |_| placed_line(name, &before, &body));
        Ok(())
    }
}

const ADMIN: &str = OperatorRole::Admin.as_str();

fn scope_text(owner: Option<&String>) -> String {
    owner.map_or_else(|| "all".to_owned(), |owner| format!("owner {owner}"))
}

/// The new role and scope of an operator, and those before.
fn placed_line(name: &OperatorName, before: &ExpectedOperatorPlace, after: &PlaceOperatorBody) -> String {
    let was = |before: String, after: &str| {
        if before == after { " (unchanged)".to_owned() } else { format!(" (before: {before})") }
    };
    let (role, reach) = (&after.role, scope_text(after.owner.as_ref()));
    let role_was = was(before.role.clone(), role);
    let reach_was = was(scope_text(before.owner.as_ref()), &reach);
    format!("{name} has the role {role}{role_was} and the scope {reach}{reach_was} from the next request on")
}

async fn delete(
    session: VerbSession<'_>,
    name: &OperatorName,
    confirm: &ConfirmArgs,
    reason: &ReasonArgs,
) -> Result<(), CommandFailure> {
    let client = session.operator().await?;
    let operator = client.call(GET_OPERATOR, name, &Nothing).await?;
    let effect = format!(
        "operator `{name}` ({}); its certificates and codes, and the unused codes that it made, are revoked for good, and no \
         operator can have this name again",
        operator.role
    );
    let subject = SubjectName::Operator(name.clone());
    let is_own = OwnAccess::of(session)?.is(&subject);
    if is_own {
        session.console.say(&own(&subject));
    }
    confirm.check(&format!("operator `{name}`"), &effect, session.console)?;
    let deleted = client.call(DELETE_OPERATOR, name, &reason.body(session.console)).await?;
    session.print(&deleted, |OperatorDeletedAnswer { seq, certificates }| {
        format!(
            "deleted in ledger entry {seq}; valid certificates that are refused now: {certificates}; the name stays \
             reserved, and the ledger keeps all entries about the operator"
        )
    });
    say_way_back(is_own.then_some(AccessLoss::Deleted), session.console);
    Ok(())
}

fn last_use(operator: &OperatorAnswer) -> String {
    operator.last_use.as_ref().map(|last| last.at.clone()).unwrap_or_default()
}

columns!(OperatorAnswer "operators": name, kind, role, owner, ("STATE", state), networks, ("EXPIRES", expires), ("LAST USE", last_use), person);

/// The end of the valid certificate that expires last.
fn expires(operator: &OperatorAnswer) -> String {
    let certificates = operator.certificates.iter().map(|certificate| certificate.not_after.clone());
    certificates.max().unwrap_or_default()
}

fn state(operator: &OperatorAnswer) -> String {
    let state = || operator.state.to_string();
    operator.incident.map_or_else(state, |incident| format!("contained ({incident})"))
}
