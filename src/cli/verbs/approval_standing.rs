//! What a request for approval still needs, which votes count, and how many tokens are left.

use crate::console::visible;
use crate::wire::{
    ApprovalAnswer, ApprovalDemandAnswer, ApprovalState, ApprovalVoteAnswer, LapsedVoteAnswer,
};

/// Characters of a text that are shown; the rest has its hash.
pub(super) const TEXT_CHARS: usize = 200;
/// Characters of a name that are shown.
const NAME_CHARS: usize = 300;

/// Whether the request is approved, and some approvals do not count any more.
pub(super) fn is_unmet(answer: &ApprovalAnswer) -> bool {
    let is_approved = *answer.state == *ApprovalState::Approved.as_str();
    is_approved && answer.demands.iter().any(|demand| demand.approved < demand.quorum)
}

/// The tokens of a request that was approved.
pub(super) fn uses_text(answer: &ApprovalAnswer) -> Option<String> {
    let (uses, most, left) = (answer.uses, answer.request.uses, answer.uses_left);
    let is_approved = *answer.state == *ApprovalState::Approved.as_str();
    (is_approved || uses > 0).then(|| format!("{uses} of at most {most} issued, {left} left"))
}

/// What a rule demands, and how far the demand is met.
pub(super) fn demand_text(demand: &ApprovalDemandAnswer) -> String {
    let ApprovalDemandAnswer { policy, kind, group, quorum, approved, reason, escalates_at, escalates_to } =
        demand;
    let by = match (&**kind, group) {
        ("confirmation", _) => "confirmation by the person for whom the agent acts".to_owned(),
        (_, Some(group)) => format!("approval by {quorum} of `{group}`"),
        (_, None) if *quorum == 1 => "approval by 1 person".to_owned(),
        (_, None) => format!("approval by {quorum} persons"),
    };
    let reason = reason.as_ref().map(|reason| format!("; {}", quoted(reason))).unwrap_or_default();
    let escalates = match (escalates_at, escalates_to) {
        (Some(at), Some(to)) => format!("; from {} on `{to}` can approve, too", shown(at)),
        (Some(at), None) => format!("; from {} on another group can approve, too", shown(at)),
        (None, _) => String::new(),
    };
    format!("{policy}: {by}; {approved} of {quorum} have approved{escalates}{reason}")
}

/// A vote, and why it does not count any more.
pub(super) fn vote_text(vote: &ApprovalVoteAnswer) -> String {
    let (verdict, at) = (shown(&vote.verdict), shown(&vote.at));
    let reason = vote.reason.as_ref().map(|reason| format!(": {}", quoted(reason))).unwrap_or_default();
    let lapsed: String = vote.lapsed.iter().map(lapsed_text).collect();
    format!("{verdict} by {} at {at} (ledger entry {}){reason}{lapsed}", vote.operator, vote.seq)
}

/// Why a vote does not count any more for a rule.
fn lapsed_text(lapsed: &LapsedVoteAnswer) -> String {
    let why = match &*lapsed.why {
        "operator_inactive" => {
            "the operator was revoked, suspended, contained or deleted, or has no valid certificate"
                .to_owned()
        }
        "role_changed" => "the operator has a role now that does not approve requests".to_owned(),
        "person_changed" => "the operator is recorded as another person now, or as no person".to_owned(),
        "key_replaced" => "the operator has another approval key now".to_owned(),
        "key_removed" => "the operator has no accepted approval key now".to_owned(),
        "scope_changed" => {
            "a capability of the request is not within the scope of the operator now".to_owned()
        }
        "agent_person_changed" => "the agent acts for another person now".to_owned(),
        "group_changed" => "the operator does not belong to the group of approvers now".to_owned(),
        other => shown(other),
    };
    format!("; DOES NOT COUNT any more for the rule {}: {why}", lapsed.policy)
}

/// A name or another short text of the broker.
pub(super) fn shown(text: &str) -> String {
    visible(text, NAME_CHARS)
}

/// A text that an agent or a person wrote.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", visible(text, TEXT_CHARS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::VoteLapse;

    #[test]
    fn every_reason_of_a_vote_that_does_not_count_has_a_text() {
        for why in [
            VoteLapse::Operator,
            VoteLapse::Role,
            VoteLapse::Person,
            VoteLapse::KeyReplaced,
            VoteLapse::KeyRemoved,
            VoteLapse::Scope,
            VoteLapse::AgentPerson,
            VoteLapse::Group,
        ] {
            let lapsed = LapsedVoteAnswer { policy: "prod".parse().unwrap(), why: why.as_str().into() };
            assert!(!lapsed_text(&lapsed).contains(why.as_str()), "{why:?}");
        }
    }
}
