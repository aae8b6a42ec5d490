//@ error: E0308
//! Only a resource server asks about tokens.
use keyward::authn::{AgentPrincipal, ResourceServerPrincipal};
use keyward::broker::AgentServices;

pub fn ask(services: &AgentServices, agent: &AgentPrincipal, server: &ResourceServerPrincipal) {
    let _ = (agent, server);
    drop(services.introspect(agent, "")); //@ twin: drop(services.introspect(server, ""));
}
