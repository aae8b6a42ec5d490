use super::contain::{ContainInput, ContainmentOrder};
use crate::authn::HostPrincipal;
use crate::base::IncidentId;
use crate::broker::changes::ChangeRequest;
use crate::broker::failure::Failure;
use crate::broker::host::break_glass::OrderOutcome;
use crate::broker::host::host_services::HostServices;
use crate::custody::{PendingOrder, RevocationOrder};

/// A containment that the host ordered.
#[derive(Clone, Copy, Debug)]
pub struct OrderedContainment {
    /// The incident.
    pub incident: IncidentId,
    /// The result.
    pub outcome: OrderOutcome,
}

impl HostServices {
    /// Contains a subject: at once when the broker serves, and otherwise before it serves again. There is no way for the
    /// host to lift a containment.
    ///
    /// # Errors
    /// [`Failure`]; a sealed broker cannot check whether the subject exists.
    pub async fn order_containment(
        &self,
        by: HostPrincipal,
        input: ContainInput,
    ) -> Result<OrderedContainment, Failure> {
        let ContainInput { subject, reason, .. } = input;
        let mut orders = self.orders().await;
        let incident = self.incident_id();
        if let Some(services) = self.services() {
            drop(orders);
            let by = by.to_string();
            let request = ChangeRequest::by_host(&by, None).because(Some(&reason));
            let order = ContainmentOrder { incident, subject: &subject, spared: None, joins: false };
            let (incident, ended) = services.contain_subject(request, order).await?;
            let outcome = OrderOutcome::Done(ended);
            return Ok(OrderedContainment { incident, outcome });
        }
        let same = orders.waiting().iter().find_map(|order| {
            let RevocationOrder::Contain { incident, subject: other, .. } = &order.what else { return None };
            (*other == subject).then_some(*incident)
        });
        let incident = same.unwrap_or(incident);
        tracing::warn!(%by, "an order is pending until the broker is unsealed");
        let what = RevocationOrder::Contain { incident, subject, spared: None };
        orders.add(PendingOrder {
            at: self.now(),
            by: by.to_string(),
            reason: Some(reason),
            operator: None,
            connection: None,
            what,
        })?;
        Ok(OrderedContainment { incident, outcome: OrderOutcome::Queued })
    }
}
