//! The tutorial and the how-to pages, to the letter: their commands are taken out of them and run.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use keyward::base::limits::{DRAIN_WAIT_S, JOB_END_WAIT_S, LAST_SNAPSHOT_WAIT_S, LISTENER_END_WAIT_S};
use keyward::config::{Config, RootKey};

use crate::readme::root;
use crate::rotation::LOOPBACK;
use crate::support::ports::free_port;
use crate::support::postgres::{ADMIN_PASSWORD, Postgres, Release};
use crate::support::process::{KEYWARD, Process};
use crate::support::webhook::{ADMIN_TOKEN, Webhook};

/// The `sh` blocks of a page, in order.
pub(crate) fn blocks(page: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join("docs").join(page)).unwrap();
    let parts = text.split("\n```sh\n").skip(1);
    parts.map(|part| part.split("\n```").next().unwrap().to_owned() + "\n").collect()
}

/// Runs `script` in `dir` as a person at a shell would, with `keyward` in the path and nothing of this
/// machine's own settings.
pub(crate) fn shell(dir: &Path, script: &str, environment: &[(&str, &str)]) -> Output {
    let bin = Path::new(KEYWARD).parent().unwrap().display().to_string();
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap());
    let mut command = Command::new("bash");
    command.args(["-eu", "-o", "pipefail", "-c", script]).current_dir(dir);
    command.env_remove("KEYWARD_HOME").env_remove("XDG_CONFIG_HOME");
    command.env("PATH", path).env("HOME", dir).envs(environment.iter().copied()).output().unwrap()
}

pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned()
}

#[test]
fn the_tutorial_runs_from_its_first_command_to_its_last() {
    let dir = tempfile::tempdir().unwrap();
    // The ports are fixed in the page, for people; another run on this machine may hold them.
    let script = blocks("tutorials/first-agent.md").concat();
    let script = script.replace("18443", &free_port().to_string()).replace("18444", &free_port().to_string());
    // The broker in the background must not outlive a failed test.
    let output = shell(dir.path(), &format!("trap 'kill %1 2>/dev/null || true' EXIT\n{script}"), &[]);
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    assert_eq!(said.matches("the upstream password").count(), 4, "each reading printed it: {said}");
    for part in ["+ capability github.repo.read", "secret.revealed", "certificate_refused", "ok: "] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn an_agent_is_added_in_two_commands() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    let blocks = blocks("how-to/add-an-agent.md");
    assert_eq!((blocks[0].lines().count(), blocks[1].lines().count()), (1, 1), "two commands");
    let home = |who: &str| process.path(&format!("home-{who}")).display().to_string();
    for (block, who) in blocks.iter().zip(["operator", "added", "added", "operator"]) {
        let output = shell(&process.path(""), block, &[("KEYWARD_HOME", &home(who))]);
        assert!(output.status.success(), "{block}: {}", said(&output));
    }
}

#[test]
fn a_service_learns_what_the_tokens_for_it_say() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    let blocks = blocks("how-to/take-tokens.md");
    let home = |who: &str| process.path(&format!("home-{who}")).display().to_string();
    let run = |block: &str, who: &str, token: &str| {
        let here = block.replace(" config/", &format!(" {}/config/", root().display()));
        let output = shell(&process.path(""), &here, &[("KEYWARD_HOME", &home(who)), ("TOKEN", token)]);
        assert!(output.status.success(), "{block}: {}", said(&output));
        said(&output)
    };
    for (block, who) in blocks.iter().zip(["operator", "operator", "service"]) {
        run(block, who, "");
    }
    let code = process.good(&["agent", "invite", "p", "--role", "publisher"], b"");
    process.good_as("p", &["join"], &code);
    let token = |who: &str, capability: &str| {
        String::from_utf8(process.good_as(who, &["token", capability], b"")).unwrap().trim().to_owned()
    };
    let answer = run(&blocks[3], "service", &token("p", "reports.read"));
    assert!(answer.contains("\"active\":true") && answer.contains("\"scope\":\"reports.read\""), "{answer}");
    assert_eq!(run(&blocks[3], "service", &token("a", "github.repo.read")), "{\"active\":false}");
}

