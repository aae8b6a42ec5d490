use crate::authn::HostPrincipal;
use crate::base::{Reason, code};
use crate::broker::caller_services::AdminServices;
use crate::broker::changes::{ChangeDraft, ChangeRequest, OperatorRequest};
use crate::broker::denial::MemoryRevocation;
use crate::broker::failure::Failure;
use crate::broker::host::break_glass::OrderOutcome;
use crate::broker::host::host_services::HostServices;
use crate::broker::reading::Reading;
use crate::broker::removals::{Ended, Removal, RemovalOrder, Removed};
use crate::broker::services::Services;
use crate::broker::world::Effect;
use crate::custody::{PendingOrder, RevocationOrder};
use crate::incidents::{self, BrokerFrozen, BrokerThawed};
use crate::operators::is_of_host;
use crate::policy::{Authorised, FreezeBroker};
use crate::store::Change;

impl AdminServices {
    /// Freezes the broker: from the next decision on, it issues no token, reveals no value and gives no login. It goes on
    /// to verify and introspect tokens, to issue and renew certificates, and to revoke. Repeating it does no harm.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn freeze(&self, by: &Authorised<FreezeBroker>, reason: &Reason) -> Result<Ended, Failure> {
        let request = OperatorRequest { idempotency: None, reason: Some(reason) };
        self.0.freeze(ChangeRequest::of(by.operator(), request)).await
    }

    /// Ends the freeze; the sequence of the entry.
    ///
    /// # Errors
    /// [`Failure`]; break-glass access cannot thaw.
    pub async fn thaw(&self, by: &Authorised<FreezeBroker>, reason: &Reason) -> Result<u64, Failure> {
        let operator = by.operator();
        if is_of_host(operator.name()) {
            return Err(Failure::new(code::NOT_BY_BREAK_GLASS));
        }
        let request = OperatorRequest { idempotency: None, reason: Some(reason) };
        let changed = self.0.state.change(ChangeRequest::of(operator, request), |reading| {
            let freezing = reading.freezing();
            // The ledger has to say so before it can say the opposite.
            if freezing.is_unrecorded() {
                return Err(Failure::new(code::REVOCATION_UNRECORDED));
            }
            if !freezing.is_frozen() {
                return Err(Failure::new(code::BROKER_NOT_FROZEN));
            }
            let draft = ChangeDraft::new(&BrokerThawed { by: operator.name().as_str() }, ())?;
            Ok(draft.effect(Effect::Incident(incidents::Effect::Thaw)))
        });
        Ok(changed.await?.seq())
    }
}

impl HostServices {
    /// Freezes the broker: at once when it serves, and otherwise before it serves again. The host cannot thaw it.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn order_freeze(&self, by: HostPrincipal, reason: Reason) -> Result<OrderOutcome, Failure> {
        let mut orders = self.orders().await;
        if let Some(services) = self.services() {
            drop(orders);
            let by = by.to_string();
            let request = ChangeRequest::by_host(&by, None).because(Some(&reason));
            return services.freeze(request).await.map(OrderOutcome::Done);
        }
        tracing::warn!(%by, "an order is pending until the broker is unsealed");
        let (at, by, what) = (self.now(), by.to_string(), RevocationOrder::Freeze);
        orders.add(PendingOrder { at, by, reason: Some(reason), operator: None, connection: None, what })?;
        Ok(OrderOutcome::Queued)
    }
}

impl Services {
    async fn freeze(&self, request: ChangeRequest<'_>) -> Result<Ended, Failure> {
        let applied = self.apply_freeze(request).await?;
        Ok(self.conclude(applied).await)
    }

    /// Writes no further entry while a freeze is recorded.
    pub(crate) async fn apply_freeze(&self, request: ChangeRequest<'_>) -> Result<Removed, Failure> {
        let frozen = |reading: &Reading<'_>| {
            reading.unconditional().incidents().freezing.recorded().map(|freeze| freeze.seq)
        };
        if let Some(seq) = self.state.read(frozen).0 {
            return Ok(Removed::recorded(seq));
        }
        self.state
            .change_revoking(request, |_| {
                let by = request.by.name();
                let freeze = incidents::Effect::Freeze { by: by.to_owned(), reason: request.reason.cloned() };
                Ok(Removal {
                    change: Change::new(&BrokerFrozen { by })?.effect(Effect::Incident(freeze)).urgent(),
                    denial: Some(MemoryRevocation::Freeze),
                    order: RemovalOrder::Unconditional(Some(RevocationOrder::Freeze)),
                    count: None,
                })
            })
            .await
    }
}
