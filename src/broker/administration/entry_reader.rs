use serde_json::Value;

use super::kept_entries::is_kept_from;
use super::visible::{VisibleEvent, visible};
use crate::authn::OperatorPrincipal;
use crate::base::OwnerName;
use crate::broker::incidents::views::sees_own_incidents;
use crate::broker::world::World;
use crate::ledger::Entry;
use crate::operators::OperatorDenied;
use crate::store::{Event, Store};

/// An operator who reads entries.
#[derive(Clone, Copy, Debug)]
pub(super) struct EntryReader<'a>(&'a OperatorPrincipal);

impl<'a> EntryReader<'a> {
    pub(super) const fn new(operator: &'a OperatorPrincipal) -> Self {
        Self(operator)
    }

    /// The owner that the reader is bound to. Then the reader sees entries about objects of this owner, and about itself.
    pub(super) const fn owner(&self) -> Option<&'a OwnerName> {
        self.0.scope().owner()
    }

    /// Whether the reader sees every entry.
    pub(super) fn sees_all(&self) -> bool {
        sees_own_incidents(self.0)
    }

    /// The part of `event`, that of `entry`, which the reader sees; `None` if the entry is not shown.
    pub(super) fn shown(
        &self,
        store: &Store<World>,
        entry: &Entry,
        mut event: Value,
    ) -> Option<VisibleEvent> {
        if self.sees_all() {
            return Some(VisibleEvent::whole(event));
        }
        let operator = self.0.name();
        store.read(|world, _| {
            if is_kept_from(world, operator, entry.cause.incident, &event) {
                return None;
            }
            match self.owner() {
                None => Some(VisibleEvent::whole(event)),
                Some(owner) => {
                    // Whether the object of a refused request exists is not for an operator that may not see it.
                    if entry.kind == <OperatorDenied<'_> as Event>::KIND {
                        // The order of the other fields must not tell that it was there.
                        let fields = event.as_object_mut();
                        let is_shown = |name: &str| !["agent", "subject"].contains(&name);
                        fields.into_iter().for_each(|fields| fields.retain(|name, _| is_shown(name)));
                    }
                    visible(world, owner, operator, event)
                }
            }
        })
    }
}
