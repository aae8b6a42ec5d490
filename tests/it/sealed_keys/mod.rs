//! Operators' keys that are sealed with a passphrase, and the key agent that uses them for a stated time.

mod prompt;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use keyward::base::limits::{KEY_AGENT_LIFE_MAX_S, KEY_AGENT_LIFE_MIN_S};
use serde_json::Value;

use crate::leaks::{holds, in_memory, sightings};
use crate::support::process::{KEYWARD, Process, files};

const WORDS: &str = "CNRY correct horse battery staple 7c1f";

/// A broker that serves, whose operator `operator` has a sealed key, and the file with the passphrase.
fn sealed() -> (Process, String) {
    let mut process = Process::init("info");
    process.serve();
    let words = passphrase(&process, WORDS);
    process.good(&["operator", "seal-key", "--passphrase-file", &words], b"");
    (process, words)
}

/// A file with these words outside of every home directory.
fn passphrase(process: &Process, words: &str) -> String {
    let dir = process.path("passphrases");
    fs::create_dir_all(&dir).unwrap();
    let file = dir.join(words.len().to_string());
    fs::write(&file, format!("{words}\n")).unwrap();
    file.display().to_string()
}

/// Runs a command that has no terminal.
fn run(process: &Process, who: &str, args: &[&str]) -> Output {
    let mut command = Command::new("setsid");
    command.args(["-w", KEYWARD]).args(args).arg("--home").arg(process.path(&format!("home-{who}")));
    command.envs(process.environment.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null()).output().unwrap()
}