#[test]
fn production_takes_four_commands_and_a_unit_that_systemd_accepts() {
    let block = &blocks("how-to/production.md")[0];
    let commands: Vec<&str> = block.lines().collect();
    assert_eq!(commands.len(), 4);
    assert_eq!(commands[3], "systemctl enable --now keyward");
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path);
    fs::create_dir_all(at("etc/systemd/system")).unwrap();
    let here = |text: &str| {
        let etc = at("etc").display().to_string();
        text.replace("/etc", &etc).replace(" config/", &format!(" {}/config/", root().display()))
    };
    for command in &commands[..2] {
        let output = shell(dir.path(), &here(command), &[]);
        assert!(output.status.success(), "{command}: {}", said(&output));
    }
    // What the page says to edit, and where everything lies for this test.
    let config = at("etc/keyward/keyward.toml");
    let text = fs::read_to_string(&config).unwrap();
    let text = text.replace("file = \"/etc/keyward/root.key\"", "credential = \"root-key\"");
    let text = text
        .replace("#= data_dir = \"/var/lib/keyward\"", &format!("data_dir = \"{}\"", at("data").display()));
    fs::write(&config, text).unwrap();
    assert!(matches!(Config::load(&config).unwrap().root_key, RootKey::Credential(_)));
    let init = format!("{} --config {}", here(commands[2]), config.display());
    let output = shell(dir.path(), &init, &[]);
    assert!(output.status.success(), "{}", said(&output));
    let again = shell(dir.path(), &init, &[]);
    assert!(!again.status.success() && said(&again).contains("already_initialised"), "{}", said(&again));
    // The service is given the key under the credential's name.
    let given = at("credentials");
    fs::create_dir(&given).unwrap();
    fs::copy(at("etc/keyward/root.key"), given.join("root-key")).unwrap();
    let verify = format!("keyward verify --config {}", config.display());
    let output = shell(dir.path(), &verify, &[("CREDENTIALS_DIRECTORY", &given.display().to_string())]);
    assert!(output.status.success(), "{}", said(&output));
    // Only the service gets the credential: other commands name the file.
    let config = config.display();
    let unnamed = shell(dir.path(), &format!("keyward verify --config {config}"), &[]);
    assert!(said(&unnamed).contains("--root-key-file"), "{}", said(&unnamed));
    let key = at("etc/keyward/root.key").display().to_string();
    for verb in ["verify", "doctor"] {
        let named = format!("keyward {verb} --config {config} --root-key-file {key}");
        let output = shell(dir.path(), &named, &[]);
        assert!(output.status.success(), "{}", said(&output));
    }

    let unit = at("etc/systemd/system/keyward.service");
    let text = fs::read_to_string(&unit).unwrap();
    assert!(text.contains("LoadCredential=root-key:/etc/keyward/root.key"));
    fs::write(&unit, text.replace("/usr/local/bin/keyward", KEYWARD)).unwrap();
    let analyze = |args: &[&str]| {
        let output = Command::new("systemd-analyze").args(args).arg(&unit).output();
        output.expect("systemd is needed: run scripts/test")
    };
    let output = analyze(&["verify"]);
    assert!(output.status.success() && output.stderr.is_empty(), "{}", said(&output));
    // Tenths: 0 is a service that can do nothing at all, 100 one that can do everything.
    let output = analyze(&["security", "--offline=true", "--no-pager", "--threshold=15"]);
    assert!(output.status.success(), "{}", said(&output));
}

/// Calls that the broker makes beside reading, writing and talking, by the names that Linux has for them.
const UNUSUAL_CALLS: [&str; 11] = [
    "execve",
    "fallocate",
    "fdatasync",
    "flock",
    "mlockall",
    "prctl",
    "prlimit64",
    "setpriority",
    "sched_getaffinity",
    // The clocks, and the file that says that they are synchronised.
    "clock_gettime",
    "statx",
];

