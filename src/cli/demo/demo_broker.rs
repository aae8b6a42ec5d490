use std::fs::{self, File};
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::demo_dir::{DATA, DemoDir, remove_left_over};
use crate::base::code;
use crate::base::encoding::base32;
use crate::base::{Entropy, Sensitive, SystemEntropy};
use crate::cli::identity::IdentityKind;
use crate::cli::session::client_of;
use crate::console::signals::EndSignals;
use crate::console::{CommandFailure, Console, NextSteps, Refused};
use crate::wire::FailureOutput;
use crate::wire::{Nothing, READINESS};

/// A broker in its own directory, with a command line for it.
pub(super) struct DemoBroker {
    dir: DemoDir,
    exe: PathBuf,
    broker: Option<Child>,
    /// The broker stops when this end of its standard input is closed, also by the end of this process.
    lifeline: Option<ChildStdin>,
    /// Whether a signal to end has arrived.
    ended: watch::Receiver<bool>,
}

/// Most readiness checks, 50 ms apart.
const READY_TRIES: u32 = 400;

impl DemoBroker {
    /// A broker for `verb` below the directory for temporary files. From now on, a signal ends the demo instead of the
    /// process.
    pub(super) fn set(verb: &str, console: &Console) -> Result<Self, CommandFailure> {
        let ended = end_signal().map_err(|error| CommandFailure::of_file(Path::new("signals"), &error))?;
        let exe =
            std::env::current_exe().map_err(|error| CommandFailure::of_file(Path::new("keyward"), &error))?;
        remove_left_over(console);
        let dir = DemoDir::create(verb);
        let dir = dir.map_err(|error| CommandFailure::of_file(&std::env::temp_dir(), &error))?;
        let broker = Self { dir, exe, broker: None, lifeline: None, ended };
        let (agents, admins) =
            free_ports().map_err(|error| CommandFailure::of_file(Path::new("loopback"), &error))?;
        let root = broker.dir().display();
        broker.write(
            "keyward.toml",
            &format!(
                "trust_domain = \"keyward.internal\"\ndata_dir = \"{root}/{DATA}\"\n\
                 [root_key]\nfile = \"{root}/root.key\"\n\
                 [listen]\nagents = \"127.0.0.1:{agents}\"\nadmins = \"127.0.0.1:{admins}\"\n\
                 [server]\nnames = [\"127.0.0.1\"]\n"
            ),
        )?;
        Ok(broker)
    }

    /// The directory of all files and logs of the broker.
    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(super) fn path(&self, name: &str) -> String {
        self.dir().join(name).display().to_string()
    }

    pub(super) fn config(&self) -> String {
        self.path("keyward.toml")
    }

    pub(super) fn home(&self, who: &str) -> String {
        self.path(&format!("home-{who}"))
    }

    /// A random secret.
    pub(super) fn secret(&self) -> Sensitive<Vec<u8>> {
        let entropy: &dyn Entropy = &SystemEntropy;
        Sensitive::new(format!("ghp_{}", base32(&entropy.bytes::<24>())).into_bytes())
    }

    pub(super) fn write(&self, name: &str, text: &str) -> Result<String, CommandFailure> {
        let path = self.dir().join(name);
        fs::write(&path, text).map_err(|error| CommandFailure::of_file(&path, &error))?;
        Ok(path.display().to_string())
    }

