//! The real binary: a broker in a process of its own, and the command line to drive it with.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use keyward::base::Timestamp;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::ports::free_port;

pub(crate) const KEYWARD: &str = env!("CARGO_BIN_EXE_keyward");

pub(crate) struct Process {
    pub(crate) dir: tempfile::TempDir,
    broker: Option<Child>,
    /// Added to the environment of every process.
    pub(crate) environment: Vec<(String, String)>,
    /// Added to that of the broker alone.
    pub(crate) broker_environment: Vec<(String, String)>,
    /// The program that the broker is started by, with its arguments; the broker's own follow.
    pub(crate) started_by: Vec<String>,
    /// What `serve` is told beside its configuration.
    pub(crate) serve_args: Vec<&'static str>,
}

/// Points at which something becomes durable, or is said to or heard from an upstream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Points {
    pub(crate) points: u64,
    /// How many syncs there are among them.
    pub(crate) syncs: u64,
    /// Whether the fault has happened.
    pub(crate) is_struck: bool,
}

impl Process {
    /// A broker that has been initialised, and does not run yet.
    pub(crate) fn init(log_level: &str) -> Self {
        let process = Self::laid_out(log_level, |root| format!("file = \"{root}/root.key\""));
        process.good(&["init", "--config", &process.config()], b"");
        process
    }

    /// The same, with this passphrase as the only way to open it.
    pub(crate) fn init_attended(log_level: &str, words: &str) -> Self {
        let process = Self::laid_out(log_level, |_| "attended = true".to_owned());
        process.good(&["init", "--passphrase", "--config", &process.config()], words.as_bytes());
        process
    }

