//@ error: E0308
//! Only a resource server asks about tokens.
use keyward::authn::{AgentPrincipal, ResourceServerPrincipal};
use keyward::broker::AgentDesk;

pub fn ask(desk: &AgentDesk, agent: &AgentPrincipal, server: &ResourceServerPrincipal) {
    let _ = (agent, server);
    drop(desk.introspect(agent, "")); //@ twin: drop(desk.introspect(server, ""));
}
