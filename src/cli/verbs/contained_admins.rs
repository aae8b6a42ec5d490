//! The question before a containment that leaves no unrestricted admin.

use std::time::Duration;

use super::incident_subject::body_of;
use crate::base::SubjectName;
use crate::cli::client::Client;
use crate::cli::confirmation::Question;
use crate::console::{CommandFailure, Console};
use crate::wire::{NamesAnswer, Nothing, PREVIEW_CONTAINMENT, PreviewBody};

/// What can be done while no unrestricted admin can act.
const WITHOUT_ADMIN: &str = "a security operator with the scope `all` can lift the containment; or stop the broker, and on its \
                                        host, as root, `keyward init --reissue-operator` gives an operator a certificate that the \
                                        containment accepts";

/// The longest wait for the preview: a broker in trouble must not delay a containment.
const WAIT: Duration = Duration::from_secs(2);

/// Asks if no unrestricted admin could act after a containment of `subject`. A broker that does not tell this in time is asked
/// to contain without a question.
///
/// # Errors
/// [`CommandFailure`] unless it is confirmed.
pub(super) async fn check_admins_left(
    client: &Client,
    subject: &SubjectName,
    console: &Console,
) -> Result<(), CommandFailure> {
    if !can_refuse_admins(subject) {
        return Ok(());
    }
    let body = PreviewBody { subject: body_of(subject) };
    let preview = tokio::time::timeout(WAIT, client.call(PREVIEW_CONTAINMENT, &Nothing, &body)).await;
    let Ok(Ok(preview)) = preview else { return Ok(()) };
    if !preview.leaves_no_admin {
        return Ok(());
    }
    let unknown = preview.admins_of_unknown_address.as_ref();
    let lines = said_of_admins(true, unknown, "after this containment");
    lines.iter().for_each(|line| console.say(line));
    let fix = match unknown {
        None => "contain a smaller subject, or add `--yes` to contain this one nevertheless",
        Some(_) => {
            "let one of these admins run any command at the broker, which makes the address known, and repeat the \
                    command; or contain a smaller subject, or add `--yes` to contain this one nevertheless"
        }
    };
    let question = "Contain it, and leave no admin?";
    Question { act: "a containment that may leave no unrestricted admin", question, fix }.ask(console)
}

/// The lines about the unrestricted admins that a containment leaves; `when` says when they could act.
pub(super) fn said_of_admins(
    leaves_no_admin: bool,
    of_unknown_address: Option<&NamesAnswer>,
    when: &str,
) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(NamesAnswer { count, names }) = of_unknown_address {
        let more = count.saturating_sub(names.len());
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        lines.push(format!(
            "last address unknown: {}{more}: an admin who has not connected since the start of the broker may be refused {when}",
            names.join(", ")
        ));
    }
    if leaves_no_admin {
        lines.push(match of_unknown_address {
            None => format!(
                "{when}, no unrestricted admin could act from the address of its last use: {WITHOUT_ADMIN}"
            ),
            Some(_) => {
                format!("{when}, no unrestricted admin is known to be able to act: {WITHOUT_ADMIN}")
            }
        });
    }
    lines
}

/// Whether a containment of the subject can refuse unrestricted admins.
const fn can_refuse_admins(subject: &SubjectName) -> bool {
    match subject {
        SubjectName::Operator(_) | SubjectName::Certificate(_) | SubjectName::Network(_) => true,
        SubjectName::Agent(_)
        | SubjectName::Instance(_)
        | SubjectName::Role(_)
        | SubjectName::Capability(_)
        | SubjectName::Owner(_)
        | SubjectName::Secret(_)
        | SubjectName::Token(_)
        | SubjectName::Everything => false,
    }
}
