//! Incidents: what was contained, why, by whom, and when the containment was lifted; the record of each incident until it
//! is closed; and whether the broker is frozen.
//!
//! Knows subjects as entries name them. The marks that refuse credentials are in `revocation`; this room never decides
//! who may contain or lift.

mod effect;
mod events;
mod freezing;
mod incident;
pub mod keys;
mod recognised;
mod state;
mod times;

pub use effect::{Contained, Effect, IncidentDetails};
pub use events::{
    BrokerFrozen, BrokerThawed, EventSubject, IncidentChange, IncidentClosed, IncidentContained,
    IncidentLifted, IncidentNoted, IncidentOpened, IncidentRecordChange, IncidentTimesText, IncidentUpdated,
};
pub use freezing::Freezing;
pub use incident::{
    AffectedSubject, Incident, IncidentClosing, IncidentStep, IncidentSubject, SubjectContainment,
};
pub use recognised::{RecognisedValue, TextRefused, ValueRecognised};
pub use state::Incidents;
pub use times::{IncidentTimes, IncidentTimesError};
