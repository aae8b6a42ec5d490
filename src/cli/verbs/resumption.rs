//! `keyward agent resume` and `keyward operator resume`: what is valid again, and what stays revoked.

use std::time::Duration;

use crate::base::{AgentName, OperatorName};
use crate::cli::client::Client;
use crate::cli::session::{ReasonArgs, VerbSession, check_durable};
use crate::console::CommandFailure;
use crate::wire::{
    EndedAnswer, Endpoint, GET_AGENT, GET_OPERATOR, Nothing, Optional, RESUME_AGENT, RESUME_OPERATOR,
    ReasonBody, Target,
};

/// Longest wait for the state of the credentials, after the resumption.
const STATE_WAIT: Duration = Duration::from_secs(2);

/// A subject to resume.
struct Resumed<'a, T> {
    /// What it is.
    noun: &'static str,
    /// The noun of its credentials.
    credential: &'static str,
    name: &'a T,
}

/// The credentials of a subject after its resumption.
enum Credentials {
    /// So many are valid.
    Valid { noun: &'static str, count: usize },
    /// None is valid.
    NoneValid,
    /// The broker did not answer in time.
    Unknown,
}

pub(super) async fn resume_agent(
    session: VerbSession<'_>,
    name: &AgentName,
    reason: &ReasonArgs,
) -> Result<(), CommandFailure> {
    let state = async |client: Client| {
        let agent = client.call(GET_AGENT, name, &Nothing).await.ok()?;
        Some(agent.instances.iter().filter(|instance| instance.state == "live").count())
    };
    let subject = Resumed { noun: "agent", credential: "live instance", name };
    resume(session, RESUME_AGENT, subject, reason, state).await
}

pub(super) async fn resume_operator(
    session: VerbSession<'_>,
    name: &OperatorName,
    reason: &ReasonArgs,
) -> Result<(), CommandFailure> {
    let state = async |client: Client| {
        let operator = client.call(GET_OPERATOR, name, &Nothing).await.ok()?;
        Some(operator.certificates.len())
    };
    let subject = Resumed { noun: "operator", credential: "valid certificate", name };
    resume(session, RESUME_OPERATOR, subject, reason, state).await
}

/// Resumes `subject`, and says how many of its credentials `count` finds.
async fn resume<T: Target + ToString>(
    session: VerbSession<'_>,
    endpoint: Endpoint<T, Optional<ReasonBody>, EndedAnswer>,
    Resumed { noun, credential, name }: Resumed<'_, T>,
    reason: &ReasonArgs,
    count: impl AsyncFnOnce(Client) -> Option<usize>,
) -> Result<(), CommandFailure> {
    let client = session.revoking_operator().await?;
    let ended = client.call(endpoint, name, &reason.body(session.console)).await?;
    let credentials = if session.console.is_json() {
        Credentials::Unknown
    } else {
        match tokio::time::timeout(STATE_WAIT, count(client)).await {
            Ok(Some(0)) => Credentials::NoneValid,
            Ok(Some(count)) => Credentials::Valid { noun: credential, count },
            Ok(None) | Err(_) => Credentials::Unknown,
        }
    };
    session.print(&ended, |ended| told(ended, noun, &name.to_string(), &credentials));
    check_durable(&ended)
}

fn told(ended: &EndedAnswer, noun: &str, name: &str, credentials: &Credentials) -> String {
    let entry = ended.seq.map_or_else(String::new, |seq| format!("ledger entry {seq}"));
    let done = if ended.unchanged {
        format!("{noun} `{name}` was not suspended: nothing has changed; {entry} records the command")
    } else {
        let entry = if entry.is_empty() { entry } else { format!(" in {entry}") };
        format!("resumed{entry}: the suspension of {noun} `{name}` has ended, from the next request on")
    };
    let contained = "if its requests are refused, an incident may contain its owner, its roles or its network: \
                     `keyward incident list --open`";
    match credentials {
        Credentials::NoneValid => format!(
            "{done}; the {noun} has no valid certificate: revoked and expired certificates stay invalid; make a new \
             enrolment code: `keyward {noun} invite {name}`"
        ),
        Credentials::Valid { noun: credential, count } => {
            let plural = if *count == 1 { "" } else { "s" };
            let has = format!("{done}; it has {count} {credential}{plural}; what was revoked stays revoked");
            if ended.unchanged { format!("{has}; {contained}") } else { has }
        }
        Credentials::Unknown => format!("{done}; what was revoked stays revoked"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resumption_says_what_stays_revoked() {
        let ended =
            |unchanged| EndedAnswer { seq: Some(9), durable: true, unchanged, ..EndedAnswer::default() };
        let valid = |count| Credentials::Valid { noun: "live instance", count };
        for (unchanged, credentials, parts) in [
            (
                false,
                valid(2),
                ["resumed in ledger entry 9: the suspension", "it has 2 live instances; what was"],
            ),
            (
                false,
                Credentials::NoneValid,
                ["the suspension of agent `a` has ended", "`keyward agent invite a`"],
            ),
            (true, Credentials::NoneValid, ["was not suspended: nothing has changed", "stay invalid"]),
            (true, valid(1), ["it has 1 live instance;", "`keyward incident list --open`"]),
            (false, Credentials::Unknown, ["has ended", "stays revoked"]),
        ] {
            let said = told(&ended(unchanged), "agent", "a", &credentials);
            assert!(parts.iter().all(|part| said.contains(part)), "{said}");
        }
    }
}
