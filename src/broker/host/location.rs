use crate::base::Timestamp;
use crate::base::encoding::hex;
use crate::broker::failure::Failure;
use crate::broker::reading::Reading;
use crate::broker::retry::{AttemptError, retry_on_conflict};
use crate::broker::world::{Effect, World};
use crate::custody::{self, AdoptionOrder, DataAdopted, Location, MachineChanged};
use crate::store::{Change, Store};

/// The data directory's location, compared with the recorded one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Located {
    /// The same, or none was recorded.
    AsBefore,
    /// Adopted.
    Adopted,
    /// The same lock file on another machine: digests of the machine ids.
    OtherMachine {
        /// Before.
        was: [u8; 16],
        /// Now.
        machine: [u8; 16],
    },
}

/// Records the data directory's location if the recorded one differs, and its adoption by an `order` on the host.
/// Without effect if both are recorded.
///
/// # Errors
/// [`Failure`].
pub async fn record_location(
    store: &Store<World>,
    now: Timestamp,
    location: Location,
    order: Option<AdoptionOrder<'_>>,
) -> Result<Located, Failure> {
    retry_on_conflict!(record(store, now, location, order))
}

async fn record(
    store: &Store<World>,
    now: Timestamp,
    location: Location,
    order: Option<AdoptionOrder<'_>>,
) -> Result<Located, AttemptError> {
    let ((known, adopted), preconditions) = Reading::in_store(store, now, |reading| {
        (reading.location().location(), reading.location().adopted())
    });
    let location = known.map_or(location, |known| location.or_machine_of(known));
    let ordered_at = order.and_then(|order| order.at);
    let is_recorded = ordered_at.is_some() && ordered_at == adopted.map(|(_, at)| at);
    if known == Some(location) && (order.is_none() || is_recorded) {
        return Ok(Located::AsBefore);
    }
    let before = known.and_then(|known| known.machine).filter(|_| order.is_none());
    let (change, located) = match (before, location.machine) {
        (Some(was), Some(machine)) if was != machine => {
            let event = MachineChanged { machine: hex(&machine), was: hex(&was) };
            (Change::new(&event)?, Located::OtherMachine { was, machine })
        }
        _ => {
            let was = known.map(|known| known.lock);
            let by = order.map_or("found at start", |order| order.by);
            let event = DataAdopted { by, ordered_at, lock: location.lock, was };
            (Change::new(&event)?, if order.is_some() { Located::Adopted } else { Located::AsBefore })
        }
    };
    let effect = custody::Effect::Location { location, is_adopted: order.is_some() };
    let ordered = ordered_at.map(|at| Effect::Custody(custody::Effect::Ordered(at)));
    let change = ordered.into_iter().fold(change.effect(Effect::Custody(effect)), Change::effect);
    store.commit(preconditions.added_to(change), ()).await?.redeem();
    Ok(located)
}
