//! `scripts/release`: the archive that people install.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::readme::root;
use crate::support::process::{KEYWARD, files};

/// Makes an archive with a given program into `out`, and returns its path. The program is a script that runs this
/// build's: an archive of a debug build takes minutes.
pub(crate) fn archive(dir: &Path, out: &str) -> PathBuf {
    let program = dir.join("program");
    if !program.exists() {
        fs::write(&program, format!("#!/bin/sh\nexec {KEYWARD} \"$@\"\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    }
    let mut release = Command::new(root().join("scripts/release"));
    // The mode of the files does not come from the person who runs it.
    release
        .arg("--binary")
        .arg(&program)
        .arg("--out")
        .arg(dir.join(out))
        .env("SOURCE_DATE_EPOCH", "1770000000");
    let output = release.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

fn run(dir: &Path, program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_release_archive_has_all_parts_and_the_same_bytes_again() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (archive(dir.path(), "one"), archive(dir.path(), "other"));
    assert!(fs::read(&one).unwrap() == fs::read(&other).unwrap(), "the archives differ");
    run(one.parent().unwrap(), "sha256sum", &["--check", "--strict", "SHA256SUMS"]);
    // A person unpacks it with a strict umask, and everybody can still read it.
    run(dir.path(), "tar", &["xpf", &one.display().to_string()]);
    let version = env!("CARGO_PKG_VERSION");
    let top = dir.path().join(format!("keyward-{version}-{}-linux", std::env::consts::ARCH));
    run(&top, "sha256sum", &["--check", "--strict", "SHA256SUMS"]);
    for part in [
        "README.md",
        "LICENSE",
        "config/keyward.toml",
        "config/systemd/keyward.service",
        "config/examples/first-agent.toml",
        "docs/how-to/install.md",
        "share/man/man1/keyward-agent-invite.1",
        "share/bash-completion/completions/keyward",
        "share/zsh/site-functions/_keyward",
        "share/fish/vendor_completions.d/keyward.fish",
    ] {
        let found = fs::metadata(top.join(part)).unwrap_or_else(|error| panic!("{part}: {error}"));
        assert!(found.len() > 100 && found.permissions().mode() & 0o777 == 0o644, "{part}");
    }
    let program = top.join("bin/keyward");
    assert_eq!(fs::read(&program).unwrap(), fs::read(dir.path().join("program")).unwrap());
    assert_eq!(program.metadata().unwrap().permissions().mode() & 0o777, 0o755);
    let sums = fs::read_to_string(top.join("SHA256SUMS")).unwrap();
    assert_eq!(sums.lines().count(), files(&top).len() - 1, "every file but the sums has a sum");
    let listed = run(dir.path(), "tar", &["tvf", &one.display().to_string(), "--utc"]);
    assert!(
        listed.lines().all(|line| line.contains(" 0/0 ") && line.contains("2026-02-02 02:40")),
        "{listed}"
    );
}

#[test]
fn a_release_archive_has_the_files_of_the_commit_alone() {
    // Given a checkout with a change and with a file that the commit does not have
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), "git", &["clone", "--quiet", "--shared", &root().display().to_string(), "checkout"]);
    let checkout = dir.path().join("checkout");
    fs::copy(root().join("scripts/release"), checkout.join("scripts/release")).unwrap();
    fs::write(checkout.join("README.md"), "CNRY").unwrap();
    fs::write(checkout.join("config/private.toml"), "CNRY").unwrap();
    // And a build that takes no time: the commit that it gets is the version that it shows.
    let bin = dir.path().join("bin");
    fs::create_dir(&bin).unwrap();
    fs::write(
        bin.join("cargo"),
        format!(
            "#!/bin/sh\necho \"$KEYWARD_COMMIT\" > commit\nmkdir -p target/archive-build/release\n\
         ln -s {KEYWARD} target/archive-build/release/keyward\n"
        ),
    )
    .unwrap();
    fs::set_permissions(bin.join("cargo"), fs::Permissions::from_mode(0o700)).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    for (binary, modified) in [(&[][..], "-modified"), (&["--binary", KEYWARD], "")] {
        // When
        let mut release = Command::new(checkout.join("scripts/release"));
        release.args(binary).arg("--out").arg(dir.path().join("out")).env("PATH", &path);
        let output = release.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        // Then
        let archive = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());
        let top = format!("keyward-{}{modified}-{}-linux", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH);
        assert_eq!(archive.file_name().unwrap().to_str().unwrap(), format!("{top}.tar.gz"));
        run(dir.path(), "tar", &["xzf", &archive.display().to_string()]);
        let readme = run(&checkout, "git", &["show", "HEAD:README.md"]);
        assert_eq!(fs::read_to_string(dir.path().join(&top).join("README.md")).unwrap(), readme);
        assert!(!dir.path().join(&top).join("config/private.toml").exists());
    }
    assert!(fs::read_to_string(checkout.join("commit")).unwrap().trim().ends_with("-modified"));
}

#[test]
fn scripts_release_refuses_an_argument_that_it_does_not_know() {
    let output = Command::new(root().join("scripts/release")).arg("--sign").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("usage: scripts/release"));
}