#[test]
fn the_systemd_unit_permits_every_call_of_the_broker() {
    let unit = fs::read_to_string(root().join("config/systemd/keyward.service")).unwrap();
    assert!(unit.contains("\nSystemCallErrorNumber=EPERM\n"));
    let mut allowed = BTreeSet::new();
    for line in unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
        let named: BTreeSet<String> = line.trim_start_matches('~').split(' ').flat_map(calls_named).collect();
        if line.starts_with('~') {
            allowed.retain(|call| !named.contains(call));
        } else {
            allowed.extend(named);
        }
    }
    assert!(!allowed.contains("mount") && !allowed.contains("chown"), "it filters something");
    let refused: Vec<&&str> = UNUSUAL_CALLS.iter().filter(|call| !allowed.contains(**call)).collect();
    assert_eq!(refused, Vec::<&&str>::new());
}

#[test]
fn the_unit_gives_a_stop_the_time_that_it_may_take() {
    let unit = fs::read_to_string(root().join("config/systemd/keyward.service")).unwrap();
    let wait = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).unwrap();
    let listeners = DRAIN_WAIT_S + LISTENER_END_WAIT_S;
    let longest = listeners + JOB_END_WAIT_S + LAST_SNAPSHOT_WAIT_S + LISTENER_END_WAIT_S;
    // The anchors and the index are waited for, too, when the ledger is closed.
    assert!(wait.parse::<u64>().unwrap() >= longest + 20, "{longest}");
}

