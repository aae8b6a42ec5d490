use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal, setsid};

use super::args::{ChangeSignal, CompanionArgs, RenewalArgs};
use super::process_end::end_of;
use super::sources::{Refusals, SecretSource, Versions};
use super::token_file::{Renewal, RenewalRequest, TokenFile};
use super::watched_files::{TemplateFiles, changes};
use crate::base::{CapabilityName, Clock, GivenParameters, SecretName, SystemClock, code};
use crate::cli::client::Attempts;
use crate::console::signals::EndSignals;
use crate::console::{CommandFailure, Console, Format, input};

/// The process that keeps the credentials of `run` up to date. The first of two processes starts the second, and ends
/// when the second watches.
pub(crate) async fn companion(home: &Path, args: &CompanionArgs) -> Result<(), CommandFailure> {
    if args.second {
        return watch(home, args).await;
    }
    let internal = |_| CommandFailure::new(code::COMMAND_FAILED);
    let own = std::env::current_exe().map_err(internal)?;
    // Before the arguments that follow `--`.
    let mut given: Vec<OsString> = std::env::args_os().skip(1).collect();
    given.insert(given.len().min(1), "--second".into());
    let mut second = Command::new(own);
    // The second process reads the parameters.
    second.args(given).stdin(Stdio::inherit()).stdout(Stdio::piped());
    let mut child = second.spawn().map_err(internal)?;
    let mut ready = [0_u8; 1];
    let watches = child.stdout.take().map(|mut stdout| stdout.read_exact(&mut ready));
    if matches!(watches, Some(Ok(()))) { Ok(()) } else { Err(CommandFailure::new(code::COMMAND_FAILED)) }
}

/// Keeps token and files up to date until the watched process ends, then removes them. A signal does not end it: the
/// command may need its credentials until it ends itself.
async fn watch(home: &Path, args: &CompanionArgs) -> Result<(), CommandFailure> {
    let failed = || CommandFailure::new(code::COMMAND_FAILED);
    let pid = i32::try_from(args.watch).ok().and_then(Pid::from_raw).ok_or_else(failed)?;
    let process = pidfd_open(pid, PidfdFlags::empty()).map_err(|_| failed())?;
    let mut end = end_of(process.try_clone().map_err(|_| failed())?);
    let mut signals = EndSignals::listen().map_err(|_| failed())?;
    let mut watch = Watch::new(home, args, process)?;
    // Signals from the command's terminal must not reach this process.
    let _its_own = setsid();
    let mut stdout = std::io::stdout();
    stdout.write_all(b"+").and_then(|()| stdout.flush()).map_err(|_| failed())?;
    loop {
        let wait = watch.wait();
        let next = async {
            tokio::time::sleep(wait).await;
            watch.step().await;
        };
        tokio::select! {
            _ended = &mut end => break,
            () = signals.wait() => {}
            () = next => {}
        }
    }
    let ended = watch.secrets.map_or(Ok(()), |secrets| secrets.files.end());
    let of_dir =
        |dir: &PathBuf| fs::remove_dir_all(dir).map_err(|error| CommandFailure::of_file(dir, &error));
    args.dir.as_ref().map_or(Ok(()), of_dir).and(ended)
}

/// Token and files of a command that runs. Each has attempts of its own: a refusal of one delays no other.
struct Watch<'a> {
    home: &'a Path,
    clock: SystemClock,
    console: Console,
    token: Option<TokenFile>,
    token_attempts: Attempts,
    secrets: Option<WatchedSecrets>,
    secret_attempts: Attempts,
}

/// The secrets of the command, and what happens when they change.
struct WatchedSecrets {
    files: TemplateFiles,
    known: Versions,
    /// The secrets whose refusal was reported.
    refused: BTreeSet<SecretName>,
    interval: Duration,
    check_at: Duration,
    signal: Option<ChangeSignal>,
    process: OwnedFd,
}

