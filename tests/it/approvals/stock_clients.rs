//! Stock OAuth clients complete the device authorization grant (RFC 8628).

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::{BY_SECOND, policy};
use crate::approval_keys::commands::{WORDS, accepted, persons, typed};
use crate::interop::python_path;
use crate::panel::{held, issuer, node_home};
use crate::support::process::Process;

/// A broker where `reports.publish` needs an approval, the agent `p`, and the approver `alice`.
pub(super) fn set_up() -> Process {
    let process = persons();
    process.set_up(b"value");
    let file = process.path("policies.toml");
    std::fs::write(&file, policy("second", BY_SECOND, "reports.publish")).unwrap();
    process.good(&["apply", "-f", &file.display().to_string()], b"");
    let code =
        process.good(&["agent", "invite", "p", "--role", "publisher", "--person", "dev@corp.example"], b"");
    process.good_as("p", &["join"], &code);
    accepted(&process, "alice");
    process
}

/// Runs a client, and approves the request with the code that it prints.
fn completes(process: &Process, mut client: Command, last: &str) {
    client.args([issuer(process), held(process, "p", "authority"), held(process, "p", "certificate")]);
    client.args([held(process, "p", "key").as_str(), "spiffe://keyward.test/agent/p", "reports.publish"]);
    let mut client = client.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
    let mut output = BufReader::new(client.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    let code = line.trim().strip_prefix("code: ").unwrap_or_else(|| panic!("{line}")).to_owned();
    let (is_done, said) =
        typed(process, "alice", &format!("approval approve {code}"), "passphrase", &[WORDS]);
    assert!(is_done, "{said}");
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert!(client.wait().unwrap().success() && rest.contains(last), "{rest}");
}

fn support(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/support").join(file)
}

#[test]
fn authlib_gets_a_token_with_a_device_code() {
    let mut client = Command::new(python_path());
    client.arg(support("python/authlib_device.py"));
    completes(&set_up(), client, "ok: authlib device");
}

#[test]
fn openid_client_gets_a_token_with_a_device_code() {
    let mut client = Command::new("node");
    client.arg(support("node/openid_device.mjs")).env("KEYWARD_TEST_NODE", node_home());
    completes(&set_up(), client, "ok: openid-client device");
}
