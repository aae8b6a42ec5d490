//! Files below the data directory: their owner after commands of root, and files that the broker may not open.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::sealing::{WORDS, refused, verb};
use crate::support::host::until;
use crate::support::process::{KEYWARD, Process, files};

/// The user of a service, as systemd would choose one.
const SERVICE: (u32, u32) = (64_001, 64_002);

/// The data directory, with all files and directories below it.
fn everything(data: &Path) -> Vec<PathBuf> {
    let files = files(data);
    let dirs = files.iter().flat_map(|file| file.ancestors().skip(1)).filter(|dir| dir.starts_with(data));
    let mut all: Vec<PathBuf> = dirs.map(Path::to_owned).chain(files.iter().cloned()).collect();
    all.sort();
    all.dedup();
    all
}

/// Runs `keyward` as a user who may open only files whose mode lets it; root has the right to open others.
fn without_rights_of_root(args: &[&str]) -> Output {
    let mut command = if rustix::process::geteuid().is_root() {
        let mut limited = Command::new("setpriv");
        limited.args(["--bounding-set=-dac_override,-dac_read_search", "--", KEYWARD]);
        limited
    } else {
        Command::new(KEYWARD)
    };
    command.args(args).output().expect("setpriv is needed")
}

#[test]
fn unseal_names_the_file_that_the_broker_may_not_open() {
    // Given a sealed broker whose user may not open a segment of the ledger
    let mut process = Process::init_attended("warn", WORDS);
    if rustix::process::geteuid().is_root() {
        process.started_by =
            ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--"].map(Into::into).to_vec();
    }
    process.spawn();
    until(&process.socket(), "sealed");
    let segments = files(&process.path("data/ledger"));
    let segment = segments.iter().find(|file| file.extension().is_some_and(|end| end == "seg")).unwrap();
    let mode = segment.metadata().unwrap().permissions();
    fs::set_permissions(segment, Permissions::from_mode(0o000)).unwrap();
    // When a user unseals it, then the refusal names the file and the fix, and the broker stays sealed
    let failed = verb(&process, &["unseal"], WORDS.as_bytes());
    refused(&failed, 10, "unseal_failed");
    let why = failed.1["detail"].as_str().unwrap();
    assert!(why.starts_with("file_access_denied: "), "{failed:?}");
    assert!(why.contains(&segment.display().to_string()), "{failed:?}");
    assert!(failed.1["fix"].as_str().unwrap().contains("chown"), "{failed:?}");
    // And with the file opened again, the same command succeeds
    fs::set_permissions(segment, mode).unwrap();
    assert_eq!(verb(&process, &["unseal"], WORDS.as_bytes()).0, Some(0));
}

#[test]
fn commands_of_root_leave_every_file_to_the_brokers_user() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    // Given a stopped broker whose data belong to the user of its service
    let mut process = Process::init("warn");
    process.serve();
    process.stop();
    let data = process.path("data");
    let give =
        || everything(&data).iter().for_each(|path| chown(path, Some(SERVICE.0), Some(SERVICE.1)).unwrap());
    let (config, key) = (process.config(), process.path("next.key").display().to_string());
    let words = process.path("words").display().to_string();
    fs::write(&words, "correct horse battery staple").unwrap();
    let shares = process.path("shares").display().to_string();
    fs::create_dir(&shares).unwrap();
    for args in [
        &["slot", "add", "--passphrase-file", &words][..],
        &["slot", "add", "--shares", "3", "--threshold", "2", "--shares-dir", &shares],
        &["slot", "add", "--key-file", &key],
        &["init", "--reissue-operator"],
        &["adopt"],
    ] {
        give();
        let before = everything(&data).len();
        // When root changes the data
        process.good(&[args, &["--config", &config]].concat(), b"");
        // Then every file belongs to that user
        assert!(everything(&data).len() >= before, "{args:?}");
        for path in everything(&data) {
            let found = path.metadata().unwrap();
            assert_eq!((found.uid(), found.gid()), SERVICE, "{args:?}: {}", path.display());
        }
    }
}

