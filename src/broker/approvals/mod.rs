//! Requests for approval: agents ask for them and use them, operators vote.

pub(in crate::broker) mod ask;
mod context;
mod counts;
mod eligibility;
mod measures;
mod reads;
pub(in crate::broker) mod turns;
mod usual_parameters;
mod valid_tokens;
mod views;
pub(in crate::broker) mod vote;
pub(in crate::broker) mod wait;
mod withdraw;
