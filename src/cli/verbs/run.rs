use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open, setsid};
use serde_json::Value;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::base::encoding::hex;
use crate::base::{Entropy, SystemEntropy, code, io_reason};
use crate::cli::agent_args::{CompanionArgs, RunArgs};
use crate::cli::client::Client;
use crate::cli::identity::{Kind, directory_of};
use crate::cli::verbs::token::ask;
use crate::console::Failure;
use crate::files::{private_dir, replace};

/// Where the command finds the path of its token.
const TOKEN_FILE: &str = "KEYWARD_TOKEN_FILE";
/// Longest time between two looks at the token, and shortest.
const LOOK_S: (u64, u64) = (5, 600);
/// How long the command has to end after the companion was told to.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// `keyward run`: a token in a file that only its owner reads, kept fresh by a companion as long as the
/// command runs, and the command in this process's place.
pub(in crate::cli) async fn run(home: &Path, args: &RunArgs) -> Result<(), Failure> {
    let (program, rest) = args.command.split_first().ok_or_else(|| {
        Failure::usage("there is no command", "`keyward run --capability NAME -- COMMAND ARG…`")
    })?;
    let scope = args.capabilities.join(" ");
    // From here on a signal is noted: none may end this process between the file and its companion.
    let mut told = Told::listen()?;
    let asked = async {
        let client = Client::of(home, Kind::Agent).await?;
        ask(&client, &scope, args.resource.as_deref(), None).await?.json()
    };
    let answer = tokio::select! {
        answer = asked => answer?,
        () = told.wait() => return Err(ended()),
    };
    let mut chance = [0_u8; 16];
    SystemEntropy.fill(&mut chance);
    let dir = runtime_dir().join(format!("keyward-run-{}", hex(&chance)));
    private_dir(&dir).map_err(|error| Failure::of_file(&dir, &error))?;
    let file = dir.join("token");
    let begun = keep(&file, &answer).map_err(|error| Failure::of_file(&file, &error)).and_then(|()| {
        let companion = Companion { home, args, dir: &dir };
        companion.start(&answer)
    });
    if begun.is_err() {
        drop(fs::remove_dir_all(&dir));
        return begun;
    }
    if told.is_told().await {
        // The companion takes the file away.
        return Err(ended());
    }
    let mut command = Command::new(program);
    command.args(rest).env(TOKEN_FILE, &file);
    if let Some(name) = &args.env {
        command.env(name, token(&answer));
    }
    // Only comes back when there is no such command: the companion takes the file away when we end.
    let error = command.exec();
    let why = format!("the command cannot be run: {}", io_reason(&error));
    Err(Failure::new(code::COMMAND_FAILED).because(why))
}

fn ended() -> Failure {
    Failure::new(code::COMMAND_FAILED).because("a signal ended `keyward run` before the command began")
}

fn token(answer: &Value) -> &str {
    answer.get("access_token").and_then(Value::as_str).unwrap_or_default()
}

fn life_s(answer: &Value) -> u64 {
    answer.get("expires_in").and_then(Value::as_u64).unwrap_or(0)
}

/// A directory that is for this user alone and in memory, where there is one.
pub(in crate::cli) fn runtime_dir() -> PathBuf {
    directory_of("XDG_RUNTIME_DIR").unwrap_or_else(std::env::temp_dir)
}

/// Puts the token in the file's place, whole.
fn keep(file: &Path, answer: &Value) -> std::io::Result<()> {
    replace(file, token(answer).as_bytes())
}

struct Companion<'a> {
    home: &'a Path,
    args: &'a RunArgs,
    dir: &'a Path,
}