    fn laid_out(log_level: &str, root_key: impl Fn(&str) -> String) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (agents, admins) = (free_port(), free_port());
        let root = dir.path().display();
        let root_key = root_key(&root.to_string());
        let text = format!(
            "trust_domain = \"keyward.test\"\ndata_dir = \"{root}/data\"\n[root_key]\n{root_key}\n\
             [listen]\nagents = \"127.0.0.1:{agents}\"\nadmins = \"127.0.0.1:{admins}\"\n\
             [server]\nnames = [\"127.0.0.1\", \"localhost\"]\n[log]\nlevel = \"{log_level}\"\n"
        );
        fs::write(dir.path().join("keyward.toml"), text).unwrap();
        Self {
            dir,
            broker: None,
            environment: Vec::new(),
            broker_environment: Vec::new(),
            started_by: Vec::new(),
            serve_args: Vec::new(),
        }
    }

    /// The socket on the broker's host.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path("data/host.sock")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn config(&self) -> String {
        self.path("keyward.toml").display().to_string()
    }

    /// Adds settings to the configuration.
    pub(crate) fn configure(&self, settings: &str) {
        let text = fs::read_to_string(self.config()).unwrap();
        fs::write(self.config(), text + settings).unwrap();
    }

    pub(crate) fn command(&self, who: &str, args: &[&str]) -> Command {
        let mut command = Command::new(KEYWARD);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.args(args).arg("--home").arg(self.path(&format!("home-{who}"))).stdin(Stdio::null());
        command
    }

    /// Starts the broker and waits until it is ready.
    pub(crate) fn serve(&mut self) {
        self.spawn();
        for _ in 0..600 {
            let asked = self.command("operator", &["whoami", "--operator"]).output().unwrap();
            if asked.status.success() {
                return;
            }
            let ended = self.broker.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "the broker ended: {}", self.log());
        }
        panic!("the broker did not become ready: {}", self.log());
    }

    /// Starts the broker.
    pub(crate) fn spawn(&mut self) {
        let log = File::options().append(true).create(true).open(self.path("log")).unwrap();
        let mut command = self.command("operator", &["serve", "--config", &self.config()]);
        if let Some((program, args)) = self.started_by.split_first() {
            let mut by = Command::new(program);
            by.args(args).arg(KEYWARD).args(command.get_args()).stdin(Stdio::null());
            by.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
            command = by;
        }
        command
            .envs(self.broker_environment.iter().map(|(name, value)| (name, value)))
            .args(&self.serve_args);
        self.broker = Some(command.stdout(Stdio::null()).stderr(log).spawn().unwrap());
    }

    /// Runs `serve` where it must end by itself, and gives what it said.
    pub(crate) fn refused_serve(&self) -> (Option<i32>, String) {
        let output = self.command("operator", &["serve", "--config", &self.config()]).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Whether it has not ended.
    pub(crate) fn is_running(&mut self) -> bool {
        self.broker.as_mut().is_some_and(|broker| broker.try_wait().unwrap().is_none())
    }

    /// Has the broker, from its next start on, count the points at which something becomes durable, or is
    /// said to or heard from the upstream at `port`: see `fault.c`.
    pub(crate) fn load_faults(&mut self, port: u16) {
        let shim = self.path("fault.so").display().to_string();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/fault.c");
        let made =
            Command::new("cc").args(["-shared", "-fPIC", "-o", &shim, source, "-ldl", "-lpthread"]).status();
        assert!(made.expect("a C compiler is needed").success());
        self.broker_environment = vec![
            ("LD_PRELOAD".to_owned(), shim),
            ("KEYWARD_TEST_FAULT_AT".to_owned(), self.path("fault-at").display().to_string()),
            ("KEYWARD_TEST_UPSTREAM_PORT".to_owned(), port.to_string()),
        ];
    }

    /// The environment in which a process adds the seconds in `file` to its wall clock: see `clock.c`.
    pub(crate) fn clock_in(&self, file: &str) -> Vec<(String, String)> {
        let shim = self.path("clock.so").display().to_string();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/clock.c");
        let made = Command::new("cc").args(["-shared", "-fPIC", "-o", &shim, source, "-ldl"]).status();
        assert!(made.expect("a C compiler is needed").success());
        let clock = self.path(file).display().to_string();
        vec![("LD_PRELOAD".to_owned(), shim), ("KEYWARD_TEST_CLOCK".to_owned(), clock)]
    }

    /// Sets the wall clock in `file` this far from the machine's.
    pub(crate) fn set_clock(&self, file: &str, by_s: i64) {
        // As a whole: a process reads it at any moment.
        let fresh = self.path(&format!("{file}.new"));
        fs::write(&fresh, by_s.to_string()).unwrap();
        fs::rename(fresh, self.path(file)).unwrap();
    }

    /// Has points counted from now on, and this fault happen: `kill N`, `eio N`, or `count 0` for none.
    pub(crate) fn arm(&self, fault: &str) {
        self.disarm();
        drop(fs::remove_file(self.path("fault-at.count")));
        fs::write(self.path("fault-at"), fault).unwrap();
    }

    pub(crate) fn disarm(&self) {
        drop(fs::remove_file(self.path("fault-at")));
    }

    /// The points so far.
    pub(crate) fn counted(&self) -> Points {
        let text = fs::read_to_string(self.path("fault-at.count")).unwrap_or_default();
        let mut numbers = text.split_whitespace().map(|number| number.parse::<u64>().unwrap());
        let mut next = || numbers.next().unwrap_or(0);
        Points { points: next(), syncs: next(), is_struck: next() == 1 }
    }

    /// Waits until the broker was killed at the point `at`, of so many.
    pub(crate) fn was_killed(&mut self, at: u64, points: u64) {
        for _ in 0..1000 {
            if !self.is_running() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        self.kill();
        let is_struck = self.counted().is_struck;
        assert!(is_struck, "point {at} of {points} was not reached: {}", self.log());
    }

    pub(crate) fn pid(&self) -> u32 {
        self.broker.as_ref().unwrap().id()
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.broker.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// SIGTERM, and it has to end well.
    pub(crate) fn stop(&mut self) {
        let mut child = self.broker.take().unwrap();
        let pid = Pid::from_raw(child.id().cast_signed()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        assert!(child.wait().unwrap().success(), "{}", self.log());
    }

    pub(crate) fn run_as(&self, who: &str, args: &[&str], input: &[u8]) -> Output {
        let mut command = self.command(who, args);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // A verb that refuses before it reads closes its end; that is its right.
        drop(child.stdin.take().unwrap().write_all(input));
        child.wait_with_output().unwrap()
    }

    /// What a verb gave, or what it said when it could not.
    pub(crate) fn said_by(&self, who: &str, args: &[&str]) -> Result<Vec<u8>, String> {
        let output = self.run_as(who, args, b"");
        if output.status.success() {
            return Ok(output.stdout);
        }
        Err(format!("{args:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr)))
    }

    pub(crate) fn good_as(&self, who: &str, args: &[&str], input: &[u8]) -> Vec<u8> {
        let output = self.run_as(who, args, input);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    pub(crate) fn good(&self, args: &[&str], input: &[u8]) -> Vec<u8> {
        self.good_as("operator", args, input)
    }

    pub(crate) fn json(&self, args: &[&str]) -> Value {
        serde_json::from_slice(&self.good(&[args, &["-o", "json"]].concat(), b"")).unwrap()
    }

    /// Declarations, a secret of this value, and the agent `a` enrolled in `home-a`.
    pub(crate) fn set_up(&self, secret: &[u8]) {
        self.good(&["secret", "put", "github/app"], secret);
        fs::write(self.path("a.toml"), super::broker::DECLARATIONS).unwrap();
        self.good(&["apply", "-f", &self.path("a.toml").display().to_string()], b"");
        self.enrol("a", "repo-reader");
    }

    /// The agent `name` with this role, enrolled in a home of its own.
    pub(crate) fn enrol(&self, name: &str, role: &str) {
        let code = self.good(&["agent", "invite", name, "--role", role], b"");
        self.good_as(name, &["join"], &code);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Every file below `dir`; a socket is none.
pub(crate) fn files(dir: &Path) -> Vec<PathBuf> {
    let (mut found, mut dirs) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.is_file() {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Makes `to` what `from` is, as a disk is put back from a snapshot: the lock file of a broker's data stays the
/// file that it is.
pub(crate) fn put_back(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(to).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => fs::remove_dir_all(entry.path()).unwrap(),
            _ if entry.file_name() == "lock" => {}
            _ => fs::remove_file(entry.path()).unwrap(),
        }
    }
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        if !target.exists() {
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            fs::copy(&file, target).unwrap();
        }
    }
}

/// Leaves the order of `keyward adopt` in a broker's data directory, as an earlier build did: without its time.
pub(crate) fn order_adoption(data: &Path) {
    order(data, "");
}

/// Leaves the order of `keyward adopt`, given at `at`.
pub(crate) fn order_adoption_at(data: &Path, at: Timestamp) {
    order(data, &format!(",\"at\":{}", serde_json::to_string(&at).unwrap()));
}

fn order(data: &Path, more: &str) {
    let lock = keyward::store::lock_mark(&fs::metadata(data.join("lock")).unwrap());
    fs::write(data.join("adopt"), format!("{{\"lock\":{lock},\"by\":\"host uid 0\"{more}}}")).unwrap();
}
