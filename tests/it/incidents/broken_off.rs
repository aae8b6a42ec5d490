//! A containment whose responses break off says what is known, and the next commands.

use std::process::{Command, Output, Stdio};

use keyward::cli::{Identity, IdentityKind};
use keyward::pki::{new_key_and_request, read_request};
use serde_json::{Value, json};

use crate::support::impostor::{Impostor, authority, certificate, pem};
use crate::support::process::KEYWARD;

const INCIDENT: &str = "inc_06h2htbrfhs6388gu9e2l31ivk";
const CONTAIN: [&str; 5] = ["contain", "agent/bot", "--reason", "stolen", "--rotate-touched"];

/// What `CONTAIN` says to a server that answers each path like this; null ends the connection.
fn contain(answer: fn(&str) -> Value) -> (Output, Vec<String>) {
    let by = authority("keyward.test");
    let impostor = Impostor::start(&by, &[&by], move |path, _| answer(path));
    let (home, (key, request)) = (tempfile::tempdir().unwrap(), new_key_and_request().unwrap());
    let held =
        certificate(&by, "spiffe://keyward.test/operator/ada", &read_request(&request).unwrap(), 86_400);
    let identity = Identity {
        address: impostor.address.clone(),
        key_pem: key,
        certificate_pem: held,
        authority_pem: pem(&[&by]),
    };
    identity.save(home.path(), IdentityKind::Operator).unwrap();
    let mut command = Command::new(KEYWARD);
    command.args(CONTAIN).arg("--home").arg(home.path()).stdin(Stdio::null());
    (command.output().unwrap(), impostor.heard())
}

fn is_told(output: &Output, parts: &[&str]) {
    let told = String::from_utf8_lossy(&output.stderr);
    parts.iter().for_each(|part| assert!(told.contains(part), "{part}: {told}"));
}

#[test]
fn containment_without_a_response_names_the_doubt_and_the_next_commands() {
    // When the connection ends after the order, before its response
    let (output, heard) = contain(|_| Value::Null);
    // Then the command says what is unknown, and how to see it
    assert_eq!((output.status.code(), heard), (Some(10), vec!["/v1/incidents".to_owned()]));
    is_told(
        &output,
        &[
            "broker_unreachable",
            "`agent/bot` may be contained, and no id of an incident was received",
            "`keyward incident list --open`",
            "`keyward contain agent/bot --reason TEXT --rotate-touched`",
            "`keyward break-glass contain agent/bot --reason TEXT`",
        ],
    );
}

#[test]
fn containment_whose_check_breaks_off_names_its_incident() {
    // When the connections end after the response to the order
    let (output, heard) = contain(|path| match path {
        "/v1/incidents" => json!({
            "incident": INCIDENT, "subject": { "kind": "agent", "name": "bot" }, "new": true, "seq": 7, "durable": true,
        }),
        _ => Value::Null,
    });
    // Then the command has printed the incident, and names the next commands
    assert_eq!((output.status.code(), heard[0].as_str()), (Some(12), "/v1/incidents"));
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(shown.contains(&format!("incident {INCIDENT}")) && shown.contains("is contained"), "{shown}");
    is_told(
        &output,
        &[
            "containment_not_proved",
            &format!("incident {INCIDENT} contains `agent/bot`"),
            &format!("`keyward incident show {INCIDENT}`"),
            "`keyward contain agent/bot --reason TEXT --rotate-touched`",
        ],
    );
}
