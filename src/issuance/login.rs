use super::issue::{IssueError, Issued, Issuer, NeededVersions};
use crate::base::{CapabilityName, DecisionId, LeaseId, Timestamp};
use crate::ledger::Receipt;
use crate::policy::{Grant, IssueLease};
use crate::secrets::{SecretValue, StoredVersion};

/// A login that is about to be made: what the entry of its intent is committed with.
#[derive(Debug)]
pub struct Leasing {
    /// The leave.
    pub grant: Grant<IssueLease>,
    /// The lease.
    pub lease: LeaseId,
    /// The input of the upstream's call.
    pub loan: NeededVersions,
}

/// The leave for a login whose intent is durable. Made only by [`Issuer`], and good for one login.
#[must_use]
#[derive(Debug)]
pub struct LoginPermit {
    grant: Grant<IssueLease>,
    lease: LeaseId,
}

/// A login that upstream has made, and whose outcome is to be recorded before it is handed over.
#[derive(Debug)]
pub struct CreatedLogin {
    /// The leave.
    pub underway: LoginPermit,
    /// Its name.
    pub login: String,
    /// Its password.
    pub password: SecretValue,
}

/// A live login that is to be handed out once more: what the entry of that is committed with.
#[derive(Debug)]
pub struct LeaseReplay {
    /// The leave.
    pub grant: Grant<IssueLease>,
    /// The lease.
    pub lease: LeaseId,
    /// Its name.
    pub login: String,
    /// Its password, sealed.
    pub sealed: Vec<u8>,
}

/// A login with what the answer says about it.
#[derive(Debug)]
pub struct IssuedLogin {
    /// The lease.
    pub lease: LeaseId,
    /// The capability.
    pub capability: CapabilityName,
    /// Its name.
    pub login: String,
    /// Its password.
    pub password: SecretValue,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Beyond this it is never renewed.
    pub renewable_until: Timestamp,
    /// The decision that allowed it.
    pub decision: DecisionId,
    /// The parts of the request that were not granted, in words.
    pub constrained: Vec<String>,
}

impl Issuer {
    /// Opens what upstream is called with to make the login that `receipt` proves to be recorded.
    ///
    /// # Errors
    /// [`IssueError::Vault`] when a record does not open.
    pub fn begin_lease(
        &self,
        receipt: Receipt<Leasing>,
        stored: &[StoredVersion],
    ) -> Result<(LoginPermit, Issued<Vec<SecretValue>>), IssueError> {
        let Leasing { grant, lease, loan } = receipt.redeem();
        Ok((LoginPermit { grant, lease }, self.open_all(loan, stored)?))
    }

    /// Hands over the login of the lease that `receipt` proves to be recorded as made.
    ///
    /// # Errors
    /// [`IssueError::OtherLease`] when the receipt is another lease's.
    pub fn lease(
        &self,
        receipt: Receipt<LeaseId>,
        made: CreatedLogin,
    ) -> Result<Issued<IssuedLogin>, IssueError> {
        let CreatedLogin { underway: LoginPermit { grant, lease }, login, password } = made;
        if receipt.redeem() == lease {
            Ok(Issued::assertion(IssuedLogin::of(grant, lease, login, password)))
        } else {
            Err(IssueError::OtherLease)
        }
    }

    /// Opens the password of a live login, as `receipt` proves to be recorded as handed out once more.
    ///
    /// # Errors
    /// [`IssueError::Vault`] when it does not open: another value key has come since.
    pub fn lease_again(&self, receipt: Receipt<LeaseReplay>) -> Result<Issued<IssuedLogin>, IssueError> {
        let LeaseReplay { grant, lease, login, sealed } = receipt.redeem();
        let password = self.opener.open_login(lease, &sealed)?;
        Ok(Issued::assertion(IssuedLogin::of(grant, lease, login, password)))
    }
}

impl IssuedLogin {
    fn of(grant: Grant<IssueLease>, lease: LeaseId, login: String, password: SecretValue) -> Self {
        let constrained = grant.constrained().to_vec();
        let (basis, lend) = grant.redeem();
        Self {
            lease,
            capability: lend.capability().clone(),
            login,
            password,
            expires_at: lend.expires_at(),
            renewable_until: lend.renewable_until(),
            decision: basis.decision,
            constrained,
        }
    }
}
