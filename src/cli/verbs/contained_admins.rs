//! The question before a containment that leaves no unrestricted admin.

use std::time::Duration;

use super::incident_subject::body_of;
use crate::base::SubjectName;
use crate::cli::client::Client;
use crate::cli::confirmation::Question;
use crate::console::{CommandFailure, Console};
use crate::wire::{Nothing, PREVIEW_CONTAINMENT, PreviewBody};

/// What can be done while no unrestricted admin can act.
pub(super) const WITHOUT_ADMIN: &str = "a security operator with the scope `all` can lift the containment; or stop the broker, and on its \
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
    console.say(&format!(
        "after this containment, no unrestricted admin could act from the address of its last use: {WITHOUT_ADMIN}"
    ));
    let fix = "contain a smaller subject, or add `--yes` to contain this one nevertheless";
    let question = "Contain it, and leave no admin?";
    Question { act: "a containment that leaves no unrestricted admin", question, fix }.ask(console)
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
