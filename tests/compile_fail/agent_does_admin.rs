//@ error: E0599
//! An agent's request has no way to what operators do.
use keyward::broker::{AdminDesk, AgentDesk};
use keyward::policy::{Authorised, ReadDeclared};

pub fn list(agents: &AgentDesk, admins: &AdminDesk, by: &Authorised<ReadDeclared>) {
    let _ = (agents, admins, by);
    let _ = agents.agents(by); //@ twin: let _ = admins.agents(by);
}
