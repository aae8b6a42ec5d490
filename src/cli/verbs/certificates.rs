use clap::Subcommand;

use crate::cli::session::{ReasonArgs, VerbSession};
use crate::console::CommandFailure;
use crate::wire::REVOKE_CERTIFICATE;

/// `keyward cert …`
#[derive(Debug, Subcommand)]
pub enum CertCommand {
    /// Revoke the instance that holds this certificate, with its tokens and leases
    Revoke {
        /// The certificate's serial number, 32 hexadecimal digits
        serial: String,
        /// Why
        #[command(flatten)]
        reason: ReasonArgs,
    },
}

impl CertCommand {
    pub(crate) async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        let Self::Revoke { serial, reason } = self;
        session.end(REVOKE_CERTIFICATE, &serial.parse()?, reason, "revoked").await
    }
}
