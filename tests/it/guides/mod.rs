//! The tutorial and the how-to pages, to the letter: their commands are taken out of them and run.

mod approvals;
mod ci;
mod data;
mod declarations;
mod host;
mod incident;
mod monitor;
mod operators;
mod options;
mod policies;
mod programs;
mod runbooks;
mod upstreams;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use keyward::base::limits::{DRAIN_WAIT_S, JOB_END_WAIT_S, LAST_SNAPSHOT_WAIT_S, LISTENER_END_WAIT_S};
use keyward::config::{Config, RootKey};

use crate::readme::root;
use crate::support::ports::free_port;
use crate::support::process::{KEYWARD, Process};

/// The `sh` blocks of a page, in order.
pub(crate) fn blocks(page: &str) -> Vec<String> {
    fenced(page, "sh")
}

/// The blocks of a page in this language, in order.
pub(crate) fn fenced(page: &str, language: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join("docs").join(page)).unwrap();
    let begin = format!("\n```{language}\n");
    let parts = text.split(begin.as_str()).skip(1);
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
    for part in ["+ capability github.repo.read", "secret.revealed", "certificate_suspended", "ok: "] {
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
        let said = said(&output);
        assert!(output.status.success(), "{block}: {said}");
        // The operator and the new agent compare the digest of the authority's key.
        let authorities = process.json(&["authority", "list"]);
        let pin = authorities["items"][0]["pin"].as_str().unwrap();
        assert_eq!(said.contains(pin), block.starts_with("keyward join"), "{pin}: {said}");
    }
}

#[test]
fn an_existing_agent_gets_one_more_role_by_the_page() {
    // Given an agent that an invitation made
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    process.enrol("research-bot", "repo-reader");
    let page = "how-to/add-an-agent.md";
    let exported = as_operator(&process, page, 4..5, &[]);
    assert!(exported.contains("name = \"research-bot\"\nroles = [\"repo-reader\"]"), "{exported}");
    // When its declaration with one more role is planned and applied
    let changed = as_operator(&process, page, 5..6, &[]);
    assert_eq!(changed.matches("roles: +publisher").count(), 2, "{changed}");
    // Then the agent has both roles, and the other agents are unchanged
    let shown = process.json(&["agent", "show", "research-bot"]);
    assert_eq!(shown["roles"], serde_json::json!(["publisher", "repo-reader"]));
    assert_eq!(shown["max_instances"], 3);
    assert_eq!(process.json(&["agent", "show", "a"])["roles"], serde_json::json!(["repo-reader"]));
    process.good_as("research-bot", &["get", "github/app"], b"");
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
fn production_copies_edits_checks_makes_and_starts_in_this_order() {
    // The reader copies the files, edits the configuration, and then runs the commands of the second block.
    let page = blocks("how-to/production.md");
    let (copies, makes): (Vec<&str>, Vec<&str>) = (page[0].lines().collect(), page[1].lines().collect());
    assert_eq!((copies.len(), makes.len()), (2, 3));
    assert_eq!(makes[2], "systemctl enable --now keyward");
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path);
    fs::create_dir_all(at("etc/systemd/system")).unwrap();
    let here = |text: &str| {
        let etc = at("etc").display().to_string();
        text.replace("/etc", &etc).replace(" config/", &format!(" {}/config/", root().display()))
    };
    for command in &copies {
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
    let check = shell(dir.path(), &format!("{} --config {}", makes[0], config.display()), &[]);
    assert!(check.status.success(), "{}", said(&check));
    let init = format!("{} --config {}", here(makes[1]), config.display());
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
    run_as(process, "operator", &blocks(page)[which].concat(), environment)
}

/// Runs `script` with the identities of `who`, on a machine without systemd whose configuration is that of `process`.
/// Returns what it printed.
fn run_as(process: &Process, who: &str, script: &str, environment: &[(&str, &str)]) -> String {
    let home = process.path(&format!("home-{who}")).display().to_string();
    let environment: Vec<(&str, &str)> =
        environment.iter().copied().chain([("KEYWARD_HOME", home.as_str())]).collect();
    let config = format!("--config {}", process.config());
    let script = script.replace("--config /etc/keyward/keyward.toml", &config);
    let here = format!(
        "systemctl() {{ :; }}\nkeyward() {{ case $1 in {ON_HOST}) command keyward \"$@\" {config};; \
         *) command keyward \"$@\";; esac; }}\n"
    );
    said_by(&shell(&process.path(""), &(here + &script), &environment))
}

/// Verbs for the broker's host, which read the configuration.
const ON_HOST: &str = "adopt|break-glass|clock|config|seal|slot|unseal";

/// What a script that succeeded said.
fn said_by(output: &Output) -> String {
    let said = said(output);
    assert!(output.status.success(), "{said}");
    said
}
