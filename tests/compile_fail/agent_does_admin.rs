//@ error: E0599
//! An agent's request has no way to what operators do.
use keyward::broker::{AdminDesk, AgentDesk};

pub fn list(agents: &AgentDesk, admins: &AdminDesk) {
    let _ = (agents, admins);
    let _ = agents.agents(); //@ twin: let _ = admins.agents();
}
