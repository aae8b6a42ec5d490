//! Programs that are handed tokens and secrets: `run`, and credential helpers.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::process::{KEYWARD, Process};
use crate::support::waiting::wait_until;

/// A broker with an agent `a` that may read `github/app`, and publish reports.
fn scene(value: &[u8]) -> Process {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(value);
    process
}

/// Runs `sh -c script` by `keyward run`, in a runtime directory of its own.
fn run(process: &Process, more: &[&str], script: &str) -> std::process::Output {
    let args = [&["run", "--capability", "github.repo.read"], more, &["--", "sh", "-c", script]].concat();
    // `--home` goes before what is the command's own.
    let mut command = Command::new(KEYWARD);
    command.arg("--home").arg(process.path("home-a")).args(args).env("XDG_RUNTIME_DIR", runtime(process));
    command.output().unwrap()
}

fn runtime(process: &Process) -> PathBuf {
    let dir = process.path("runtime");
    drop(fs::create_dir(&dir));
    dir
}

/// Waits until no token is left there.
fn gone(process: &Process) {
    for _ in 0..500 {
        if fs::read_dir(runtime(process)).unwrap().next().is_none() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("a token was left behind");
}

#[test]
fn a_command_gets_its_token_in_a_file_that_is_removed_when_it_ends() {
    let process = scene(b"value");
    let script = "stat -c '%a' \"$KEYWARD_TOKEN_FILE\" \"$(dirname \"$KEYWARD_TOKEN_FILE\")\"; cut -c1-2 \"$KEYWARD_TOKEN_FILE\"; exit 42";
    let ran = run(&process, &[], script);
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert_eq!(
        (ran.status.code(), said.as_str()),
        (Some(42), "600\n700\ney\n"),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    gone(&process);
    // In the environment only when that was asked for, and never among the arguments.
    let script = "t=$(cat \"$KEYWARD_TOKEN_FILE\"); env | grep -cF \"$t\"; tr '\\0' ' ' < /proc/$$/cmdline | grep -cF \"$t\"";
    let ran = run(&process, &[], script);
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "0\n0\n");
    let ran = run(
        &process,
        &["--env", "TOKEN"],
        "printf %s \"$TOKEN\" | cmp - \"$KEYWARD_TOKEN_FILE\" && echo same",
    );
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "same\n");
    gone(&process);
}

#[test]
fn the_command_replaces_the_process_and_has_no_foreign_children() {
    let process = scene(b"value");
    let mut command = Command::new(KEYWARD);
    command.arg("--home").arg(process.path("home-a")).env("XDG_RUNTIME_DIR", runtime(&process));
    command.args([
        "run",
        "--capability",
        "github.repo.read",
        "--",
        "sh",
        "-c",
        "echo $$; wait; echo done; exec sleep 60",
    ]);
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let mut said = String::new();
    let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    while !said.contains("done") {
        std::io::BufRead::read_line(&mut stdout, &mut said).unwrap();
    }
    assert_eq!(said, format!("{pid}\ndone\n"), "the same process, and nobody to wait for");
    assert_eq!(fs::read_dir(runtime(&process)).unwrap().count(), 1);
    // Killed so that nothing of its own can tidy up.
    child.kill().unwrap();
    child.wait().unwrap();
    gone(&process);
}

/// The processes whose arguments name the runtime directory: the companion alone.
fn companions(process: &Process) -> Vec<Pid> {
    let dir = runtime(process).display().to_string();
    let all = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let path = entry.unwrap().path();
        let pid: i32 = path.file_name()?.to_str()?.parse().ok()?;
        let args = String::from_utf8_lossy(&fs::read(path.join("cmdline")).ok()?).into_owned();
        (args.contains(&dir) && args.contains("--second")).then(|| Pid::from_raw(pid).unwrap())
    });
    all.collect()
}

#[test]
fn a_signal_to_the_command_and_its_companion_leaves_no_token() {
    let process = scene(b"value");
    let mut child = start(&process);
    let companions = companions(&process);
    assert_eq!(companions.len(), 1);
    // The companion first, as a service manager may do it.
    for pid in companions.into_iter().chain(Pid::from_raw(child.id().cast_signed())) {
        kill_process(pid, Signal::TERM).unwrap();
    }
    child.wait().unwrap();
    gone(&process);
}

