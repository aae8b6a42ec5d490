use super::world::World;
use crate::base::{Cancellation, Scope};
use crate::config::SourceFile;
use crate::registry::Unnamed;

/// What declarations are planned against.
#[derive(Clone, Copy)]
pub(super) struct Planning<'a> {
    pub(super) world: &'a World,
    /// The operator's reach.
    pub(super) scope: &'a Scope,
    /// What becomes of what is not declared.
    pub(super) unnamed: Unnamed,
    /// The files, for the positions of faults.
    pub(super) files: &'a [SourceFile],
    pub(super) work: &'a Cancellation,
}
