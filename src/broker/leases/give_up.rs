use crate::authn::AgentPrincipal;
use crate::base::{DecisionId, LeaseId};
use crate::broker::caller_services::AgentServices;
use crate::broker::failure::Failure;
use crate::broker::reading::Preconditions;
use crate::broker::world::Effect;
use crate::leases::{self, LeaseStage, LeaseUseReleased};
use crate::store::Change;

impl AgentServices {
    /// Gives up a lease of the agent, or one use of it. The last use ends the login. A repeated request does no harm.
    ///
    /// # Errors
    /// [`Failure`] if there is no such lease, or the change cannot be recorded.
    pub async fn give_up_lease(
        &self,
        principal: &AgentPrincipal,
        lease: LeaseId,
        used_by: Option<DecisionId>,
    ) -> Result<(), Failure> {
        let services = &*self.0;
        let _permit = services.limits.mints.admit(&principal.agent())?;
        let (found, _) = services.state.read(|reading| reading.own_lease(lease, principal).cloned());
        let found = found?;
        let goes_on = match &found.stage {
            LeaseStage::Ending(_) => return Ok(()),
            LeaseStage::Intended | LeaseStage::Live { .. } => {
                used_by.is_some_and(|used| !found.uses.contains(&used))
            }
        };
        if goes_on {
            return Ok(());
        }
        let event = LeaseUseReleased { lease, agent: principal.name(), use_of: used_by };
        let effect = leases::Effect::GiveUp { lease, by: used_by };
        let change = Change::new(&event)?.effect(Effect::Lease(effect));
        // Without preconditions: giving up a lease is always allowed.
        Ok(services.record_of_leases(change, Preconditions::none()).await?)
    }
}