#[test]
fn what_cannot_be_run_leaves_nothing_behind() {
    let process = scene(b"value");
    let mut command = Command::new(KEYWARD);
    command.arg("--home").arg(process.path("home-a")).env("XDG_RUNTIME_DIR", runtime(&process));
    let ran =
        command.args(["run", "--capability", "github.repo.read", "--", "/no/such/command"]).output().unwrap();
    assert_eq!(ran.status.code(), Some(127));
    assert!(String::from_utf8_lossy(&ran.stderr).contains("command_failed"));
    gone(&process);
    let mut command = Command::new(KEYWARD);
    command.arg("--home").arg(process.path("home-a")).env("XDG_RUNTIME_DIR", runtime(&process));
    let refused = command.args(["run", "--capability", "reports.publish", "--", "true"]).output().unwrap();
    assert_ne!(refused.status.code(), Some(0), "not granted");
    gone(&process);
}

/// Starts `keyward run` with a token, and waits until the command says `ready`.
fn start(process: &Process) -> Child {
    let mut command = Command::new(KEYWARD);
    command.arg("--home").arg(process.path("home-a")).env("XDG_RUNTIME_DIR", runtime(process));
    command.args(["run", "--capability", "github.repo.read", "--", "sh", "-c", "echo ready; exec sleep 60"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut stdout, &mut said).unwrap();
    assert_eq!(said, "ready\n");
    child
}

#[test]
fn a_renewed_certificate_brings_a_new_token_at_once() {
    // Given a command with a token that is bound to the agent's certificate
    let process = scene(b"value");
    let mut child = start(&process);
    let dir = fs::read_dir(runtime(&process)).unwrap().next().unwrap().unwrap().path();
    let token = dir.join("token").display().to_string();
    let is_bound = || {
        let shown = process.run_as("a", &["token", "show", "--file", &token, "-o", "json"], b"");
        let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
        shown["bound_to_this_machine"] == true
    };
    assert!(is_bound());
    let first = fs::read(&token).unwrap();
    // When another process renews the certificate, long before the token is due
    process.good_as("a", &["renew"], b"");
    // Then the file has a token for the new certificate
    wait_until(|| fs::read(&token).is_ok_and(|now| now != first));
    assert!(is_bound());
    child.kill().unwrap();
    child.wait().unwrap();
    gone(&process);
}

#[test]
fn a_file_that_cannot_be_written_costs_no_code_and_no_read() {
    // Given a file that exists, and a directory that does not
    let process = scene(b"value");
    let (taken, absent) = (process.path("taken"), process.path("no/code"));
    fs::write(&taken, "before").unwrap();
    let count = |kind: &str| {
        process.json(&["audit", "list", "--oldest-first", "--limit", "500"]).to_string().matches(kind).count()
    };
    let kinds = ["agent.invited", "operator.invited", "secret.revealed"];
    let before = kinds.map(count);
    let (invite, operator) = (["agent", "invite", "a"], ["operator", "invite", "bob", "--role", "auditor"]);
    for (file, problem) in [(&taken, "exists and was not overwritten; "), (&absent, "cannot be used: ")] {
        // When a code or a secret is to be written there, then the file is named, and the broker was not asked
        let out = ["--out", &file.display().to_string()].map(str::to_owned);
        let refused = |who: &str, args: &[&str], nothing: &str| {
            let args: Vec<&str> = args.iter().copied().chain(out.iter().map(String::as_str)).collect();
            let ran = process.run_as(who, &args, b"");
            let said = String::from_utf8_lossy(&ran.stderr).into_owned();
            assert!(ran.status.code() == Some(1) && said.contains("file_unusable"), "{args:?}: {said}");
            assert!(said.contains(problem) && said.contains(nothing), "{args:?}: {said}");
        };
        refused("operator", &invite, "; no code was made");
        refused("operator", &operator, "; no code was made");
        refused("a", &["get", "github/app"], "; the secret was not read");
    }
    assert_eq!(kinds.map(count), before);
    assert_eq!(fs::read(&taken).unwrap(), b"before");
    // When the broker refuses, then no empty file stays
    let out = process.path("new");
    let path = out.display().to_string();
    let refused =
        process.run_as("operator", &["agent", "invite", "b", "--role", "none", "--out", &path], b"");
    assert!(!refused.status.success() && !out.exists());
    process.good(&["agent", "invite", "a", "--out", &path], b"");
    assert!(fs::read(&out).unwrap().ends_with(b"\n"));
    // When a code is written to a file, then the next command on the other machine names this file
    let codes = ["of-agent", "of-operator"].map(|name| process.path(name).display().to_string());
    for (args, said) in [
        (
            ["agent", "invite", "a", "--out", &codes[0]],
            "agent's machine: `keyward join --code-file of-agent`",
        ),
        (
            ["operator", "invite", "admin", "--out", &codes[1]],
            "operator's machine: `keyward join --code-file of-operator`",
        ),
    ] {
        let invited = process.run_as("operator", &args, b"");
        let told = String::from_utf8_lossy(&[invited.stdout, invited.stderr].concat()).into_owned();
        assert!(invited.status.success() && told.contains(said), "{told}");
    }
}

/// A terminal: the keys that are pressed there are the command's, its size too, and so is the exit code.
#[test]
fn at_a_terminal_keys_signals_and_size_are_the_commands_own() {
    let process = scene(b"value");
    let script = process.path("terminal.py");
    fs::write(&script, PTY).unwrap();
    let python = std::env::var("KEYWARD_TEST_PYTHON").expect("scripts/test says where");
    let home = process.path("home-a").display().to_string();
    let mut command = Command::new(python);
    command.arg(&script).args([KEYWARD, &home]).env("XDG_RUNTIME_DIR", runtime(&process));
    let ran = command.output().unwrap();
    assert!(
        ran.status.success(),
        "{}{}",
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr)
    );
    gone(&process);
}

