//@ error: E0451
//! A token counts as presented when its rightful holder has presented it.
use keyward::authn::{AgentPrincipal, BoundToken};

pub fn steal(presented: BoundToken, thief: AgentPrincipal) -> BoundToken {
    let _ = &thief;
    BoundToken { holder: thief, ..presented } //@ twin: presented
}
