use clap::Subcommand;

use super::on_host::OnHostArgs;
use crate::cli::session::text;
use crate::console::{CommandFailure, Console};
use crate::wire::{ACCEPT_CLOCK, Nothing};

/// `keyward clock …`
#[derive(Debug, Subcommand)]
pub enum ClockCommand {
    /// Accept the system clock after the broker reported that the clocks disagree; check the time with `date` first
    Accept {
        /// The broker
        #[command(flatten)]
        broker: OnHostArgs,
    },
}

impl ClockCommand {
    pub(crate) async fn run(&self, console: &Console) -> Result<(), CommandFailure> {
        let Self::Accept { broker } = self;
        let clock = broker.client()?.call(ACCEPT_CLOCK, &Nothing, &Nothing).await?;
        console.record(&clock.sent, || {
            if clock.adjusted {
                format!("clock adjusted from {} to {}", text(clock.was.as_ref()), text(clock.now.as_ref()))
            } else {
                "the clocks agree: nothing was adjusted".to_owned()
            }
        });
        Ok(())
    }
}
