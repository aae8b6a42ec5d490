use std::time::Duration;

use crate::authn::OperatorPrincipal;
use crate::base::limits::REVOCATION_WAIT_MS;
use crate::broker::caller_services::AdminServices;
use crate::broker::reading::Preconditions;
use crate::broker::services::Services;
use crate::broker::world::Effect;
use crate::operators::{self, OperatorKind, OperatorUse, OperatorUsed};
use crate::store::{Change, CommitError};

impl AdminServices {
    /// Notes that `operator` has used its certificate. The first use of a day by a program gets an entry. The request waits
    /// for it no longer than a revocation does, because metrics are read while the disk hangs, too.
    pub(crate) async fn note_use(&self, operator: &OperatorPrincipal) {
        let services = &self.0;
        let now = OperatorUse { at: services.state.clock.now(), from: operator.from() };
        let (recorded, _) = services.state.read(|reading| {
            reading.operator(operator.name()).and_then(|operator| operator.last_use).map(|last| last.at)
        });
        let is_due = services.state.operator_uses.note(operator.id(), now, recorded);
        if is_due && operator.kind() != OperatorKind::Human && !services.state.store.is_read_only() {
            let wait = Duration::from_millis(REVOCATION_WAIT_MS);
            let recorded = tokio::time::timeout(wait, services.record_use(operator)).await;
            if let Ok(Err(error)) = recorded {
                tracing::warn!(%error, operator = %operator.name(), "the use of an operator's certificate could not be recorded");
            }
        }
    }
}

impl Services {
    async fn record_use(&self, operator: &OperatorPrincipal) -> Result<(), CommitError> {
        let (name, from) = (operator.name(), operator.from());
        let event = OperatorUsed { operator: name, peer: from.map(|from| from.to_string()) };
        let effect = operators::Effect::RecordUse { operator: name.clone(), from };
        let change =
            Change::new(&event)?.requested_on(operator.connection()).effect(Effect::Operators(effect));
        self.state.commit(change, Preconditions::none(), ()).await?.redeem();
        Ok(())
    }
}
