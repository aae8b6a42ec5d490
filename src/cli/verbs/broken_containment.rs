//! What is known of a containment whose responses break off, and the next commands.

use crate::base::{IncidentId, SubjectName, code};
use crate::console::CommandFailure;

/// A containment, as its command orders it.
pub(super) struct ContainmentCommand<'a> {
    pub(super) subject: &'a SubjectName,
    pub(super) incident: Option<IncidentId>,
    pub(super) rotates_touched: bool,
    pub(super) revokes_previous: bool,
}

impl ContainmentCommand<'_> {
    /// The command to repeat. A repetition belongs to the same incident.
    fn repeated(&self) -> String {
        let mut command = format!("keyward contain {} --reason TEXT", self.subject);
        if let Some(incident) = self.incident {
            command.push_str(&format!(" --incident {incident}"));
        }
        if self.rotates_touched {
            command.push_str(" --rotate-touched");
        }
        if self.revokes_previous {
            command.push_str(" --revoke-previous");
        }
        command
    }

    fn on_host(&self) -> String {
        format!("on the broker's host, as root: `keyward break-glass contain {} --reason TEXT`", self.subject)
    }

    /// The failure of the order itself: no incident is known. A sealed broker takes the order on its host.
    pub(super) fn without_answer(&self, failure: CommandFailure) -> CommandFailure {
        let (subject, repeated, on_host) = (self.subject, self.repeated(), self.on_host());
        if failure.code() == code::SEALED.as_str() {
            return failure.mended_by(format!(
                "{on_host}, which is in force before the broker serves; or unseal the broker, and repeat the command"
            ));
        }
        if failure.is_in_doubt() || failure.code() == code::RESPONSE_INVALID.as_str() {
            let why = format!(
                "{}: `{subject}` may be contained, and no id of an incident was received",
                failure.why()
            );
            return failure.because(why).mended_by(format!(
                "`keyward incident list --open` shows the incident if `{subject}` is contained; then repeat `{repeated}`: a \
                 repetition belongs to the same incident; while the broker does not answer, {on_host}"
            ));
        }
        if failure.code() == code::BROKER_UNREACHABLE.as_str() {
            let why =
                format!("{}: the order was not sent, and `{subject}` is not contained by it", failure.why());
            let fix = format!("{}; if the broker runs, {on_host}", failure.fix());
            return failure.because(why).mended_by(fix);
        }
        failure
    }

    /// The failure of a step after the answer: the containment is in force in `incident`.
    pub(super) fn after_answer(&self, incident: IncidentId, failure: CommandFailure) -> CommandFailure {
        if !failure.is_outage() {
            return failure;
        }
        let why = format!(
            "incident {incident} contains `{}`, and a later request of the command failed: {}",
            self.subject,
            failure.why()
        );
        let fix = self.checked(incident);
        failure.because(why).mended_by(fix)
    }

    /// The commands that show the result of the containment, and go on with it.
    pub(super) fn checked(&self, incident: IncidentId) -> String {
        format!(
            "when the broker answers, `keyward incident show {incident}` counts the credentials that it still accepts; then \
             repeat `{}` until the exit code is 0",
            self.repeated()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INCIDENT: &str = "inc_06h2htbrfhs6388gu9e2l31ivk";

    fn command(subject: &SubjectName) -> ContainmentCommand<'_> {
        ContainmentCommand { subject, incident: None, rotates_touched: true, revokes_previous: true }
    }

    fn unreachable() -> CommandFailure {
        CommandFailure::new(code::BROKER_UNREACHABLE).because("the connection was closed")
    }

    #[test]
    fn order_without_a_response_names_the_doubt_and_the_next_commands() {
        let subject: SubjectName = "agent/bot".parse().unwrap();
        let failure = command(&subject).without_answer(unreachable().in_doubt());
        assert!(failure.why().contains("`agent/bot` may be contained"), "{}", failure.why());
        for part in [
            "`keyward incident list --open`",
            "`keyward contain agent/bot --reason TEXT --rotate-touched --revoke-previous`",
            "`keyward break-glass contain agent/bot --reason TEXT`",
        ] {
            assert!(failure.fix().contains(part), "{part}: {}", failure.fix());
        }
    }

    #[test]
    fn order_with_an_unreadable_response_names_the_doubt_too() {
        let subject: SubjectName = "agent/bot".parse().unwrap();
        let failure = command(&subject).without_answer(CommandFailure::new(code::RESPONSE_INVALID));
        assert!(failure.why().contains("`agent/bot` may be contained"), "{}", failure.why());
        assert!(failure.fix().contains("`keyward incident list --open`"), "{}", failure.fix());
    }

    #[test]
    fn order_that_was_not_sent_says_so() {
        let subject: SubjectName = "agent/bot".parse().unwrap();
        let failure = command(&subject).without_answer(unreachable());
        assert!(failure.why().contains("is not contained by it"), "{}", failure.why());
        assert!(failure.fix().contains("`keyward break-glass contain agent/bot --reason TEXT`"));
    }

    #[test]
    fn failure_after_the_response_names_the_incident() {
        let subject: SubjectName = "agent/bot".parse().unwrap();
        let incident: IncidentId = INCIDENT.parse().unwrap();
        let failure = command(&subject).after_answer(incident, unreachable());
        assert!(failure.why().contains(&format!("incident {INCIDENT} contains `agent/bot`")));
        assert!(failure.fix().contains(&format!("`keyward incident show {INCIDENT}`")));
        let refused =
            command(&subject).after_answer(incident, CommandFailure::new(code::SECRETS_NOT_ROTATED));
        assert_eq!(
            refused.fix(),
            CommandFailure::new(code::SECRETS_NOT_ROTATED).fix(),
            "the broker answered"
        );
    }
}
