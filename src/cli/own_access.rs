//! The question before a command that takes away the access of the operator that gives it.

use clap::Args;

use super::confirmation::Question;
use super::session::VerbSession;
use crate::base::{OperatorName, Serial, SubjectName};
use crate::cli::identity::{Identity, IdentityKind};
use crate::console::{CommandFailure, Console};
use crate::pki::SpiffeId;

/// The confirmation that a command may take away the access of its own operator.
#[derive(Args, Debug)]
pub struct OwnAccessArgs {
    /// Do not ask before you take away your own access; required for that where there is no terminal
    #[arg(long)]
    yes: bool,
}

impl OwnAccessArgs {
    /// The confirmation that another option of the command gives.
    pub(crate) const fn confirmed(yes: bool) -> Self {
        Self { yes }
    }
}

/// The end of the access of the operator that gives the command.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum AccessLoss {
    Revoked,
    Suspended,
    Deleted,
    Contained,
}

impl AccessLoss {
    const fn act(self) -> &'static str {
        match self {
            Self::Revoked => "revocation",
            Self::Suspended => "suspension",
            Self::Deleted => "deletion",
            Self::Contained => "containment",
        }
    }

    const fn way_back(self) -> &'static str {
        match self {
            Self::Revoked => REVOKED,
            Self::Suspended => {
                "your certificate is refused until another admin resumes you: `keyward operator resume NAME`"
            }
            Self::Deleted => {
                "your certificate is refused from now on, and your name stays reserved: another admin can invite you under \
                 another name (`keyward operator invite NAME --role ROLE`)"
            }
            Self::Contained => {
                "your certificate is refused until another operator lifts the containment: `keyward lift INCIDENT --reason \
                 TEXT`"
            }
        }
    }
}

/// The way back for an operator whose certificate is revoked.
const REVOKED: &str = "your certificate is refused from now on; to get another one, ask another admin for an enrolment code \
                       (`keyward operator invite NAME`, then here `keyward join --replace`), or run on the broker's host as \
                       root: `keyward break-glass operator --out DIR`, then `keyward --home DIR operator invite NAME`";

/// The operator of this machine, whose certificate the command uses.
pub(crate) struct OwnAccess {
    name: Option<OperatorName>,
    serial: Serial,
}

impl OwnAccess {
    /// # Errors
    /// [`CommandFailure`] if this machine has no identity of an operator.
    pub(crate) fn of(session: VerbSession<'_>) -> Result<Self, CommandFailure> {
        let certificate = Identity::load(session.home, IdentityKind::Operator)?.certificate()?;
        let name = match certificate.spiffe() {
            SpiffeId::Operator { name, .. } => Some(name.clone()),
            SpiffeId::Agent { .. } | SpiffeId::ResourceServer { .. } => None,
        };
        Ok(Self { name, serial: certificate.serial() })
    }

    /// Whether `subject` is this operator or its certificate.
    pub(crate) fn is(&self, subject: &SubjectName) -> bool {
        match subject {
            SubjectName::Operator(name) => self.name.as_ref() == Some(name),
            SubjectName::Certificate(serial) => self.serial == *serial,
            SubjectName::Agent(_)
            | SubjectName::Instance(_)
            | SubjectName::Role(_)
            | SubjectName::Capability(_)
            | SubjectName::Owner(_)
            | SubjectName::Secret(_)
            | SubjectName::Token(_)
            | SubjectName::Network(_)
            | SubjectName::Everything => false,
        }
    }
}

impl OwnAccessArgs {
    /// Says that the operator of this command loses its access if `subject` is this operator or its certificate, and asks.
    /// Gives the loss.
    ///
    /// # Errors
    /// [`CommandFailure`] unless it is confirmed.
    pub(crate) fn check(
        &self,
        session: VerbSession<'_>,
        subject: &SubjectName,
        loss: AccessLoss,
    ) -> Result<Option<AccessLoss>, CommandFailure> {
        if !OwnAccess::of(session)?.is(subject) {
            return Ok(None);
        }
        let act = loss.act();
        session.console.say(&own(subject));
        if !self.yes {
            let fix = format!("add `--yes` to confirm the {act} of your own access");
            let (act, question) = (format!("the {act} of your own access"), "Take away your own access?");
            Question { act: &act, question, fix: &fix }.ask(session.console)?;
        }
        Ok(Some(loss))
    }
}

impl OwnAccessArgs {
    /// Says that the operator of this command gets a lower role or scope if it is `name`, and asks.
    ///
    /// # Errors
    /// [`CommandFailure`] unless it is confirmed.
    pub(crate) fn check_lowered(
        &self,
        session: VerbSession<'_>,
        name: &OperatorName,
        role: &str,
        scope: &str,
    ) -> Result<(), CommandFailure> {
        if !OwnAccess::of(session)?.is(&SubjectName::Operator(name.clone())) {
            return Ok(());
        }
        session.console.say(&format!(
            "operator `{name}` is the one you use now: after this command it has the role {role} and the scope {scope}, and only \
             another admin with the scope `all` can undo this: `keyward operator role {name} admin --no-owner`"
        ));
        if self.yes {
            return Ok(());
        }
        let act = "the lower role or scope of your own operator";
        let fix = "add `--yes` to confirm the lower role or scope of your own operator";
        Question { act, question: "Lower your own role or scope?", fix }.ask(session.console)
    }
}

/// The sentence that says whose access ends.
pub(crate) fn own(subject: &SubjectName) -> String {
    let (kind, which) = (subject.kind(), subject.name().or_else(|| subject.id()).unwrap_or_default());
    format!(
        "{kind} `{which}` is the one you use now: it is refused after this command, and your next command fails"
    )
}

/// Says the way back after the operator of this command lost its access.
pub(crate) fn say_way_back(loss: Option<AccessLoss>, console: &Console) {
    if let Some(loss) = loss {
        console.say(loss.way_back());
    }
}
