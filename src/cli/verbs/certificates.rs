use clap::Subcommand;

use crate::base::{Serial, SubjectName};
use crate::cli::own_access::{AccessLoss, OwnAccessArgs, say_way_back};
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
        #[command(flatten)]
        own: OwnAccessArgs,
        /// Why
        #[command(flatten)]
        reason: ReasonArgs,
    },
}

impl CertCommand {
    pub(crate) async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        let Self::Revoke { serial, own, reason } = self;
        let serial: Serial = serial.parse()?;
        let lost = own.check(session, &SubjectName::Certificate(serial), AccessLoss::Revoked)?;
        let ended = session.end(REVOKE_CERTIFICATE, &serial, reason, "revoked").await;
        say_way_back(lost.filter(|_| ended.is_ok()), session.console);
        ended
    }
}