#[test]
fn file_that_the_broker_may_not_open_is_no_damage() {
    let mut process = Process::init("warn");
    process.serve();
    process.stop();
    let (config, data) = (process.config(), process.path("data").display().to_string());
    let segment = files(&process.path("data/ledger"))
        .into_iter()
        .find(|file| file.extension().is_some_and(|end| end == "seg"));
    let segment = segment.unwrap();
    for (path, owned) in
        [(segment, "data/ledger"), (process.path("data/anchor"), "data"), (process.path("data/lock"), "data")]
    {
        // Given a file that the broker's user may not open
        let mode = path.metadata().unwrap().permissions();
        fs::set_permissions(&path, Permissions::from_mode(0o000)).unwrap();
        let mut runs = vec![vec!["serve", "--config", &config]];
        if path.extension().is_some() {
            runs.extend([vec!["verify", "--config", &config], vec!["verify", "--data-dir", &data]]);
        }
        for args in runs {
            // When a command needs the file
            let output = without_rights_of_root(&args);
            // Then it names the file and the command that gives the file to that user, and no damage
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(10), "{args:?}: {said}");
            let fix = format!(" {}`", process.path(owned).display());
            for part in ["file_access_denied", &format!("`{}`", path.display()), "chown -R", &fix] {
                assert!(said.contains(part), "{args:?}: {part}: {said}");
            }
        }
        fs::set_permissions(&path, mode).unwrap();
    }
    process.serve();
}

#[test]
fn directory_closed_above_the_data_is_named_by_serve_and_doctor() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    // Given a stopped broker of a service, in a directory of root that is closed to the service
    let mut process = Process::init("warn");
    process.serve();
    process.stop();
    let (config, above) = (process.config(), process.path(""));
    for path in everything(&process.path("data")) {
        chown(&path, Some(SERVICE.0), Some(SERVICE.1)).unwrap();
    }
    fs::set_permissions(&config, Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(&above, Permissions::from_mode(0o700)).unwrap();
    let above = above.display().to_string();
    let above = above.trim_end_matches('/');
    // When root checks the host, then the closed directory is named with the command that opens it
    for args in [&["config", "check", "--config", &config][..], &["doctor", "--config", &config]] {
        let checked = process.run_as("host", &[args, &["-o", "json"]].concat(), b"");
        let checked = String::from_utf8_lossy(&checked.stdout).into_owned();
        let fix = format!("chmod o+x {above}`");
        assert!(checked.contains(&format!("the directory `{above}`")) && checked.contains(&fix), "{checked}");
    }
    // When the service starts, then it names the same directory; the service may not reach the binary of this test
    let ids = [format!("--reuid={}", SERVICE.0), format!("--regid={}", SERVICE.1)];
    let as_service = |args: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(&ids).args(["--clear-groups", "--", KEYWARD]).args(args);
        command.output().expect("setpriv is needed")
    };
    if !as_service(&["--version"]).status.success() {
        return;
    }
    let output = as_service(&["serve", "--config", &config]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    for part in ["file_access_denied", &format!("the directory `{above}`"), "chmod o+x"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("error: usage"), "{said}");
}

#[test]
fn password_file_of_root_fails_the_check_of_the_host() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    // Given a stopped broker of a service, with the settings of a database whose password only root can read
    let mut process = Process::init("warn");
    process.serve();
    process.stop();
    for path in everything(&process.path("data")) {
        chown(&path, Some(SERVICE.0), Some(SERVICE.1)).unwrap();
    }
    let set = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    let (config, password) = (process.config(), process.path("database-password"));
    let ca = process.path("database-ca.pem");
    fs::write(&password, "CNRY\n").unwrap();
    fs::write(&ca, "").unwrap();
    let settings = format!(
        "\n[ledger]\nengine = \"postgresql\"\nhosts = [\"127.0.0.1:1\"]\ndatabase = \"keyward\"\nrole = \"keyward_broker\"\n\
         password_file = \"{}\"\nca_file = \"{}\"\n",
        password.display(),
        ca.display()
    );
    fs::write(&config, fs::read_to_string(&config).unwrap() + &settings).unwrap();
    set(&process.path(""), 0o755);
    set(Path::new(&config), 0o644);
    set(&password, 0o600);
    set(&ca, 0o644);
    let checked = || {
        let args = ["config", "check", "--config", &config, "-o", "json"];
        String::from_utf8_lossy(&process.run_as("host", &args, b"").stdout).into_owned()
    };
    // When root checks the host, then the check names the file and the user that needs it, and does not open it to others
    let said = checked();
    let closed =
        format!("the file `{}` (of uid 0, mode 600) is closed to uid {}", password.display(), SERVICE.0);
    let fix = format!("`chown {} {}`", SERVICE.0, password.display());
    assert!(said.contains(&closed) && said.contains(&fix) && !said.contains("chmod o+r"), "{said}");
    // And when the file belongs to that user, then the check passes
    chown(&password, Some(SERVICE.0), Some(SERVICE.1)).unwrap();
    let said = checked();
    assert!(said.contains("the broker's user can read the password and the CA certificates"), "{said}");
}
