//! Declarations: what a plan shows, that an application does exactly that, their export and their schema.

mod errors;
mod export;
mod plan;
mod prune;
mod schema;
mod second_operator;
mod widening;
