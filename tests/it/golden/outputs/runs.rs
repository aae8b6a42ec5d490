//! A run of every verb with `-o json`.

use std::fs;
use std::io::Read as _;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::recorder::Recorder;
use crate::approval_keys::commands::{PROMPT, WORDS};
use crate::golden::world::World;
use crate::ledger_move::Moving;
use crate::support::process::{KEYWARD, Process};
use crate::support::terminal::TypedCommand;
use crate::support::webhook::Mood;

/// `--config` and the configuration of `process`.
fn on_host<'a>(args: &[&'a str], config: &'a str) -> Vec<&'a str> {
    [args, &["--config", config]].concat()
}

/// Verbs for a broker's data directory.
pub(super) fn on_a_stopped_broker(recorder: &mut Recorder) {
    let process = Process::init("warn");
    let config = process.config();
    // A broker of this test's own making: `init` is one of the verbs.
    for made in ["data", "home-operator"] {
        fs::remove_dir_all(process.path(made)).unwrap();
    }
    let on = |args: &[&'static str]| on_host(args, &config);
    let mut run =
        |verb: &str, args: &[&str], input: &[u8]| recorder.run_with(&process, "operator", verb, args, input);
    run("init", &on(&[]), b"");
    run("config check", &on(&[]), b"");
    run("doctor", &on(&[]), b"");
    run("verify", &on(&[]), b"");
    run("slot list", &on(&[]), b"");
    run("slot check", &on(&[]), b"");
    let passphrase = process.path("passphrase").display().to_string();
    fs::write(&passphrase, "correct horse battery staple").unwrap();
    let added = run("slot add", &on_host(&["--passphrase-file", &passphrase], &config), b"");
    let id = added["id"].as_str().unwrap().to_owned();
    fs::write(&passphrase, "another horse battery staple").unwrap();
    let rekeyed = run("slot rekey", &on_host(&[&id, "--passphrase-file", &passphrase], &config), b"");
    let dealt = run("slot add", &on(&["--shares", "3", "--threshold", "2"]), b"");
    let shares: Vec<&str> =
        dealt["shares"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
    run("slot confirm", &on(&[]), format!("{}\n{}\n", shares[0], shares[2]).as_bytes());
    run("slot remove", &on_host(&["--yes", rekeyed["id"].as_str().unwrap()], &config), b"");
    let shares = run("slot list", &on(&[]), b"");
    assert!(shares["items"].as_array().unwrap().iter().any(|slot| slot["threshold"] == 2), "{shares}");
    assert_eq!(recorder.refused(&process, "nobody", &["whoami"]), "no_identity");
}

/// Verbs for a ledger in a database.
pub(super) fn on_a_database(recorder: &mut Recorder) {
    let moving = Moving::begin();
    moving.configure();
    let (process, config) = (&moving.process, moving.process.config());
    let password = process.path("owner.password").display().to_string();
    let mut run = |verb: &str, args: &[&str]| {
        recorder.run(process, "operator", verb, &on_host(args, &config));
    };
    run("ledger prepare", &["--owner", "keyward_owner", "--password-file", &password]);
    run("ledger move", &["--to", "postgresql"]);
    run("ledger move", &["--to", "files"]);
}

/// Declarations, and cases of a policy test on them.
const TESTED: [(&str, &str); 2] = [
    (
        "declared.toml",
        "[[capability]]\nname = \"reports.read\"\naccess = \"read\"\ndelivery = \"mint\"\n\
         audience = \"https://reports.example.com\"\nmax_life_s = 600\n\
         [[role]]\nname = \"reader\"\ncapabilities = [\"reports.read\"]\n\
         [[agent]]\nname = \"a\"\nroles = [\"reader\"]\n\
         [[policy]]\nname = \"short\"\nrule = '@max_ttl(\"1m\") forbid (principal, action, resource);'\n",
    ),
    (
        "cases.toml",
        "[[case]]\nname = \"short\"\nagent = \"a\"\ncapability = \"reports.read\"\nexpect = \"constrain\"\n\
         policy = \"short\"\n",
    ),
];

/// Verbs that start a broker of their own or need none.
pub(super) fn without_a_broker(recorder: &mut Recorder) {
    let process = Process::init("warn");
    let [declared, cases] = TESTED.map(|(name, text)| {
        let path = process.path(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    });
    recorder.run(&process, "operator", "policy test", &[&cases, "-f", &declared]);
    let man = process.path("man").display().to_string();
    recorder.run(&process, "operator", "version", &[]);
    recorder.run(&process, "operator", "man", &["--out", &man]);
    for words in [&["error"][..], &["error", "rate_limited"], &["exit-codes"], &["agent", "invite"]] {
        recorder.run(&process, "operator", "help", words);
    }
    recorder.run(&process, "operator", "demo", &[]);
    let mut command = process.command("operator", &["dev", "-o", "json"]);
    let mut dev = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = dev.stdout.take().unwrap();
    let (mut printed, mut byte) = (Vec::new(), [0_u8; 1]);
    // One object, which is complete when it parses.
    while serde_json::from_slice::<Value>(&printed).is_err() {
        stdout.read_exact(&mut byte).unwrap();
        printed.push(byte[0]);
    }
    recorder.check("dev", &printed);
    kill_process(Pid::from_raw(dev.id().cast_signed()).unwrap(), Signal::TERM).unwrap();
    assert!(dev.wait().unwrap().success());
}

/// Verbs that call a running broker.
pub(super) fn on_a_running_broker(recorder: &mut Recorder) {
    let mut world = World::start();
    identities(recorder, &world);
    approvals(recorder, &world);
    subjects(recorder, &world);
    sealed_keys(recorder, &world.process);
    secrets(recorder, &world);
    rotations(recorder, &world);
    leases(recorder, &mut world);
    keys(recorder, &world);
    on_the_host(recorder, &world.process);
}

fn identities(recorder: &mut Recorder, world: &World) {
    let process = &world.process;
    for who in ["a", "operator"] {
        recorder.run(process, who, "status", &[]);
    }
    recorder.run(process, "a", "doctor", &[]);
    recorder.run(process, "a", "whoami", &[]);
    recorder.run(process, "reports", "whoami", &[]);
    recorder.run(process, "operator", "whoami", &["--operator"]);
    recorder.run(process, "a", "renew", &[]);
    recorder.run(process, "operator", "renew", &["--operator"]);
    recorder.run(process, "a", "get", &["github/app"]);
    let token = recorder.run(process, "a", "token", &["github.repo.read"]);
    let text = token["access_token"].as_str().unwrap();
    let shown = recorder.run_with(process, "a", "token show", &["-"], text.as_bytes());
    recorder.run_with(process, "operator", "incident value", &["-"], text.as_bytes());
    let decision = token["decision_id"].as_str().unwrap();
    recorder.run(process, "operator", "explain", &[decision]);
    recorder.run(process, "a", "explain", &["--own", decision]);
    recorder.run(process, "operator", "token revoke", &[shown["token_id"].as_str().unwrap()]);
    assert_eq!(recorder.refused(process, "a", &["token", "reports.read"]), "capability_not_granted");
    assert_eq!(recorder.refused(process, "operator", &["agent", "show", "absent"]), "agent_unknown");
}

/// Commands of an approver who types, into a file: the terminal shows the prompts.
fn typed_output(process: &Process, command: &str, prompt: &str, lines: &[&str]) -> Vec<u8> {
    let (home, out) = (process.path("home-alice"), process.path("typed-output"));
    let command = format!("{KEYWARD} {command} -o json --home {} > {}", home.display(), out.display());
    let (is_done, said) =
        TypedCommand { command: &command, prompt, ahead: "ahead\n", lines }.run(&process.path("begin"));
    assert!(is_done, "{said}");
    fs::read(out).unwrap()
}

fn approvals(recorder: &mut Recorder, world: &World) {
    let process = &world.process;
    world.declare_approvals();
    let made = typed_output(process, "approval key create", PROMPT, &[WORDS, WORDS]);
    let made = recorder.check("approval key create", &made);
    let fingerprint = made["keys"][0]["fingerprint"].as_str().unwrap();
    let config = process.config();
    let accept = ["alice", "--fingerprint", fingerprint, "--on-host", "--config", &config];
    recorder.run(process, "operator", "approval key accept", &accept);
    recorder.run(process, "alice", "approval key show", &[]);
    recorder.run(process, "operator", "operator show", &["alice"]);
    assert_eq!(recorder.refused(process, "pay-bot", &["token", "payments.write"]), "approval_required");
    let mut request = |reason: &str| {
        let asked = recorder.run(
            process,
            "pay-bot",
            "request",
            &["payments.write", "--reason", reason, "--for", "30m"],
        );
        asked["approval"].as_str().unwrap().to_owned()
    };
    let (first, second, third) = (request("invoice 7"), request("invoice 8"), request("invoice 9"));
    recorder.run(process, "alice", "approval list", &[]);
    recorder.run(process, "alice", "approval show", &[&first]);
    let approve = format!("approval approve {first}");
    let approved = typed_output(process, &approve, "Passphrase of the approval key: ", &[WORDS]);
    recorder.check("approval approve", &approved);
    recorder.run(process, "pay-bot", "token", &["payments.write", "--approval", &first]);
    recorder.run(process, "alice", "approval deny", &[&second, "--reason", "not today", "--tell-agent"]);
    recorder.run(process, "pay-bot", "request withdraw", &[&third]);
    recorder.run(process, "pay-bot", "request list", &["--all"]);
    let denied = recorder.run(process, "pay-bot", "request show", &[&second]);
    assert_eq!(denied["denial_reason"], "not today");
    recorder.run(process, "alice", "approval list", &["--all"]);
    recorder.run(process, "operator", "approval key remove", &["alice"]);
}

fn subjects(recorder: &mut Recorder, world: &World) {
    let process = &world.process;
    let mut run = |verb: &str, args: &[&str]| recorder.run(process, "operator", verb, args);
    let code = run("agent invite", &["b", "--role", "repo-reader"])["code"].as_str().unwrap().to_owned();
    let file = process.path("code-of-c").display().to_string();
    let in_file = run("agent invite", &["c", "--role", "repo-reader", "--out", &file]);
    assert!(in_file.get("code").is_none() && in_file["code_file"] == file.as_str(), "{in_file}");
    run("agent list", &[]);
    run("agent show", &["a"]);
    run("agent suspend", &["a", "--reason", "of today"]);
    run("agent resume", &["a"]);
    run("operator invite", &["eve", "--role", "auditor"]);
    run("operator list", &[]);
    run("operator show", &["eve"]);
    run("operator role", &["eve", "approver"]);
    run("operator suspend", &["eve"]);
    run("operator resume", &["eve"]);
    run("operator update", &["eve", "--person", "eve@corp.example"]);
    run("operator revoke", &["eve"]);
    let contained = run("contain", &["owner/payments", "--reason", "of today"]);
    let incident = contained["incident"].as_str().unwrap();
    run("contain", &["network/203.0.113.0/24", "--dry-run"]);
    run("contain", &["role/payer", "--reason", "of today", "--rotate-touched"]);
    run("incident list", &["--open"]);
    run("incident note", &[incident, "the key was in a build log"]);
    run("incident update", &[incident, "--person", "ann@corp.example", "--first-sign", "2h"]);
    run("incident show", &[incident]);
    run("incident show", &["agent/a"]);
    run("incident show", &["agent/a", "--timeline"]);
    run("lift", &[incident, "--reason", "over"]);
    run("incident close", &[incident, "--cause", "a key in a build log", "--follow-up", "scan build logs"]);
    run("incident open", &["secret/github/app", "--reason", "of today"]);
    run("freeze", &["--reason", "of today"]);
    run("thaw", &["--reason", "over"]);
    run("capability list", &[]);
    run("capability show", &["github.repo.read"]);
    run("role list", &[]);
    let policy = "[[policy]]\nname = \"short\"\nrule = '@max_ttl(\"5m\") forbid (principal, action == Keyward::Action::\"token\", resource);'\n";
    let declared = world.write(policy);
    run("apply", &["-f", &declared]);
    run("simulate", &["-f", &declared]);
    run("policy list", &[]);
    run("policy show", &["short"]);
    run("policy history", &[]);
    let versions = run("policy history", &["short"]);
    let hash = versions["versions"][0]["hash"].as_str().unwrap();
    run("policy show", &["short", "--hash", hash]);
    let stricter = world.write(&policy.replace("5m", "4m"));
    run("apply", &["-f", &stricter]);
    run("policy rollback", &["short", "--to", hash, "--yes", "--widen"]);
    run("role show", &["repo-reader"]);
    let declared = world.write(&world.rotation().replace("30d", "31d"));
    run("plan", &["-f", &declared]);
    run("plan", &["-f", &declared, "--check"]);
    run("apply", &["-f", &declared]);
    run("audit kinds", &[]);
    run("audit list", &["--last", "50"]);
    run("audit list", &["--agent", "a", "--limit", "1"]);
    run("audit show", &["1"]);
    recorder.run_with(process, "b", "join", &[], code.as_bytes());
    let mut run = |verb: &str, args: &[&str]| recorder.run(process, "operator", verb, args);
    let serial = world.field(&["agent", "show", "b"], "/instances/0/serial");
    run("cert revoke", &[&serial]);
    let open = run("agent invite", &["b"])["code_id"].as_str().unwrap().to_owned();
    run("code revoke", &[&open]);
    run("agent revoke", &["b"]);
    run("agent delete", &["b", "--yes"]);
    run("operator delete", &["eve", "--yes"]);
    run("export", &[]);
    run("evidence", &["operator/eve", "--out", &process.path("evidence.zip").display().to_string()]);
    run("declaration schema", &[]);
}

fn sealed_keys(recorder: &mut Recorder, process: &Process) {
    let passphrase = process.path("key-passphrase").display().to_string();
    fs::write(&passphrase, "correct horse battery staple").unwrap();
    let code = process.good(&["operator", "invite", "sam", "--role", "auditor"], b"");
    recorder.run_with(process, "sam", "join", &[], &code);
    recorder.run(process, "sam", "operator seal-key", &["--passphrase-file", &passphrase]);
    recorder.run(process, "sam", "operator key-agent", &["--passphrase-file", &passphrase]);
    recorder.run(process, "sam", "operator key-agent", &["--stop"]);
}

fn secrets(recorder: &mut Recorder, world: &World) {
    let process = &world.process;
    recorder.run_with(process, "operator", "secret put", &["reports/key"], b"one");
    recorder.run_with(process, "operator", "secret put", &["reports/key"], b"two");
    let mut run = |verb: &str, args: &[&str]| recorder.run(process, "operator", verb, args);
    run("secret classify", &["reports/key", "high"]);
    run("secret list", &[]);
    run("secret show", &["github/app"]);
    run("secret versions", &["reports/key"]);
    run("secret readers", &["github/app"]);
    run("secret readers", &["github/app", "--at", "1s"]);
    run("secret rollback", &["reports/key", "1"]);
    run("secret destroy", &["reports/key", "2", "--yes"]);
    run("secret delete", &["reports/key", "--yes"]);
    run("value-key rotate", &[]);
}

fn rotations(recorder: &mut Recorder, world: &World) {
    let process = &world.process;
    let mut run = |verb: &str, args: &[&str]| recorder.run(process, "operator", verb, args);
    let key = "billing/key";
    run("rotation list", &[]);
    run("rotation check", &[key]);
    run("rotation calendar", &["--next", "90d"]);
    run("rotation pause", &[key]);
    run("rotation resume", &[key]);
    run("secret rotate", &[key, "--plan"]);
    run("secret rotate", &[key]);
    run("rotation show", &[key]);
    run("rotation revoke-previous", &[key]);
    // The key that was stored by hand is one that the broker cannot delete.
    let is_over = |_: &u32| process.json(&["rotation", "show", key])["run"].is_null();
    assert!((0..600).find(is_over).is_some(), "the grace period does not end");
    run("rotation show", &[key]);
    run("rotation clear-orphans", &[key]);
    world.service.next("POST", &[Mood::Says(500), Mood::Says(500)]);
    run("secret rotate", &[key, "--no-wait"]);
    until_failures(process, key, 1);
    run("rotation show", &[key]);
    run("rotation retry", &[key, "--no-wait"]);
    until_failures(process, key, 2);
    run("rotation adopt", &[key, "--unverified"]);
    world.service.next("POST", &[Mood::Says(500)]);
    run("secret rotate", &[key, "--no-wait"]);
    until_failures(process, key, 1);
    run("rotation retry", &[key]);
}

/// Waits until a step of the rotation in progress has failed so often.
fn until_failures(process: &Process, key: &str, count: u64) {
    let has_failed = |_: &u32| {
        let shown = process.json(&["rotation", "show", key]);
        shown.pointer("/run/failures").and_then(Value::as_u64).is_some_and(|failures| failures >= count)
    };
    assert!((0..600).find(has_failed).is_some(), "{}", process.json(&["rotation", "show", key]));
}

fn leases(recorder: &mut Recorder, world: &mut World) {
    let process = &world.process;
    let login = recorder.run(process, "orders-bot", "lease get", &["orders.query"]);
    let lease = login["lease"].as_str().unwrap();
    recorder.run(process, "orders-bot", "lease list", &["--own"]);
    recorder.run(process, "orders-bot", "lease renew", &[lease, "--life", "2h"]);
    recorder.run(process, "operator", "lease list", &[]);
    recorder.run(process, "operator", "lease extend", &[lease, "--life", "3h"]);
    recorder.run(process, "orders-bot", "lease give-up", &[lease]);
    recorder.run(process, "operator", "lease revoke", &["--all"]);
    let login = recorder.run(process, "orders-bot", "lease get", &["orders.query"]);
    let lease = login["lease"].as_str().unwrap().to_owned();
    world.postgres.stop();
    let process = &world.process;
    recorder.run(process, "operator", "lease revoke", &["--all", "--no-wait"]);
    let has_failed = |_: &u32| {
        let listed = process.json(&["lease", "list"]);
        listed
            .pointer("/items/0/ending/failures")
            .and_then(Value::as_u64)
            .is_some_and(|failures| failures > 0)
    };
    assert!((0..600).find(has_failed).is_some(), "{}", process.json(&["lease", "list"]));
    recorder.run(process, "operator", "lease list", &[]);
    recorder.run(process, "operator", "lease retry", &["--all"]);
    recorder.run(process, "operator", "lease forget", &[&lease, "--reason", "server deleted"]);
}

fn keys(recorder: &mut Recorder, world: &World) {
    let process = &world.process;
    let mut run = |verb: &str, args: &[&str]| recorder.run(process, "operator", verb, args);
    run("checkpoint-key rotate", &[]);
    run("token-key list", &[]);
    run("token-key prepare", &[]);
    run("token-key activate", &["2", "--force"]);
    run("token-key revoke", &["1"]);
    run("authority list", &[]);
    run("authority prepare", &[]);
    run("renew", &["--operator"]);
    run("authority activate", &["2", "--force"]);
    run("renew", &["--operator"]);
    run("authority taint", &["1"]);
    run("authority revoke", &["1", "--force", "--yes"]);
}

fn on_the_host(recorder: &mut Recorder, process: &Process) {
    let config = process.config();
    let (out, key) =
        (process.path("glass").display().to_string(), process.path("root.key").display().to_string());
    let mut run =
        |verb: &str, args: &[&str]| recorder.run(process, "operator", verb, &on_host(args, &config));
    run("clock accept", &[]);
    run("break-glass suspend", &["agent", "a"]);
    run("break-glass contain", &["capability/payments.write", "--reason", "of today"]);
    run("break-glass revoke", &["agent", "a", "--reason", "of today"]);
    run("break-glass operator", &["--out", &out]);
    run("break-glass freeze", &["--reason", "of today"]);
    run("seal", &[]);
    run("unseal", &["--key-file", &key]);
    run("adopt", &[]);
}
