use std::collections::BTreeMap;

use super::lease_upstream::{LeaseUpstreams, revocations_at};
use crate::base::limits::{LEASES_ENDED_AT_ONCE_MAX, LEASES_ENDED_PER_PLACE_MAX};
use crate::base::{CapabilityName, LeaseId};
use crate::broker::services::Services;
use crate::leases::{Ending, Lease, LeaseStage};
use crate::upstream::is_shut_out;

impl Services {
    /// The leases with a due step and their upstream, the longest overdue first. The number for each upstream is
    /// limited, so that an upstream with many leases delays no other. While the circuit of an upstream is open, only
    /// leases whose revocation has not failed yet.
    #[must_use]
    pub fn leases_due(&self) -> Vec<(LeaseId, String)> {
        let now = self.state.clock.now();
        self.state.store.read(|world, _| {
            let mut places: BTreeMap<(u64, &CapabilityName), (String, bool, usize)> = BTreeMap::new();
            let mut due = Vec::new();
            // Logins that can still log in come first.
            let leases = world.recorded_leases();
            let open = leases.due(now).filter(|lease| !is_shut_out_lease(lease));
            let shut = leases.due(now).filter(|lease| is_shut_out_lease(lease));
            for lease in open.chain(shut).filter(|lease| !self.is_creating(lease.id)) {
                let key = (lease.login.upstream, &lease.capability);
                let (place, is_left_alone, count) = places.entry(key).or_insert_with(|| {
                    let place = LeaseUpstreams::of(world, lease).place().unwrap_or_default();
                    let is_left_alone = self.leaves_alone(&revocations_at(&place));
                    (place, is_left_alone, 0)
                });
                if *is_left_alone && lease.is_failing() {
                    continue;
                }
                if *count < LEASES_ENDED_PER_PLACE_MAX.saturating_mul(2) {
                    *count = count.saturating_add(1);
                    due.push((lease.id, place.clone()));
                }
                if due.len() >= LEASES_ENDED_AT_ONCE_MAX.saturating_mul(2) {
                    break;
                }
            }
            due
        })
    }
}

/// Whether the login of a lease can no longer log in.
fn is_shut_out_lease(lease: &Lease) -> bool {
    matches!(&lease.stage, LeaseStage::Ending(Ending { trouble: Some(trouble), .. }) if is_shut_out(&trouble.code))
}
