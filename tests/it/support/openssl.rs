//! The `openssl` command: a test component that must be there. Its absence fails a test.

use std::path::Path;
use std::process::{Command, Output};

pub(crate) fn run(args: &[&str]) -> Output {
    Command::new("openssl").args(args).output().expect("openssl is needed: run scripts/test")
}

/// A PKCS#10 request, DER.
pub(crate) fn request(key: &[&str], subject: &str, more: &[&str]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let key_file = dir.path().join("key.pem").display().to_string();
    let fixed = ["req", "-new", "-nodes", "-outform", "DER", "-keyout", &key_file, "-subj", subject];
    let output = run(&[&fixed, key, more].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Whether OpenSSL accepts the certificate for `purpose` under its strictest rules.
pub(crate) fn verifies(dir: &Path, authority: &str, certificate: &str, purpose: &str) -> bool {
    let (ca, leaf) = (dir.join("ca.pem"), dir.join("leaf.pem"));
    std::fs::write(&ca, authority).unwrap();
    std::fs::write(&leaf, certificate).unwrap();
    let (ca, leaf) = (ca.display().to_string(), leaf.display().to_string());
    let args = ["verify", "-x509_strict", "-check_ss_sig", "-purpose", purpose, "-CAfile", &ca, &leaf];
    run(&args).status.success()
}