const PTY: &str = r#"
import fcntl, os, pty, signal, struct, sys, termios
keyward, home = sys.argv[1:]
def start(script):
    pid, fd = pty.fork()
    if pid == 0:
        # A test run in the background ignores the signal, and the process would inherit that.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.execv(keyward, [keyward, "--home", home, "run", "--capability", "github.repo.read", "--", "sh", "-c", script])
    return pid, fd
def until(fd, text):
    said = b""
    while text not in said:
        try:
            part = os.read(fd, 1024)
        except OSError:
            break
        if not part: break
        said += part
    assert text in said, said
    return said
pid, fd = start("stty size; echo ready; exec sleep 60")
fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
until(fd, b"ready")
os.write(fd, b"\x03")
_, status = os.waitpid(pid, 0)
assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == 2, status
pid, fd = start("trap 'stty size; exit 7' WINCH; echo ready; while :; do sleep 0.05; done")
until(fd, b"ready")
fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
until(fd, b"33 77")
_, status = os.waitpid(pid, 0)
assert os.WEXITSTATUS(status) == 7, status
pid, fd = start("echo ready; read line; echo got $line; test -t 0 && test -t 1 && exit 5")
until(fd, b"ready")
os.write(fd, b"hello\n")
until(fd, b"got hello")
_, status = os.waitpid(pid, 0)
assert os.WEXITSTATUS(status) == 5, status
"#;

#[test]
fn git_takes_its_password_from_the_helper() {
    let process = scene(b"{\"username\":\"bot\",\"password\":\"CNRY-git\"}");
    let home = process.path("home-a").display().to_string();
    let helper = format!("!{KEYWARD} --home {home} get github/app --format git");
    let mut git = Command::new("git");
    git.args([
        "-c",
        "credential.helper=",
        "-c",
        &format!("credential.helper={helper}"),
        "credential",
        "fill",
    ]);
    git.env("GIT_TERMINAL_PROMPT", "0")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped());
    let mut child = git.spawn().expect("git is installed by scripts/test");
    let mut stdin = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, b"protocol=https\nhost=github.com\n\n").unwrap();
    drop(stdin);
    let said = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    assert!(said.contains("username=bot\n") && said.contains("password=CNRY-git\n"), "{said}");
    for passed_over in ["store", "erase"] {
        let done = process.run_as("a", &["get", "github/app", "--format", "git", passed_over], b"x=y\n\n");
        assert!(done.status.success() && done.stdout.is_empty());
    }
}

