//! Data of other formats: those of a checkout from before the freeze (`ed2734e`, of the trial), and those of a later version.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Output;

use crate::golden::golden;
use crate::support::process::{Process, files, put_back};

/// A configuration for a copy of golden data: `data` and `root.key` in this folder.
fn with_data(folder: &str) -> Process {
    let process = Process::init("warn");
    fs::remove_dir_all(process.path("data")).unwrap();
    fs::remove_file(process.path("root.key")).unwrap();
    put_back(&golden(folder).join("data"), &process.path("data"));
    fs::copy(golden(folder).join("root.key"), process.path("root.key")).unwrap();
    // A version control system keeps no permissions.
    for file in files(&process.path("data")).into_iter().chain([process.path("root.key")]) {
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(file.parent().unwrap(), Permissions::from_mode(0o700)).unwrap();
    }
    process
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs every command that opens the data, which has to refuse them with this code and leave them as they are.
fn is_refused_everywhere(process: &Process, code: &str, why: &str, fix: &str) {
    let (config, data) = (process.config(), process.path("data"));
    let dir = data.display().to_string();
    let left: Vec<(PathBuf, Vec<u8>)> =
        files(&data).into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    assert!(left.len() >= 3, "a keyring and segments");
    for args in [
        &["serve", "--config", &config][..],
        &["serve", "--read-only", "--config", &config],
        &["verify", "--config", &config],
        &["verify", "--data-dir", &dir],
        &["init", "--reissue-operator", "--config", &config],
        &["slot", "add", "--key-file", &process.path("new.key").display().to_string(), "--config", &config],
    ] {
        let output = process.run_as("operator", args, b"");
        let said = said(&output);
        assert!(!output.status.success(), "{args:?}: {said}");
        assert!(said.contains(&format!("error: {code}\n")), "{args:?}: {said}");
        assert!(said.contains(why) && said.contains(fix), "{args:?}: {said}");
    }
    let output = process.run_as("operator", &["doctor", "--config", &config], b"");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success() && shown.contains(why), "{shown}");
    for (path, bytes) in left {
        assert!(fs::read(&path).unwrap() == bytes, "{} was changed", path.display());
    }
}

#[test]
fn data_of_a_format_before_the_freeze_are_refused_clearly() {
    let process = with_data("older");
    let why = "segment 00000000000000000001.seg has format 1, which only earlier versions of keyward read";
    is_refused_everywhere(&process, "data_older", why, "start the version of keyward that wrote the data");
}

#[test]
fn data_of_a_later_format_are_refused_clearly() {
    let process = with_data("broker");
    // Given the header of a later version, with its checksum
    for segment in files(&process.path("data/ledger")) {
        let mut bytes = fs::read(&segment).unwrap();
        assert_eq!(bytes[8..10], [0, 2], "the format follows the magic");
        bytes[9] = 3;
        let checksum = crc32fast::hash(&bytes[..188]);
        bytes[188..192].copy_from_slice(&checksum.to_be_bytes());
        fs::write(&segment, bytes).unwrap();
    }
    let fix = "start the version of keyward that wrote the data, or a later one";
    is_refused_everywhere(
        &process,
        "data_newer",
        "has format 3, which this version of keyward does not read",
        fix,
    );
}
