//! Rotating secrets: one file for each thing that happens to a rotation.

mod adopt;
mod attempt;
mod bring;
mod carry_on;
mod check;
mod declare;
mod drift;
mod settled;
mod steer;
mod views;

pub use adopt::{Adopted, Adopting, Proof};
pub use carry_on::Pace;
pub(super) use carry_on::next_of;
pub use check::UpstreamCheck;
pub(super) use declare::Rotations;
pub use steer::{Rotating, Steer};
pub(super) use views::consumers;
pub use views::{CalendarLine, Consumer, RotationPlan, RotationView};
