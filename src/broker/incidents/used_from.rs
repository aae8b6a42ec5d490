use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::base::OperatorId;
use crate::broker::services::Services;
use crate::operators::Operator;
use crate::revocation::Subject;

/// The addresses from which certificates were used lately: those of open connections, and the last one of each operator.
/// Empty unless one of the subjects is a network.
#[derive(Default)]
pub(super) struct UsedFrom {
    by_serial: BTreeMap<[u8; 16], Vec<IpAddr>>,
    operators: BTreeMap<OperatorId, IpAddr>,
}

impl UsedFrom {
    /// Those of certificate `serial`.
    pub(super) fn of(&self, serial: &[u8; 16]) -> &[IpAddr] {
        self.by_serial.get(serial).map_or(&[], Vec::as_slice)
    }

    /// The last one of the operator.
    pub(super) fn of_operator(&self, operator: &Operator) -> Option<IpAddr> {
        self.operators.get(&operator.id).copied()
    }
}

impl Services {
    pub(super) fn used_from(&self, subjects: &[Subject]) -> UsedFrom {
        let mut used = UsedFrom::default();
        if !subjects.iter().any(|subject| matches!(subject, Subject::Network(_))) {
            return used;
        }
        for (peer, _) in self.notifications.connections.open() {
            used.by_serial.entry(*peer.serial().as_bytes()).or_default().extend(peer.from());
        }
        self.state.store.read(|world, _| {
            let last = |operator: &Operator| {
                let from = self.state.operator_uses.last(operator)?.from?;
                Some((operator.id, from))
            };
            used.operators = world.operators.all().filter_map(last).collect();
        });
        used
    }
}
