use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal, setsid};

use super::args::{ChangeSignal, CompanionArgs};
use super::signals::{EndSignals, end_of};
use super::sources::{SecretSource, Versions};
use super::token_file::TokenFile;
use super::watched_files::{TemplateFiles, Written, changes};
use crate::base::{Clock, SecretName, SystemClock, SystemEntropy, code};
use crate::cli::client::{Backoff, FailureReports};
use crate::console::{CommandFailure, Console, Format};

/// Longest wait for the end of the command after a signal.
const LAST_WAIT: Duration = Duration::from_secs(5);

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
    second.args(given).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = second.spawn().map_err(internal)?;
    let mut ready = [0_u8; 1];
    let watches = child.stdout.take().map(|mut stdout| stdout.read_exact(&mut ready));
    if matches!(watches, Some(Ok(()))) { Ok(()) } else { Err(CommandFailure::new(code::COMMAND_FAILED)) }
}

/// Keeps token and files up to date until the watched process ends, then removes them. After a signal it waits at most
/// [`LAST_WAIT`] for that end.
async fn watch(home: &Path, args: &CompanionArgs) -> Result<(), CommandFailure> {
    let failed = || CommandFailure::new(code::COMMAND_FAILED);
    let pid = i32::try_from(args.watch).ok().and_then(Pid::from_raw).ok_or_else(failed)?;
    let process = pidfd_open(pid, PidfdFlags::empty()).map_err(|_| failed())?;
    let mut end = end_of(process.try_clone().map_err(|_| failed())?);
    let mut signals = EndSignals::listen()?;
    let mut watch = Watch::new(home, args, process)?;
    // Signals from the command's terminal must not end this process.
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
            () = signals.wait() => {
                let _ended = tokio::time::timeout(LAST_WAIT, &mut end).await;
                break;
            }
            () = next => {}
        }
    }
    let removed = args
        .dir
        .as_ref()
        .map_or(Ok(()), |dir| fs::remove_dir_all(dir).map_err(|error| CommandFailure::of_file(dir, &error)));
    watch.secrets.map_or(Ok(()), |secrets| secrets.files.end()).and(removed)
}

/// Token and files of a command that runs.
struct Watch<'a> {
    home: &'a Path,
    clock: SystemClock,
    console: Console,
    token: Option<TokenFile>,
    secrets: Option<WatchedSecrets>,
    backoff: Backoff,
    reports: FailureReports,
    /// After a failure: the next attempt.
    retry_at: Option<Duration>,
}

/// The secrets of the command, and what happens when they change.
struct WatchedSecrets {
    files: TemplateFiles,
    known: Versions,
    interval: Duration,
    check_at: Duration,
    signal: Option<ChangeSignal>,
    process: OwnedFd,
}

