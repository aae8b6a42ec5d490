//! Upstreams: what takes a new value of a secret, and how it is told of it.
//!
//! One [`Driver`] for each kind of upstream, behind one small trait. A driver remembers nothing: it is
//! given the values that it needs, calls upstream within limits of time and size, and says what came
//! of it. What upstream says in words is dropped here: it may hold a value.

mod breaker;
mod certificates;
mod check;
mod driver;
mod exchange;
mod generate;
mod guard;
mod http;
mod http_target;
mod login;
mod logins;
mod logins_end;
mod logins_sql;
mod logins_target;
mod mark;
mod origin;
mod pipe;
mod postgresql;
mod proof;
mod request;
mod server;
mod session;
mod target;
mod template;

pub use breaker::{Admission, Breakers};
pub use certificates::only_certificates;
pub use check::Finding;
pub use driver::{
    Answer, Called, Checking, Driver, Explained, Fault, Held, Outcome, Prepared, Shape, Surroundings,
    Verdict, driver,
};
pub use guard::Reach;
pub use http_target::HttpTarget;
pub use logins::{FoundLogin, Logins, NewLogin};
pub use logins_end::is_shut;
pub use logins_target::LoginsTarget;
pub use mark::{Knows, Mark};
pub use target::{GenerateTarget, PostgresqlTarget, Target, TargetError};
