//! What a client and a host keep in files: durable before anything relies on it, and for their owner alone.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::process::{KEYWARD, Process};

/// Has clients write down what they rename, sync and connect to.
fn noting(process: &mut Process) {
    let shim = process.path("names.so").display().to_string();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/names.c");
    let made = Command::new("cc").args(["-shared", "-fPIC", "-o", &shim, source, "-ldl"]).status();
    assert!(made.expect("a C compiler is needed").success());
    process.environment = vec![
        ("LD_PRELOAD".to_owned(), shim),
        ("KEYWARD_TEST_NAMES".to_owned(), process.path("names").display().to_string()),
    ];
}

/// The names that were given since, each synced before the next connection.
fn synced_names(process: &Process) -> Vec<String> {
    let noted = fs::read_to_string(process.path("names")).unwrap();
    fs::remove_file(process.path("names")).unwrap();
    let lines: Vec<&str> = noted.lines().collect();
    let mut names = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(path) = line.strip_prefix("rename ") else { continue };
        let parent = format!("fsync {}", Path::new(path).parent().unwrap().display());
        let mut before_next = lines[at..].iter().take_while(|line| !line.starts_with("connect"));
        assert!(before_next.any(|line| *line == parent), "{path} was not synced: {noted}");
        names.push(Path::new(path).file_name().unwrap().to_str().unwrap().to_owned());
    }
    names
}

#[test]
fn a_key_has_its_name_on_disk_before_the_broker_hears_of_it() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    let code = process.good(&["agent", "invite", "b", "--role", "repo-reader"], b"");
    noting(&mut process);
    process.good_as("b", &["join"], &code);
    let names = synced_names(&process);
    assert!(names.iter().any(|name| name.starts_with("joining-")), "{names:?}");
    process.good_as("b", &["renew"], b"");
    let names = synced_names(&process);
    assert!(names.iter().any(|name| name == "agent-renewing.pem"), "{names:?}");
}

#[test]
fn data_directory_has_its_name_on_disk_with_those_above_it() {
    let mut process = Process::init("warn");
    let text = fs::read_to_string(process.path("keyward.toml")).unwrap();
    let text = text.replace("/data\"", "/deep/er/data\"").replace("root.key", "other.key");
    fs::write(process.path("deep.toml"), text).unwrap();
    noting(&mut process);
    process.good_as("other", &["init", "--config", &process.path("deep.toml").display().to_string()], b"");
    let noted = fs::read_to_string(process.path("names")).unwrap();
    for dir in [process.path("deep/er"), process.path("deep"), process.dir.path().to_owned()] {
        let synced = format!("fsync {}", dir.display());
        assert!(noted.lines().any(|line| line == synced), "{synced}: {noted}");
    }
}

#[test]
fn a_key_is_kept_in_a_directory_that_its_owner_cannot_read() {
    let process = Process::init("warn");
    fs::create_dir(process.path("drop")).unwrap();
    fs::set_permissions(process.path("drop"), Permissions::from_mode(0o300)).unwrap();
    let text = fs::read_to_string(process.path("keyward.toml")).unwrap();
    let text = text.replace("/data\"", "/other\"").replace("root.key", "drop/root.key");
    fs::write(process.path("drop.toml"), text).unwrap();
    // Root reads every directory, unless it lacks these capabilities.
    let mut limited = Command::new("setpriv");
    limited.args(["--bounding-set=-dac_override,-dac_read_search", "--", KEYWARD, "init", "--config"]);
    limited.arg(process.path("drop.toml")).arg("--home").arg(process.path("home-other"));
    let output = limited.output().expect("setpriv is needed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(process.path("drop/root.key").exists());
}

#[test]
fn serve_and_doctor_refuse_files_that_other_users_can_use() {
    let mut process = Process::init("warn");
    let config = process.config();
    for (name, mode) in
        [("data/keyring", 0o640), ("data/tls/server.key", 0o604), ("keyward.toml", 0o646), ("data", 0o770)]
    {
        let path = process.path(name);
        let before = fs::metadata(&path).unwrap().permissions();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let (exit, why) = process.refused_serve();
        assert_eq!(exit, Some(10), "{name}: {why}");
        assert!(
            why.contains("file_permissions_too_open") && why.contains(&format!("{mode:o}")),
            "{name}: {why}"
        );
        let doctor = process.run_as("operator", &["doctor", "--config", &config], b"");
        let found = String::from_utf8_lossy(&doctor.stdout).into_owned();
        let line = found.lines().find(|line| line.contains(&format!("has mode {mode:o}")));
        assert!(line.is_some_and(|line| line.starts_with("fail")), "{name}: {found}");
        fs::set_permissions(&path, before).unwrap();
    }
    let keyring = process.path("data/keyring");
    std::os::unix::fs::chown(&keyring, Some(65534), None).unwrap();
    let (_, why) = process.refused_serve();
    assert!(why.contains("belongs to uid 65534"), "{why}");
    std::os::unix::fs::chown(&keyring, Some(rustix::process::getuid().as_raw()), None).unwrap();
    process.serve();
}

#[test]
fn a_hangup_does_not_end_the_broker() {
    let mut process = Process::init("warn");
    process.serve();
    let pid = Pid::from_raw(process.pid().cast_signed()).unwrap();
    kill_process(pid, Signal::HUP).unwrap();
    process.good(&["whoami", "--operator"], b"");
    assert!(process.is_running());
}

#[test]
fn an_empty_xdg_variable_counts_as_unset() {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(KEYWARD);
    command.arg("whoami").env("XDG_CONFIG_HOME", "").env("HOME", home.path()).env_remove("KEYWARD_HOME");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains(&home.path().join(".config/keyward").display().to_string()), "{said}");
}
