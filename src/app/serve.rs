use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use super::data_dir::keyring_path;
use super::duty::ServeMode;
use super::environment::Environment;
use super::failures::start_failed;
use super::listeners::{Listeners, SealedListeners};
use super::running_broker::{OpenedBroker, ProcessReplacement, RunningBroker, StartOptions};
use super::runtime_dir::{forget_seal_order, is_seal_pending};
use super::stop_signals::StopSignals;
use super::trusted_files::{BrokerUser, TrustedFile};
use crate::base::code;
use crate::base::limits::SEAL_WAIT_S;
use crate::broker::{self, ProcessRequest, Unsealed};
use crate::cli::ServeArgs;
use crate::config::{Config, LogFormat, LogLevel, RootKey};
use crate::console::CommandFailure;
use crate::keyring::{Keyring, KeyringError, ShareError, SlotKey, slots_of};
use crate::store::OnLostEntries;
use crate::telemetry::{self, LineForm, Protection};

/// The kinds of a start.
#[derive(Clone, Copy, Debug)]
enum Start {
    /// As configured: with the key that `[root_key]` names, or sealed.
    AsConfigured,
    /// Sealed, also if the configuration names a key.
    Sealed,
}

/// `keyward serve`: runs the broker until it is told to stop.
///
/// # Errors
/// [`CommandFailure`].
pub async fn serve(args: &ServeArgs) -> Result<(), CommandFailure> {
    let start_as = if args.sealed { Start::Sealed } else { Start::AsConfigured };
    let on_lost_entries =
        if args.accept_lost_entries { OnLostEntries::Accept } else { OnLostEntries::Refuse };
    let duty = if args.read_only { ServeMode::ReadOnly } else { ServeMode::Full };
    let config = &Config::load(&args.config)?;
    let user = BrokerUser::of_process();
    TrustedFile::all(&args.config, config).iter().try_for_each(|one| one.check(user))?;
    log(config)?;
    harden();
    let mut signals = StopSignals::listen(args.stop.until_stdin_ends)?;
    let environment = Environment::of(config);
    let opening = StartOptions { config, environment: &environment, on_lost_entries, duty };
    let start_as = sealed_if_ordered(config, start_as);
    let mut running = match (start_as, &config.root_key) {
        (Start::AsConfigured, RootKey::File(_) | RootKey::Credential(_)) => opening.start().await?,
        (Start::Sealed, _) | (_, RootKey::Attended) => match sealed(opening, &mut signals).await? {
            Some(running) => running,
            None => return Ok(()),
        },
    };
    tokio::select! {
        () = signals.wait() => {}
        ordered = running.ordered() => {
            // On separate threads: a thread that waits for a stalled disk must not block this one.
            let stopping = tokio::spawn(running.cut());
            if tokio::time::timeout(Duration::from_secs(SEAL_WAIT_S), stopping).await.is_err() {
                tracing::warn!("some threads have not stopped in time: the process is replaced anyway");
            }
            return Err(start_anew(ordered));
        }
    }
    tokio::select! {
        () = running.stop() => {}
        () = signals.wait() => tracing::warn!("second signal: the broker stops without waiting"),
    }
    Ok(())
}

/// A start is sealed if the broker was killed before it had carried out an order to seal. A process that is started
/// sealed has carried it out.
fn sealed_if_ordered(config: &Config, start_as: Start) -> Start {
    match start_as {
        Start::Sealed => {
            forget_seal_order(config);
            Start::Sealed
        }
        Start::AsConfigured if is_seal_pending(config) => {
            tracing::warn!(
                "the broker was stopped before it had carried out an order to seal: it starts sealed"
            );
            Start::Sealed
        }
        Start::AsConfigured => Start::AsConfigured,
    }
}

