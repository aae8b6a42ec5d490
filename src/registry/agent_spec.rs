use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::base::{AgentName, RoleName};

/// The declaration of an agent.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct AgentSpec {
    /// Its name.
    pub name: AgentName,
    /// The roles it holds.
    pub roles: BTreeSet<RoleName>,
    /// Most live instances at a time.
    pub max_instances: u32,
}
