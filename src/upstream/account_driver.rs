use std::fmt;

use super::accounts::{Account, Accounts};
use super::driver::{Capabilities, Checking, Driver, DriverContext, DriverFuture, Prepared, RotationCall};
use super::fault::UpstreamFault;
use super::finding::{Finding, Verdict};
use crate::base::{SecretName, code};
use crate::secrets::SecretValue;

/// A server whose accounts have passwords.
pub(super) trait AccountServer: fmt::Debug + Send + Sync {
    fn describe(&self) -> String;

    fn place(&self) -> String;

    fn accounts(&self) -> &Accounts;

    /// Logs in, and leaves.
    fn log_in(
        &self,
        with: &DriverContext,
        account: &Account,
    ) -> impl Future<Output = Result<(), LoginError>> + Send;

    /// Has `by` set the password of the account `new`, and treats its sessions.
    fn set(
        &self,
        call: RotationCall<'_>,
        by: &Account,
        new: &Account,
        sessions: OpenSessions,
    ) -> impl Future<Output = Result<(), UpstreamFault>> + Send;

    /// Whether `by` may set the passwords.
    fn rights(
        &self,
        with: &DriverContext,
        by: &Account,
    ) -> impl Future<Output = Result<Vec<Finding>, LoginError>> + Send;
}

/// The treatment of an account's sessions.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum OpenSessions {
    Keep,
    End,
}

/// The failure of a login.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum LoginError {
    /// The password is wrong, or the account does not exist: the server's code for that.
    Password(&'static str),
    Fault(UpstreamFault),
}

impl From<LoginError> for UpstreamFault {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::Password(detail) => {
                Self::refused(code::UPSTREAM_LOGIN_REFUSED).with(detail.to_owned())
            }
            LoginError::Fault(fault) => fault,
        }
    }
}

/// Sets passwords of accounts, and checks that they can log in.
#[derive(Debug)]
pub(super) struct AccountDriver<S>(pub(super) S);

impl<S: AccountServer> Driver for AccountDriver<S> {
    fn describe(&self) -> String {
        self.0.describe()
    }

    fn logins(&self) -> Option<String> {
        Some(self.0.accounts().describe())
    }

    fn place(&self) -> Option<String> {
        Some(self.0.place())
    }

    fn admin_secret(&self) -> Option<&SecretName> {
        self.0.accounts().admin_secret()
    }

    fn capabilities(&self) -> Capabilities {
        self.0.accounts().capabilities()
    }

    fn value_form(&self) -> Option<String> {
        self.0.accounts().value_form()
    }

    fn has_form(&self, value: &SecretValue) -> bool {
        self.0.accounts().account(value).is_ok()
    }

    fn prepare<'a>(&'a self, call: RotationCall<'a>) -> DriverFuture<'a, Prepared> {
        Box::pin(async move {
            // Before any change, check that the login that sets passwords works.
            self.0.log_in(call.with, &self.0.accounts().setter(call)?).await?;
            Ok(self.0.accounts().new_value(call)?.into())
        })
    }

    fn apply<'a>(&'a self, call: RotationCall<'a>) -> DriverFuture<'a, ()> {
        Box::pin(async move {
            let (new, by) = (self.0.accounts().pending(call)?, self.0.accounts().setter(call)?);
            self.0.set(call, &by, &new, OpenSessions::Keep).await
        })
    }

    fn verify<'a>(&'a self, with: &'a DriverContext, value: &'a SecretValue) -> DriverFuture<'a, Verdict> {
        Box::pin(async move {
            let Ok(account) = self.0.accounts().account(value) else { return Ok(Verdict::Refused) };
            match self.0.log_in(with, &account).await {
                Ok(()) => Ok(Verdict::Works),
                Err(LoginError::Password(_)) => Ok(Verdict::Refused),
                Err(LoginError::Fault(fault)) => Err(fault),
            }
        })
    }

    fn check<'a>(&'a self, call: RotationCall<'a>) -> Checking<'a> {
        Box::pin(async move {
            let by = match self.0.accounts().setter(call) {
                Ok(by) => by,
                Err(fault) => return vec![Finding::fault("connection", &fault)],
            };
            let rights = match self.0.rights(call.with, &by).await {
                Ok(rights) => rights,
                Err(error) => return vec![Finding::fault("connection", &error.into())],
            };
            let mut findings = vec![Finding::good("connection", format!("logged in as `{}`", by.name))];
            findings.extend(rights);
            let formless = call.current.filter(|current| !self.has_form(current)).and(self.value_form());
            if let Some(form) = formless {
                findings.push(Finding::bad(
                    "value",
                    format!("the current value has another form: this upstream needs {form}"),
                    "store such a value: `keyward secret put NAME`",
                ));
            } else if let Some(current) = call.current {
                let verdict = self.verify(call.with, current).await;
                findings.push(Finding::of_value(
                    verdict,
                    self.0.accounts().sets_itself(),
                    call.is_established,
                ));
            }
            findings
        })
    }

    fn retire<'a>(&'a self, call: RotationCall<'a>, old: &'a SecretValue) -> DriverFuture<'a, ()> {
        Box::pin(async move {
            let Some(old) = self.0.accounts().retired(call, old)? else { return Ok(()) };
            self.0.set(call, &self.0.accounts().setter(call)?, &old, OpenSessions::End).await
        })
    }
}
