//! `keyward doctor`: every finding on a machine that is well, and what it says of one that is not.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::support::ports::free_port;
use crate::support::process::{Process, files};

fn findings(process: &Process, who: &str, args: &[&str]) -> (Option<i32>, Vec<(String, String)>) {
    let output = process.run_as(who, &[&["doctor", "-o", "json"], args].concat(), b"");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let field = |item: &Value, name: &str| item[name].as_str().unwrap().to_owned();
    let items = found["items"].as_array().unwrap();
    for item in items.iter().filter(|item| item["state"] != "ok") {
        assert!(!field(item, "fix").is_empty(), "{item}");
    }
    (output.status.code(), items.iter().map(|item| (field(item, "what"), field(item, "state"))).collect())
}

fn state(findings: &[(String, String)], what: &str) -> String {
    findings.iter().find(|(name, _)| name == what).unwrap_or_else(|| panic!("{what}: {findings:?}")).1.clone()
}

#[test]
fn a_client_that_is_well_is_told_so_and_one_that_is_not_is_told_what() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    let (exit, found) = findings(&process, "a", &[]);
    assert!(exit == Some(0) && found.iter().all(|(_, state)| state == "ok"), "{found:?}");
    let (exit, found) = findings(&process, "operator", &["--operator"]);
    let whats: Vec<&str> = found.iter().map(|(what, _)| what.as_str()).collect();
    assert_eq!(exit, Some(0));
    assert_eq!(
        whats,
        ["identity", "identity's directory", "private key", "certificate", "broker", "clock", "readiness"],
    );
    assert_eq!(findings(&process, "nobody", &[]).1, [("identity".to_owned(), "fail".to_owned())]);
    let key = process.path("home-a/agent/key.pem");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let (exit, found) = findings(&process, "a", &[]);
    assert_eq!((exit, state(&found, "private key").as_str()), (Some(1), "fail"));
    process.good(&["agent", "revoke", "a"], b"");
    assert_eq!(state(&findings(&process, "a", &[]).1, "broker"), "fail");
    process.stop();
    assert_eq!(state(&findings(&process, "operator", &["--operator"]).1, "broker"), "fail");
}

