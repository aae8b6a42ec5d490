//! Declarations: what a plan shows, that an application does exactly that, their export and their schema.

mod export;
mod plan;
mod prune;
mod schema;
