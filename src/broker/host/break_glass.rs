use crate::authn::HostPrincipal;
use crate::base::Reason;
use crate::base::code;
use crate::base::limits::BREAK_GLASS_LIFE_S;
use crate::base::{NameError, OperatorName};
use crate::broker::changes::ChangeRequest;
use crate::broker::failure::Failure;
use crate::broker::failure::broken;
use crate::broker::host::host_services::HostServices;
use crate::broker::identity::bootstrap::{HostAdmin, certify_admin};
use crate::broker::identity::certificates::{Enrolled, read_key};
use crate::broker::removals::Ended;
use crate::broker::retry::retry_on_conflict;
use crate::broker::services::Services;
use crate::broker::world::Effect;
use crate::custody::{OrdersError, PendingOrder, RevocationOrder};
use crate::idempotency::{IdempotencyCaller, IdempotencyKey, IdempotentRequest};
use crate::operators::{BREAK_GLASS, BreakGlassUsed};
use crate::pki::{AuthorityCertificate, CertificatePlan, PublicKey};
use crate::policy::{DecisionContext, decide_break_glass};
use crate::revocation::{self, Subject};
use crate::store::Change;
use crate::telemetry::Alarm;

/// What became of an order to take something away.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OrderOutcome {
    /// It is done.
    Done(Ended),
    /// The broker is sealed: it is done before anybody is served again.
    Queued,
}

impl HostServices {
    /// Takes something away: at once when the broker serves, and otherwise before it serves again. A repeated order
    /// does no harm. While the broker serves, the idempotency key of `request` makes it unique.
    ///
    /// # Errors
    /// [`Failure`]; a sealed broker cannot check whether the object exists.
    pub async fn order_revocation(
        &self,
        by: HostPrincipal,
        what: RevocationOrder,
        reason: Option<Reason>,
        request: Option<IdempotentRequest<'_>>,
    ) -> Result<OrderOutcome, Failure> {
        let mut orders = self.orders().await;
        if let Some(services) = self.services() {
            drop(orders);
            let by = by.to_string();
            let idempotency = request.map(|request| {
                IdempotencyKey::of(
                    IdempotencyCaller::named(&by),
                    &request,
                    &services.state.digests,
                    &services.state.earlier_digests,
                )
            });
            let request = ChangeRequest::by_host(&by, idempotency.as_ref()).because(reason.as_ref());
            return services.carry_out_order(request, &what).await.map(OrderOutcome::Done);
        }
        tracing::warn!(%by, "an order is pending until the broker is unsealed");
        orders.add(PendingOrder {
            at: self.now(),
            by: by.to_string(),
            reason,
            operator: None,
            connection: None,
            what,
        })?;
        Ok(OrderOutcome::Queued)
    }

    /// Issues an admin's certificate for one hour for the key of `request`, and revokes the previous one. Always
    /// raises an alarm.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn break_glass(
        &self,
        by: HostPrincipal,
        request: &[u8],
    ) -> Result<(Vec<AuthorityCertificate>, Enrolled), Failure> {
        let services = self.services().ok_or_else(|| Failure::new(code::SEALED))?;
        let key = read_key(request)?;
        let certified = services.break_glass(by, &key).await?;
        Ok((services.signing.issuer.authorities(), certified))
    }
}

impl From<OrdersError> for Failure {
    fn from(error: OrdersError) -> Self {
        let code = match error {
            OrdersError::Full => code::PENDING_ORDERS_FULL,
            OrdersError::Damaged(_) => code::PENDING_ORDERS_DAMAGED,
            OrdersError::Io(_) => code::PENDING_ORDER_NOT_STORED,
        };
        Self::new(code).because(error.to_string())
    }
}

impl Services {
    async fn break_glass(&self, by: HostPrincipal, key: &PublicKey) -> Result<Enrolled, Failure> {
        let name: OperatorName = BREAK_GLASS.parse().map_err(|error: NameError| broken(&error))?;
        let admin = HostAdmin { name: &name, key, life_s: BREAK_GLASS_LIFE_S };
        let certified = |operator_id, plan: &CertificatePlan| {
            let change = Change::new(&BreakGlassUsed {
                by: by.to_string(),
                operator: &name,
                operator_id,
                serial: plan.serial.to_string(),
                key: plan.key.hex(),
                not_after: plan.not_after.to_string(),
            })?;
            // One certificate at a time: this entry revokes the earlier ones.
            let subject = Subject::Operator(operator_id);
            Ok(change.effect(Effect::Revocation(revocation::Effect::Kill(subject))))
        };
        let decide = |context: &DecisionContext<'_>, plan: &CertificatePlan| {
            decide_break_glass(context, &by, name.clone(), &plan.key)
        };
        let certificate = retry_on_conflict!(certify_admin(self, &admin, &certified, &decide))?;
        self.notifications.meters.alarms().raise(
            Alarm::BreakGlass,
            format_args!(
                "break-glass access was used by {by}: admin certificate {} is valid for one hour; find out why",
                certificate.plan.serial
            ),
        );
        self.notifications.revocations_changed();
        Ok(Enrolled {
            spiffe: certificate.plan.spiffe.clone(),
            instance: None,
            not_after: certificate.plan.not_after,
            certificate: certificate.der,
        })
    }
}