/// The calls that systemd means by `name`: itself, or those of a group with the groups in it.
fn calls_named(name: &str) -> Vec<String> {
    if !name.starts_with('@') {
        return vec![name.to_owned()];
    }
    let output = Command::new("systemd-analyze").args(["syscall-filter", "--no-pager", name]).output();
    let output = output.expect("systemd is needed: run scripts/test");
    assert!(output.status.success(), "{}", said(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    let members =
        text.lines().skip(1).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    members.flat_map(calls_named).collect()
}

/// Runs the blocks of `page` on the broker of `process`, as the operator.
fn as_operator(
    process: &Process,
    page: &str,
    which: std::ops::Range<usize>,
    environment: &[(&str, &str)],
) -> String {
    let home = process.path("home-operator").display().to_string();
    let environment: Vec<(&str, &str)> =
        environment.iter().copied().chain([("KEYWARD_HOME", home.as_str())]).collect();
    let output = shell(process.path("").as_path(), &blocks(page)[which].concat(), &environment);
    assert!(output.status.success(), "{}", said(&output));
    said(&output)
}

#[test]
fn a_postgresql_password_is_rotated_by_the_page_and_mended_by_the_runbook() {
    let mut postgres = Postgres::start_bare(Release::Debian);
    postgres.sql("CREATE ROLE app LOGIN PASSWORD 'the-first'");
    let mut process = Process::init("warn");
    process.serve();
    let ca = process.path("db-ca.pem");
    fs::write(&ca, &postgres.ca_pem).unwrap();
    let (ca, port) = (ca.display().to_string(), postgres.port.to_string());
    let environment = [
        ("APP_PASSWORD", "the-first"),
        ("DB_HOST", "127.0.0.1"),
        ("DB_PORT", port.as_str()),
        ("DB_CA", ca.as_str()),
    ];
    let environment = [&environment[..], &as_superuser(&port)].concat();
    let said = as_operator(&process, "how-to/rotate-a-password.md", 0..5, &environment);
    for part in
        ["+ rotation orders-db/app", "nothing was changed", "orders-db/app rotated: rot_", "every 30d"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    let calendar = fs::read_to_string(process.path("rotations.ics")).unwrap();
    assert!(calendar.matches("BEGIN:VEVENT").count() >= 2, "{calendar}");
    assert!(!postgres.lets_in("app", "the-first"));
    // A person changes a password by hand, and the next rotation is stuck.
    postgres.sql("ALTER ROLE keyward_admin PASSWORD 'by-hand'");
    let stuck = process.command("operator", &["secret", "rotate", "orders-db/app"]).output().unwrap();
    let stuck = String::from_utf8_lossy(&stuck.stderr).into_owned();
    assert!(stuck.contains("error: upstream_login_refused"), "{stuck}");
    let shown = as_operator(&process, "runbooks/rotation-stuck.md", 0..1, &[]);
    assert!(shown.contains("upstream_login_refused"), "{shown}");
    process.good(&["secret", "put", "orders-db/admin"], b"by-hand");
    as_operator(&process, "runbooks/rotation-stuck.md", 1..3, &[]);
    process.good(&["secret", "rotate", "orders-db/app"], b"");
    postgres.stop();
}

#[test]
fn an_api_key_is_rotated_by_the_page_whoever_makes_it() {
    let service = Webhook::start("the-first-key");
    let mut process = Process::init("warn");
    process.configure(LOOPBACK);
    process.serve();
    let ca = process.path("service-ca.pem");
    fs::write(&ca, &service.ca_pem).unwrap();
    let (ca, url) = (ca.display().to_string(), format!("https://127.0.0.1:{}", service.port));
    let environment = [
        ("API_KEY", "the-first-key"),
        ("ADMIN_TOKEN", ADMIN_TOKEN),
        ("SERVICE_URL", url.as_str()),
        ("SERVICE_CA", ca.as_str()),
    ];
    let page = "how-to/rotate-an-api-key.md";
    let said = as_operator(&process, page, 0..3, &environment);
    for part in ["+ rotation billing/key", "nothing was changed", "billing/key rotated: rot_", "every 30d"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!service.lets_in("the-first-key"));
    as_operator(&process, page, 3..4, &environment);
    assert_eq!(service.heard("POST").len(), 1, "the service made one");
    // The grace has ended; what comes of that takes a moment.
    let is_over = |_: &u32| process.json(&["rotation", "show", "billing/key"])["run"].is_null();
    assert!((0..600).find(is_over).is_some(), "it does not end");
    let shown = as_operator(&process, page, 4..5, &environment);
    assert!(shown.contains("\"orphans\":[{") || shown.contains("\"orphans\": [\n"), "{shown}");
    assert!(shown.contains("orphans cleared"), "{shown}");
}

/// What `psql` logs in by as the superuser, and the password that the pages give to the administering role.
fn as_superuser(port: &str) -> [(&str, &str); 5] {
    [
        ("ADMIN_PASSWORD", "the-administering-roles-own"),
        ("PGHOST", "127.0.0.1"),
        ("PGPORT", port),
        ("PGUSER", "postgres"),
        ("PGPASSWORD", ADMIN_PASSWORD),
    ]
}

#[test]
fn database_logins_are_handed_out_by_the_page_and_end_by_it() {
    let postgres = Postgres::start_bare(Release::Debian);
    let mut process = Process::init("warn");
    process.serve();
    let ca = process.path("db-ca-of-operator.pem");
    fs::write(&ca, &postgres.ca_pem).unwrap();
    let (ca, port) = (ca.display().to_string(), postgres.port.to_string());
    let of_server = [("DB_HOST", "127.0.0.1"), ("DB_PORT", port.as_str()), ("DB_CA", ca.as_str())];
    let environment = [&of_server[..], &as_superuser(&port)].concat();
    let page = "how-to/database-logins.md";
    let said = as_operator(&process, page, 0..2, &environment);
    assert!(said.contains("+ capability orders.query") && said.contains("+ lease orders.query"), "{said}");
    process.enrol("bot", "orders");
    let home = process.path("home-bot").display().to_string();
    let output = shell(&process.path(""), &blocks(page)[2], &[("KEYWARD_HOME", home.as_str())]);
    let said = said_by(&output);
    assert!(said.contains("live") && said.contains("kw_"), "{said}");
    let said = as_operator(&process, page, 3..4, &[]);
    assert!(said.contains("1 lease revoked in ledger entry") && said.contains("no leases"), "{said}");
    assert_eq!(postgres.sql("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'kw\\_%'"), "0");
}

/// What a script that succeeded said.
fn said_by(output: &Output) -> String {
    let said = said(output);
    assert!(output.status.success(), "{said}");
    said
}
