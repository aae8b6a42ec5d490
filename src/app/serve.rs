use tokio::signal::unix::{Signal, SignalKind, signal};

use super::assemble::{Surroundings, broken};
use super::running::start;
use crate::cli::Failure;
use crate::config::{Config, LogFormat, LogLevel};
use crate::store::OnLostEntries;
use crate::telemetry::{self, LineForm, Protection};

/// Runs the broker until it is told to stop.
pub(super) async fn serve(config: &Config, accept_lost_entries: bool) -> Result<(), Failure> {
    log(config)?;
    harden();
    let on_lost = if accept_lost_entries { OnLostEntries::Accept } else { OnLostEntries::Refuse };
    let running = start(config, &Surroundings::system(), on_lost).await?;
    let mut told = Told::listen()?;
    told.wait().await;
    tokio::select! {
        () = running.stop() => {}
        () = told.wait() => tracing::warn!("told again: the broker ends without waiting"),
    }
    Ok(())
}

fn log(config: &Config) -> Result<(), Failure> {
    let level = match config.log.level {
        LogLevel::Error => tracing::Level::ERROR,
        LogLevel::Warn => tracing::Level::WARN,
        LogLevel::Info => tracing::Level::INFO,
        LogLevel::Debug => tracing::Level::DEBUG,
        LogLevel::Trace => tracing::Level::TRACE,
    };
    let form = match config.log.format {
        LogFormat::Json => LineForm::Json,
        LogFormat::Text => LineForm::Text,
    };
    telemetry::init(level, form, std::io::stderr).map_err(|error| broken(&error))
}

fn harden() {
    let hardening = telemetry::harden();
    if hardening.memory_locked == Protection::Refused {
        tracing::warn!("memory is not locked: keys may reach swap; raise RLIMIT_MEMLOCK or turn swap off");
    }
    if hardening.core_dumps_off == Protection::Refused || hardening.ptrace_off == Protection::Refused {
        tracing::warn!(?hardening, "the kernel refused a protection of this process's memory");
    }
}

/// SIGTERM and SIGINT: the first is a wish, the second an order.
struct Told {
    terminate: Signal,
    interrupt: Signal,
}

impl Told {
    fn listen() -> Result<Self, Failure> {
        let handler = |kind| signal(kind).map_err(|error| broken(&error));
        Ok(Self {
            terminate: handler(SignalKind::terminate())?,
            interrupt: handler(SignalKind::interrupt())?,
        })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
