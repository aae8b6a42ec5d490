use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::Args;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open, setsid};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use super::token::TokenRequest;
use crate::base::encoding::hex;
use crate::base::{Entropy, SystemEntropy, code, io_reason};
use crate::cli::client::Received;
use crate::cli::identity::{IdentityKind, directory_of};
use crate::cli::session::client_of;
use crate::console::CommandFailure;
use crate::files::{private_dir, replace};
use crate::wire::TokenAnswer;

/// `keyward run`
#[derive(Args, Debug)]
pub struct RunArgs {
    /// A capability of the token; repeat it for further capabilities
    #[arg(long = "capability", required = true, value_name = "CAPABILITY")]
    pub capabilities: Vec<String>,
    /// Audience of the token
    #[arg(long, value_name = "URI")]
    pub resource: Option<String>,
    /// Also put the first token into this environment variable; it is not renewed there
    #[arg(long, value_name = "VARIABLE")]
    pub env: Option<String>,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// `keyward companion`
#[derive(Args, Debug)]
pub struct CompanionArgs {
    /// The directory with the token's file
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// The process to watch
    #[arg(long, value_name = "PID")]
    pub watch: u32,
    /// Remaining life of the first token, in seconds
    #[arg(long, value_name = "SECONDS")]
    pub life: u64,
    /// Audience of the token
    #[arg(long, value_name = "URI")]
    pub resource: Option<String>,
    /// Whether this is the second process, which stays
    #[arg(long)]
    pub second: bool,
    /// The capabilities
    pub capabilities: Vec<String>,
}

/// The environment variable with the path of the token file.
const TOKEN_FILE: &str = "KEYWARD_TOKEN_FILE";
/// Shortest and longest time between two renewals of the token, in seconds.
const LOOK_S: (u64, u64) = (5, 600);
/// Longest wait for the end of the command after a signal.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// Writes a token to a file that only its owner can read, starts a companion process that renews it while the command
/// runs, and replaces this process by the command.
pub(crate) async fn run(home: &Path, args: &RunArgs) -> Result<(), CommandFailure> {
    let (program, rest) = args.command.split_first().ok_or_else(|| {
        CommandFailure::usage("there is no command", "`keyward run --capability NAME -- COMMAND ARG…`")
    })?;
    let scope = args.capabilities.join(" ");
    // No signal may end this process between the creation of the file and the start of its companion.
    let mut told = EndSignals::listen()?;
    let asked = async {
        let client = client_of(home, IdentityKind::Agent).await?;
        TokenRequest::for_scope(scope, args.resource.clone()).fresh(&client).await
    };
    let answer = tokio::select! {
        answer = asked => answer?,
        () = told.wait() => return Err(ended()),
    };
    let mut chance = [0_u8; 16];
    SystemEntropy.fill(&mut chance);
    let dir = runtime_dir().join(format!("keyward-run-{}", hex(&chance)));
    private_dir(&dir).map_err(|error| CommandFailure::of_file(&dir, &error))?;
    let file = dir.join("token");
    let begun = keep(&file, &answer).map_err(|error| CommandFailure::of_file(&file, &error)).and_then(|()| {
        let companion = Companion { home, args, dir: &dir };
        companion.start(&answer)
    });
    if begun.is_err() {
        drop(fs::remove_dir_all(&dir));
        return begun;
    }
    if told.is_told().await {
        // The companion removes the file.
        return Err(ended());
    }
    let mut command = Command::new(program);
    command.args(rest).env(TOKEN_FILE, &file);
    if let Some(name) = &args.env {
        command.env(name, answer.access_token.value().expose());
    }
    // Returns only on failure; the companion removes the file when this process ends.
    let error = command.exec();
    let why = format!("`{}` cannot be run: {}", program.display(), io_reason(&error));
    Err(CommandFailure::new(code::COMMAND_FAILED).because(why))
}

fn ended() -> CommandFailure {
    CommandFailure::new(code::COMMAND_FAILED)
        .because("a signal ended `keyward run` before the command started")
}

/// The user's runtime directory, else the directory for temporary files.
pub(crate) fn runtime_dir() -> PathBuf {
    directory_of("XDG_RUNTIME_DIR").unwrap_or_else(std::env::temp_dir)
}

/// Replaces the token file atomically.
fn keep(file: &Path, minted: &TokenAnswer) -> std::io::Result<()> {
    replace(file, minted.access_token.value().expose().as_bytes())
}

struct Companion<'a> {
    home: &'a Path,
    args: &'a RunArgs,
    dir: &'a Path,
}