const DOCKER: [&str; 6] = ["get", "github/app", "--format", "docker", "--server", "r.example"];

#[test]
fn a_helper_answers_for_the_declared_server_alone() {
    let process = scene(b"{\"username\":\"bot\",\"password\":\"CNRY-p\"}");
    let docker = |operation: &str, server: &str| {
        let done = process.run_as("a", &[&DOCKER[..], &[operation]].concat(), server.as_bytes());
        (done.status.code(), String::from_utf8(done.stdout).unwrap())
    };
    for server in ["r.example", "https://r.example/\n"] {
        let (exit, said) = docker("get", server);
        assert!(exit == Some(0) && said.contains("CNRY-p"), "{said}");
    }
    for server in ["evil.example", "r.example.evil", "http://r.example", ""] {
        let none = "credentials not found in native keychain\n".to_owned();
        assert_eq!(docker("get", server), (Some(1), none), "{server}");
    }
    assert_eq!(docker("list", "unused"), (Some(0), "{\"r.example\":\"bot\"}\n".to_owned()));
    let without = process.run_as("a", &["get", "github/app", "--format", "docker", "get"], b"r.example");
    assert!(without.status.code() == Some(2) && without.stdout.is_empty(), "no server is declared");
    let list = process.run_as("a", &["get", "github/app", "--format", "docker", "list"], b"");
    assert_eq!((list.status.code(), list.stdout.as_slice()), (Some(0), &b"{}\n"[..]), "it has none");
    let git = |host: &str| {
        let args = ["get", "github/app", "--format", "git", "--server", "https://github.com", "get"];
        process.run_as("a", &args, format!("protocol=https\nhost={host}\n\n").as_bytes())
    };
    assert!(git("github.com").status.success());
    let other = git("evil.example");
    assert!(!other.status.success() && other.stdout.is_empty());
    assert!(String::from_utf8_lossy(&other.stderr).contains("server_not_declared"));
}

#[test]
fn a_helper_asks_for_a_token_once_and_again_when_it_was_ended() {
    let process = scene(b"{\"username\":\"bot\",\"password\":\"p\"}");
    let minted = || {
        process.json(&["audit", "list", "--oldest-first", "--limit", "500"])["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|item| item["kind"] == "token.minted")
            .count()
    };
    let get = || process.run_as("a", &[&DOCKER[..], &["get"]].concat(), b"https://r.example");
    for _ in 0..3 {
        let said: Value = serde_json::from_slice(&get().stdout).unwrap();
        assert_eq!((&said["ServerURL"], &said["Secret"]), (&"https://r.example".into(), &"p".into()));
    }
    assert_eq!(minted(), 1, "kept between processes");
    let kept = fs::read_dir(process.path("home-a/tokens")).unwrap().next().unwrap().unwrap();
    assert_eq!(kept.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let answer: Value = serde_json::from_slice(&fs::read(kept.path()).unwrap()).unwrap();
    process.good(&["token", "revoke", answer["answer"]["token_id"].as_str().unwrap()], b"");
    assert!(get().status.success(), "with another token");
    assert_eq!(minted(), 2);
    let refused = process.run_as("a", &["get", "github/app", "--format", "aws"], b"");
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("value_format_mismatch"));
}

#[test]
fn a_kept_token_is_given_again_while_it_has_time_left() {
    let process = scene(b"value");
    let token = |more: &[&str]| {
        let args = [&["token", "github.repo.read", "--cached"], more].concat();
        String::from_utf8(process.good_as("a", &args, b"")).unwrap()
    };
    let first = token(&[]);
    assert_eq!(token(&[]), first);
    assert_ne!(token(&["--min-ttl", "300s"]), first, "that one has less than it had at first");
    process.run_as("a", &["renew"], b"");
    let renewed = token(&[]);
    assert_ne!(renewed, first, "another certificate");
    let refused = process.run_as("a", &["token", "github.repo.read", "--cached", "--min-ttl", "301s"], b"");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("lifetime_too_short"));
}