    /// Starts the broker and waits until it is ready.
    pub(super) async fn serve(&mut self) -> Result<(), CommandFailure> {
        let log = self.dir().join("broker/log");
        let out = File::options()
            .append(true)
            .create(true)
            .open(&log)
            .map_err(|error| CommandFailure::of_file(&log, &error))?;
        let child = self
            .command("operator", &["serve", "--config", &self.config(), "--until-stdin-ends"])
            .stdin(Stdio::piped())
            .stderr(out)
            .stdout(Stdio::null())
            .spawn();
        let mut child = child.map_err(|error| CommandFailure::of_file(&self.exe, &error))?;
        self.lifeline = child.stdin.take();
        self.broker = Some(child);
        for _ in 0..READY_TRIES {
            let client = client_of(Path::new(&self.home("operator")), IdentityKind::Operator).await?;
            let ready = client.call(READINESS, &Nothing, &Nothing).await;
            if ready.is_ok() {
                return Ok(());
            }
            self.check_goes_on()?;
            if self.has_ended() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let said = fs::read_to_string(&log).unwrap_or_default();
        let last = said.lines().last().unwrap_or("nothing").to_owned();
        Err(CommandFailure::new(code::DEMO_FAILED)
            .because(format!("the broker did not become ready; the last line of its log: {last}")))
    }

    /// Whether the broker has ended by itself.
    pub(super) fn has_ended(&mut self) -> bool {
        self.broker.as_mut().is_none_or(|child| child.try_wait().ok().flatten().is_some())
    }

    /// Waits for a signal to end.
    pub(super) async fn wait_for_end(&mut self) {
        // Without the task that listens, nobody can tell.
        drop(self.ended.wait_for(|ended| *ended).await);
    }

    /// Fails after a signal to end.
    fn check_goes_on(&self) -> Result<(), CommandFailure> {
        if *self.ended.borrow() { Err(interrupted()) } else { Ok(()) }
    }

    /// Kills the broker with SIGKILL.
    pub(super) fn kill(&mut self) -> Result<(), CommandFailure> {
        let Some(mut child) = self.broker.take() else { return Ok(()) };
        child
            .kill()
            .and_then(|()| child.wait())
            .map(|_| ())
            .map_err(|error| CommandFailure::of_file(&self.exe, &error))
    }

    /// Stops the broker with SIGTERM, and checks its exit status.
    pub(super) fn stop(&mut self) -> Result<(), CommandFailure> {
        let Some(mut child) = self.broker.take() else { return Ok(()) };
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let stopped = pid.map_or(Ok(()), |pid| kill_process(pid, Signal::TERM).map_err(std::io::Error::from));
        let ended = stopped
            .and_then(|()| child.wait())
            .map_err(|error| CommandFailure::of_file(&self.exe, &error))?;
        if ended.success() {
            return Ok(());
        }
        Err(CommandFailure::new(code::DEMO_FAILED).because("the broker ended with an error after SIGTERM"))
    }

    pub(super) fn clear(&mut self) -> Result<(), CommandFailure> {
        self.kill()?;
        self.dir.remove().map_err(|error| CommandFailure::of_file(self.dir(), &error))
    }

    pub(super) fn run(
        &self,
        what: &str,
        args: &[&str],
        input: Option<&[u8]>,
    ) -> Result<Vec<u8>, CommandFailure> {
        let output = self.output("operator", args, input)?;
        good(what, output)
    }

    pub(super) fn run_as(&self, who: &str, what: &str, args: &[&str]) -> Result<Vec<u8>, CommandFailure> {
        good(what, self.output(who, args, None)?)
    }

    pub(super) fn json<T: DeserializeOwned>(&self, what: &str, args: &[&str]) -> Result<T, CommandFailure> {
        parsed(what, &self.run(what, &[args, &["-o", "json"]].concat(), None)?)
    }

    pub(super) fn json_as<T: DeserializeOwned>(
        &self,
        who: &str,
        what: &str,
        args: &[&str],
    ) -> Result<T, CommandFailure> {
        parsed(what, &self.run_as(who, what, &[args, &["-o", "json"]].concat())?)
    }

    /// Runs a command that has to fail with this exit code, and returns its failure.
    pub(super) fn refused_as(
        &self,
        who: &str,
        args: &[&str],
        exit: i32,
    ) -> Result<FailureOutput, CommandFailure> {
        let output = self.output(who, &[args, &["-o", "json"]].concat(), None)?;
        if output.status.code() == Some(exit) {
            return refusal(&output);
        }
        let why = format!("`{}` ended with {:?}, not {exit}", args.join(" "), output.status.code());
        Err(CommandFailure::new(code::DEMO_FAILED).because(why))
    }

    /// Applies a declaration file of the user; a refusal is the user's to mend.
    pub(super) fn apply_seed(&self, file: &Path) -> Result<(), CommandFailure> {
        let file = file.display().to_string();
        let output = self.output("operator", &["apply", "-f", &file, "--widen", "-o", "json"], None)?;
        if output.status.success() {
            return Ok(());
        }
        let FailureOutput {
            code, detail: why, fix, decision_id: decision, request_id: request, errors, ..
        } = refusal(&output)?;
        let next = NextSteps::default();
        let refused = Refused { code, why, fix, decision, request, places: errors, next };
        Err(CommandFailure::of_broker(0, refused))
    }

    fn command(&self, who: &str, args: &[&str]) -> Command {
        let mut command = Command::new(&self.exe);
        command.args(args).args(["--home", &self.home(who)]).stdin(Stdio::null());
        command
    }

    fn output(&self, who: &str, args: &[&str], input: Option<&[u8]>) -> Result<Output, CommandFailure> {
        self.check_goes_on()?;
        let failed = |error: std::io::Error| CommandFailure::of_file(&self.exe, &error);
        let mut command = self.command(who, args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.stdin(Stdio::piped()).spawn().map_err(failed)?;
        if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
            stdin.write_all(input).map_err(failed)?;
        }
        let output = child.wait_with_output().map_err(failed)?;
        // Ctrl-C reaches the command, too.
        if output.status.signal().is_some() { Err(interrupted()) } else { Ok(output) }
    }
}

/// Kills the broker and removes its files, however the demo ends.
impl Drop for DemoBroker {
    fn drop(&mut self) {
        if self.dir().exists() {
            drop(self.clear());
        }
    }
}

/// Becomes `true` when a signal ends the demo.
fn end_signal() -> std::io::Result<watch::Receiver<bool>> {
    let mut signals = EndSignals::listen()?;
    let (sender, ended) = watch::channel(false);
    tokio::spawn(async move {
        signals.wait().await;
        sender.send_replace(true);
    });
    Ok(ended)
}

fn interrupted() -> CommandFailure {
    CommandFailure::new(code::DEMO_FAILED)
        .because("a signal ended it; the broker was stopped, and its files were deleted")
        .mended_by("run it again if the signal was not meant for it")
}

fn good(what: &str, output: Output) -> Result<Vec<u8>, CommandFailure> {
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let why = format!("`keyward {what}` failed: {}", said.trim());
    Err(CommandFailure::new(code::DEMO_FAILED).because(why))
}

/// The failure of a command with `-o json`: its last line, after the messages.
fn refusal(output: &Output) -> Result<FailureOutput, CommandFailure> {
    let said = output.stderr.trim_ascii_end().rsplit(|byte| *byte == b'\n').next();
    parsed("refusal", said.unwrap_or_default())
}

fn parsed<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, CommandFailure> {
    let unreadable = |_| {
        CommandFailure::new(code::DEMO_FAILED)
            .because(format!("`keyward {what}` did not print the expected JSON"))
    };
    serde_json::from_slice(bytes).map_err(unreadable)
}

/// Two free ports of loopback.
fn free_ports() -> std::io::Result<(u16, u16)> {
    let (one, other) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
    Ok((one.local_addr()?.port(), other.local_addr()?.port()))
}
