//! A command whose secrets, token or broker change while it runs.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use keyward::base::Stopwatch;

use super::{end, said_in, scene, start};
use crate::support::process::Process;
use crate::support::waiting::wait_until;

/// Longest time until a client is back after the broker.
const BACK_WITHIN: Duration = Duration::from_secs(10);

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

#[test]
fn renew_watch_ends_with_its_standard_input_where_that_is_asked_for() {
    let process = scene(b"value");
    let mut watch = process.command("a", &["renew", "--watch", "--until-stdin-ends"]);
    let mut watch = watch.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let input = watch.stdin.take().unwrap();
    assert!(watch.try_wait().unwrap().is_none());
    drop(input);
    wait_until(|| watch.try_wait().unwrap().is_some_and(|ended| ended.success()));
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
        process.good(&["apply", "--widen", "-f", &process.path("two.toml").display().to_string()], b"");
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
