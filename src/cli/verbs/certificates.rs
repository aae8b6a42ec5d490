use clap::Subcommand;

use crate::cli::session::{ReasonArgs, VerbSession};
use crate::console::Failure;
use crate::wire::REVOKE_CERTIFICATE;

/// `keyward cert …`
#[derive(Debug, Subcommand)]
pub enum CertCommand {
    /// End the instance that holds this certificate, with all that it was given
    Revoke {
        /// The certificate's serial, 32 hexadecimal digits
        serial: String,
        /// Why
        #[command(flatten)]
        reason: ReasonArgs,
    },
}

impl CertCommand {
    pub(crate) async fn run(&self, session: VerbSession<'_>) -> Result<(), Failure> {
        let Self::Revoke { serial, reason } = self;
        session.end(REVOKE_CERTIFICATE, &serial.parse()?, reason, "revoked").await
    }
}
