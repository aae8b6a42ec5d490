//! `run` with secrets in the environment and files from templates, through changes and outages.

mod changes;
mod templates;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

pub(crate) use changes::TWO;

use crate::sealing::entries;
use crate::support::process::{KEYWARD, Process};
use crate::support::waiting::wait_until;

/// A broker with an agent `a` that may read `github/app`.
fn scene(value: &[u8]) -> Process {
    let mut process = Process::init("warn");
    process.configure("[certificates]\nagent_life_s = 3600\n");
    process.serve();
    process.set_up(value);
    fs::create_dir(process.path("runtime")).unwrap();
    process
}

fn command(process: &Process, options: &[&str], script: &str) -> Command {
    let mut command = Command::new(KEYWARD);
    command.arg("--home").arg(process.path("home-a")).arg("run").args(options);
    command.args(["--", "sh", "-c", script]).current_dir(process.path(""));
    command.env("XDG_RUNTIME_DIR", process.path("runtime")).stdin(Stdio::null());
    command.envs(process.environment.iter().map(|(name, value)| (name, value)));
    command
}

fn run(process: &Process, options: &[&str], script: &str) -> Output {
    command(process, options, script).output().unwrap()
}

/// The same command, where a hang-up ends it: `nohup cargo test` ignores hang-ups, a shell cannot trap what was ignored
/// before, and `run` keeps it so.
fn with_hangups(command: &Command) -> Command {
    let mut wrapped = Command::new("env");
    wrapped.arg("--default-signal=HUP").arg(command.get_program()).args(command.get_args());
    wrapped.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.get_current_dir().map(|dir| wrapped.current_dir(dir));
    wrapped
}

/// Starts a command and waits for its first line; what it says on standard error goes to the file `said`.
fn start(process: &Process, options: &[&str], script: &str) -> Child {
    let said = fs::File::create(process.path("said")).unwrap();
    let mut command = with_hangups(&command(process, options, script));
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(said).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n", "{}", said_in(process));
    child
}

fn said_in(process: &Process) -> String {
    fs::read_to_string(process.path("said")).unwrap_or_default()
}

fn end(mut child: Child) {
    kill_process(Pid::from_raw(child.id().cast_signed()).unwrap(), Signal::TERM).unwrap();
    child.wait().unwrap();
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_command_gets_secrets_in_its_environment_and_nowhere_else() {
    let process = scene(b"{\"user\":\"u\",\"password\":\"CNRY-p\"}");
    let options = ["--secret", "WHOLE=github/app", "--secret", "PASSWORD=github/app#password"];
    // The command's own arguments and the files that it can find do not contain the value.
    let script = "echo \"$PASSWORD\"; echo \"$WHOLE\" | cut -c1-9; tr '\\0' ' ' < /proc/$$/cmdline | grep -cF \"$PASSWORD\"; exit 3";
    let ran = run(&process, &options, script);
    assert_eq!(
        (ran.status.code(), text(&ran.stdout).as_str()),
        (Some(3), "CNRY-p\n{\"user\":\"\n0\n"),
        "{}",
        text(&ran.stderr)
    );
    assert_eq!(fs::read_dir(process.path("runtime")).unwrap().count(), 0, "no token, no companion");
    let entries = process.json(&["audit", "list", "--oldest-first", "--limit", "500"]).to_string();
    assert!(!entries.contains("CNRY") && !process.log().contains("CNRY"));
}

#[test]
fn refused_get_is_recorded_by_the_broker() {
    // Given a secret that no capability of the agent delivers
    let process = scene(b"value");
    process.good(&["secret", "put", "other/app"], b"value");
    // When the agent reads it, then the broker refuses and records it
    let refused = process.run_as("a", &["get", "other/app"], b"");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(5) && said.contains("secret_not_granted"), "{said}");
    let denied = entries(&process, &["request.denied"]);
    assert_eq!((denied.len(), &denied[0]["event"]["secret"]), (1, &"other/app".into()), "{denied:?}");
}

