//! Secret values in requests and answers.

use super::assert_none;
use crate::support::source::{Source, identifier, is_word, sources, words};

/// The fields with secret values. Reviewed: each leaves or enters the broker in clear, over TLS or the host's socket.
const SECRET_FIELDS: &[&str] = &[
    "AgentInvitationAnswer.code",
    "EnrolBody.secret",
    "LoginAnswer.password",
    "OperatorInvitationAnswer.code",
    "SecretOutput.value",
    "SharesOutput.Vec",
    "TokenAnswer.access_token",
    "UnsealBody.Key",
    "UnsealBody.Passphrase",
    "UnsealBody.Shares",
    "ValueCheckBody.value",
];

/// The fields of `wire` that are secret, and files beside `secret_text` that handle a secret value by themselves.
fn secrets(sources: &[Source]) -> (Vec<String>, Vec<String>) {
    let (mut fields, mut findings) = (Vec::new(), Vec::new());
    for source in sources.iter().filter(|source| source.room() == Some("wire")) {
        if source.path == "src/wire/secret_text.rs" {
            continue;
        }
        for kind in ["Sensitive", "Zeroizing", "Secret"] {
            findings.extend(
                words(&source.code, kind).map(|at| source.finding(at, "a secret beside `SecretText`")),
            );
        }
        for at in words(&source.code, "SecretText") {
            let before = &source.code[..at];
            if before.ends_with("::") {
                continue;
            }
            let kind = ["struct ", "enum "]
                .into_iter()
                .filter_map(|word| before.rfind(word).map(|at| at + word.len()));
            let kind = identifier(&before[kind.max().unwrap_or(0)..]);
            let field =
                before.trim_end_matches(|c| !is_word(c)).rsplit(|c| !is_word(c)).next().unwrap_or_default();
            fields.push(format!("{kind}.{field}"));
        }
    }
    fields.sort();
    (fields, findings)
}

#[test]
fn secret_values_are_in_the_reviewed_fields_alone() {
    let (fields, findings) = secrets(&sources("src"));
    assert_none(&findings);
    assert_eq!(fields, SECRET_FIELDS);
}

#[test]
fn a_new_secret_field_is_found() {
    let new = Source::new("src/wire/x.rs", "pub struct X {\n    pub a: u8,\n    pub b: SecretText,\n}");
    assert_eq!(secrets(&[new]).0, ["X.b"]);
    let other = Source::new("src/wire/x.rs", "pub struct X(Zeroizing<String>);");
    assert_eq!(secrets(&[other]).1.len(), 1);
}
