use crate::authn::HostPrincipal;
use crate::base::code;
use crate::base::limits::BREAK_GLASS_LIFE_S;
use crate::base::{NameError, OperatorId, OperatorName};
use crate::broker::failure::Failure;
use crate::broker::host::host_desk::HostDesk;
use crate::broker::identity::bootstrap::{as_admin, broken};
use crate::broker::identity::certificates::{Enrolled, read_key};
use crate::broker::identity::revoke::Ended;
use crate::broker::retry::deciding_again;
use crate::broker::services::Core;
use crate::broker::world::Effect;
use crate::custody::{Order, OrdersError, TakeAway};
use crate::idempotency::{Caller, Once, Request};
use crate::issuance::Certify;
use crate::operators::{self, BREAK_GLASS, GlassBroken, OperatorCertificate};
use crate::pki::{AuthorityCertificate, PublicKey};
use crate::policy::decide_break_glass;
use crate::revocation::{self, Subject};
use crate::store::Change;
use crate::telemetry::Alarm;

/// What became of an order to take something away.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TakenAway {
    /// It is done.
    Done(Ended),
    /// The broker is sealed: it is done before anybody is served again.
    Queued,
}

impl HostDesk {
    /// Takes something away: at once when the broker serves, and otherwise before it serves again.
    /// Repeating it does no harm; what is named by `request` is done once while the broker serves.
    ///
    /// # Errors
    /// [`Failure`]; while the broker is sealed nobody knows whether there is such a thing to take away.
    pub async fn take_away(
        &self,
        by: HostPrincipal,
        what: TakeAway,
        request: Option<Request<'_>>,
    ) -> Result<TakenAway, Failure> {
        let mut orders = self.orders().await;
        if let Some(core) = self.core() {
            drop(orders);
            let by = by.to_string();
            let once = request.map(|request| {
                Once::of(Caller::named(&by), &request, &core.state.digests, &core.state.earlier_digests)
            });
            return core.take_away(&by, &what, once.as_ref()).await.map(TakenAway::Done);
        }
        tracing::warn!(%by, "an order waits until the broker is unsealed");
        orders.add(Order { at: self.now(), by: by.to_string(), what })?;
        Ok(TakenAway::Queued)
    }

    /// Gives an administrator's certificate of an hour for the key of `request`, and ends the one that
    /// was given so before. An alarm, always.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn break_glass(
        &self,
        by: HostPrincipal,
        request: &[u8],
    ) -> Result<(Vec<AuthorityCertificate>, Enrolled), Failure> {
        let core = self.core().ok_or_else(|| Failure::new(code::SEALED))?;
        let key = read_key(request)?;
        let certified = core.break_glass(by, &key).await?;
        Ok((core.signing.issuer.authorities(), certified))
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

impl Core {
    async fn break_glass(&self, by: HostPrincipal, key: &PublicKey) -> Result<Enrolled, Failure> {
        let name: OperatorName = BREAK_GLASS.parse().map_err(|error: NameError| broken(&error))?;
        let certificate = deciding_again!(async {
            let reading = self.certifying(BREAK_GLASS_LIFE_S)?;
            let now = reading.now();
            let (known, as_of) = self
                .state
                .store
                .read(|world, as_of| (world.operators.named(&name).map(|operator| operator.id), as_of));
            let id = known.unwrap_or_else(|| OperatorId::mint(now, &*self.state.entropy));
            let plan = self.plan_certificate(
                self.operator_spiffe(&name),
                BREAK_GLASS_LIFE_S,
                key,
                reading.earliest(),
            );
            let event = GlassBroken {
                by: by.to_string(),
                operator: &name,
                operator_id: id,
                serial: plan.serial.to_string(),
                key: plan.key.hex(),
                not_after: plan.not_after.to_string(),
            };
            let certificate = OperatorCertificate {
                serial: *plan.serial.as_bytes(),
                key: plan.key,
                not_after: plan.not_after,
            };
            // One at a time: what the operator had before this entry is dead from here on.
            let subject = Subject::Operator(id);
            let change =
                Change::new(&event)?.effect(Effect::Revocation(revocation::Effect::Kill(subject))).effect(
                    Effect::Operators(operators::Effect::Certify { id, name: name.clone(), certificate }),
                );
            let change = as_admin(change, (id, &name), as_of);
            let decision = self.state.store.read(|world, _| {
                decide_break_glass(&self.deciding(world, reading), &by, name.clone(), &plan.key)
            });
            let grant = decision.grant().map_err(|denial| Failure::from(*denial))?;
            let receipt = self.state.store.commit(change, Certify { grant, plan, key: key.clone() }).await?;
            Ok(self.signing.issuer.certify(receipt)?.deliver())
        })?;
        self.notifications.meters.alarms().raise(
            Alarm::BreakGlass,
            format_args!(
                "break-glass access was used by {by}: administrator certificate {} is valid for an hour; check the reason",
                certificate.plan.serial
            ),
        );
        self.notifications.standing_changed();
        Ok(Enrolled {
            spiffe: certificate.plan.spiffe.clone(),
            instance: None,
            not_after: certificate.plan.not_after,
            certificate: certificate.der,
        })
    }
}
