//! The pages about the program and the data of the broker: installation, upgrade, backup and a move.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::{blocks, run_as, said_by, shell};
use crate::readme::root;
use crate::release::archive;
use crate::support::process::{KEYWARD, Process};

#[test]
fn the_program_is_installed_by_the_page_with_completions_and_manual_pages() {
    let blocks = blocks("how-to/install.md");
    assert_eq!(blocks[0], "cargo build --release --locked\n");
    assert!(root().join("Cargo.lock").exists());
    let dir = tempfile::tempdir().unwrap();
    let bin = dir.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let install = blocks[1].replace("target/release/keyward", KEYWARD);
    let install = install.replace("/usr/local/bin", &bin.display().to_string());
    let said = said_by(&shell(dir.path(), &install, &[]));
    assert!(
        said.contains("keyward ")
            && bin.join("keyward").metadata().unwrap().permissions().mode() & 0o111 == 0o111
    );
    said_by(&shell(dir.path(), &blocks[2], &[]));
    let share = dir.path().join(".local/share");
    let completions = fs::read_to_string(share.join("bash-completion/completions/keyward")).unwrap();
    assert!(completions.contains("complete "), "{completions}");
    assert!(share.join("man/man1/keyward-agent-invite.1").exists());
}

#[test]
fn a_release_archive_is_installed_by_the_page() {
    let blocks = blocks("how-to/install.md");
    assert_eq!(blocks[3], "scripts/release --out dist\n");
    let dir = tempfile::tempdir().unwrap();
    archive(dir.path(), "dist");
    let (bin, share) = (dir.path().join("bin"), dir.path().join("share"));
    fs::create_dir(&bin).unwrap();
    fs::create_dir(&share).unwrap();
    let install = blocks[4].replace("/usr/local/bin", &bin.display().to_string());
    let install = install.replace("/usr/local/share", &share.display().to_string());
    let said = said_by(&shell(dir.path(), &install, &[]));
    assert!(said.contains("OK") && said.contains("ledger segment"), "{said}");
    assert!(bin.join("keyward").exists() && share.join("man/man1/keyward-get.1").exists());
}

#[test]
fn an_upgrade_replaces_the_program_and_the_checks_pass() {
    let mut process = Process::init("warn");
    process.serve();
    let bin = process.path("bin");
    fs::create_dir(&bin).unwrap();
    let blocks = blocks("how-to/upgrade.md");
    let upgrade = blocks[0].replace("config check", &format!("config check --config {}", process.config()));
    let upgrade = upgrade.replace("target/release/keyward", KEYWARD);
    let upgrade = upgrade.replace("/usr/local/bin", &bin.display().to_string());
    run_as(&process, "operator", &upgrade, &[]);
    assert!(bin.join("keyward").exists());
    let checked = run_as(&process, "operator", &blocks[1], &[]);
    assert!(checked.contains("checks passed") || checked.contains("ok"), "{checked}");
}

#[test]
fn a_backup_by_the_page_is_verified_and_restored_by_the_page() {
    // Given a broker that runs, and a checkpoint that another machine keeps
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    let address = fs::read_to_string(process.path("home-a/agent/address")).unwrap();
    fs::copy(process.path("home-a/agent/authority.pem"), process.path("authority.pem")).unwrap();
    let place = |name: &str| process.path(name).display().to_string();
    let places = [place("data"), place("backup"), place("keyrings"), place("old")];
    let environment = [
        ("DATA", places[0].as_str()),
        ("BACKUP", places[1].as_str()),
        ("KEYRINGS", places[2].as_str()),
        ("OLD", places[3].as_str()),
        ("BROKER", address.trim()),
    ];
    let blocks = blocks("how-to/back-up.md");
    let run = |process: &Process, at: usize| run_as(process, "operator", &blocks[at], &environment);
    run(&process, 2);
    // When its data are copied while it runs, then the copy has every entry up to the checkpoint
    for at in [0, 1, 3] {
        run(&process, at);
    }
    // When more is recorded, and the copy is restored
    process.good(&["secret", "put", "github/app"], b"newer");
    process.stop();
    run(&process, 4);
    // And a repetition with the same directory moves and copies nothing
    let again = shell(&process.path(""), &blocks[4], &environment);
    assert!(!again.status.success(), "the directory exists");
    for place in ["old/ledger", "old/keyring", "data/ledger", "data/keyring"] {
        assert!(process.path(place).exists(), "{place}");
    }
    process.serve();
    let refused = process.run_as("operator", &["secret", "put", "github/app"], b"newest");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("read_only"));
    let adopted = run(&process, 5);
    assert!(adopted.contains("secret.stored"), "{adopted}");
    // Then the broker serves what was copied
    let serves = |_: &u32| process.run_as("operator", &["secret", "put", "other"], b"value").status.success();
    assert!((0..200).find(serves).is_some(), "{}", process.log());
    assert_eq!(process.good_as("a", &["get", "github/app"], b""), b"value");
}

#[test]
fn a_moved_broker_serves_after_it_was_adopted_at_its_new_address() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    let blocks = blocks("how-to/move-host.md");
    run_as(&process, "operator", &blocks[0], &[]);
    process.stop();
    // The data directory is a link, as with the unit.
    said_by(&shell(&process.path(""), "mv data old && ln -s old linked", &[]));
    let copy = blocks[1].replace("root@$NEW_HOST:$DATA/", "$COPY/");
    let (from, to) =
        (process.path("linked").display().to_string(), process.path("data").display().to_string());
    said_by(&shell(&process.path(""), &copy, &[("DATA", &from), ("COPY", &to)]));
    assert!(!process.path("data").is_symlink() && process.path("data/keyring").exists());
    run_as(&process, "operator", &blocks[2], &[]);
    process.serve();
    run_as(&process, "operator", &[blocks[3].as_str(), &blocks[4]].concat(), &[]);
    let serves = |_: &u32| process.run_as("operator", &["secret", "put", "other"], b"value").status.success();
    assert!((0..200).find(serves).is_some(), "{}", process.log());
    // The certificate has both names.
    let address = fs::read_to_string(process.path("home-a/agent/address")).unwrap();
    let address = address.trim().replace("127.0.0.1", "localhost");
    let said = run_as(&process, "a", &blocks[5], &[("NEW_ADDRESS", &address)]);
    assert!(said.contains("spiffe://keyward.test/agent/a"), "{said}");
}
