//! The examples of resource servers, run as the pages say: each takes the holder's token and nobody
//! else's; the one that introspects learns of a revocation at the next request.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use keyward::base::Stopwatch;
use rustix::process::{Pid, Signal, kill_process};

use crate::interop::{python, python_path};
use crate::panel::{AUDIENCE, held, issuer, node_home, set_up};
use crate::support::impostor::{authority, pem};
use crate::support::openssl;
use crate::support::ports::free_port;
use crate::support::process::{KEYWARD, Process};
use crate::support::waiting::wait_until;

/// A resource server that runs, and the broker behind it.
struct Bed {
    process: Process,
    server: Child,
    port: u16,
}

impl Drop for Bed {
    fn drop(&mut self) {
        if self.server.try_wait().unwrap().is_some() {
            return;
        }
        // Not SIGKILL: nginx has to end its workers.
        let pid = Pid::from_raw(self.server.id().cast_signed()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        self.server.wait().unwrap();
    }
}

fn examples() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/examples")
}

impl Bed {
    /// Starts what `command` makes of the broker, the port and the directory with the server's own
    /// certificate, and waits until it listens.
    fn start(command: impl FnOnce(&Process, u16) -> Command) -> Self {
        let process = set_up();
        let port = free_port();
        let path = |name: &str| process.path(name).display().to_string();
        let made = openssl::run(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-subj",
            "/CN=reports",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-days",
            "1",
            "-keyout",
            &path("server.key"),
            "-out",
            &path("server.pem"),
        ]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        fs::copy(held(&process, "p", "authority"), process.path("authority.pem")).unwrap();
        let log = fs::File::create(process.path("server.log")).unwrap();
        let mut command = command(&process, port);
        let server = command.current_dir(process.path("")).stdin(Stdio::null()).stderr(log).spawn().unwrap();
        let mut bed = Self { process, server, port };
        wait_until(|| {
            let ended = bed.server.try_wait().unwrap();
            assert!(ended.is_none(), "{}", fs::read_to_string(bed.process.path("server.log")).unwrap());
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        bed
    }

    fn token(&self, who: &str, capability: &str) -> String {
        let token = self.process.good_as(who, &["token", capability], b"");
        String::from_utf8(token).unwrap().trim().to_owned()
    }

    /// The status, and what was said, when `who` asks with `token`.
    fn ask(&self, who: &str, token: Option<&str>) -> (String, String) {
        self.ask_saying(who, token, &[])
    }

    /// The same, with more fields in the header.
    fn ask_saying(&self, who: &str, token: Option<&str>, fields: &[String]) -> (String, String) {
        let mut command = Command::new("curl");
        command.args(fields.iter().flat_map(|field| ["-H", field]));
        command.args(["-sS", "-i", "--cacert"]).arg(self.process.path("server.pem"));
        command.args(["--cert", &held(&self.process, who, "certificate")]);
        command.args(["--key", &held(&self.process, who, "key")]);
        if let Some(token) = token {
            command.args(["-H", &format!("Authorization: Bearer {token}")]);
        }
        let output = command.arg(format!("https://127.0.0.1:{}/index.txt", self.port)).output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (said.split(' ').nth(1).unwrap_or_default().to_owned(), said)
    }

    fn takes_the_holders_token_and_nobody_elses(&self) -> String {
        let token = self.token("p", "reports.read");
        let (status, said) = self.ask("p", Some(&token));
        let log = fs::read_to_string(self.process.path("server.log")).unwrap();
        assert!(status == "200" && said.contains("spiffe://keyward.test/agent/p"), "{said} {log}");
        let altered = format!("{}AAAA", &token[..token.len() - 4]);
        let elsewhere = self.token("a", "github.repo.read");
        for (what, who, token) in [
            ("no token", "p", None),
            ("a stolen token", "q", Some(token.as_str())),
            ("an altered token", "p", Some(&altered)),
            ("nonsense", "p", Some("nonsense")),
            ("a token for another audience", "a", Some(&elsewhere)),
        ] {
            let (status, said) = self.ask(who, token);
            assert_eq!(status, "401", "{what}: {said}");
            assert!(said.to_ascii_lowercase().contains("www-authenticate: bearer"), "{what}: {said}");
        }
        token
    }

    /// It refuses the tokens of a revoked key once the keys may not be kept any longer. The server's clock goes ahead by the
    /// seconds in the file `ahead`.
    fn learns_that_a_key_was_revoked(&self) {
        let old = self.token("p", "reports.read");
        assert_eq!(self.ask("p", Some(&old)).0, "200");
        for args in [&["prepare"][..], &["activate", "2", "--force"], &["revoke", "1"]] {
            self.process.good(&[&["token-key"], args].concat(), b"");
        }
        let (status, said) = self.ask("p", Some(&self.token("p", "reports.read")));
        assert_eq!(status, "200", "a key that came later: {said}");
        fs::write(self.process.path("ahead"), AHEAD_S.to_string()).unwrap();
        let (status, said) = self.ask("p", Some(&old));
        assert_eq!(status, "401", "{said}");
        let (status, said) = self.ask("p", Some(&self.token("p", "reports.read")));
        assert_eq!(status, "200", "{said}");
    }

    /// While the broker is away, it uses the keys from before for ten minutes more, and then it cannot judge.
    fn uses_keys_for_ten_minutes_without_the_broker(&mut self) {
        let token = self.token("p", "reports.read");
        assert_eq!(self.ask("p", Some(&token)).0, "200");
        self.process.kill();
        for (ahead_s, expected) in [(AHEAD_S + 61, "200"), (AHEAD_S + 590, "200"), (AHEAD_S + 661, "503")] {
            fs::write(self.process.path("ahead"), ahead_s.to_string()).unwrap();
            let (status, said) = self.ask("p", Some(&token));
            assert_eq!(status, expected, "{ahead_s}: {said}");
        }
        self.process.serve();
    }

    /// While it has no keys and the broker is away, it cannot judge, and says so.
    fn says_when_it_cannot_ask(&mut self) {
        let token = self.token("p", "reports.read");
        self.process.kill();
        let (status, said) = self.ask("p", Some(&token));
        assert_eq!(status, "503", "{said}");
        self.process.serve();
    }
}

/// Longer than the keys may be kept.
const AHEAD_S: u32 = 61;

/// Runs a program with a clock that is ahead by the seconds in the file `ahead`, if it exists.
const AHEAD: &str = "
import pathlib, runpy, sys, time
real, ahead = time.monotonic, pathlib.Path('ahead')
time.monotonic = lambda: real() + (int(ahead.read_text()) if ahead.exists() else 0)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')
";

/// The example in Python.
fn python_server(process: &Process, port: u16) -> Command {
    let mut command = Command::new(python_path());
    command.args(["-c", AHEAD]).arg(examples().join("resource_server.py"));
    command.args(["--issuer", &issuer(process), "--audience", AUDIENCE, "--authority", "authority.pem"]);
    command.args(["--certificate", "server.pem", "--key", "server.key", "--port", &port.to_string()]);
    command
}

#[test]
fn the_python_resource_server_checks_the_binding() {
    let mut bed = Bed::start(python_server);
    bed.says_when_it_cannot_ask();
    bed.takes_the_holders_token_and_nobody_elses();
    let (status, said) = bed.ask("p", Some(&bed.token("p", "reports.publish")));
    assert_eq!(status, "403", "a scope that does not let it look: {said}");
    bed.learns_that_a_key_was_revoked();
    bed.uses_keys_for_ten_minutes_without_the_broker();
}

#[test]
fn the_node_resource_server_checks_the_binding() {
    let mut bed = Bed::start(|process, port| {
        // Modules are looked for beside the script.
        let script = process.path("resource_server.mjs");
        fs::copy(examples().join("resource_server.mjs"), &script).unwrap();
        std::os::unix::fs::symlink(node_home().join("node_modules"), process.path("node_modules")).unwrap();
        let clock = process.path("clock.cjs");
        // The wall clock goes back a day while the monotonic one goes on.
        let ahead = "const real = performance.now.bind(performance), wall = Date.now, fs = require('node:fs');\n\
                     performance.now = () => real() + (fs.existsSync('ahead') ? 1000 * fs.readFileSync('ahead') : 0);\n\
                     Date.now = () => wall() - (fs.existsSync('ahead') ? 86400000 : 0);\n";
        fs::write(&clock, ahead).unwrap();
        let mut command = Command::new("node");
        command.arg("--require").arg(clock).arg(script).args([
            &issuer(process),
            AUDIENCE,
            "authority.pem",
            "server.pem",
            "server.key",
        ]);
        command.arg(port.to_string());
        command
    });
    bed.says_when_it_cannot_ask();
    bed.takes_the_holders_token_and_nobody_elses();
    bed.learns_that_a_key_was_revoked();
    bed.uses_keys_for_ten_minutes_without_the_broker();
}

#[test]
fn nginx_asks_the_broker_and_learns_of_a_revocation_at_once() {
    let bed = Bed::start(|process, port| {
        let broker = issuer(process).replace("https://", "");
        let text = fs::read_to_string(examples().join("nginx/nginx.conf")).unwrap();
        let text = text.replace("BROKER_NAME", "localhost").replace("BROKER", &broker);
        // The service behind is a file of nginx's own; `user` matters only when the tests run as root.
        let text = text
            .replace("PORT", &port.to_string())
            .replace("pid nginx.pid;", "pid nginx.pid;\ndaemon off;\nuser root;\n");
        fs::write(process.path("nginx.conf"), text).unwrap();
        fs::copy(examples().join("nginx/keyward.js"), process.path("keyward.js")).unwrap();
        fs::create_dir(process.path("html")).unwrap();
        fs::write(process.path("html/index.txt"), "the report").unwrap();
        fs::create_dir(process.path("agent")).unwrap();
        for file in ["certificate", "key"] {
            let to = process.path(&format!("agent/{file}.pem"));
            fs::copy(held(process, "reports", file), to).unwrap();
        }
        let modules = process.path("modules");
        if !modules.exists() {
            std::os::unix::fs::symlink("/usr/lib/nginx/modules", modules).unwrap();
        }
        let mut command = Command::new("nginx");
        command.arg("-p").arg(process.path("")).arg("-c").arg(process.path("nginx.conf"));
        command
    });
    let token = bed.takes_the_holders_token_and_nobody_elses();
    let (_, said) = bed.ask("p", Some(&token));
    assert!(said.contains("the report") && said.contains("Keyward-Scope: reports.read"), "{said}");
    // What a client says, and that it says too much for the broker, is nothing that the broker hears of.
    let fields: Vec<String> = (0..100).map(|number| format!("X-Field-{number}: x")).collect();
    let fields = [&fields[..], &["Content-Encoding: gzip".into(), "Idempotency-Key: x".into()]].concat();
    let (status, said) = bed.ask_saying("p", Some(&token), &fields);
    assert_eq!(status, "200", "{said}");
    bed.process.good(&["agent", "suspend", "p"], b"");
    let (status, said) = bed.ask("p", Some(&token));
    assert_eq!(status, "401", "{said}");
    bed.process.good(&["agent", "resume", "p"], b"");
    let (status, said) = bed.ask("p", Some(&token));
    assert_eq!(status, "200", "{said}");
}

/// `keyward` in the path.
fn with_keyward() -> String {
    let bin = std::path::Path::new(KEYWARD).parent().unwrap().display().to_string();
    format!("{bin}:{}", std::env::var("PATH").unwrap())
}

/// An agent that may read reports and the secret, and publish nothing: the path of its enrolment code.
fn invited(process: &Process) -> String {
    let role = process.path("reader.toml");
    fs::write(
        &role,
        "[[role]]\nname = \"reader\"\ncapabilities = [\"reports.read\", \"github.repo.read\"]\n",
    )
    .unwrap();
    process.good(&["apply", "-f", &role.display().to_string()], b"");
    let code = process.path("code").display().to_string();
    process.good(&["agent", "invite", "py", "--role", "reader", "--out", &code], b"");
    code
}

#[test]
fn the_python_agent_goes_the_whole_path() {
    let bed = Bed::start(python_server);
    let code = invited(&bed.process);
    for _ in 0..2 {
        let output = Command::new(python_path())
            .arg("-B")
            .arg(examples().join("agent.py"))
            .args([&code, &format!("https://127.0.0.1:{}/", bed.port)])
            .arg(bed.process.path("server.pem"))
            .env("PATH", with_keyward())
            .env("KEYWARD_HOME", bed.process.path("home-py"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{said}");
        for part in [
            "a secret of 5 bytes, shown as <Secret>",
            "spiffe://keyward.test/agent/py",
            "denied: capability_not_granted, decision dec_",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
}

#[test]
fn the_python_client_keeps_its_promises() {
    let process = set_up();
    let code = invited(&process);
    process.good_as("py", &["join", "--code-file", &code], b"");
    let home = process.path("home-py").display().to_string();
    let operator = process.path("home-operator").display().to_string();
    let other = process.path("other-authority.pem");
    fs::write(&other, pem(&[&authority("keyward.test")])).unwrap();
    let address = fs::read_to_string(process.path("home-operator/operator/address")).unwrap();
    let port = address.trim().rsplit_once(':').unwrap().1;
    let (examples, other) = (examples().display().to_string(), other.display().to_string());
    let said = python("client.py", &[&examples, &home, &operator, &other, port]);
    assert!(said.contains("ok: client"), "{said}");
}

/// Asks for a token before, during and after an outage; a line of input says when each begins.
const OUTAGE: &str = r#"
import sys
sys.path.insert(0, sys.argv[1])
sys.dont_write_bytecode = True
import keyward
source = keyward.Agent(home=sys.argv[2]).token("reports.read")
source()
print("ready", flush=True)
sys.stdin.readline()
source.renew()
try:
    source()
except keyward.Unavailable as error:
    print(error.code, flush=True)
sys.stdin.readline()
source()
print("back", flush=True)
"#;

#[test]
fn the_python_client_is_back_with_the_broker() {
    // Given a program with a token
    let mut process = set_up();
    let code = invited(&process);
    process.good_as("py", &["join", "--code-file", &code], b"");
    let mut python = Command::new(python_path());
    python.args(["-c", OUTAGE]).arg(examples()).arg(process.path("home-py"));
    let mut python = python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(python.stdout.take().unwrap()).lines();
    let mut input = python.stdin.take().unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    // When the broker is away, then it says so
    process.kill();
    input.write_all(b"\n").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "broker_unreachable");
    // And the first request after its return succeeds
    process.serve();
    let returned = Stopwatch::start();
    input.write_all(b"\n").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "back");
    assert!(returned.elapsed() < Duration::from_secs(10), "{:?}", returned.elapsed());
    python.wait().unwrap();
}
