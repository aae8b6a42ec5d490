//! SIGKILL at any moment: what was acknowledged is there, and nothing is there twice.

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use keyward::config::Config;
use serde_json::Value;

use crate::support::process::{KEYWARD, Process};
use crate::support::waiting::wait_until;

/// Rounds of load and SIGKILL. The long form of this test belongs to the soak.
const ROUNDS: usize = 6;

/// Hazards STO-01, AUD-01.
#[test]
fn kill_9_under_load_loses_no_acknowledged_mint() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    let mut acknowledged: BTreeSet<String> = BTreeSet::new();
    for round in 0..ROUNDS {
        let stop = Arc::new(AtomicBool::new(false));
        let minters: Vec<_> = (0..3)
            .map(|_| {
                let stop = Arc::clone(&stop);
                let mut command = process.command("a", &["token", "github.repo.read", "-o", "json"]);
                std::thread::spawn(move || {
                    let mut got = Vec::new();
                    wait_until(|| {
                        let output = command.output().unwrap();
                        if output.status.success() {
                            let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
                            got.push(answer["token_id"].as_str().unwrap().to_owned());
                        }
                        stop.load(Ordering::Relaxed)
                    });
                    got
                })
            })
            .collect();
        // The moment of the kill is wherever the load has come to after so many mints by ourselves.
        for _ in 0..=round {
            let answer: Value = serde_json::from_slice(&process.good_as(
                "a",
                &["token", "github.repo.read", "-o", "json"],
                b"",
            ))
            .unwrap();
            acknowledged.insert(answer["token_id"].as_str().unwrap().to_owned());
        }
        process.kill();
        stop.store(true, Ordering::Relaxed);
        for minter in minters {
            acknowledged.extend(minter.join().unwrap());
        }
        process.serve();
    }
    let mut recorded = BTreeSet::new();
    let (mut after, mut expected) = (0, 1);
    loop {
        let page = process.json(&[
            "audit",
            "list",
            "--oldest-first",
            "--limit",
            "500",
            "--after",
            &after.to_string(),
        ]);
        for item in page["items"].as_array().unwrap() {
            assert_eq!(item["seq"], expected, "a gap or a fork");
            expected += 1;
            if item["kind"] == "token.minted" {
                assert!(recorded.insert(item["event"]["token"].as_str().unwrap().to_owned()), "twice");
            }
        }
        match page["next_after"].as_u64() {
            Some(next) => after = next,
            None => break,
        }
    }
    let lost: Vec<_> = acknowledged.difference(&recorded).collect();
    assert!(lost.is_empty(), "{} of {} acknowledged mints are gone", lost.len(), acknowledged.len());
    assert!(acknowledged.len() > ROUNDS);
    process.stop();
    let verified = process.json(&["verify", "--config", &process.config()]);
    assert_eq!(verified["entries"].as_u64(), Some(expected - 1 + verified_tail(&verified, expected)));
}

/// Entries that came after the last page was read: the stop writes none.
fn verified_tail(verified: &Value, expected: u64) -> u64 {
    verified["entries"].as_u64().unwrap() - (expected - 1)
}

/// Hazard STO-10.
#[test]
fn a_second_process_on_the_same_data_directory_is_refused() {
    let mut process = Process::init("warn");
    process.serve();
    let (code, said) = process.refused_serve();
    assert_eq!(code, Some(10), "{said}");
    assert!(said.contains("data_dir_in_use") && said.contains("fix:"), "{said}");
    let again =
        process.run_as("operator", &["init", "--config", &process.config(), "--reissue-operator"], b"");
    assert!(String::from_utf8_lossy(&again.stderr).contains("data_dir_in_use"));
    process.kill();
    process.serve();
}

/// Hazard OPS-07.
#[test]
fn a_second_init_changes_nothing() {
    let process = Process::init("warn");
    let before = std::fs::read(process.path("data/keyring")).unwrap();
    let again = process.run_as("operator", &["init", "--config", &process.config()], b"");
    assert!(!again.status.success());
    assert!(String::from_utf8_lossy(&again.stderr).contains("already_initialised"));
    assert_eq!(std::fs::read(process.path("data/keyring")).unwrap(), before);
}