#[test]
fn what_run_cannot_do_is_said_before_the_command_starts() {
    let process = scene(b"CNRY\0value");
    fs::write(process.path("bad.tmpl"), "\n{{ secert(\"github/app\") }}").unwrap();
    fs::write(process.path("unknown.tmpl"), "{{ secret(\"no/such\") }}").unwrap();
    fs::write(process.path("good.tmpl"), "{{ secret(\"github/app\") }}").unwrap();
    for (options, exit, parts) in [
        (&[][..], 2, &["there is nothing to give to the command", "--secret VARIABLE=NAME"][..]),
        (&["--secret", "github/app"], 2, &["needs a variable and the name of a secret"]),
        (&["--secret", "V=No/Such"], 2, &["`--secret V=…` does not name a secret"]),
        (&["--secret", "V=no/such"], 5, &["secret_not_granted", "`no/such`", "keyward whoami"]),
        (&["--secret", "V=github/app"], 1, &["value_format_mismatch", "NUL byte"]),
        (&["--secret", "V=github/app#user"], 1, &["value_format_mismatch", "is not a JSON object"]),
        (&["--secret", "PATH=github/app"], 2, &["`PATH` decides which code the command runs"]),
        (&["--secret", "LD_PRELOAD=github/app"], 2, &["`LD_PRELOAD` decides which code"]),
        (&["--capability", "github.repo.read", "--env", "LD_AUDIT"], 2, &["`LD_AUDIT` decides which code"]),
        (
            &["--capability", "github.repo.read", "--capability", "no.such"],
            5,
            &["capability_not_granted", "would be without `no.such`", "was not started"],
        ),
        (&["--template", "bad.tmpl:out"], 2, &["template_invalid", "bad.tmpl:2", "secert is unknown"]),
        (&["--template", "unknown.tmpl:out"], 5, &["secret_not_granted", "`no/such`"]),
        (&["--template", "absent.tmpl:out"], 1, &["file_unusable", "absent.tmpl"]),
        (&["--template", "good.tmpl:no/dir/out"], 1, &["file_unusable", "no/dir/out"]),
        (&["--template", "good.tmpl:runtime"], 1, &["file_unusable", "`runtime` is a directory"]),
        (&["--template", "good.tmpl"], 2, &["one colon"]),
        (&["--template", "good.tmpl:good.tmpl"], 2, &["is a template, and would be replaced"]),
        (&["--template", "good.tmpl:./good.tmpl"], 2, &["is a template, and would be replaced"]),
        (
            &["--template", "good.tmpl:out", "--template", "bad.tmpl:./out"],
            2,
            &["two templates are for the file"],
        ),
        (&["--capability", "github.repo.read", "--on-change", "hup"], 2, &["the command gets none"]),
    ] {
        let ran = run(&process, options, "echo started");
        let said = text(&ran.stderr);
        assert_eq!(ran.status.code(), Some(exit), "{options:?}: {said}");
        assert!(parts.iter().all(|part| said.contains(part)), "{options:?}: {said}");
        assert!(ran.stdout.is_empty() && !said.contains("CNRY"), "{options:?}: {said}");
    }
    // A command that cannot be started leaves nothing.
    let options = ["--template", "good.tmpl:out", "--remove-files"];
    let mut command = command(&process, &options, "true");
    let args: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    command = Command::new(KEYWARD);
    command.args(&args[..args.len() - 3]).arg("/no/such/command").current_dir(process.path(""));
    let ran = command.env("XDG_RUNTIME_DIR", process.path("runtime")).output().unwrap();
    assert!(text(&ran.stderr).contains("`/no/such/command` cannot be run"), "{}", text(&ran.stderr));
    assert_eq!(ran.status.code(), Some(127));
    wait_until(|| !process.path("out").exists());
    // A file that is no program has the exit code of shells for it.
    let mut command = Command::new(KEYWARD);
    command.args(&args[..args.len() - 3]).arg(process.path("good.tmpl")).current_dir(process.path(""));
    let ran = command.env("XDG_RUNTIME_DIR", process.path("runtime")).output().unwrap();
    assert_eq!(ran.status.code(), Some(126), "{}", text(&ran.stderr));
    wait_until(|| !process.path("out").exists());
}