/// Longest wait before the next look at the clock, because the machine may sleep meanwhile, and at the agent's
/// certificate, because another process may renew it.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl<'a> Watch<'a> {
    fn new(home: &'a Path, args: &CompanionArgs, process: OwnedFd) -> Result<Self, CommandFailure> {
        let clock = SystemClock::new();
        let now = clock.elapsed();
        let RenewalArgs { resource, approval, no_renewal, .. } = &args.renewal;
        let renewal = match *approval {
            _ if *no_renewal => Renewal::Never,
            Some(approval) => Renewal::With(approval),
            None => Renewal::Plain,
        };
        let parameters = parameters(&args.renewal)?;
        let token = args.dir.as_ref().map(|dir| {
            let (scope, resource) = (args.capabilities.join(" "), resource.clone());
            let request = RenewalRequest { scope, resource, parameters, renewal };
            TokenFile::existing(dir, request, args.life, now)
        });
        let is_watching = !args.files.templates.is_empty() || args.files.on_change.is_some();
        let interval = Duration::from_secs(args.files.check_every_s());
        let secrets = WatchedSecrets {
            files: TemplateFiles::written_before(home, &args.files)?,
            known: known(&args.known)?,
            refused: BTreeSet::new(),
            interval,
            check_at: now.saturating_add(interval),
            signal: args.files.on_change,
            process,
        };
        Ok(Self {
            home,
            clock,
            console: Console::new(Format::Table),
            token,
            token_attempts: Attempts::default(),
            secrets: is_watching.then_some(secrets),
            secret_attempts: Attempts::default(),
        })
    }

    /// The time until something is to be done, or until the next look at clock and certificate.
    fn wait(&self) -> Duration {
        let token = self.token.as_ref().map(|token| self.token_attempts.next(token.renew_at()));
        let removal = self.token.as_ref().and_then(TokenFile::remove_at);
        let secrets = self.secrets.as_ref().map(|secrets| self.secret_attempts.next(secrets.check_at));
        let next = token.into_iter().chain(removal).chain(secrets).min().unwrap_or(Duration::MAX);
        next.saturating_sub(self.clock.elapsed()).min(LOOK_AGAIN)
    }

    /// Does what is due, and says so when that fails.
    async fn step(&mut self) {
        self.renew_token().await;
        self.check_secrets().await;
    }

    async fn renew_token(&mut self) {
        let Some(token) = &mut self.token else { return };
        let now = self.clock.elapsed();
        let removed = match token.remove_expired(now) {
            Ok(true) if token.renew_at() == Duration::MAX => {
                Some("the token has expired; its file is removed, and there will be no new one".to_owned())
            }
            Ok(true) => {
                Some("the token has expired; its file is removed until the broker gives a new one".to_owned())
            }
            Ok(false) => None,
            Err(failure) => Some(format!("the expired token cannot be removed: {}", failure.why())),
        };
        let mut said: Vec<String> = removed.into_iter().collect();
        if token.has_new_certificate(self.home, now) {
            self.token_attempts.retry_now();
        }
        if self.token_attempts.next(token.renew_at()) <= now {
            let renewed = token.renew(self.home, now).await;
            let now = self.clock.elapsed();
            match renewed {
                Ok(changed) => {
                    said.extend(self.token_attempts.succeeded(now).map(again));
                    said.extend(changed);
                }
                Err(failure) if token.ends_renewals(&failure) => {
                    self.token_attempts.retry_now();
                    said.push(no_further(&failure, &token.described(now)));
                }
                Err(failure) => said.extend(
                    self.token_attempts
                        .failed(&failure, now)
                        .map(|time| cannot(&failure, time, &token.described(now))),
                ),
            }
        }
        said.iter().for_each(|said| self.say(said));
    }

    async fn check_secrets(&mut self) {
        let Some(secrets) = &mut self.secrets else { return };
        let now = self.clock.elapsed();
        if self.secret_attempts.next(secrets.check_at) > now {
            return;
        }
        let checked = secrets.check(self.home).await;
        let now = self.clock.elapsed();
        let said = match checked {
            Ok(mut said) => {
                secrets.check_at = now.saturating_add(secrets.interval);
                said.extend(self.secret_attempts.succeeded(now).map(again));
                said
            }
            Err(failure) => {
                let reported = self.secret_attempts.failed(&failure, now);
                reported.map(|time| cannot(&failure, time, KEPT)).into_iter().collect()
            }
        };
        said.iter().for_each(|said| self.say(said));
    }

    fn say(&self, text: &str) {
        self.console.say(&format!("keyward run: {text}"));
    }
}

