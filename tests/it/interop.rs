//! Stock software on the other side: a Python X.509 verifier, a Python OAuth client, a JWT library,
//! curl. Each also refuses an altered input.

use std::path::PathBuf;
use std::process::Command;

use crate::support::process::{KEYWARD, Process};

/// The interpreter with the packages that `scripts/test` installs.
pub(crate) fn python_path() -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    std::env::var_os("KEYWARD_TEST_PYTHON")
        .map_or_else(|| root.join("target/test-venv/bin/python"), PathBuf::from)
}

/// Python with the packages that `scripts/test` installs. Its absence fails the test.
pub(crate) fn python(script: &str, args: &[&str]) -> String {
    let python = python_path();
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/support/python").join(script);
    let bin = std::path::Path::new(KEYWARD).parent().unwrap().display().to_string();
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap());
    let output = Command::new(&python)
        .arg(script)
        .args(args)
        .env("PATH", path)
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}: run scripts/test", python.display()));
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

fn set_up() -> Process {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    let code = process.good(&["agent", "invite", "b", "--role", "repo-reader"], b"");
    process.good_as("b", &["join"], &code);
    process
}

#[test]
fn a_python_verifier_takes_the_certificate_and_refuses_its_altered_twin() {
    let process = set_up();
    let file = |name: &str| process.path(name).display().to_string();
    let said = python(
        "verify_x509.py",
        &[
            &file("home-a/agent/authority.pem"),
            &file("home-a/agent/certificate.pem"),
            "spiffe://keyward.test/agent/a",
        ],
    );
    assert!(said.contains("ok:"), "{said}");
}

#[test]
fn a_stock_oauth_client_gets_a_token_and_a_stock_jwt_library_verifies_it() {
    let process = set_up();
    let file = |name: &str| process.path(name).display().to_string();
    let address = std::fs::read_to_string(process.path("home-a/agent/address")).unwrap();
    let said = python(
        "oauth_client.py",
        &[
            &format!("https://{}", address.trim()),
            &file("home-a/agent/authority.pem"),
            &file("home-a/agent/certificate.pem"),
            &file("home-a/agent/key.pem"),
            &file("home-b/agent/certificate.pem"),
            &file("home-b/agent/key.pem"),
            "spiffe://keyward.test/agent/a",
            "github.repo.read",
            "github/app",
        ],
    );
    assert!(said.contains("ok:"), "{said}");
}

#[test]
fn curl_does_all_that_an_agent_does() {
    let process = set_up();
    let file = |name: &str| process.path(&format!("home-a/agent/{name}")).display().to_string();
    let address = std::fs::read_to_string(file("address")).unwrap();
    let (ca, cert, key) = (file("authority.pem"), file("certificate.pem"), file("key.pem"));
    let curl = |args: &[&str]| {
        let fixed = ["-sS", "--cacert", &ca, "--cert", &cert, "--key", &key];
        let output =
            Command::new("curl").args(fixed).args(args).output().expect("curl is needed: run scripts/test");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let url = |path: &str| format!("https://{}{path}", address.trim());
    let form = "grant_type=client_credentials&scope=github.repo.read";
    let answer: serde_json::Value = serde_json::from_str(&curl(&["-d", form, &url("/oauth/token")])).unwrap();
    let bearer = format!("Authorization: Bearer {}", answer["access_token"].as_str().unwrap());
    assert_eq!(curl(&["-H", &bearer, &url("/v1/secrets/github/app")]), "value");
    let altered = format!("{}x", &bearer[..bearer.len() - 1]);
    assert!(curl(&["-H", &altered, &url("/v1/secrets/github/app")]).contains("token_invalid"));
}

#[test]
fn the_examples_of_the_pages_run() {
    let process = set_up();
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new("bash")
        .arg(root.join("docs/examples/agent.sh"))
        .args(["github.repo.read", "github/app"])
        .env("KEYWARD_HOME", process.path("home-a"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stdout, b"value");
    let refused = Command::new("bash")
        .arg(root.join("docs/examples/agent.sh"))
        .args(["reports.publish", "github/app"])
        .env("KEYWARD_HOME", process.path("home-a"))
        .output()
        .unwrap();
    assert!(!refused.status.success(), "a capability that is not granted");
    let examples = root.join("config/examples").display().to_string();
    let planned = process.json(&["plan", "-f", &examples]);
    assert!(!planned["changes"].as_array().unwrap().is_empty(), "{planned}");
    process.good(&["apply", "-f", &examples], b"");
}
