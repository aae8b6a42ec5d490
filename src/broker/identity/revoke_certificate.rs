use crate::base::{InstanceId, Scope};
use crate::broker::caller_services::AdminServices;
use crate::broker::changes::{ChangeRequest, OperatorRequest};
use crate::broker::failure::Failure;
use crate::broker::identity::revoke::{FoundSubject, HolderRevoked, reaches, unknown};
use crate::broker::reading::Reading;
use crate::broker::services::Services;
use crate::broker::world::World;
use crate::operators::Operator;
use crate::pki::Serial;
use crate::policy::{Authorised, BeOneself, Contain};
use crate::registry::Agent;

impl AdminServices {
    /// Revokes the instance of an agent that holds the certificate, with all that it was given, or the certificate of an
    /// operator with those that were renewed from it. Certificates of operators need the scope `all`.
    ///
    /// # Errors
    /// [`Failure`]; also for the last certificate of the last unrestricted admin.
    pub async fn revoke_certificate(
        &self,
        by: &Authorised<Contain>,
        serial: Serial,
        request: OperatorRequest<'_>,
    ) -> Result<HolderRevoked, Failure> {
        let (scope, grace_s) = (by.operator().scope(), self.0.settings.operator_renewal_grace_s);
        let find = |reading: &Reading<'_>| {
            let world = reading.unconditional();
            if let Some((id, agent)) = holder_of(world, serial).filter(|(_, agent)| reaches(by, world, agent))
            {
                return Ok(FoundSubject::of_instance(id, agent));
            }
            let operator = operator_of(world, serial).filter(|_| *scope == Scope::Everything);
            revocable(reading, operator.ok_or_else(unknown)?, serial, grace_s)
        };
        self.0.revoke_certificate(ChangeRequest::of(by.operator(), request), serial, &find).await
    }

    /// Revokes the certificate of the caller's own connection, with those that were renewed from it.
    ///
    /// # Errors
    /// [`Failure`]; also for the last certificate of the last unrestricted admin.
    pub async fn revoke_own_certificate(
        &self,
        by: &Authorised<BeOneself>,
        request: OperatorRequest<'_>,
    ) -> Result<HolderRevoked, Failure> {
        let serial = Serial::from_bytes(*by.operator().serial());
        let grace_s = self.0.settings.operator_renewal_grace_s;
        let find = |reading: &Reading<'_>| {
            let operator = operator_of(reading.unconditional(), serial).ok_or_else(unknown)?;
            revocable(reading, operator, serial, grace_s)
        };
        self.0.revoke_certificate(ChangeRequest::of(by.operator(), request), serial, &find).await
    }
}

impl Services {
    /// Revokes the holder of the certificate, and says which approval keys ended: those that were proposed with the
    /// certificate or with another one of its enrolment.
    async fn revoke_certificate(
        &self,
        request: ChangeRequest<'_>,
        serial: Serial,
        find: &(dyn Fn(&Reading<'_>) -> Result<FoundSubject, Failure> + Sync),
    ) -> Result<HolderRevoked, Failure> {
        let before = self.approval_keys_beside(serial);
        let revoked = self.revoke_holder(request, find).await?;
        let after = self.approval_keys_beside(serial);
        let ended_approval_keys = before.into_iter().filter(|key| !after.contains(key)).collect();
        Ok(HolderRevoked { ended_approval_keys, ..revoked })
    }

    /// The fingerprints of the approval keys of the operator that has the certificate, in hex.
    fn approval_keys_beside(&self, serial: Serial) -> Vec<String> {
        self.state.store.read(|world, _| {
            let keys = operator_of(world, serial).map(|operator| operator.approval_keys.fingerprints());
            keys.into_iter().flatten().map(|key| key.hex()).collect()
        })
    }
}

/// The certificate of `operator`, if an admin who can act remains without it.
fn revocable(
    reading: &Reading<'_>,
    operator: &Operator,
    serial: Serial,
    grace_s: i64,
) -> Result<FoundSubject, Failure> {
    reading.another_admin_certificate_than(operator, serial.as_bytes(), grace_s)?;
    Ok(FoundSubject::of_certificate(serial, operator))
}

/// The instance that holds the certificate with this serial, and its agent.
pub(crate) fn holder_of(world: &World, serial: Serial) -> Option<(InstanceId, &Agent)> {
    world.registry.agents().find_map(|agent| {
        let holder = agent.instances.iter().find(|one| one.has_serial(serial.as_bytes()))?;
        Some((holder.id, agent))
    })
}

/// The operator that holds the certificate with this serial.
pub(crate) fn operator_of(world: &World, serial: Serial) -> Option<&Operator> {
    world.operators.all().find(|one| one.certificate(serial.as_bytes()).is_some())
}
