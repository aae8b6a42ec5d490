//! Approvals: requests that need one, and votes.

super::codes! {
    APPROVAL_REQUIRED "approval_required" Denied:
        "policies demand an approval of this request",
        "wait until it is approved, then repeat the request with `approval=ID`; `approval_uri` has the state, and an operator approves it with `keyward approval approve ID`";
    APPROVAL_NOT_NEEDED "approval_not_needed" Conflict:
        "no policy demands an approval of this request",
        "request the token without an approval";
    APPROVAL_TOO_MANY_DEMANDS "approval_too_many_demands" Denied:
        "more than 16 policies demand an approval of this request",
        "ask for fewer capabilities at once, or ask an operator to combine the policies";
    APPROVAL_WITHOUT_PERSON "approval_without_person" Denied:
        "a policy demands an approval, and no `person` is declared for the agent: the broker cannot tell whether an approver is that person or another one",
        "ask an operator to declare the `person` of the agent";
    TOO_MANY_APPROVALS "too_many_approvals" Full:
        "16 requests for approval of this agent are pending, or the broker remembers as many requests as it can",
        "withdraw requests that you do not need: `keyward request list` lists the pending ones, `keyward request withdraw ID` withdraws one; or wait until some of them are approved, denied or expired";
    APPROVAL_UNKNOWN "approval_unknown" NotFound:
        "there is no approval of this id or code, or it ended more than a week ago",
        "check the id; operators list approvals with `keyward approval list`, and the ledger has earlier ones";
    APPROVAL_PENDING "approval_pending" Denied:
        "the request is not approved yet",
        "wait and repeat it; `approval_uri` has the state";
    APPROVAL_DENIED "approval_denied" Denied:
        "an operator denied the request, or ended its approval",
        "do not repeat the request unchanged: the agent sees the reason with `keyward request show ID` if the operator told it, and operators see it with `keyward approval show ID`";
    APPROVAL_EXPIRED "approval_expired" Denied:
        "the request was not approved within 24 hours, the approval was not used within an hour, or the time of its grant is over",
        "ask for a new approval: request the token without `approval`";
    APPROVAL_USED "approval_used" Denied:
        "the approval was used as often as it allows",
        "ask for a new approval: request the token without `approval`";
    APPROVAL_WITHDRAWN "approval_withdrawn" Denied:
        "the agent withdrew this request for approval",
        "ask for a new approval: request the token without `approval`";
    APPROVAL_REQUEST_DIFFERS "approval_request_differs" Denied:
        "the request differs from the one that was approved",
        "send the approved parameters, or ask for an approval of the new ones: request the token without `approval`";
    APPROVAL_RULES_CHANGED "approval_rules_changed" Conflict:
        "the policies that decide about this request have changed since it was approved",
        "ask for a new approval: request the token without `approval`";
    APPROVAL_OF_ANOTHER_AGENT "approval_of_another_agent" Denied:
        "the approval belongs to another agent, or to another instance of this agent",
        "use it with the identity that asked for it, or ask for an approval: request the token without `approval`";
    APPROVER_INELIGIBLE "approver_ineligible" Denied:
        "an operator that approved the request may not approve it any more: its role, scope, group, person, approval key or certificate has changed",
        "ask for a new approval: request the token without `approval`";
    DEVICE_POLL_TOO_FAST "device_poll_too_fast" Denied:
        "the device code was sent again within 5 seconds",
        "wait 5 seconds longer between two requests";
    APPROVAL_VOTE_INCOMPLETE "approval_vote_incomplete" Invalid:
        "a vote that approves needs the digest of the request, the hash of the rules and a signature",
        "approve with `keyward approval approve ID`, which shows the request and signs its digest";
    APPROVAL_VOTE_DIFFERS "approval_vote_differs" Conflict:
        "the vote names another request or other rules than those of this approval",
        "look at the request again, `keyward approval show ID`, and vote anew";
    APPROVAL_ALREADY_ENDED "approval_already_ended" Conflict:
        "the request was already decided, withdrawn or used, or has expired",
        "`keyward approval show ID` shows the state; the agent can ask again";
    APPROVER_ALREADY_VOTED "approver_already_voted" Conflict:
        "the person behind this operator has approved the request with another operator name",
        "ask another person to approve the request";
    APPROVER_WITHOUT_PERSON "approver_without_person" Denied:
        "only a person can approve: this operator is a program, or its record names no person",
        "ask an admin to name the person: `keyward operator update NAME --person PERSON`";
    APPROVER_IS_REQUESTER "approver_is_requester" Denied:
        "the operator is the person for whom the agent acts, and the policy demands a second person",
        "ask another person to approve the request";
    APPROVER_IS_NOT_THE_PERSON "approver_is_not_the_person" Denied:
        "the policy demands that the person confirms the request for whom the agent acts, and the operator is another person",
        "ask that person to confirm it; `keyward approval show ID` names the person";
    APPROVER_NOT_IN_GROUP "approver_not_in_group" Denied:
        "the operator does not belong to the group of approvers that the policy names",
        "ask a member of the group; `keyward approval show ID` names the group and its escalation";
    WIDENING_NEEDS_SECOND_OPERATOR "widening_needs_second_operator" Conflict:
        "the changes give more access, and this broker demands the approval of a second operator for that; nothing was changed",
        "another person with the right to apply runs `keyward plan -f FILE --approve --out plan-approval.json`; then: `keyward apply -f FILE --widen --approved plan-approval.json`";
    PLAN_APPROVAL_OUTDATED "plan_approval_outdated" Conflict:
        "the approval is one of another plan, or declarations were applied since; nothing was changed",
        "plan again with the same files and have the second operator approve again: `keyward plan -f FILE --approve --out FILE`";
    PLAN_APPROVAL_EXPIRED "plan_approval_expired" Denied:
        "the approval of the plan is older than 24 hours; nothing was changed",
        "have the second operator approve again: `keyward plan -f FILE --approve --out FILE`";
    PLAN_APPROVAL_MALFORMED "plan_approval_malformed" Invalid:
        "the approval of a plan is not one that `keyward plan --approve` wrote",
        "use the file of `keyward plan -f FILE --approve --out FILE` as it is";
    PLAN_APPROVAL_NOT_NEEDED "plan_approval_not_needed" Conflict:
        "the plan needs no approval: it gives no more access than before, or this broker demands no second operator",
        "apply it: `keyward apply -f FILE`";
    APPROVAL_KEY_OF_INTRODUCER "approval_key_of_introducer" Denied:
        "this broker demands a second operator, and the approval key was accepted by an admin who invited its operator or named its person: the key does not show that a second person signed",
        "the operator makes another key, `keyward approval key create --replace`; an admin who did neither accepts it, or root on the broker's host: `keyward approval key accept NAME --fingerprint HEX --on-host`";
    APPROVER_INTRODUCED_OPERATOR "approver_introduced_operator" Denied:
        "the second operator invited the operator that makes the change or named its person, and this operator has no approval key that shows another person: an accepted one, from the enrolment of its present certificate",
        "the operator that makes the change makes a key, `keyward approval key create`; an admin who did neither accepts it, or root on the broker's host: `keyward approval key accept NAME --fingerprint HEX --on-host`; or an operator who did neither gives the approval";
    APPROVAL_KEY_MISSING "approval_key_missing" Denied:
        "the operator has no approval key that another admin or the host has accepted",
        "make one with `keyward approval key create`, and have another admin accept its fingerprint: `keyward approval key accept NAME --fingerprint HEX`; the first key of a broker is accepted on its host, as root, with `--on-host`";
    APPROVAL_SIGNATURE_INVALID "approval_signature_invalid" Denied:
        "the signature of the vote or acceptance is not one by the accepted approval key of this operator",
        "approve with `keyward approval approve ID`, or accept a key with `keyward approval key accept NAME --fingerprint HEX`, on the machine that has the approval key";
}
