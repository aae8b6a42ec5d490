//! Rotations of upstream secrets: when they are due, how far each has come, what went wrong.
//!
//! State is changed by [`Effect`]s alone. This room calls nobody and holds no value: it knows a value
//! by the secret's name and a version, and upstream by what was declared of it.

mod declaration;
mod events;
pub mod keys;
mod record;
mod schedule;
mod state;

pub use declaration::{RotationDeclaration, TABLES, parse, table_schemas};
pub use events::{
    RotationAdopted, RotationAdvanced, RotationAttempted, RotationBegun, RotationChecked, RotationDrifted,
    RotationFailed, RotationFinished, RotationOrphaned, RotationPrepared, RotationUnchecked, RotationUpdated,
};
pub use record::{
    Declared, FinishedRotation, Rotation, RotationEnding, RotationStage, Run, RunVersions, Slots,
    StepAttempts, StepFailure, Trigger, UpstreamValue, UpstreamValues, ValueCheck,
};
pub use schedule::{Schedule, ScheduleError, ScheduleFields, ScheduleText, spoken};
pub use state::{Effect, Rotations};