fn good(process: &Process, who: &str, args: &[&str]) -> String {
    let output = run(process, who, args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn refused(process: &Process, who: &str, args: &[&str], exit: i32, code: &str) -> Value {
    let output = run(process, who, &[args, &["-o", "json"]].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let failure: Value =
        serde_json::from_str(said.lines().last().unwrap_or_default()).unwrap_or_else(|_| panic!("{said}"));
    assert_eq!((output.status.code(), failure["code"].as_str()), (Some(exit), Some(code)), "{failure}");
    failure
}

/// The key agent of `who`, which ends with this value.
struct RunningAgent<'a> {
    process: &'a Process,
    who: &'static str,
}

impl<'a> RunningAgent<'a> {
    fn start(process: &'a Process, who: &'static str, words: &str) -> Self {
        let agent = Self { process, who };
        let said = good(process, who, &["operator", "key-agent", "--for", "1h", "--passphrase-file", words]);
        assert!(said.contains("the key agent uses the operator's key until 20"), "{said}");
        agent
    }

    fn pid(&self) -> u32 {
        let home = self.process.path(&format!("home-{}", self.who)).display().to_string();
        let found = fs::read_dir("/proc").unwrap().find_map(|entry| {
            let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let line = String::from_utf8(fs::read(format!("/proc/{pid}/cmdline")).ok()?).ok()?;
            (line.contains("key-agent\0--foreground") && line.contains(&home)).then_some(pid)
        });
        found.expect("no key agent runs")
    }
}

impl Drop for RunningAgent<'_> {
    fn drop(&mut self) {
        run(self.process, self.who, &["operator", "key-agent", "--stop"]);
    }
}

fn key_file(process: &Process, who: &str) -> PathBuf {
    process.path(&format!("home-{who}/operator/key.pem"))
}

/// Whether no file below `dir` has a private key in clear.
fn has_no_key_in_clear(dir: &Path) -> bool {
    files(dir).iter().all(|file| !holds(&fs::read(file).unwrap(), b"BEGIN PRIVATE KEY"))
}

#[test]
fn sealed_key_is_used_by_the_key_agent_without_a_passphrase() {
    // Given an operator whose key is sealed
    let (process, words) = sealed();
    assert!(has_no_key_in_clear(&process.path("home-operator")));
    let told = refused(&process, "operator", &["operator", "list"], 1, "key_sealed");
    assert!(told["fix"].as_str().unwrap().contains("`keyward operator key-agent`"), "{told}");
    // When the passphrase is wrong, then it is refused each time, and nothing is locked
    let wrong = passphrase(&process, "another passphrase");
    for _ in 0..6 {
        let start = ["operator", "key-agent", "--passphrase-file", &wrong];
        refused(&process, "operator", &start, 4, "key_passphrase_wrong");
    }
    // When the key agent runs, then commands work
    let agent = RunningAgent::start(&process, "operator", &words);
    assert!(good(&process, "operator", &["operator", "list"]).contains("admin"));
    refused(
        &process,
        "operator",
        &["operator", "key-agent", "--passphrase-file", &words],
        8,
        "key_agent_running",
    );
    // When the identity is renewed, then the new key is sealed too, and the agent uses it
    let before = fs::read_to_string(key_file(&process, "operator")).unwrap();
    good(&process, "operator", &["renew", "--operator"]);
    let after = fs::read_to_string(key_file(&process, "operator")).unwrap();
    assert!(before != after && after.contains("KEYWARD SEALED PRIVATE KEY"));
    good(&process, "operator", &["whoami", "--operator"]);
    assert!(has_no_key_in_clear(&process.path("home-operator")));
    assert!(!process.path("home-operator/operator-renewing.pem").exists());
    // Then `doctor` and `status` say so
    let checks = good(&process, "operator", &["doctor", "--operator"]);
    assert!(checks.contains("sealed with a passphrase; the key agent uses the key until 20"), "{checks}");
    let status: Value = serde_json::from_str(&good(&process, "operator", &["status", "-o", "json"])).unwrap();
    assert_eq!(status["identities"][0]["key"], "sealed");
    assert!(good(&process, "operator", &["status"]).contains("sealed with a passphrase"));
    // When the agent ends, then commands are refused again
    drop(agent);
    refused(&process, "operator", &["operator", "list"], 1, "key_sealed");
    assert!(!process.path("home-operator/key-agent/socket").exists());
    assert!(good(&process, "operator", &["operator", "key-agent", "--stop"]).contains("no key agent runs"));
}

#[test]
fn watcher_renews_a_sealed_identity_by_the_key_agent() {
    let (process, words) = sealed();
    let agent = RunningAgent::start(&process, "operator", &words);
    // Given a certificate that the broker wants to have replaced
    for args in [
        &["authority", "prepare"][..],
        &["authority", "activate", "2", "--force"],
        &["authority", "taint", "1"],
    ] {
        good(&process, "operator", args);
    }
    let before = fs::read_to_string(key_file(&process, "operator")).unwrap();
    // When it is watched without a terminal
    let mut command = Command::new("setsid");
    command.args(["-w", "timeout", "2", KEYWARD, "renew", "--operator", "--watch", "--home"]);
    let watched = command.arg(process.path("home-operator")).stdin(Stdio::null()).output().unwrap();
    // Then it is renewed, and stays sealed
    let said = String::from_utf8_lossy(&watched.stdout).into_owned();
    assert!(said.contains("renewed spiffe://"), "{said}{}", String::from_utf8_lossy(&watched.stderr));
    let after = fs::read_to_string(key_file(&process, "operator")).unwrap();
    assert!(before != after && after.contains("KEYWARD SEALED PRIVATE KEY"));
    drop(agent);
}

#[test]
fn killed_key_agent_leaves_nothing_that_hinders_the_next() {
    let (process, words) = sealed();
    let agent = RunningAgent::start(&process, "operator", &words);
    let pid = rustix::process::Pid::from_raw(agent.pid().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    crate::support::waiting::wait_until(|| {
        run(&process, "operator", &["operator", "list"]).status.code() == Some(1)
    });
    refused(&process, "operator", &["operator", "list"], 1, "key_sealed");
    let again = RunningAgent::start(&process, "operator", &words);
    good(&process, "operator", &["operator", "list"]);
    drop((agent, again));
}

#[test]
fn key_of_a_new_operator_is_sealed_from_the_start() {
    let (process, words) = sealed();
    let agent = RunningAgent::start(&process, "operator", &words);
    let code = process.path("code-alice").display().to_string();
    good(&process, "operator", &["operator", "invite", "alice", "--role", "auditor", "--out", &code]);
    let own = passphrase(&process, "words that only alice knows");
    // When the passphrase is too short, then nothing is sent
    let short = passphrase(&process, "short");
    let join = ["join", "--seal", "--code-file", &code, "--passphrase-file"];
    refused(&process, "alice", &[&join[..], &[&short]].concat(), 2, "passphrase_refused");
    good(&process, "alice", &[&join[..], &[&own]].concat());
    assert!(has_no_key_in_clear(&process.path("home-alice")));
    let alice = RunningAgent::start(&process, "alice", &own);
    assert!(good(&process, "alice", &["whoami", "--operator"]).contains("operator/alice"));
    // When the code is for an agent, then `--seal` is refused
    let of_agent = process.path("code-agent").display().to_string();
    fs::write(process.path("a.toml"), crate::support::broker::DECLARATIONS).unwrap();
    let declared = process.path("a.toml").display().to_string();
    let put = ["secret", "put", "github/app", "--file", &words];
    good(&process, "operator", &put);
    good(&process, "operator", &["apply", "-f", &declared]);
    let invite = ["agent", "invite", "a", "--role", "repo-reader", "--out", &of_agent];
    good(&process, "operator", &invite);
    let join = ["join", "--seal", "--code-file", &of_agent, "--passphrase-file", &own];
    refused(&process, "a", &join, 2, "usage");
    drop((agent, alice));
}

#[test]
fn passphrase_can_be_changed_by_a_person_who_knows_it() {
    let (process, words) = sealed();
    let next = passphrase(&process, "the passphrase after that");
    let wrong = passphrase(&process, "no passphrase of this key");
    let change = ["operator", "seal-key", "--passphrase-file", &next, "--present-passphrase-file"];
    refused(&process, "operator", &[&change[..], &[&wrong]].concat(), 4, "key_passphrase_wrong");
    good(&process, "operator", &[&change[..], &[&words]].concat());
    let former = ["operator", "key-agent", "--passphrase-file", &words];
    refused(&process, "operator", &former, 4, "key_passphrase_wrong");
    let agent = RunningAgent::start(&process, "operator", &next);
    good(&process, "operator", &["operator", "list"]);
    // When the passphrase changes while the key agent runs, then the agent does not open the key any more
    let back = ["operator", "seal-key", "--passphrase-file", &words, "--present-passphrase-file", &next];
    good(&process, "operator", &back);
    let told = refused(&process, "operator", &["operator", "list"], 1, "key_sealed");
    assert!(told["detail"].as_str().unwrap().contains("with another passphrase"), "{told}");
    // Then the advised command replaces the agent
    assert!(told["fix"].as_str().unwrap().contains("`keyward operator key-agent`"), "{told}");
    let replacement = RunningAgent::start(&process, "operator", &words);
    good(&process, "operator", &["operator", "list"]);
    drop((agent, replacement));
}

#[test]
fn sealing_a_key_beside_an_agent_of_another_passphrase_is_one_command() {
    // Given a key agent, and a new key in clear from the host
    let (mut process, words) = sealed();
    good(&process, "operator", &["operator", "key-agent", "--for", "1h", "--passphrase-file", &words]);
    process.kill();
    process.good(&["init", "--reissue-operator", "--yes", "--config", &process.config()], b"");
    process.serve();
    // When the key is sealed with another passphrase, then the output names the command that replaces the agent
    let next = passphrase(&process, "the passphrase after that");
    let sealing = run(&process, "operator", &["operator", "seal-key", "--passphrase-file", &next]);
    let said = String::from_utf8_lossy(&sealing.stderr).into_owned();
    assert!(sealing.status.success() && said.contains("`keyward operator key-agent` replaces it"), "{said}");
    let replacement = RunningAgent::start(&process, "operator", &next);
    assert!(good(&process, "operator", &["operator", "list"]).contains("admin"));
    drop(replacement);
}

#[test]
fn key_agent_runs_for_one_minute_to_a_day() {
    let (process, words) = sealed();
    for life_s in [KEY_AGENT_LIFE_MIN_S - 1, KEY_AGENT_LIFE_MAX_S + 1] {
        let life = format!("{life_s}s");
        let start = ["operator", "key-agent", "--for", &life, "--passphrase-file", &words];
        refused(&process, "operator", &start, 2, "usage");
    }
    for life_s in [KEY_AGENT_LIFE_MIN_S, KEY_AGENT_LIFE_MAX_S] {
        let life = format!("{life_s}s");
        good(&process, "operator", &["operator", "key-agent", "--for", &life, "--passphrase-file", &words]);
        assert!(good(&process, "operator", &["operator", "key-agent", "--stop"]).contains("has ended"));
    }
    // When the key is in clear, then there is nothing to open
    let mut clear = Process::init("warn");
    clear.serve();
    let start = ["operator", "key-agent", "--passphrase-file", &words];
    refused(&clear, "operator", &start, 8, "key_not_sealed");
}

#[test]
fn file_with_the_same_key_in_clear_is_removed_when_the_key_is_sealed() {
    // Given an enrolment and a renewal that were killed before they had removed their files
    let mut process = Process::init("warn");
    process.serve();
    let home = process.path("home-operator");
    for left in ["joining-1.pem", "operator-renewing.pem"] {
        fs::copy(key_file(&process, "operator"), home.join(left)).unwrap();
    }
    // When the key is sealed, then no file has it in clear
    let words = passphrase(&process, WORDS);
    process.good(&["operator", "seal-key", "--passphrase-file", &words], b"");
    assert!(has_no_key_in_clear(&home));
}

#[test]
fn foreign_user_gets_no_response_of_the_key_agent() {
    let (process, words) = sealed();
    let agent = RunningAgent::start(&process, "operator", &words);
    let socket = process.path("home-operator/key-agent/socket").display().to_string();
    let ask = format!(
        "import socket; s = socket.socket(socket.AF_UNIX); s.connect('{socket}'); \
         s.sendall(b'{{\"request\":\"status\"}}\\n'); print(s.recv(100))"
    );
    // Given that the same request of the owner gets a response
    let owned = Command::new("python3").args(["-c", &ask]).output().unwrap();
    let response = String::from_utf8_lossy(&owned.stdout).into_owned();
    assert!(response.contains("until"), "{response} {}", String::from_utf8_lossy(&owned.stderr));
    let as_nobody = || {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--", "python3", "-c", &ask]);
        command.output().expect("setpriv and python3 are needed")
    };
    assert!(!as_nobody().status.success(), "the directory keeps other users out");
    let open = |path: &str, mode| {
        fs::set_permissions(process.path(path), Permissions::from_mode(mode)).unwrap();
    };
    open("", 0o711);
    open("home-operator", 0o711);
    open("home-operator/key-agent", 0o711);
    assert!(!as_nobody().status.success(), "the socket is only for its owner");
    open("home-operator/key-agent/socket", 0o777);
    let answered = as_nobody();
    let said = String::from_utf8_lossy(&answered.stdout).into_owned();
    assert!(said.trim().is_empty() || said.trim() == "b''", "{said}");
    // Then the agent still runs, and its owner's commands name the permissions
    let told = refused(&process, "operator", &["operator", "list"], 1, "file_unusable");
    assert!(told["detail"].as_str().unwrap().contains("has mode 711"), "{told}");
    open("home-operator/key-agent", 0o700);
    good(&process, "operator", &["operator", "list"]);
    drop(agent);
}

/// The passphrase is only in the file that this test made, and a private key nowhere in clear.
#[test]
fn passphrase_and_key_are_in_no_file_log_argument_or_environment() {
    // Given a key that was in clear, and is sealed
    let mut process = Process::init("trace");
    process.serve();
    let clear = fs::read_to_string(key_file(&process, "operator")).unwrap();
    let words = passphrase(&process, WORDS);
    let mut said = process.good(&["operator", "seal-key", "--passphrase-file", &words], b"");
    let line = clear.lines().nth(1).unwrap().as_bytes();
    let canaries: [(&str, &[u8]); 2] = [("passphrase", WORDS.as_bytes()), ("key", line)];
    // When the key agent uses it
    let agent = RunningAgent::start(&process, "operator", &words);
    said.extend(good(&process, "operator", &["-o", "json", "status"]).bytes());
    said.extend(good(&process, "operator", &["operator", "list"]).bytes());
    let pid = agent.pid();
    for file in ["cmdline", "environ"] {
        said.extend(fs::read(format!("/proc/{pid}/{file}")).unwrap());
    }
    // Then neither is in what was said, in files, or in the memory of the agent
    for (what, canary) in canaries {
        assert!(!holds(&said, canary), "{what}");
        assert!(!holds(process.log().as_bytes(), canary), "{what}");
        for dir in ["home-operator", "data"] {
            assert_eq!(sightings(&process.path(dir), canary), [""; 0], "{what}");
        }
        assert_eq!(in_memory(pid, canary), [""; 0], "{what}");
    }
    let status = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let cores = status.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert!(cores.split_whitespace().nth(4) == Some("0"), "{cores}");
    drop(agent);
}