impl Companion<'_> {
    /// Starts it by way of another process, so that it is no child of the command, and waits until it
    /// watches.
    fn start(&self, answer: &Value) -> Result<(), Failure> {
        let failed = |error: &std::io::Error| {
            let why = format!("the companion cannot be started: {}", io_reason(error));
            Failure::new(code::COMMAND_FAILED).because(why)
        };
        let own = std::env::current_exe().map_err(|error| failed(&error))?;
        let mut between = Command::new(own);
        between.arg("companion").arg("--home").arg(self.home).arg("--dir").arg(self.dir);
        between.args(["--watch", &std::process::id().to_string(), "--life", &life_s(answer).to_string()]);
        between.args(self.args.resource.iter().flat_map(|resource| ["--resource", resource]));
        between.args(&self.args.capabilities).stdin(Stdio::null());
        let done = between.status().map_err(|error| failed(&error))?;
        if done.success() { Ok(()) } else { Err(failed(&std::io::ErrorKind::Other.into())) }
    }
}

/// `keyward companion`: what `run` leaves behind. The first of two processes: it starts the second in a
/// session of its own, and ends when that one watches.
pub(in crate::cli) async fn companion(home: &Path, args: &CompanionArgs) -> Result<(), Failure> {
    if args.second {
        return watch(home, args).await;
    }
    let internal = |_| Failure::new(code::COMMAND_FAILED);
    let own = std::env::current_exe().map_err(internal)?;
    let given: Vec<OsString> = std::env::args_os().skip(1).chain(["--second".into()]).collect();
    let mut second = Command::new(own);
    second.args(given).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = second.spawn().map_err(internal)?;
    let mut ready = [0_u8; 1];
    let watches = child.stdout.take().map(|mut stdout| stdout.read_exact(&mut ready));
    if matches!(watches, Some(Ok(()))) { Ok(()) } else { Err(Failure::new(code::COMMAND_FAILED)) }
}

/// Keeps the token fresh until the process that is watched ends, however that is, then takes it away. After a
/// signal that is meant to end this process, it waits for that end no longer than [`LAST_WAIT`].
async fn watch(home: &Path, args: &CompanionArgs) -> Result<(), Failure> {
    let failed = |_| Failure::new(code::COMMAND_FAILED);
    let pid = i32::try_from(args.watch).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| Failure::new(code::COMMAND_FAILED))?;
    let process = pidfd_open(pid, PidfdFlags::empty()).map_err(|_| Failure::new(code::COMMAND_FAILED))?;
    let mut end = end_of(process);
    let mut told = Told::listen()?;
    // Keys that are pressed at the command's terminal are not for this process.
    let _its_own = setsid();
    let mut stdout = std::io::stdout();
    stdout.write_all(b"+").and_then(|()| stdout.flush()).map_err(failed)?;
    let (scope, file) = (args.capabilities.join(" "), args.dir.join("token"));
    let mut life_s = args.life;
    loop {
        let wait = Duration::from_secs((life_s / 2).clamp(LOOK_S.0, LOOK_S.1));
        let next = async {
            tokio::time::sleep(wait).await;
            // The token that is there lasts as long again: soon once more.
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
    fs::remove_dir_all(&args.dir).map_err(|error| Failure::of_file(&args.dir, &error))
}

/// Completes when the process has ended, or can be watched no longer. The thread ends with this process.
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
struct Told([Signal; 3]);

impl Told {
    fn listen() -> Result<Self, Failure> {
        let of = |kind| signal(kind).map_err(|_| Failure::new(code::COMMAND_FAILED));
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

    /// Whether one of them has come so far.
    async fn is_told(&mut self) -> bool {
        tokio::time::timeout(Duration::ZERO, self.wait()).await.is_ok()
    }
}

async fn refreshed(home: &Path, args: &CompanionArgs, scope: &str, file: &Path) -> Result<u64, Failure> {
    let client = Client::of(home, Kind::Agent).await?;
    let answer = ask(&client, scope, args.resource.as_deref(), None).await?.json()?;
    keep(file, &answer).map_err(|error| Failure::of_file(file, &error))?;
    Ok(life_s(&answer))
}
