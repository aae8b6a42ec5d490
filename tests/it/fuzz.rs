//! schemathesis makes up requests out of the `OpenAPI` documents, good ones and bad ones, always the
//! same: no answer is a fault of the broker's own, none is other than told, and nobody is served who
//! did not prove who it is.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::readme::root;
use crate::support::process::Process;

const CHECKS: &str = "not_a_server_error,ignored_auth,response_schema_conformance,\
                      content_type_conformance,status_code_conformance,nobody_is_served";

/// Runs it, with `KEYWARD_FUZZ_EXAMPLES` per route if that is set, at the listener at `address`, with an identity or as nobody.
fn fuzz(process: &Process, document: &str, address: &str, identity: Option<&Path>) -> String {
    let python = std::env::var_os("KEYWARD_TEST_PYTHON")
        .map_or_else(|| root().join("target/test-venv/bin/python"), PathBuf::from);
    let program = python.with_file_name("st");
    let examples = std::env::var("KEYWARD_FUZZ_EXAMPLES").unwrap_or_else(|_| "8".to_owned());
    let authority = process.path("home-operator/operator/authority.pem");
    let mut command = Command::new(&program);
    command
        .current_dir(process.path(""))
        .env("SCHEMATHESIS_HOOKS", "api_checks")
        .env("PYTHONPATH", root().join("tests/it/support/python"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg("run")
        .arg(root().join("docs/reference").join(document))
        .args(["--url", &format!("https://{address}"), "--seed", "1", "--phases", "coverage,fuzzing"])
        .args(["--max-examples", &examples, "--checks", CHECKS, "--warnings", "off", "--tls-verify"])
        .arg(authority);
    match identity {
        Some(home) => {
            command.arg("--request-cert").arg(home.join("certificate.pem"));
            command.arg("--request-cert-key").arg(home.join("key.pem"));
        }
        None => {
            command.env("KEYWARD_NOBODY", "1");
        }
    }
    let output =
        command.output().unwrap_or_else(|error| panic!("{}: {error}: run scripts/test", program.display()));
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

/// How many requests it made.
fn made(said: &str) -> usize {
    let counted = said.lines().find_map(|line| line.trim().split_once(" generated, "));
    counted.unwrap_or_else(|| panic!("{said}")).0.parse().unwrap()
}

#[test]
fn made_up_requests_find_no_fault_and_nobody_is_served_who_proved_nothing() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    let operator = process.path("home-operator/operator");
    let agent = process.path("home-a/agent");
    let address = |home: &Path| std::fs::read_to_string(home.join("address")).unwrap().trim().to_owned();
    let servers = process.path("servers.toml");
    let text = "[[resource_server]]\nname = \"reports\"\naudience = \"https://reports.example.com\"\n";
    std::fs::write(&servers, text).unwrap();
    process.good(&["apply", "-f", &servers.display().to_string()], b"");
    let code = process.good(&["agent", "invite", "reports"], b"");
    process.good_as("reports", &["join"], &code);
    let server = process.path("home-reports/agent");
    let said = fuzz(&process, "openapi-agents.json", &address(&server), Some(&server));
    assert!(made(&said) > 100, "{said}");
    // Agents first: generated requests with an operator's rights revoke some of them.
    for (document, home) in [("openapi-agents.json", agent), ("openapi-admins.json", operator)] {
        let address = address(&home);
        for identity in [Some(home.as_path()), None] {
            let said = fuzz(&process, document, &address, identity);
            assert!(made(&said) > 100, "{said}");
        }
    }
    process.good(&["whoami", "--operator"], b"");
}
