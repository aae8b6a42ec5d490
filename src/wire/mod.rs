//! What is said over HTTP: the endpoints, and the types of their requests and answers.
//!
//! The broker, the command line, tests and benches share them, so that a field or a path that changes is a
//! compile error in each of them. A secret value is a [`SecretText`], and nothing else here holds one.

#![expect(
    missing_docs,
    reason = "a field is described where its name does not say it; descriptions go into the OpenAPI documents"
)]

mod agents;
mod declarations;
mod discovery;
mod endpoint;
mod headers;
mod host;
mod identity;
mod keys;
mod leases;
mod ledger;
mod object;
mod operators;
mod page;
mod problem;
mod rotations;
mod secret_text;
mod secrets;
mod status;
mod tokens;

pub use agents::*;
pub use declarations::*;
pub use discovery::*;
pub use endpoint::*;
pub use headers::*;
pub use host::*;
pub use identity::*;
pub use keys::*;
pub use leases::*;
pub use ledger::*;
pub use object::Object;
pub use operators::*;
pub use page::*;
pub use problem::*;
pub use rotations::*;
pub use secret_text::SecretText;
pub use secrets::*;
pub use status::*;
pub use tokens::*;
