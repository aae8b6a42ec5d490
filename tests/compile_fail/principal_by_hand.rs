//@ error: E0451
//! A caller is proved by its certificate, and by nothing else.
use keyward::authn::AgentPrincipal;

pub fn forge(proved: AgentPrincipal) -> AgentPrincipal {
    AgentPrincipal { as_of: 0, ..proved } //@ twin: proved
}
