use super::desk::AdminDesk;
use crate::policy::{Authorised, ReadMetrics};
use crate::telemetry::Reading;

impl AdminDesk {
    /// What the broker counts, in the text form of `OpenMetrics`.
    #[must_use]
    pub fn metrics(&self, _by: &Authorised<ReadMetrics>) -> String {
        let core = &*self.0;
        core.meters.certificate_ends("authority", core.issuer.authority().not_after().s());
        core.meters.text(&Reading {
            ledger_seq: core.store.head().seq,
            ledger_writable: core.store.is_writable(),
            index_lag: core.store.index_lag(),
        })
    }
}