/// Waits without keys until a user of the host unseals the broker; `None` after a signal to stop.
async fn sealed(
    opening: StartOptions<'_>,
    signals: &mut StopSignals,
) -> Result<Option<RunningBroker>, CommandFailure> {
    let StartOptions { config, environment, .. } = opening;
    slots_of(&keyring_path(config))?;
    let mut listeners = Listeners::bind(config, environment)?;
    let sealed = SealedListeners::open(config, &listeners, environment)?;
    tracing::info!(socket = %config.listen.host.display(), "the broker is sealed, and waits for `keyward unseal`");
    let (opened, answer) = loop {
        let wish = tokio::select! {
            wish = listeners.host.wishes.recv() => wish,
            () = signals.wait() => None,
        };
        match wish {
            Some(ProcessRequest::Unseal { key, unsealed, reply }) => {
                match unseal(opening, &listeners, key, unsealed).await {
                    Ok(opened) => {
                        forget_seal_order(config);
                        break (opened, reply);
                    }
                    Err(failure) => drop(reply.send(Err(failure))),
                }
            }
            Some(ProcessRequest::Seal) => {}
            None => {
                sealed.close().await;
                listeners.host.leave().await;
                return Ok(None);
            }
        }
    };
    sealed.close().await;
    let running = opened.serve(listeners, environment)?;
    // The client may have disconnected meanwhile; the broker is unsealed.
    drop(answer.send(Ok(())));
    Ok(Some(running))
}

async fn unseal<'a>(
    opening: StartOptions<'a>,
    listeners: &Listeners,
    key: SlotKey,
    unsealed: Unsealed,
) -> Result<OpenedBroker<'a>, broker::Failure> {
    let path = keyring_path(opening.config);
    // Stretching a passphrase takes long, and must not block a thread of the runtime.
    let keyring = tokio::task::spawn_blocking(move || Keyring::open(&path, &key)).await;
    let keyring = keyring.map_err(|error| could_not_start(&start_failed(&error)))?.map_err(|error| {
        if matches!(error, KeyringError::WrongKey | KeyringError::Share(_)) {
            let refused = broker::Failure::new(code::UNSEAL_KEY_WRONG).because(error.to_string());
            let is_unconfirmed = matches!(error, KeyringError::Share(ShareError::Unconfirmed(_)));
            return if is_unconfirmed { refused.mended_by(CONFIRM_FIRST) } else { refused };
        }
        could_not_start(&error.into())
    })?;
    let opened = opening.open(keyring).await.map_err(|failure| could_not_start(&failure))?;
    let let_in = opened.open_to_host(listeners, Some(unsealed)).await;
    let_in.map(|()| opened).map_err(|failure| could_not_start(&failure))
}

const CONFIRM_FIRST: &str =
    "unseal with another key; then confirm the shares on a stopped or sealed broker: `keyward slot confirm`";

fn could_not_start(failure: &CommandFailure) -> broker::Failure {
    tracing::error!(?failure, "the broker could not start, and stays sealed");
    broker::Failure::new(code::UNSEAL_FAILED)
        .because(format!("{}: {}", failure.code(), failure.why()))
        .mended_by(format!("{}; then run `keyward unseal` again", failure.fix()))
}

/// Replaces this process by a new one with the same name and arguments, which has never held a key: all keys in memory,
/// on stacks or in registers disappear with this process, whether or not they were wiped.
fn start_anew(ordered: ProcessReplacement) -> CommandFailure {
    let sealed = OsStr::new("--sealed");
    let mut args: Vec<OsString> = env::args_os().collect();
    let name = if args.is_empty() { OsString::from("keyward") } else { args.remove(0) };
    if ordered == ProcessReplacement::Seal && !args.iter().any(|arg| arg == sealed) {
        args.push(sealed.to_owned());
    }
    // The running program, also if its file was replaced by another version.
    let error = Command::new("/proc/self/exe").arg0(name).args(args).exec();
    start_failed(&error)
}

fn log(config: &Config) -> Result<(), CommandFailure> {
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
    telemetry::init(level, form, std::io::stderr, &crate::upstream::outspoken_libraries())
        .map_err(|error| start_failed(&error))
}

fn harden() {
    let hardening = telemetry::harden();
    if hardening.memory_locked == Protection::Refused {
        tracing::warn!(
            "memory is not locked, and keys may reach swap: raise RLIMIT_MEMLOCK (`LimitMEMLOCK=`) or turn swap off"
        );
    }
    if hardening.core_dumps_off == Protection::Refused || hardening.ptrace_off == Protection::Refused {
        tracing::warn!(?hardening, "the kernel refused a protection of this process's memory");
    }
}
