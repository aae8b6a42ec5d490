//! The pages about programs that get their credentials from Keyward.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use super::{blocks, fenced, run_as};
use crate::support::process::Process;

#[test]
fn mcp_servers_get_their_credentials_by_the_page() {
    let page = "how-to/mcp.md";
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    let code = process.good(&["agent", "invite", "mcp", "--role", "repo-reader", "--role", "publisher"], b"");
    process.good_as("mcp", &["join"], &code);
    let blocks = blocks(page);
    let said = run_as(&process, "mcp", &blocks.concat(), &[]);
    assert!(said.contains("the server gets 5 characters\n"), "{said}");
    assert!(said.contains("value") && said.contains("eyJ"), "the key and a token: {said}");
    // The configurations of clients are JSON, and begin commands that the program takes.
    for configuration in fenced(page, "json") {
        let servers: Value = serde_json::from_str(&configuration).unwrap();
        let server = servers["mcpServers"].as_object().unwrap().values().next().unwrap();
        let args: Vec<&str> =
            server["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap()).collect();
        if server["command"] == "keyward" {
            let before = args.split(|arg| *arg == "--").next().unwrap();
            assert!(process.run_as("mcp", &[before, &["--help"]].concat(), b"").status.success(), "{args:?}");
        }
    }
}

#[test]
fn a_command_runs_with_a_token_by_the_page() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    let agent = process.path("agent");
    fs::write(&agent, "#!/bin/sh\nhead -c 3 \"$KEYWARD_TOKEN_FILE\"\n").unwrap();
    fs::set_permissions(&agent, fs::Permissions::from_mode(0o755)).unwrap();
    let said = run_as(&process, "a", &blocks("how-to/helpers.md")[0], &[]);
    assert_eq!(said, "eyJ");
}

#[test]
fn a_program_runs_with_secrets_by_the_page() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"the value");
    let blocks = blocks("how-to/run-a-program.md");
    assert_eq!(run_as(&process, "a", &blocks[0], &[]), "9 characters\n");
    assert_eq!(run_as(&process, "a", &blocks[1], &[]), "2\n");
    // The program finds the identities of `--home`.
    let home = "home=$KEYWARD_HOME; unset KEYWARD_HOME; keyward run --home \"$home\" --secret T=github/app -- \
                sh -c 'echo \"$KEYWARD_HOME\"'";
    let expected = format!("{}\n", process.path("home-a").display());
    assert_eq!(run_as(&process, "a", home, &[]), expected);
    let app = process.path("app");
    fs::write(&app, "#!/bin/sh\ntest -s app.conf && echo \"the program runs\"\n").unwrap();
    fs::set_permissions(&app, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(run_as(&process, "a", &blocks[2], &[]), "the program runs\n");
    let written = fs::read_to_string(process.path("app.conf")).unwrap();
    assert_eq!(written, "user = \"app\"\npassword = \"the value\"\n");
}