#[test]
fn init_checks_disk_and_key_directory_before_it_writes() {
    // Given a machine on which nothing was initialised
    let process = Process::init("warn");
    for made in ["data", "home-operator"] {
        std::fs::remove_dir_all(process.path(made)).unwrap();
    }
    std::fs::remove_file(process.path("root.key")).unwrap();
    let run = |mut command: std::process::Command| {
        let output = command.output().unwrap();
        assert!(!output.status.success() && !process.path("data/keyring").exists(), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let home = process.path("home-operator").display().to_string();
    let init = |more: &[&str]| {
        let mut command = std::process::Command::new(KEYWARD);
        command.args(["init", "--config", &process.config(), "--home", &home]).args(more);
        command
    };
    // Then a missing directory and one that others can write to are named with their cure
    let absent = process.path("absent/root.key").display().to_string();
    let said = run(init(&["--root-key-file", &absent]));
    assert!(said.contains("does not exist") && said.contains("install -d -m 700"), "{said}");
    std::fs::create_dir(process.path("open")).unwrap();
    std::fs::set_permissions(process.path("open"), Permissions::from_mode(0o777)).unwrap();
    let open = process.path("open/root.key").display().to_string();
    let said = run(init(&["--root-key-file", &open]));
    assert!(said.contains("file_permissions_too_open") && said.contains("chmod o-w"), "{said}");
    assert!(!process.path("open/root.key").exists());
    // And a disk that is too small is named with the space that is needed, and keeps no half of a broker
    std::fs::create_dir_all(process.path("data")).unwrap();
    let mut small = std::process::Command::new("unshare");
    small.args([
        "-m",
        "sh",
        "-c",
        "mount -t tmpfs -o size=40m tmpfs \"$0\"; \"$@\"; c=$?; ls \"$0\" >&2; exit $c",
    ]);
    small.arg(process.path("data")).arg(KEYWARD).args(init(&[]).get_args());
    let said = run(small);
    assert!(said.contains("ledger_no_space") && said.contains("needs 72 MiB"), "{said}");
    assert!(
        said.contains(&process.path("data").display().to_string()) && !said.contains("keyring"),
        "{said}"
    );
    // And the same command works when there is space.
    assert!(init(&[]).status().unwrap().success());
}

#[test]
fn the_root_key_may_come_as_a_systemd_credential() {
    let mut process = Process::init("warn");
    let credentials = process.path("credentials");
    std::fs::create_dir(&credentials).unwrap();
    std::fs::rename(process.path("root.key"), credentials.join("root-key")).unwrap();
    let text = std::fs::read_to_string(process.config()).unwrap();
    let file = format!("file = \"{}\"", process.path("root.key").display());
    std::fs::write(process.config(), text.replace(&file, "credential = \"root-key\"")).unwrap();
    let said = process.refused_serve().1;
    assert!(said.contains("systemd gave this process no credentials"), "{said}");
    assert!(said.contains("`keyward serve --sealed`") && !said.contains("--root-key-file"), "{said}");
    // And a command, which takes a key file, names that option instead
    let verified = process.run_as("host", &["verify", "--config", &process.config()], b"");
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    assert!(said.contains("outside of the service add `--root-key-file FILE`"), "{said}");
    assert!(!said.contains("serve --sealed"), "{said}");
    process.environment.push(("CREDENTIALS_DIRECTORY".to_owned(), credentials.display().to_string()));
    process.serve();
}

#[test]
fn a_start_that_the_machine_prevents_is_one_that_systemd_retries() {
    let mut process = Process::init("warn");
    let listen = Config::load(Path::new(&process.config())).unwrap().listen;
    let taken = TcpListener::bind(listen.agents).unwrap();
    let (code, said) = process.refused_serve();
    assert!(code == Some(1) && said.contains("listen_failed"), "{said}");
    drop(taken);
    process.serve();
    process.stop();
    let key = process.path("data/tls/server.key");
    std::fs::write(&key, "no key").unwrap();
    let (code, said) = process.refused_serve();
    assert!(code == Some(1) && said.contains("server_key_unusable"), "{said}");
    std::fs::remove_file(&key).unwrap();
    process.serve();
}

#[test]
fn a_changed_trust_domain_is_refused() {
    let process = Process::init("warn");
    let text = std::fs::read_to_string(process.config()).unwrap();
    std::fs::write(process.config(), text.replace("keyward.test", "keyward.other")).unwrap();
    let (code, said) = process.refused_serve();
    assert_eq!(code, Some(10));
    assert!(said.contains("trust_domain_changed"), "{said}");
}

/// Hazard KEY-04.
#[test]
fn the_broker_leaves_no_core() {
    let mut process = Process::init("warn");
    process.serve();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", process.pid())).unwrap();
    let cores = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(cores.split_whitespace().nth(4), Some("0"), "{cores}");
}

#[test]
fn restarts_without_work_write_nothing_and_keep_the_server_s_certificate() {
    let mut process = Process::init("warn");
    process.serve();
    process.stop();
    let before = std::fs::read(process.path("data/tls/server.pem")).unwrap();
    let entries = process.json(&["verify", "--config", &process.config()])["entries"].clone();
    for _ in 0..3 {
        process.serve();
        process.stop();
    }
    assert_eq!(std::fs::read(process.path("data/tls/server.pem")).unwrap(), before);
    assert_eq!(process.json(&["verify", "--config", &process.config()])["entries"], entries);
    let bytes: u64 = crate::support::process::files(&process.path("data/ledger"))
        .iter()
        .filter(|path| path.extension().is_some_and(|end| end == "seg"))
        .map(|path| std::fs::metadata(path).unwrap().len())
        .sum();
    assert!(bytes < 64 * 1024, "{bytes} bytes of ledger for {entries} entries");
}

#[test]
fn a_stopped_broker_gives_its_operator_a_new_certificate() {
    let mut process = Process::init("warn");
    process.good(&["init", "--config", &process.config(), "--reissue-operator"], b"");
    process.serve();
    let page = process.json(&["audit", "list", "--oldest-first", "--limit", "500"]);
    let certified =
        page["items"].as_array().unwrap().iter().filter(|item| item["kind"] == "operator.certified");
    assert_eq!(certified.count(), 2);
}
