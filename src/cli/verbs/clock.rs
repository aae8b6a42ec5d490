use std::path::Path;

use clap::Subcommand;
use hyper::Method;
use serde_json::Value;

use crate::cli::client::ask;
use crate::cli::verbs::break_glass::OnHostArgs;
use crate::console::{Console, Failure};

/// `keyward clock …`
#[derive(Debug, Subcommand)]
pub enum ClockCommand {
    /// Take the system clock as right after the broker has found it to be wrong; look at `date` first
    Accept {
        /// Which broker
        #[command(flatten)]
        broker: OnHostArgs,
    },
}

/// `keyward clock accept`
///
/// # Errors
/// [`Failure`].
pub(in crate::cli) async fn accept_clock(socket: &Path, console: &Console) -> Result<(), Failure> {
    let answer = ask(socket, Method::POST, "/v1/clock/accept", None).await?;
    if console.is_json() {
        console.json(&answer);
        return Ok(());
    }
    let field = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or_default();
    if answer.get("adjusted").and_then(Value::as_bool) == Some(true) {
        console.line(&format!("clock adjusted from {} to {}", field("was"), field("now")));
    } else {
        console.line("the clocks agree: nothing was adjusted");
    }
    Ok(())
}
