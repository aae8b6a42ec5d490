//@ error: E0599
//! An agent's request has no way to what operators do.
use keyward::broker::{AdminServices, AgentServices, Page};
use keyward::policy::{Authorised, ReadDeclared};

pub fn list(agents: &AgentServices, admins: &AdminServices, by: &Authorised<ReadDeclared>, page: &Page) {
    let _ = (agents, admins, by, page);
    let _ = agents.agents(by, page); //@ twin: let _ = admins.agents(by, page);
}