/// Longest text of all parameters, in bytes: more than the broker accepts in one request.
const INPUT_BYTES_MAX: usize = 64 * 1024;

const KEPT: &str = "files and variables keep the last values";

/// The message about a failure, which has lasted for `time`.
fn cannot(failure: &CommandFailure, time: Duration, state: &str) -> String {
    let since = if time.is_zero() { String::new() } else { format!(" for {} s", time.as_secs()) };
    format!(
        "the credentials cannot be renewed{since}: {} ({}); {state}; trying again until it succeeds; fix: {}",
        failure.why(),
        failure.code(),
        failure.fix()
    )
}

/// The message about an approval that gives no further token.
fn no_further(failure: &CommandFailure, state: &str) -> String {
    format!(
        "the token is not renewed any more: {} ({}); {state}; the command goes on without a new token; \
         ask for another approval, and start the command again",
        failure.why(),
        failure.code()
    )
}

fn again(time: Duration) -> String {
    format!("the credentials are up to date again after {} s", time.as_secs())
}

impl WatchedSecrets {
    /// Compares the versions, and writes the files again after a change. What was done.
    async fn check(&mut self, home: &Path) -> Result<Vec<String>, CommandFailure> {
        let source = SecretSource::open(home).await?;
        let mut refusals = source.refusals(&self.known);
        let current = source.versions(&self.known);
        let mut said = Vec::new();
        if !changes(&self.known, &current).is_empty() {
            let names: BTreeSet<SecretName> = current.keys().cloned().collect();
            let update = self.files.write(&source, &names).await?;
            refusals.extend(update.refusals);
            let read = update.values.versions();
            let changed = changes(&self.known, &read);
            self.known.extend(read);
            if !changed.is_empty() {
                said.push(self.announce(&changed, update.is_written));
            }
        }
        said.extend(self.report(&refusals));
        Ok(said)
    }

    /// Sends the signal about a change. The message about both.
    fn announce(&self, changed: &[String], is_written: bool) -> String {
        let mut said = format!("changed: {}", changed.join(", "));
        if is_written {
            said.push_str("; files written");
        }
        if let Some(signal) = self.signal {
            // A process that has ended meanwhile needs no signal.
            let sent = pidfd_send_signal(&self.process, signal.number());
            said.push_str(if sent.is_ok() { "; signal sent: " } else { "; signal not sent: " });
            said.push_str(signal.as_str());
        }
        said
    }

    /// The messages about secrets that are newly refused, or readable again.
    fn report(&mut self, refusals: &Refusals) -> Vec<String> {
        let refused: BTreeSet<SecretName> = refusals.keys().cloned().collect();
        let new = refusals.iter().filter(|(name, _)| !self.refused.contains(*name));
        let new = new.map(|(name, failure)| {
            let (why, code, fix) = (failure.why(), failure.code(), failure.fix());
            format!("secret `{name}` cannot be read any more: {why} ({code}); {KEPT}; fix: {fix}")
        });
        let back = self.refused.difference(&refused).map(|name| format!("secret `{name}` can be read again"));
        let said = new.chain(back).collect();
        self.refused = refused;
        said
    }
}

/// The parameters of the token, which `keyward run` writes to standard input.
fn parameters(args: &RenewalArgs) -> Result<BTreeMap<CapabilityName, GivenParameters>, CommandFailure> {
    if !args.parameters_in_stdin {
        return Ok(BTreeMap::new());
    }
    let written = input::all_of_stdin(INPUT_BYTES_MAX)?;
    serde_json::from_slice(written.expose())
        .map_err(|_| CommandFailure::internal("the parameters of the token cannot be read"))
}

fn known(given: &[String]) -> Result<Versions, CommandFailure> {
    let read = |text: &String| {
        let (name, version) = text.split_once('=').unwrap_or_default();
        let version = version.parse().map_err(|_| CommandFailure::internal("a version is no number"))?;
        Ok((name.parse()?, version))
    };
    given.iter().map(read).collect()
}