#[test]
fn doctor_checks_a_host_with_a_running_or_stopped_broker_read_only() {
    let mut process = Process::init("warn");
    process.serve();
    let config = process.config();
    let host = |process: &Process| findings(process, "host", &["--config", &config]);
    let (exit, found) = host(&process);
    assert_eq!(
        (exit, state(&found, "ledger").as_str(), state(&found, "slots").as_str()),
        (Some(0), "ok", "warn")
    );
    process.stop();
    let before = fs::read(process.path("data/keyring")).unwrap();
    assert_eq!(host(&process).0, Some(0));
    assert_eq!(fs::read(process.path("data/keyring")).unwrap(), before);
    fs::set_permissions(process.path("data"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::remove_file(process.path("root.key")).unwrap();
    let (exit, found) = host(&process);
    assert_eq!(exit, Some(1));
    for what in ["data directory", "unseal key file", "keyring", "ledger"] {
        assert_eq!(state(&found, what), "fail", "{what}");
    }
    process.good(&["help", "error", "checks_failed"], b"");
}

/// The same without a runtime directory that does not exist: the tests' machines have none.
fn checked(process: &Process) -> (Option<i32>, Vec<(String, String)>) {
    let (exit, mut found) = all_checked(process);
    found.retain(|(what, said)| what != "warn runtime directory" || !said.contains("does not exist"));
    (exit, found)
}

/// The findings of `config check` that are not `ok`, and its exit code.
fn all_checked(process: &Process) -> (Option<i32>, Vec<(String, String)>) {
    let output =
        process.run_as("host", &["config", "check", "-o", "json", "--config", &process.config()], b"");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let items = found["items"].as_array().unwrap().iter();
    let bad = items.filter(|item| item["state"] != "ok");
    let field = |item: &Value, name: &str| item[name].as_str().unwrap().to_owned();
    let said = bad.map(|item| {
        (
            format!("{} {}", field(item, "state"), field(item, "what")),
            field(item, "why") + &field(item, "fix"),
        )
    });
    (output.status.code(), said.collect())
}

#[test]
fn config_check_finds_names_that_fit_neither_host_nor_certificate() {
    // Given a broker whose certificate has its names
    let mut process = Process::init("warn");
    process.serve();
    process.stop();
    assert_eq!(checked(&process), (Some(0), Vec::new()));
    // When a name is added that does not resolve
    let text = fs::read_to_string(process.config()).unwrap();
    let with =
        |names: &str| fs::write(process.config(), text.replace("[\"127.0.0.1\", \"localhost\"]", names));
    with("[\"127.0.0.1\", \"broker.invalid\"]").unwrap();
    // Then both problems are warnings with a fix, because the name may resolve for clients
    let (exit, found) = checked(&process);
    let heads: Vec<&str> = found.iter().map(|(head, _)| head.as_str()).collect();
    assert_eq!((exit, heads), (Some(0), vec!["warn names", "warn server certificate"]), "{found:?}");
    assert!(found.iter().all(|(_, said)| said.contains("`broker.invalid`")), "{found:?}");
    // When the address for agents has a host that is no name, then clients would refuse the broker
    with("[\"localhost\"]\naddress = \"127.0.0.1:8443\"").unwrap();
    let (exit, found) = checked(&process);
    assert_eq!((exit, found.len(), found[0].0.as_str()), (Some(1), 1, "fail addresses"), "{found:?}");
    assert!(found[0].1.contains("add `127.0.0.1` to `[server] names`"), "{found:?}");
}

#[test]
fn config_check_finds_a_changed_trust_domain_and_data_of_no_broker() {
    // Given a broker that has started, and a configuration that fits it
    let mut process = Process::init("warn");
    process.serve();
    process.stop();
    let text = fs::read_to_string(process.config()).unwrap();
    let with = |from: &str, to: &str| fs::write(process.config(), text.replace(from, to)).unwrap();
    assert_eq!(checked(&process), (Some(0), Vec::new()));
    // When the trust domain is changed, then both checks fail, as the start does
    with("\"keyward.test\"", "\"other.test\"");
    let (exit, found) = checked(&process);
    assert_eq!((exit, found.len(), found[0].0.as_str()), (Some(1), 1, "fail trust domain"), "{found:?}");
    assert!(found[0].1.contains("`trust_domain = \"keyward.test\"`"), "{found:?}");
    let (_, doctored) = findings(&process, "host", &["--config", &process.config()]);
    assert_eq!(state(&doctored, "trust domain"), "fail");
    assert!(process.refused_serve().1.contains("trust_domain_changed"));
    // When the data directory is an empty or missing one, then the check says that it has no broker
    fs::create_dir(process.path("empty")).unwrap();
    fs::set_permissions(process.path("empty"), fs::Permissions::from_mode(0o700)).unwrap();
    for dir in ["empty", "missing"] {
        with("/data\"", &format!("/{dir}\""));
        let (exit, found) = checked(&process);
        assert_eq!((exit, found.len(), found[0].0.as_str()), (Some(0), 1, "warn broker's data"), "{found:?}");
        assert!(found[0].1.contains(&process.path(dir).display().to_string()), "{found:?}");
    }
}

#[test]
fn config_check_finds_keys_that_others_can_use_or_replace() {
    let mut process = Process::init("warn");
    process.serve();
    process.stop();
    let mode = |path: &str, mode: u32| {
        fs::set_permissions(process.path(path), fs::Permissions::from_mode(mode)).unwrap();
    };
    for (path, wrong, right, what) in [
        ("root.key", 0o640, 0o600, "fail unseal key file"),
        ("", 0o777, 0o700, "fail unseal key's directory"),
        ("data/tls", 0o770, 0o700, "fail server key's directory"),
        ("data/tls/server.key", 0o644, 0o600, "fail server key's permissions"),
        ("data/keyring", 0o644, 0o600, "fail keyring's permissions"),
        ("data", 0o750, 0o700, "fail data directory"),
    ] {
        mode(path, wrong);
        let (exit, found) = checked(&process);
        assert_eq!((exit, found.len()), (Some(1), 1), "{path}: {found:?}");
        assert_eq!(found[0].0, what);
        assert!(found[0].1.contains("chmod"), "{found:?}");
        let (_, doctored) = findings(&process, "host", &["--config", &process.config()]);
        assert_eq!(state(&doctored, what.trim_start_matches("fail ")), "fail");
        mode(path, right);
    }
    assert_eq!(checked(&process).0, Some(0));
}

#[test]
fn equal_ports_of_the_listeners_are_found_before_a_start() {
    let process = Process::init("warn");
    let text = fs::read_to_string(process.config()).unwrap();
    let port = text.split("agents = \"127.0.0.1:").nth(1).unwrap().split('"').next().unwrap();
    let start = text.find("admins = ").unwrap();
    let end = text[start..].find('\n').unwrap() + start;
    let equal = format!("{}admins = \"0.0.0.0:{port}\"{}", &text[..start], &text[end..]);
    fs::write(process.config(), equal).unwrap();
    for verb in [&["config", "check"][..], &["doctor"]] {
        let output = process.run_as("host", &[verb, &["--config", &process.config()]].concat(), b"");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(!output.status.success() && said.contains("`listen.admins`: agents and admins"), "{said}");
    }
}

#[test]
fn owner_of_the_data_is_the_brokers_user_whoever_checks() {
    if !rustix::process::getuid().is_root() {
        return;
    }
    // Given a broker's data that a service user owns, and a check by root
    let mut process = Process::init("warn");
    process.serve();
    process.stop();
    let service = 64_001;
    let give = |path: &str, uid: u32| std::os::unix::fs::chown(process.path(path), Some(uid), None).unwrap();
    let data = process.path("data");
    for path in files(&data).into_iter().chain([data.clone()]) {
        std::os::unix::fs::chown(path, Some(service), None).unwrap();
    }
    for dir in fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
        std::os::unix::fs::chown(dir, Some(service), None).unwrap();
    }
    assert_eq!(checked(&process), (Some(0), Vec::new()));
    // When a file belongs to another user, or to root so that the service cannot read it
    let segment = files(&process.path("data/ledger"))[0].strip_prefix(process.path("")).unwrap().to_owned();
    for (path, uid, what, why) in [
        ("data/keyring", 65_534, "fail keyring's permissions", "belongs to uid 65534"),
        ("data/keyring", 0, "fail keyring's permissions", "the broker's user (uid 64001) cannot read it"),
        ("data/tls/server.key", 0, "fail server key's permissions", "(uid 64001) cannot read it"),
        (segment.to_str().unwrap(), 65_534, "fail owner of the data", "belongs to uid 65534"),
        (segment.to_str().unwrap(), 0, "fail owner of the data", "(uid 64001) cannot read it"),
    ] {
        give(path, uid);
        // Then the check names the file, and the user who has to own it
        let (exit, found) = checked(&process);
        let one = found.iter().find(|(head, _)| head == what).unwrap_or_else(|| panic!("{path}: {found:?}"));
        assert!(exit == Some(1) && one.1.contains(why), "{path}: {found:?}");
        let fix = format!("chown {service} {}", process.path(path).display());
        assert!(one.1.contains(&fix), "{path}: {found:?}");
        give(path, service);
    }
    assert_eq!(checked(&process), (Some(0), Vec::new()));
}

#[test]
fn config_check_says_why_the_runtime_directory_is_not_used() {
    // Given a runtime directory on the file system of the data
    let mut process = Process::init("warn");
    fs::create_dir(process.path("run")).unwrap();
    let text = fs::read_to_string(process.config()).unwrap();
    let run = process.path("run").display().to_string();
    fs::write(process.config(), format!("runtime_dir = \"{run}\"\n{text}")).unwrap();
    // Then the check warns, and names what does not survive a restart
    let (exit, found) = checked(&process);
    assert_eq!((exit, found.len(), found[0].0.as_str()), (Some(0), 1, "warn runtime directory"), "{found:?}");
    assert!(found[0].1.contains("file system of the data directory"), "{found:?}");
    // And if the directory is missing, before the start and while the broker runs, it warns, too
    fs::remove_dir(&run).unwrap();
    for fix in ["the start of the service makes it", "restart the broker"] {
        let (exit, found) = all_checked(&process);
        assert_eq!(
            (exit, found.len(), found[0].0.as_str()),
            (Some(0), 1, "warn runtime directory"),
            "{found:?}"
        );
        assert!(
            found[0].1.contains(&format!("`{run}` does not exist")) && found[0].1.contains(fix),
            "{found:?}"
        );
        if fix == "the start of the service makes it" {
            process.serve();
        }
    }
}

#[test]
fn config_check_says_why_a_listener_cannot_listen() {
    // Given a broker that does not run, and a program that has one of its ports
    let mut process = Process::init("warn");
    process.serve();
    process.stop();
    let text = fs::read_to_string(process.config()).unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, free) = (taken.local_addr().unwrap().port(), free_port());
    let listen = |agents: &str, admins: &str| {
        let line = |line: &str| match line.split(" = ").next() {
            Some("agents") => format!("agents = \"{agents}\"\n"),
            Some("admins") => format!("admins = \"{admins}\"\n"),
            _ => format!("{line}\n"),
        };
        fs::write(process.config(), text.lines().map(line).collect::<String>()).unwrap();
    };
    // When the agents' port is taken, and the operators' address is of another host
    listen(&format!("127.0.0.1:{port}"), &format!("192.0.2.1:{free}"));
    // Then the check warns of both, with the cause
    let (exit, found) = checked(&process);
    assert_eq!(exit, Some(0), "{found:?}");
    let said = |what: &str| {
        found.iter().find(|(one, _)| one == what).map(|(_, said)| said.clone()).unwrap_or_default()
    };
    let (agents, admins) = (said("warn agents' listener"), said("warn operators' listener"));
    assert!(agents.contains(&format!("another program has the port {port}")), "{found:?}");
    assert!(admins.contains("192.0.2.1 is no address of this host"), "{found:?}");
    drop(taken);
    fs::write(process.config(), &text).unwrap();
}

#[test]
fn doctor_says_how_far_the_clock_of_this_machine_is_from_the_broker() {
    // Given an operator's machine whose clock is ahead, then behind by less than certificates are backdated
    let mut process = Process::init("warn");
    process.serve();
    let environment = process.clock_in("clock");
    for (by_s, side) in [(100_i64, "ahead of"), (-20, "behind")] {
        process.set_clock("clock", by_s);
        let mut command = process.command("operator", &["doctor", "--operator", "-o", "json"]);
        let output = command.envs(environment.clone()).output().unwrap();
        // Then the check of the clock warns, with the difference
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        let clock = found["items"].as_array().unwrap().iter().find(|one| one["what"] == "clock").unwrap();
        assert_eq!(clock["state"], "warn", "{found}");
        let why = clock["why"].as_str().unwrap();
        // The date of a response has whole seconds.
        let is_near = (-2..=2).any(|off| why.contains(&format!("{}s ", by_s.abs() + off)));
        assert!(why.contains(side) && is_near, "{why}");
    }
}