impl Companion<'_> {
    /// Starts the companion through another process, so that it is not a child of the command, and waits until it
    /// watches.
    fn start(&self, minted: &TokenAnswer) -> Result<(), CommandFailure> {
        let failed = |error: &std::io::Error| {
            let why = format!("the process that renews the token cannot be started: {}", io_reason(error));
            CommandFailure::new(code::COMMAND_FAILED).because(why)
        };
        let own = std::env::current_exe().map_err(|error| failed(&error))?;
        let mut between = Command::new(own);
        between.arg("companion").arg("--home").arg(self.home).arg("--dir").arg(self.dir);
        between.args(["--watch", &std::process::id().to_string(), "--life", &minted.expires_in.to_string()]);
        between.args(self.args.resource.iter().flat_map(|resource| ["--resource", resource]));
        between.args(&self.args.capabilities).stdin(Stdio::null());
        let done = between.status().map_err(|error| failed(&error))?;
        if done.success() {
            return Ok(());
        }
        let why = "the process that renews the token ended before it was ready";
        Err(CommandFailure::new(code::COMMAND_FAILED).because(why))
    }
}

/// The process that renews the token of `run`. The first of two processes starts the second, and ends when the second
/// watches.
pub(crate) async fn companion(home: &Path, args: &CompanionArgs) -> Result<(), CommandFailure> {
    if args.second {
        return watch(home, args).await;
    }
    let internal = |_| CommandFailure::new(code::COMMAND_FAILED);
    let own = std::env::current_exe().map_err(internal)?;
    let given: Vec<OsString> = std::env::args_os().skip(1).chain(["--second".into()]).collect();
    let mut second = Command::new(own);
    second.args(given).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = second.spawn().map_err(internal)?;
    let mut ready = [0_u8; 1];
    let watches = child.stdout.take().map(|mut stdout| stdout.read_exact(&mut ready));
    if matches!(watches, Some(Ok(()))) { Ok(()) } else { Err(CommandFailure::new(code::COMMAND_FAILED)) }
}

/// Renews the token until the watched process ends, then removes it. After a signal it waits at most [`LAST_WAIT`] for
/// that end.
async fn watch(home: &Path, args: &CompanionArgs) -> Result<(), CommandFailure> {
    let failed = |_| CommandFailure::new(code::COMMAND_FAILED);
    let pid = i32::try_from(args.watch).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| CommandFailure::new(code::COMMAND_FAILED))?;
    let process =
        pidfd_open(pid, PidfdFlags::empty()).map_err(|_| CommandFailure::new(code::COMMAND_FAILED))?;
    let mut end = end_of(process);
    let mut told = EndSignals::listen()?;
    // Signals from the command's terminal must not end this process.
    let _its_own = setsid();
    let mut stdout = std::io::stdout();
    stdout.write_all(b"+").and_then(|()| stdout.flush()).map_err(failed)?;
    let (scope, file) = (args.capabilities.join(" "), args.dir.join("token"));
    let mut life_s = args.life;
    loop {
        let wait = Duration::from_secs((life_s / 2).clamp(LOOK_S.0, LOOK_S.1));
        let next = async {
            tokio::time::sleep(wait).await;
            // After a failure, try again after the shortest wait: the present token is still valid.
            refreshed(home, args, &scope, &file).await.unwrap_or(0)
        };
        tokio::select! {
            _ended = &mut end => break,
            () = told.wait() => {
                let _ended = tokio::time::timeout(LAST_WAIT, &mut end).await;
                break;
            }
            next = next => life_s = next,
        }
    }
    fs::remove_dir_all(&args.dir).map_err(|error| CommandFailure::of_file(&args.dir, &error))
}

/// Completes when the process has ended or cannot be watched. The thread ends with this process.
fn end_of(process: OwnedFd) -> oneshot::Receiver<()> {
    let (ended, end) = oneshot::channel();
    std::thread::spawn(move || {
        let mut watched = [PollFd::new(&process, PollFlags::IN)];
        while matches!(poll(&mut watched, None), Err(rustix::io::Errno::INTR)) {}
        drop(ended);
    });
    end
}

/// The signals that end a process.
struct EndSignals([Signal; 3]);

impl EndSignals {
    fn listen() -> Result<Self, CommandFailure> {
        let of = |kind| signal(kind).map_err(|_| CommandFailure::new(code::COMMAND_FAILED));
        Ok(Self([of(SignalKind::terminate())?, of(SignalKind::interrupt())?, of(SignalKind::hangup())?]))
    }

    async fn wait(&mut self) {
        let [terminate, interrupt, hangup] = &mut self.0;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
        }
    }

    /// Whether a signal has arrived.
    async fn is_told(&mut self) -> bool {
        tokio::time::timeout(Duration::ZERO, self.wait()).await.is_ok()
    }
}

async fn refreshed(
    home: &Path,
    args: &CompanionArgs,
    scope: &str,
    file: &Path,
) -> Result<u64, CommandFailure> {
    let client = client_of(home, IdentityKind::Agent).await?;
    let asked = TokenRequest::for_scope(scope.to_owned(), args.resource.clone());
    let minted: Received<TokenAnswer> = asked.fresh(&client).await?;
    keep(file, &minted).map_err(|error| CommandFailure::of_file(file, &error))?;
    Ok(u64::from(minted.expires_in))
}
