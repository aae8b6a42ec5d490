//! The subject of a containment, as an argument.

use std::net::IpAddr;

use super::token_show::token_id;
use crate::base::limits::TOKEN_BYTES_MAX;
use crate::base::{AgentName, Network, OperatorName, SUBJECT_FORMS, SubjectName, SubjectNameError, code};
use crate::cli::client::Client;
use crate::console::{CommandFailure, Console, input};
use crate::token::unverified_claims;
use crate::wire::{GET_AGENT, GET_OPERATOR, Nothing, SubjectBody};

/// The subject in `text`. A name without a kind is that of an agent or of an operator, if exactly one has it.
pub(super) async fn resolve(
    client: &Client,
    text: &str,
    console: &Console,
) -> Result<SubjectName, CommandFailure> {
    if text.contains('/') || text == "everything" {
        return written(text, console);
    }
    // A token in the place of its id is refused, and not repeated.
    if text.starts_with("eyJ") || text.contains('.') {
        return Err(SubjectNameError::Form.into());
    }
    let mut near = String::new();
    let agent = match text.parse::<AgentName>() {
        Ok(name) => {
            found(client.call(GET_AGENT, &name, &Nothing).await, &mut near)?.map(|_| SubjectName::Agent(name))
        }
        Err(_) => None,
    };
    let operator = match text.parse::<OperatorName>() {
        Ok(name) => found(client.call(GET_OPERATOR, &name, &Nothing).await, &mut near)?
            .map(|_| SubjectName::Operator(name)),
        Err(_) => None,
    };
    match (agent, operator) {
        (Some(one), None) | (None, Some(one)) => Ok(one),
        (Some(_), Some(_)) => {
            let why = format!("an agent and an operator are called `{text}`");
            let fix = format!("name one of them: `agent/{text}` or `operator/{text}`");
            Err(CommandFailure::usage(&why, &fix))
        }
        (None, None) => {
            let why = format!("no agent and no operator that you may see is called `{text}`{near}");
            Err(CommandFailure::usage(
                &why,
                &format!("check the name, or use one of these forms: {SUBJECT_FORMS}"),
            ))
        }
    }
}

/// The subject in one of its forms; `token/-` is the token on standard input.
pub(super) fn written(text: &str, console: &Console) -> Result<SubjectName, CommandFailure> {
    match text.strip_prefix("token/") {
        Some("-") => {
            let given = input::secret(None, "Token", 2 * TOKEN_BYTES_MAX, console)?;
            let token = std::str::from_utf8(given.expose()).unwrap_or("?");
            check_not_empty(token, "the token", "keyward contain token/- --reason TEXT")?;
            let claims = unverified_claims(token.trim()).map_err(|_| {
                CommandFailure::new(code::TOKEN_UNVERIFIED)
                    .because("the input is not an access token of a Keyward broker")
                    .mended_by(
                        "give the token alone on standard input, or its id: `token/tok_…`; `keyward incident value -` finds tokens and \
                         codes within a longer text, e.g. a log line",
                    )
            })?;
            Ok(SubjectName::Token(claims.jti))
        }
        Some(id) => Ok(SubjectName::Token(token_id(id)?)),
        None => match address_of(text).and_then(Network::of_host) {
            Some(network) => Ok(SubjectName::Network(network)),
            None => Ok(text.parse()?),
        },
    }
}

/// Fails if nothing was read, or only space: an empty pipe, or a file that is not there. `command` reads `what`.
///
/// # Errors
/// [`CommandFailure`].
pub(super) fn check_not_empty(text: &str, what: &str, command: &str) -> Result<(), CommandFailure> {
    if !text.trim().is_empty() {
        return Ok(());
    }
    let why = "nothing was read: standard input is empty, or has only spaces and line breaks";
    Err(CommandFailure::usage(why, &format!("give {what} on standard input: `{command}`, e.g. `< FILE`")))
}

/// The address in `network/ADDRESS`, for a person who means the network of this address alone.
fn address_of(text: &str) -> Option<IpAddr> {
    text.strip_prefix("network/")?.parse().ok()
}

/// The subject for a request.
pub(super) fn body_of(subject: &SubjectName) -> SubjectBody {
    SubjectBody { kind: subject.kind().to_owned(), name: subject.name(), id: subject.id() }
}

/// The response, or none if the object does not exist, or is not the operator's to see. `near` gets the broker's question about
/// similar names.
fn found<T>(answer: Result<T, CommandFailure>, near: &mut String) -> Result<Option<T>, CommandFailure> {
    let unseen = [
        code::AGENT_UNKNOWN,
        code::OPERATOR_UNKNOWN,
        code::OPERATOR_ROLE_INSUFFICIENT,
        code::OPERATOR_SCOPE_INSUFFICIENT,
    ];
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(failure) if unseen.iter().any(|code| code.as_str() == failure.code()) => {
            if let Some(at) = failure.why().find("; did you mean ").filter(|_| near.is_empty()) {
                near.push_str(failure.why().get(at..).unwrap_or_default());
            }
            Ok(None)
        }
        Err(failure) => Err(failure),
    }
}
