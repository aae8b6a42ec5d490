use super::context::RotationContext;
use crate::base::LedgerId;
use crate::broker::services::Services;
use crate::broker::upstreams::Call;
use crate::upstream::{MarkedEntry, UpstreamFault};

impl Services {
    /// Whether the ledger has an entry with this sequence and time before the entry `own`, or the data were adopted
    /// later, so that no other copy of this broker runs: later than that time, or, because the clock of the other
    /// copy may be ahead, later than the discovery of this mark.
    pub(super) fn knows_entry(&self, at: &RotationContext, entry: MarkedEntry, own: MarkedEntry) -> bool {
        let MarkedEntry { seq, time } = entry;
        let entries = self.state.store.entries(seq, 1);
        let is_own = seq < own.seq
            && entries.is_ok_and(|entries| entries.iter().any(|one| (one.seq, one.time) == (seq, time)));
        let Some((adopted, adopted_at)) = self.state.store.read(|world, _| world.keys.custody.adopted())
        else {
            return is_own;
        };
        let was_found = at
            .rotation
            .foreign_mark
            .as_ref()
            .is_some_and(|(found, mark)| *found < adopted && *mark == entry.to_string());
        is_own || time <= adopted_at || was_found
    }

    /// The id of the ledger.
    pub(super) fn ledger_id(&self) -> LedgerId {
        self.keyring().ledger()
    }

    /// The permission to call the upstream; `None` while its circuit is open.
    pub(super) fn lets_call(&self, at: &RotationContext) -> Option<Call<'_>> {
        match &at.place {
            Some(place) => self.lets_call_at(place).ok(),
            None => Some(Call::unlimited(self)),
        }
    }

    /// The result of a step. The circuit counts the response of the upstream, if the step called it.
    pub(super) fn noted<T>(
        &self,
        at: &RotationContext,
        step: Result<T, UpstreamFault>,
    ) -> Result<T, UpstreamFault> {
        if at.has_called() {
            self.note_answer(at, step.as_ref().err());
        }
        step
    }

    fn note_answer(&self, at: &RotationContext, fault: Option<&UpstreamFault>) {
        let Some(place) = &at.place else { return };
        // A failure under an earlier declaration says nothing about the corrected one.
        let declared = &at.rotation.declared.upstream;
        let is_corrected = || {
            self.state.store.read(|world, _| {
                world.rotations.of(at.name()).is_some_and(|now| now.declared.upstream != *declared)
            })
        };
        if fault.is_none() || !is_corrected() {
            self.note_answer_of(place, fault);
        }
    }
}
