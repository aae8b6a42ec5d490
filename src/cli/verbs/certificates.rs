use clap::Subcommand;

use crate::base::Serial;
use crate::cli::confirmation::Question;
use crate::cli::identity::{Identity, IdentityKind};
use crate::cli::session::{ReasonArgs, VerbSession};
use crate::console::CommandFailure;
use crate::wire::REVOKE_CERTIFICATE;

/// `keyward cert …`
#[derive(Debug, Subcommand)]
pub enum CertCommand {
    /// Revoke the certificate of an operator, or the instance of an agent that has the certificate, with its tokens and leases
    Revoke {
        /// The certificate's serial number, 32 hexadecimal digits; `keyward operator show` and `keyward agent show` print it
        serial: String,
        /// Revoke without a question; where there is no terminal, the revocation of your own certificate needs this option
        #[arg(long)]
        yes: bool,
        /// Why
        #[command(flatten)]
        reason: ReasonArgs,
    },
}

impl CertCommand {
    pub(crate) async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        let Self::Revoke { serial, yes, reason } = self;
        let serial: Serial = serial.parse()?;
        let own = Identity::load(session.home, IdentityKind::Operator)?.certificate()?;
        if own.serial() == serial {
            session.console.say(&format!(
                "certificate {serial} is the one you use now: it is refused after this command, and your next command fails"
            ));
            if !yes {
                let fix = "add `--yes` to revoke your own certificate";
                let (act, question) =
                    ("the revocation of your own certificate", "Revoke your own certificate?");
                Question { act, question, fix }.ask(session.console)?;
            }
        }
        session.end(REVOKE_CERTIFICATE, &serial, reason, "revoked").await
    }
}
