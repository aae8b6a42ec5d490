//@ error: E0382
//! A permit is for one decision.
use keyward::authn::BoundToken;
use keyward::base::SecretName;
use keyward::policy::{DecisionContext, decide_reveal};
use keyward::quota::Permit;

pub fn twice(context: &DecisionContext<'_>, tokens: [BoundToken; 2], permit: Permit, secret: &SecretName) {
    let [first, second] = tokens;
    drop(decide_reveal(context, first, permit, secret));
    drop(decide_reveal(context, second, permit, secret)); //@ twin: drop(second);
}
