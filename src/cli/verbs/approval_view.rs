//! A request for approval as an approver sees it.

use super::approval_standing::{TEXT_CHARS, demand_text, is_unmet, quoted, shown, uses_text, vote_text};
use crate::base::code::{self, Code};
use crate::cli::owners::roles_of;
use crate::cli::table::{Row, columns};
use crate::console::{CommandFailure, escaped_line, visible};
use crate::crypto::{Digest, sha256};
use crate::policy::VoteApprovals;
use crate::rotation::spoken;
use crate::wire::{ApprovalAnswer, ApprovalContextAnswer, ApprovalRequest, PreviousApprovalAnswer};

/// A line about a request: what it says, and the text.
pub(super) type Line = (&'static str, String);

/// The digest of the request that [`signed_lines`] shows: SHA-256 of its RFC 8785 form, computed here. A broker that shows
/// one request and names the digest of another one gets no signature.
///
/// # Errors
/// [`CommandFailure`] if the broker names another digest, or the request has another form.
pub(super) fn digest_of(answer: &ApprovalAnswer) -> Result<Digest, CommandFailure> {
    let differs = |why: &str| CommandFailure::new(code::APPROVAL_DIGEST_DIFFERS).because(why);
    if answer.request.kind != ApprovalRequest::KIND {
        return Err(differs(
            "the request has a form that this version does not know, so it cannot be shown whole",
        ));
    }
    let canonical = answer.request.canonical().map_err(|_| differs("the request has no canonical form"))?;
    let digest = sha256(&canonical);
    if digest.hex() == answer.digest {
        Ok(digest)
    } else {
        Err(differs("the digest that the broker names is not that of the request that it shows"))
    }
}

/// The fields of the request: all of them, and nothing else, are signed.
pub(super) fn signed_lines(request: &ApprovalRequest) -> Vec<Line> {
    let capabilities: Vec<String> = request
        .capabilities
        .iter()
        .map(|one| {
            let environment = one.environment.as_ref().map(|name| format!(", {}", shown(name)));
            let secret = one.secret.as_ref().map(|name| format!(", reads the secret {}", shown(name)));
            let (environment, secret) = (environment.unwrap_or_default(), secret.unwrap_or_default());
            let parameters = one
                .parameters
                .0
                .iter()
                .map(|(name, value)| format!(", {name}={}", shown(&value.to_string())));
            let parameters: String = parameters.collect();
            format!("{} ({}{environment}{secret}{parameters})", one.name, shown(&one.access))
        })
        .collect();
    let uses = match (request.uses, request.grant_life_s) {
        (1, None) => "once".to_owned(),
        (uses, None) => format!("{uses} times"),
        (uses, Some(life_s)) => format!("at most {uses} times within {} of the first use", spoken(life_s)),
    };
    let mut lines = vec![
        ("agent", shown(&request.agent)),
        ("capabilities", capabilities.join(", ")),
        ("audience", shown(&request.audience)),
        ("token life", format!("{} at most", spoken(request.life_s))),
        ("use", uses),
    ];
    lines.extend(request.reason.as_ref().map(|reason| ("reason", quoted(reason))));
    lines
}

/// The facts about the request that the broker states.
pub(super) fn stated_lines(answer: &ApprovalAnswer) -> Vec<Line> {
    let until = answer.expires_at.as_ref().map(|at| format!(" until {}", shown(at))).unwrap_or_default();
    let mut lines = vec![
        ("request", format!("{} ({})", answer.approval, answer.user_code)),
        ("state", format!("{}{until}", shown(&answer.state))),
        ("opened", shown(&answer.opened_at)),
        ("instance", answer.instance.to_string()),
    ];
    lines.extend(uses_text(answer).map(|uses| ("tokens", uses)));
    lines.push(("source", answer.source.as_deref().map_or_else(|| "unknown".to_owned(), shown)));
    lines.extend(answer.person.as_ref().map(|person| ("acts for", shown(person))));
    lines.extend(answer.demands.iter().map(|demand| ("rule", demand_text(demand))));
    let named = |policy: &str| answer.demands.iter().any(|demand| demand.policy.as_str() == policy);
    let others = answer.policies.iter().filter(|policy| !named(policy.as_str()));
    lines.extend(others.map(|policy| ("rule", format!("{policy}: restricts the request"))));
    lines.extend(answer.votes.iter().map(|vote| ("vote", vote_text(vote))));
    if is_unmet(answer) {
        let text = "the approvals that still count do not meet every rule: the agent gets no token with this approval until further \
                    operators approve";
        lines.push(("note", text.to_owned()));
    }
    let tokens = answer.valid_tokens.iter();
    lines
        .extend(tokens.map(|one| ("valid token", format!("{} until {}", one.token, shown(&one.expires_at)))));
    lines.extend(answer.refused_vote.as_ref().map(|code| ("you", refused_text(code))));
    lines
}

/// Why an approval by the operator would not count.
fn refused_text(code: &str) -> String {
    if code == code::OPERATOR_ROLE_INSUFFICIENT.as_str() {
        let needed = roles_of::<VoteApprovals>();
        return format!(
            "cannot approve it ({code}): your role does not approve requests; an operator with the role {needed} does"
        );
    }
    let meaning = code.parse().map(|known: Code| format!(": {}", known.meaning())).unwrap_or_default();
    format!("cannot approve it ({}){meaning}", shown(code))
}

/// How the request differs from what the agent usually does.
pub(super) fn context_lines(context: &ApprovalContextAnswer) -> Vec<Line> {
    let mut lines: Vec<Line> = context
        .differences
        .iter()
        .map(|one| {
            let usual: Vec<String> = one.usual.iter().map(|usual| value_text(&one.field, usual)).collect();
            let usual = if usual.is_empty() { "none".to_owned() } else { usual.join(", ") };
            let parameter = one.capability.as_ref().zip(one.parameter.as_ref());
            let of = parameter.map(|(capability, name)| format!(" {capability}.{name}")).unwrap_or_default();
            (
                "unusual",
                format!(
                    "{}{of} {}; in the last 30 days: {usual}",
                    shown(&one.field),
                    value_text(&one.field, &one.value)
                ),
            )
        })
        .collect();
    if lines.is_empty() {
        let text = match context.tokens {
            0 => "the agent got no token in the last 30 days: there is nothing to compare with".to_owned(),
            tokens => {
                let compared: Vec<String> = context.compared.iter().map(|field| shown(field)).collect();
                let compared = compared.join(", ");
                format!(
                    "nothing in these fields ({compared}), compared with {tokens} tokens of the last 30 days"
                )
            }
        };
        lines.push(("unusual", text));
    }
    if context.tokens > 0 && !context.compared.iter().any(|field| field == "parameter") {
        lines.push((
            "note",
            "the parameters were not compared: you do not see those of the tokens".to_owned(),
        ));
    }
    if !context.entries.complete {
        let read = context.entries.read;
        lines.push((
            "note",
            format!("the agent has more entries than were read ({read}): the comparison is incomplete"),
        ));
    }
    lines
}

/// A value of a field that differs. A life is in seconds.
fn value_text(field: &str, value: &str) -> String {
    let life_s = value.parse().ok().filter(|_| field == "life");
    life_s.map_or_else(|| shown(value), spoken)
}

fn previous_capabilities(previous: &PreviousApprovalAnswer) -> String {
    previous.capabilities.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn approval_capabilities(answer: &ApprovalAnswer) -> String {
    answer.request.capabilities.iter().map(|one| one.name.to_string()).collect::<Vec<_>>().join(",")
}

fn approval_reason(answer: &ApprovalAnswer) -> String {
    answer.request.reason.as_deref().map(|reason| visible(reason, TEXT_CHARS)).unwrap_or_default()
}

fn approval_id(answer: &ApprovalAnswer) -> String {
    answer.approval.to_string()
}

fn approval_code(answer: &ApprovalAnswer) -> String {
    answer.user_code.to_string()
}

fn previous_id(previous: &PreviousApprovalAnswer) -> String {
    previous.approval.to_string()
}

columns!(ApprovalAnswer "requests for approval":
    ("APPROVAL", approval_id), ("CODE", approval_code), state, agent, ("CAPABILITIES", approval_capabilities),
    ("OPENED": opened_at), ("REASON", approval_reason));
columns!(PreviousApprovalAnswer "previous requests":
    ("APPROVAL", previous_id), state, agent, ("CAPABILITIES", previous_capabilities), ("OPENED": opened_at));

/// The rows of previous requests.
pub(super) fn previous_rows(context: &ApprovalContextAnswer) -> Vec<Vec<String>> {
    context.previous.iter().map(Row::cells).collect()
}

/// Characters of a text in one row of a terminal. A longer text goes on below, behind the same margin.
const ROW_CHARS: usize = 64;

/// `lines` as a text for a terminal. No text reaches the place where the names of lines stand, nor does any control the
/// terminal.
pub(super) fn text_of(lines: &[Line]) -> String {
    let mut out = String::new();
    for (what, text) in lines {
        let text: Vec<char> = escaped_line(text).chars().collect();
        for (row, part) in text.chunks(ROW_CHARS).enumerate() {
            let (name, part) = (if row == 0 { *what } else { "" }, part.iter().collect::<String>());
            out.push_str(&format!("{name:13} | {part}\n"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer() -> ApprovalAnswer {
        let mut answer: ApprovalAnswer = serde_json::from_value(json!({
            "approval": "appr_06h2htbrfhs6388gu9e2l31ivk", "user_code": "WDJB-MJHT", "state": "pending",
            "agent": "deploy-bot", "instance": "inst_06h2htbrfhs6388gu9e2l31ivk",
            "request": {
                "type": "keyward-approval-request-1", "agent": "spiffe://keyward.test/agent/deploy-bot",
                "capabilities": [{ "name": "web.deploy", "access": "write", "environment": "production" }],
                "audience": "https://deploy.example", "life_s": 600, "uses": 1, "reason": "release 7",
            },
            "digest": "", "rules": "aa", "policies": ["prod", "short"], "votes": [], "uses": 0, "seq": 9,
            "demands": [{ "policy": "prod", "kind": "approval", "quorum": 2, "approved": 0 }],
            "opened_at": "2026-12-01T03:00:00.000Z",
        }))
        .unwrap();
        answer.digest = sha256(&answer.request.canonical().unwrap()).hex();
        answer
    }

    #[test]
    fn broker_that_names_another_digest_gets_no_signature() {
        let mut lying = answer();
        assert_eq!(digest_of(&lying).unwrap().hex(), lying.digest);
        // The request that is shown is harmless, and the digest is that of another one
        lying.request.reason = Some("read the report".to_owned());
        assert_eq!(digest_of(&lying).unwrap_err().code(), "approval_digest_differs");
        let mut unknown = answer();
        unknown.request.kind = "keyward-approval-request-2".into();
        unknown.digest = sha256(&unknown.request.canonical().unwrap()).hex();
        assert_eq!(digest_of(&unknown).unwrap_err().code(), "approval_digest_differs");
    }

    #[test]
    fn every_signed_field_is_shown() {
        // Each change of a field of the signed form changes the shown text
        let request = answer().request;
        let shown = text_of(&signed_lines(&request));
        let fields = serde_json::to_value(&request).unwrap();
        let changes = [
            ("agent", json!("spiffe://keyward.test/agent/other")),
            ("audience", json!("https://other.example")),
            ("capabilities", json!([{ "name": "web.read", "access": "read", "environment": "production" }])),
            (
                "capabilities",
                json!([{ "name": "web.deploy", "access": "read", "environment": "production" }]),
            ),
            ("capabilities", json!([{ "name": "web.deploy", "access": "write", "environment": "test" }])),
            (
                "capabilities",
                json!([{ "name": "web.deploy", "access": "write", "environment": "production", "parameters": { "amount": 1 } }]),
            ),
            ("life_s", json!(601)),
            ("uses", json!(2)),
            ("grant_life_s", json!(1800)),
            ("reason", json!("release 8")),
        ];
        for (field, value) in changes {
            let mut changed = fields.clone();
            changed[field] = value;
            let changed: ApprovalRequest = serde_json::from_value(changed).unwrap();
            assert_ne!(text_of(&signed_lines(&changed)), shown, "{field}");
        }
        // A field that is added to the signed form needs a line
        assert_eq!(fields.as_object().unwrap().len(), 7, "{fields}");
    }

    #[test]
    fn text_of_an_agent_hides_nothing() {
        let mut answer = answer();
        answer.request.reason = Some(format!("ok\u{202e}\u{1b}[2K p\u{430}y {}", "x".repeat(300)));
        let shown = text_of(&signed_lines(&answer.request));
        for spelled in ["<U+202E>", "<U+001B>", "p\u{430}<U+0430>y", "(cut: ", "SHA-256 "] {
            assert!(shown.replace(&format!("\n{:13} | ", ""), "").contains(spelled), "{shown}");
        }
        // And a broker that was taken over neither controls the terminal nor imitates a line
        let raw = "\u{1b}[8m\nuse           | once";
        (answer.opened_at, answer.expires_at, answer.state) =
            (raw.into(), Some(raw.into()), raw.to_owned().into());
        answer.demands[0].escalates_at = Some(raw.into());
        let lines: Vec<Line> = stated_lines(&answer).into_iter().chain([("raw", raw.to_owned())]).collect();
        let stated = text_of(&lines);
        assert!(!stated.contains('\u{1b}') && !stated.contains("\nuse "), "{stated}");
        let stated = stated.replace(&format!("\n{:13} | ", ""), "");
        assert!(stated.contains("prod: approval by 2 persons; 0 of 2 have approved"), "{stated}");
        assert!(stated.contains("short: restricts the request"), "{stated}");
    }

    #[test]
    fn vote_that_does_not_count_and_remaining_tokens_are_shown() {
        let mut answer = answer();
        let stated = |answer: &ApprovalAnswer| {
            stated_lines(answer)
                .into_iter()
                .map(|(what, text)| format!("{what}: {text}\n"))
                .collect::<String>()
        };
        // Given a pending request, then nothing is said of tokens
        assert!(!stated(&answer).contains("issued"), "{}", stated(&answer));
        // Given an approved one whose vote has lapsed, then its reason is shown, and that no token follows
        (answer.state, answer.uses, answer.uses_left) = ("approved".into(), 1, 2);
        answer.request.uses = 3;
        answer.demands[0].escalates_at = Some("2026-12-01T04:00:00Z".to_owned());
        answer.demands[0].escalates_to = Some("directors".parse().unwrap());
        let vote = json!({
            "operator": "ann", "verdict": "approve", "at": "2026-12-01T03:10:00Z", "seq": 12,
            "lapsed": [{ "policy": "prod", "why": "key_replaced" }],
        });
        answer.votes = vec![serde_json::from_value(vote).unwrap()];
        let text = stated(&answer);
        for part in [
            "tokens: 1 of at most 3 issued, 2 left",
            "from 2026-12-01T04:00:00Z on `directors` can approve, too",
            "DOES NOT COUNT any more for the rule prod: the operator has another approval key now",
            "do not meet every rule",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        // Given enough votes that count, then there is no note
        answer.demands[0].approved = 2;
        assert!(!stated(&answer).contains("do not meet"), "{}", stated(&answer));
    }
}
