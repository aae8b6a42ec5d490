//! Incidents: what was contained, why, by whom, and when the containment was lifted; and whether the broker is frozen.
//!
//! Knows subjects as entries name them. The marks that refuse credentials are in `revocation`; this room never decides
//! who may contain or lift.

mod events;
mod freezing;
mod incident;
mod state;

pub use events::{BrokerFrozen, BrokerThawed, IncidentChange, IncidentContained, IncidentLifted};
pub use freezing::Freezing;
pub use incident::{Incident, IncidentStep, IncidentSubject};
pub use state::{Contained, Effect, Incidents, keys};
