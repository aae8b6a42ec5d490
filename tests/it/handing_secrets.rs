//! `run` with secrets in the environment and files from templates, through changes and outages.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use keyward::base::Stopwatch;
use rustix::process::{Pid, Signal, kill_process};

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
fn a_file_from_a_template_is_private_and_whole() {
    let process = scene(b"CNRY\"v");
    fs::write(process.path("app.tmpl"), "a = {{ secret(\"github/app\") | tojson }}\n").unwrap();
    let options = ["--template", "app.tmpl:app.conf", "--remove-files"];
    let ran = run(&process, &options, "stat -c %a app.conf; cat app.conf; ls | grep -c 'app.conf.'");
    assert_eq!(text(&ran.stdout), "600\na = \"CNRY\\\"v\"\n0\n", "{}", text(&ran.stderr));
    wait_until(|| !process.path("app.conf").exists());
    // Without the option the file stays.
    let ran = run(&process, &options[..2], "true");
    assert!(ran.status.success() && process.path("app.conf").exists(), "{}", text(&ran.stderr));
    let mode = fs::metadata(process.path("app.conf")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_changed_secret_reaches_the_file_and_the_command_hears_of_it() {
    let process = scene(b"first");
    fs::write(process.path("app.tmpl"), "{{ secret(\"github/app\") }}").unwrap();
    let options = [
        "--template",
        "app.tmpl:app.conf",
        "--secret",
        "V=github/app",
        "--on-change",
        "hup",
        "--check-every",
        "1s",
    ];
    let script = "trap 'cat app.conf > heard' HUP; echo ready; while :; do sleep 0.05; done";
    let child = start(&process, &options, script);
    let reads = || {
        process
            .json(&["audit", "list", "--oldest-first", "--limit", "500"])
            .to_string()
            .matches("secret.revealed")
            .count()
    };
    assert_eq!(fs::read_to_string(process.path("app.conf")).unwrap(), "first");
    let before = reads();
    process.good(&["secret", "put", "github/app"], b"second");
    wait_until(|| fs::read(process.path("heard")).is_ok_and(|heard| heard == b"second"));
    assert_eq!(fs::read_to_string(process.path("app.conf")).unwrap(), "second");
    assert_eq!(reads(), before + 1, "a look at the version reads no secret");
    let said = said_in(&process);
    assert!(
        said.contains("keyward run: changed: github/app (version 2); files written; signal sent: hup"),
        "{said}"
    );
    end(child);
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
    wait_until(|| !process.path("out").exists());
}

/// Longest time until a client is back after the broker.
const BACK_WITHIN: Duration = Duration::from_secs(10);

#[test]
fn run_says_that_it_waits_and_is_back_within_ten_seconds() {
    let mut process = scene(b"value");
    // A token of ten seconds.
    let text = fs::read_to_string(process.path("a.toml")).unwrap();
    fs::write(process.path("short.toml"), shortened(&text)).unwrap();
    process.good(&["apply", "-f", &process.path("short.toml").display().to_string()], b"");
    let script = "echo ready; echo \"$KEYWARD_TOKEN_FILE\" > where; exec sleep 600";
    let child = start(&process, &["--capability", "github.repo.read"], script);
    wait_until(|| fs::read_to_string(process.path("where")).is_ok_and(|path| path.ends_with('\n')));
    let token = PathBuf::from(fs::read_to_string(process.path("where")).unwrap().trim());
    let first = fs::read_to_string(&token).unwrap();
    // When the broker stops, then the first failure is told at once, and no dead token stays in the file
    process.stop();
    wait_until(|| said_in(&process).contains("keyward run: the credentials cannot be renewed: "));
    let said = said_in(&process);
    assert!(
        said.contains("broker_unreachable") && said.contains("the present token is valid for another"),
        "{said}"
    );
    wait_until(|| !token.exists());
    wait_until(|| said_in(&process).contains("the token has expired; its file is removed"));
    assert_eq!(
        said_in(&process).matches("cannot be renewed").count(),
        1,
        "once a minute: {}",
        said_in(&process)
    );
    // When the broker returns, then there is a new token within ten seconds
    process.serve();
    let returned = Stopwatch::start();
    wait_until(|| token.exists());
    assert!(returned.elapsed() < BACK_WITHIN, "{:?}", returned.elapsed());
    assert_ne!(fs::read_to_string(&token).unwrap(), first);
    wait_until(|| said_in(&process).contains("the credentials are up to date again after "));
    end(child);
    wait_until(|| !token.exists());
}

/// The declarations with the shortest life of a token.
fn shortened(declarations: &str) -> String {
    let lines = declarations.lines().map(|line| {
        if line.starts_with("max_life_s") { "max_life_s = 10".to_owned() } else { line.to_owned() }
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn renew_watch_is_back_within_ten_seconds() {
    let mut process = scene(b"value");
    let certificate = process.path("home-a/agent/certificate.pem");
    let before = fs::read(&certificate).unwrap();
    // Given a certificate whose renewal is due, and a broker that is away
    let environment = process.clock_in("clock");
    process.set_clock("clock", 0);
    process.stop();
    let ahead_s = due_after_s(&process);
    process.set_clock("clock", ahead_s);
    let mut watch = process.command("a", &["renew", "--watch"]);
    let said = fs::File::create(process.path("said")).unwrap();
    let mut watch = watch.envs(environment.clone()).stdout(Stdio::null()).stderr(said).spawn().unwrap();
    wait_until(|| said_in(&process).contains("broker_unreachable"));
    // When it returns, with the same clock, then the certificate is renewed within ten seconds
    process.broker_environment = environment;
    process.environment = process.broker_environment.clone();
    process.serve();
    let returned = Stopwatch::start();
    wait_until(|| fs::read(&certificate).is_ok_and(|now| now != before));
    assert!(returned.elapsed() < BACK_WITHIN, "{:?}", returned.elapsed());
    wait_until(|| said_in(&process).contains("the renewal succeeds again after"));
    assert_eq!(said_in(&process).matches("error: broker_unreachable").count(), 1, "{}", said_in(&process));
    watch.kill().unwrap();
    watch.wait().unwrap();
}

/// Seven tenths of the life of the agent's certificate: it is due, and valid.
fn due_after_s(process: &Process) -> i64 {
    use keyward::cli::{Identity, IdentityKind};
    use keyward::pki::PeerCertificate;
    let identity = Identity::load(&process.path("home-a"), IdentityKind::Agent).unwrap();
    let der = pem::parse(&identity.certificate_pem).unwrap();
    let certificate = PeerCertificate::parse(der.contents()).unwrap();
    certificate.not_after().seconds_since(certificate.not_before()) * 7 / 10
}

#[test]
fn a_signal_in_the_middle_leaves_no_file() {
    let process = scene(b"value");
    fs::write(process.path("app.tmpl"), "{{ secret(\"github/app\") }}").unwrap();
    let options = ["--template", "app.tmpl:app.conf", "--remove-files", "--capability", "github.repo.read"];
    for is_running in [true, false, true, false] {
        let mut child = command(&process, &options, "sleep 600").stderr(Stdio::piped()).spawn().unwrap();
        let pid = Pid::from_raw(child.id().cast_signed()).unwrap();
        if is_running {
            wait_until(|| process.path("app.conf").exists());
            kill_process(pid, Signal::TERM).unwrap();
            child.wait().unwrap();
        } else {
            // Again and again, from before the credentials are fetched.
            wait_until(|| kill_process(pid, Signal::TERM).is_err() || child.try_wait().unwrap().is_some());
        }
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        wait_until(|| !process.path("app.conf").exists());
        wait_until(|| fs::read_dir(process.path("runtime")).unwrap().next().is_none());
    }
}

pub(crate) const TWO: &str = r#"
[[capability]]
name = "one.read"
access = "read"
delivery = "reveal"
secret = "one/a"
max_life_s = 60

[[capability]]
name = "two.read"
access = "read"
delivery = "reveal"
secret = "two/b"
max_life_s = 60

[[capability]]
name = "reports.read"
access = "read"
delivery = "mint"
audience = "https://reports.example.com"
max_life_s = 10

[[role]]
name = "both"
capabilities = ["one.read", "reports.read", "two.read"]
"#;

#[test]
fn a_refused_secret_stops_neither_the_token_nor_another_secret() {
    // Given a command with a token and two secrets
    let mut process = Process::init("warn");
    process.serve();
    for secret in ["one/a", "two/b"] {
        process.good(&["secret", "put", secret], b"first");
    }
    let declare = |text: &str| {
        fs::write(process.path("two.toml"), text).unwrap();
        process.good(&["apply", "-f", &process.path("two.toml").display().to_string()], b"");
    };
    declare(TWO);
    process.enrol("a", "both");
    fs::create_dir(process.path("runtime")).unwrap();
    for (name, secret) in [("one", "one/a"), ("two", "two/b")] {
        fs::write(process.path(&format!("{name}.tmpl")), format!("{{{{ secret(\"{secret}\") }}}}")).unwrap();
    }
    let options = ["--template", "one.tmpl:one", "--template", "two.tmpl:two", "--check-every", "1s"];
    let options = [&options[..], &["--capability", "reports.read"]].concat();
    let script = "echo ready; echo \"$KEYWARD_TOKEN_FILE\" > where; exec sleep 600";
    let child = start(&process, &options, script);
    wait_until(|| fs::read_to_string(process.path("where")).is_ok_and(|path| path.ends_with('\n')));
    let token = PathBuf::from(fs::read_to_string(process.path("where")).unwrap().trim());
    let first = fs::read_to_string(&token).unwrap();
    // When the agent may no longer read one of the secrets
    declare(&TWO.replace("[\"one.read\", ", "["));
    wait_until(|| said_in(&process).contains("secret `one/a` cannot be read any more"));
    // Then the other secret and the token are renewed, and the refusal is told once
    process.good(&["secret", "put", "two/b"], b"second");
    wait_until(|| fs::read(process.path("two")).is_ok_and(|text| text == b"second"));
    wait_until(|| fs::read_to_string(&token).is_ok_and(|now| now != first));
    assert_eq!(fs::read(process.path("one")).unwrap(), b"first");
    let said = said_in(&process);
    assert_eq!(said.matches("cannot be read any more").count(), 1, "{said}");
    declare(TWO);
    wait_until(|| said_in(&process).contains("secret `one/a` can be read again"));
    end(child);
}

#[test]
fn a_command_removes_no_file_of_another_one() {
    let process = scene(b"value");
    fs::write(process.path("app.tmpl"), "{{ secret(\"github/app\") }}").unwrap();
    // A file with the same text that others can read is replaced.
    fs::write(process.path("app.conf"), "value").unwrap();
    fs::set_permissions(process.path("app.conf"), fs::Permissions::from_mode(0o644)).unwrap();
    let options = ["--template", "app.tmpl:app.conf", "--remove-files"];
    let script = "echo ready; exec sleep 600";
    let one = start(
        &process,
        &[&options[..], &["--overwrite", "--capability", "github.repo.read"]].concat(),
        script,
    );
    let mode = fs::metadata(process.path("app.conf")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let other = start(&process, &options, script);
    end(one);
    wait_until(|| fs::read_dir(process.path("runtime")).unwrap().next().is_none());
    assert_eq!(fs::read(process.path("app.conf")).unwrap(), b"value", "the other command's");
    end(other);
    wait_until(|| !process.path("app.conf").exists());
}

#[test]
fn swapped_names_of_a_template_destroy_no_file() {
    // Given a template and files of the user
    let process = scene(b"CNRY-value");
    let texts = [
        ("app.tmpl", "{{ secret(\"github/app\") }}\n"),
        ("other.tmpl", "a = {{- secret('github/app') }}\n"),
        ("precious.conf", "precious\n"),
    ];
    for (name, text) in texts {
        fs::write(process.path(name), text).unwrap();
    }
    // When a start would replace one of them
    for (pair, more, parts) in [
        (
            "precious.conf:new.conf",
            &[][..],
            &["template_invalid", "`precious.conf` has no `{{ secret(\"NAME\") }}`"],
        ),
        ("precious.conf:app.tmpl", &[], &["`app.tmpl` has `{{ secret(…) }}`", "names the template first"]),
        ("app.tmpl:other.tmpl", &[], &["`other.tmpl` has `{{ secret(…) }}`", "names the template first"]),
        ("app.tmpl:other.tmpl", &["--overwrite"], &["it is a template", "names the template first"]),
        ("app.tmpl:precious.conf", &["--remove-files"], &["has not written it", "`--overwrite`"]),
        ("app.tmpl:/dev/null", &["--overwrite"], &["`/dev/null` is not a regular file", "would be replaced"]),
    ] {
        let ran = run(&process, &[&["--template", pair][..], more].concat(), "echo started");
        let said = text(&ran.stderr);
        // Then the command is not started, and no file has changed
        assert_eq!((ran.status.code(), ran.stdout.len()), (Some(2), 0), "{pair}: {said}");
        assert!(parts.iter().all(|part| said.contains(part)), "{pair}: {said}");
        for (name, text) in texts {
            assert_eq!(fs::read_to_string(process.path(name)).unwrap(), text, "{pair}: {name}");
        }
    }
    // When the file may be replaced, then it is, and each further start may replace its own file
    let pair = ["--template", "app.tmpl:precious.conf"];
    for more in [&["--overwrite"][..], &[], &["--remove-files"]] {
        let ran = run(&process, &[&pair[..], more].concat(), "cat precious.conf");
        assert_eq!(text(&ran.stdout), "CNRY-value\n", "{more:?}: {}", text(&ran.stderr));
    }
    wait_until(|| !process.path("precious.conf").exists());
    // A file of the user in its place is not
    assert!(run(&process, &pair, "true").status.success(), "nothing is there");
    fs::write(process.path("new"), "precious again").unwrap();
    fs::rename(process.path("new"), process.path("precious.conf")).unwrap();
    let ran = run(&process, &pair, "true");
    assert_eq!(ran.status.code(), Some(2), "{}", text(&ran.stderr));
    assert_eq!(fs::read_to_string(process.path("precious.conf")).unwrap(), "precious again");
    // An empty file has nothing to lose
    fs::write(process.path("empty"), "").unwrap();
    assert!(run(&process, &["--template", "app.tmpl:empty"], "true").status.success());
}