impl<'a> Watch<'a> {
    fn new(home: &'a Path, args: &CompanionArgs, process: OwnedFd) -> Result<Self, CommandFailure> {
        let clock = SystemClock::new();
        let now = clock.elapsed();
        let token = args.dir.as_ref().map(|dir| {
            TokenFile::existing(dir, args.capabilities.join(" "), args.resource.clone(), args.life, now)
        });
        let is_watching = !args.files.templates.is_empty() || args.files.on_change.is_some();
        let interval = Duration::from_secs(args.files.check_every_s());
        let secrets = WatchedSecrets {
            files: TemplateFiles::of(&args.files)?,
            known: known(&args.known)?,
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
            secrets: is_watching.then_some(secrets),
            backoff: Backoff::default(),
            reports: FailureReports::default(),
            retry_at: None,
        })
    }

    /// The time until something is to be done.
    fn wait(&self) -> Duration {
        let work = self.retry_at.or_else(|| {
            let token = self.token.as_ref().map(TokenFile::renew_at);
            let secrets = self.secrets.as_ref().map(|secrets| secrets.check_at);
            token.into_iter().chain(secrets).min()
        });
        let removal = self.token.as_ref().and_then(TokenFile::remove_at);
        let next = work.into_iter().chain(removal).min();
        next.unwrap_or(Duration::MAX).saturating_sub(self.clock.elapsed())
    }

    /// Does what is due, and says so when that fails.
    async fn step(&mut self) {
        let now = self.clock.elapsed();
        match self.token.as_mut().map_or(Ok(false), |token| token.remove_expired(now)) {
            Ok(true) => {
                self.say("the token has expired; its file is removed until the broker gives a new one")
            }
            Ok(false) => {}
            Err(failure) => self.say(&format!("the expired token cannot be removed: {}", failure.why())),
        }
        if self.retry_at.is_some_and(|at| at > now) {
            return;
        }
        match self.update(now).await {
            Ok(()) => {
                (self.retry_at, self.backoff) = (None, Backoff::default());
                if let Some(time) = self.reports.succeeded(now) {
                    self.say(&format!("the credentials are up to date again after {} s", time.as_secs()));
                }
            }
            Err(failure) => {
                let now = self.clock.elapsed();
                self.retry_at = Some(now.saturating_add(self.backoff.wait_after(&failure, &SystemEntropy)));
                if let Some(time) = self.reports.failed(&failure, now) {
                    self.report(&failure, time, now);
                }
            }
        }
    }

    async fn update(&mut self, now: Duration) -> Result<(), CommandFailure> {
        if let Some(token) = self.token.as_mut().filter(|token| token.renew_at() <= now) {
            token.renew(self.home, now).await?;
        }
        let Some(secrets) = self.secrets.as_mut().filter(|secrets| secrets.check_at <= now) else {
            return Ok(());
        };
        let said = secrets.check(self.home).await?;
        secrets.check_at = now.saturating_add(secrets.interval);
        if let Some(said) = said {
            self.say(&said);
        }
        Ok(())
    }

    fn report(&self, failure: &CommandFailure, time: Duration, now: Duration) {
        let mut state = Vec::new();
        state.extend(self.token.as_ref().map(|token| token.described(now)));
        state.extend(self.secrets.as_ref().map(|_| "files and variables keep the last values".to_owned()));
        let since = if time.is_zero() { String::new() } else { format!(" for {} s", time.as_secs()) };
        self.say(&format!(
            "the credentials cannot be renewed{since}: {} ({}); {}; trying again until it succeeds; fix: {}",
            failure.why(),
            failure.code(),
            state.join("; "),
            failure.fix()
        ));
    }

    fn say(&self, text: &str) {
        self.console.say(&format!("keyward run: {text}"));
    }
}

impl WatchedSecrets {
    /// Compares the versions, and writes the files again after a change. What was done, if something was.
    async fn check(&mut self, home: &Path) -> Result<Option<String>, CommandFailure> {
        let source = SecretSource::open(home).await?;
        let changed = changes(&self.known, &source.versions(&self.known)?);
        if changed.is_empty() {
            return Ok(None);
        }
        let names: BTreeSet<SecretName> = self.known.keys().cloned().collect();
        let (values, written) = self.files.write(&source, &names).await?;
        self.known = values.versions();
        let mut said = format!("changed: {}", changed.join(", "));
        if written == Written::Something {
            said.push_str("; files written");
        }
        if let Some(signal) = self.signal {
            // A process that has ended meanwhile needs no signal.
            let sent = pidfd_send_signal(&self.process, signal.number());
            said.push_str(if sent.is_ok() { "; signal sent: " } else { "; signal not sent: " });
            said.push_str(signal.as_str());
        }
        Ok(Some(said))
    }
}

fn known(given: &[String]) -> Result<Versions, CommandFailure> {
    let read = |text: &String| {
        let (name, version) = text.split_once('=').unwrap_or_default();
        let version = version.parse().map_err(|_| CommandFailure::internal("a version is no number"))?;
        Ok((name.parse()?, version))
    };
    given.iter().map(read).collect()
}
