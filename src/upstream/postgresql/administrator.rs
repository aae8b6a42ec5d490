use tokio_postgres::Error;

use super::super::account_driver::LoginError;
use super::super::lease_driver::LeaseCall;
use super::lease_declaration::DeclaredLeases;
use super::login::{ANY_PURPOSE, Login, logged_in};
use super::server::Server;
use super::session::Session;

/// The administering role of a server, for one call.
#[derive(Clone, Copy)]
pub(super) struct Administrator<'a> {
    pub(super) declared: &'a DeclaredLeases,
    pub(super) call: LeaseCall<'a>,
}

impl Administrator<'_> {
    /// A session in the declared database.
    pub(super) async fn session<T>(
        self,
        work: impl AsyncFnOnce(&Session<'_>) -> Result<T, Error>,
    ) -> Result<T, LoginError> {
        self.session_for(ANY_PURPOSE, &self.declared.server, work).await
    }

    /// A session at `server` that other sessions can find by its purpose.
    pub(super) async fn session_for<T>(
        self,
        purpose: &str,
        server: &Server,
        work: impl AsyncFnOnce(&Session<'_>) -> Result<T, Error>,
    ) -> Result<T, LoginError> {
        let (role, password) = (&self.declared.logins.admin_role, self.call.admin.expose());
        logged_in(server, self.call.with, Login { role, password, purpose }, work).await
    }

    pub(super) fn heir(&self) -> Option<&str> {
        self.declared.logins.heir.as_deref()
    }
}
