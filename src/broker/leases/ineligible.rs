use std::collections::BTreeSet;

use super::lease_upstream::LeaseUpstream;
use super::revoke::agents_of;
use crate::authn::{Credential, live};
use crate::base::limits::LEASES_LOOKED_AT_MAX;
use crate::base::{LeaseId, SecretName};
use crate::broker::failure::Failure;
use crate::broker::reading::Preconditions;
use crate::broker::services::Services;
use crate::broker::world::{Effect, World, records};
use crate::leases::{self, EndReason, Lease, LeaseSelection, LeaseStage, Leases, LeasesRevoked};
use crate::store::Change;

/// The actor in entries about leases of ineligible holders.
const BROKER: &str = "the broker";

impl Services {
    /// Ends the leases whose holders were revoked, suspended or removed, or no longer have the capability. Checks
    /// some leases at a time, so that no request waits.
    ///
    /// # Errors
    /// [`Failure`] if it cannot be recorded.
    pub async fn revoke_ineligible_leases(&self) -> Result<(), Failure> {
        let mut after = None;
        loop {
            let ((ineligible, agents, last), _) = self.state.read(|reading| {
                let world = reading.unconditional();
                let (page, last) = some(&world.leases, after);
                let ineligible: Vec<&Lease> =
                    page.into_iter().filter(|lease| is_ineligible(world, lease)).collect();
                let ids: BTreeSet<_> = ineligible.iter().map(|lease| lease.id).collect();
                (ids, agents_of(&ineligible), last)
            });
            if !ineligible.is_empty() {
                let event = LeasesRevoked {
                    by: BROKER,
                    why: EndReason::Ineligible.as_str(),
                    lease: None,
                    agent: None,
                    agents,
                    capability: None,
                    count: ineligible.len(),
                };
                let which = LeaseSelection::Each(ineligible);
                let effect = leases::Effect::End { which, why: EndReason::Ineligible };
                let change = Change::new(&event)?.effect(Effect::Lease(effect));
                self.record_of_leases(change.urgent(), Preconditions::none()).await?;
            }
            if last.is_none() {
                return Ok(());
            }
            after = last;
        }
    }
}

/// Whether the holder of a lease was revoked, suspended or removed, or no longer has its capability.
pub(super) fn is_ineligible(world: &World, lease: &Lease) -> bool {
    if matches!(lease.stage, LeaseStage::Ending(_)) {
        return false;
    }
    let administering = administering(world, lease);
    live(Credential::Lease { lease, administering: administering.as_ref() }, records(world)).is_err()
}

/// The secret that administers the login, if it is known.
pub(in crate::broker) fn administering(world: &World, lease: &Lease) -> Option<SecretName> {
    let upstream = LeaseUpstream::of(world, lease.login.upstream).ok()?;
    Some(upstream.administering().clone())
}

/// Some leases after `after`, and the last of them if there may be more.
fn some(leases: &Leases, after: Option<LeaseId>) -> (Vec<&Lease>, Option<LeaseId>) {
    let page: Vec<&Lease> = leases.after(after).take(LEASES_LOOKED_AT_MAX).collect();
    let last = page.get(LEASES_LOOKED_AT_MAX.saturating_sub(1)).map(|lease| lease.id);
    (page, last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;
    use crate::base::limits::LEASE_OVERDUE_S;
    use crate::broker::leases::views::is_overdue;
    use crate::store::At;

    const NOW: Timestamp = Timestamp::from_s(1_800_000_000);

    /// So many leases that end now.
    fn leases(count: usize) -> Leases {
        let mut leases = Leases::default();
        for _ in 0..count {
            let intent = leases::tests::intended(NOW);
            let id = intent.id;
            leases.apply(At { seq: 1, time: NOW }, &leases::Effect::Intend(Box::new(intent)));
            leases.apply(
                At { seq: 2, time: NOW },
                &leases::Effect::Issue { lease: id, sealed: vec![7], digest: leases::tests::digest() },
            );
        }
        leases
    }

    #[test]
    fn so_many_leases_are_looked_at_and_then_the_rest_of_them() {
        for (count, rest) in [(LEASES_LOOKED_AT_MAX, 0), (LEASES_LOOKED_AT_MAX + 1, 1)] {
            let leases = leases(count);
            let (page, last) = some(&leases, None);
            assert_eq!((page.len(), last.is_some()), (LEASES_LOOKED_AT_MAX, true));
            let (page, last) = some(&leases, last);
            assert_eq!((page.len(), last), (rest, None));
        }
    }

    #[test]
    fn an_end_is_overdue_a_while_after_it_was_due() {
        let leases = leases(1);
        let lease = leases.all().next().unwrap();
        assert!(!is_overdue(lease, NOW.plus_s(LEASE_OVERDUE_S)));
        assert!(is_overdue(lease, NOW.plus_s(LEASE_OVERDUE_S + 1)));
    }
}
