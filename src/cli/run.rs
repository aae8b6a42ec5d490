use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open, setsid};
use serde_json::Value;

use super::agent::ask;
use super::agent_args::{CompanionArgs, RunArgs};
use super::client::Client;
use super::failure::Failure;
use super::identity::{Kind, private_dir, unusable, write_private};
use crate::base::encoding::hex;
use crate::base::{Entropy, SystemEntropy, code};

/// Where the command finds the path of its token.
const TOKEN_FILE: &str = "KEYWARD_TOKEN_FILE";
/// Longest time between two looks at the token, and shortest.
const LOOK_S: (u64, u64) = (5, 600);

/// `keyward run`: a token in a file that only its owner reads, kept fresh by a companion as long as the
/// command runs, and the command in this process's place.
pub(super) async fn run(home: &Path, args: &RunArgs) -> Result<(), Failure> {
    let (program, rest) = args.command.split_first().ok_or_else(|| {
        Failure::usage("there is no command", "`keyward run --capability NAME -- COMMAND ARG…`")
    })?;
    let scope = args.capabilities.join(" ");
    let client = Client::of(home, Kind::Agent).await?;
    let answer = ask(&client, &scope, args.resource.as_deref(), None).await?.json()?;
    let mut chance = [0_u8; 16];
    SystemEntropy.fill(&mut chance);
    let dir = runtime_dir().join(format!("keyward-run-{}", hex(&chance)));
    private_dir(&dir).map_err(|error| unusable(&dir, &error))?;
    let file = dir.join("token");
    let begun = keep(&file, &answer).map_err(|error| unusable(&file, &error)).and_then(|()| {
        let companion = Companion { home, args, dir: &dir };
        companion.start(&answer)
    });
    if begun.is_err() {
        drop(fs::remove_dir_all(&dir));
        return begun;
    }
    let mut command = Command::new(program);
    command.args(rest).env(TOKEN_FILE, &file);
    if let Some(name) = &args.env {
        command.env(name, token(&answer));
    }
    // Only comes back when there is no such command: the companion takes the file away when we end.
    let error = command.exec();
    let why = format!("the command cannot be run: {}", error.kind());
    Err(Failure::new(code::COMMAND_FAILED).because(why))
}

fn token(answer: &Value) -> &str {
    answer.get("access_token").and_then(Value::as_str).unwrap_or_default()
}

fn life_s(answer: &Value) -> u64 {
    answer.get("expires_in").and_then(Value::as_u64).unwrap_or(0)
}

/// A directory that is for this user alone and in memory, where there is one.
pub(super) fn runtime_dir() -> PathBuf {
    std::env::var_os("XDG_RUNTIME_DIR").map_or_else(std::env::temp_dir, PathBuf::from)
}

/// Puts the token in the file's place, whole.
fn keep(file: &Path, answer: &Value) -> std::io::Result<()> {
    let fresh = file.with_extension("new");
    drop(fs::remove_file(&fresh));
    write_private(&fresh, token(answer).as_bytes())?;
    fs::rename(fresh, file)
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
            let why = format!("the companion cannot be started: {}", error.kind());
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
pub(super) async fn companion(home: &Path, args: &CompanionArgs) -> Result<(), Failure> {
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

/// Keeps the token fresh until the process that is watched ends, however that is, then takes it away.
async fn watch(home: &Path, args: &CompanionArgs) -> Result<(), Failure> {
    let failed = |_| Failure::new(code::COMMAND_FAILED);
    let pid = i32::try_from(args.watch).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| Failure::new(code::COMMAND_FAILED))?;
    let process = pidfd_open(pid, PidfdFlags::empty()).map_err(failed)?;
    // Keys that are pressed at the command's terminal are not for this process.
    let _its_own = setsid();
    let mut stdout = std::io::stdout();
    stdout.write_all(b"+").and_then(|()| stdout.flush()).map_err(|_| Failure::new(code::COMMAND_FAILED))?;
    let (scope, file) = (args.capabilities.join(" "), args.dir.join("token"));
    let mut wait_s = (args.life / 2).clamp(LOOK_S.0, LOOK_S.1);
    loop {
        let mut watched = [PollFd::new(&process, PollFlags::IN)];
        let wait = Timespec::try_from(Duration::from_secs(wait_s))
            .map_err(|_| Failure::new(code::COMMAND_FAILED))?;
        let ended = match poll(&mut watched, Some(&wait)) {
            Ok(ready) => ready > 0,
            Err(rustix::io::Errno::INTR) => false,
            Err(_) => true,
        };
        if ended {
            break;
        }
        wait_s = match refreshed(home, args, &scope, &file).await {
            Ok(life_s) => (life_s / 2).clamp(LOOK_S.0, LOOK_S.1),
            // The token that is there lasts as long again: soon once more.
            Err(_) => LOOK_S.0,
        };
    }
    fs::remove_dir_all(&args.dir).map_err(|error| unusable(&args.dir, &error))
}

async fn refreshed(home: &Path, args: &CompanionArgs, scope: &str, file: &Path) -> Result<u64, Failure> {
    let client = Client::of(home, Kind::Agent).await?;
    let answer = ask(&client, scope, args.resource.as_deref(), None).await?.json()?;
    keep(file, &answer).map_err(|error| unusable(file, &error))?;
    Ok(life_s(&answer))
}
