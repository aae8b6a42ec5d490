//! Which approvals a change of an approval key affects: an approval counts only while its key is the accepted one.

use crate::console::{Console, visible};
use crate::wire::{ApprovalKeysAnswer, SignedApprovalAnswer};

/// Characters of a state that are shown.
const STATE_CHARS: usize = 64;

/// The approvals of open requests that were signed with another key than the accepted one.
fn uncounted(keys: &ApprovalKeysAnswer) -> Vec<&SignedApprovalAnswer> {
    let accepted = accepted_of(keys);
    keys.approvals.iter().filter(|one| Some(one.fingerprint.as_str()) != accepted).collect()
}

/// Whether approvals do not count because of their key.
pub(super) fn has_uncounted(keys: &ApprovalKeysAnswer) -> bool {
    !uncounted(keys).is_empty()
}

/// After a change of the keys: names the approvals of open requests that were signed with another key than the accepted one.
pub(super) fn say_uncounted(keys: &ApprovalKeysAnswer, console: &Console) {
    let operator = &keys.operator;
    let affected = uncounted(keys);
    if affected.is_empty() {
        console.say(&format!(
            "note: no pending request and no approval is affected: none has an approval by `{operator}` with another key"
        ));
        return;
    }
    console.say(&format!(
        "note: approvals by `{operator}` with another key do not count any more. Affected requests:"
    ));
    say_requests(&affected, console);
    console.say(&match accepted_of(keys) {
        Some(_) => format!("to approve one again, `{operator}` runs: `keyward approval approve ID`"),
        None => format!(
            "another operator can approve them, or `{operator}` once it has an accepted key: `keyward approval approve ID`"
        ),
    });
}

/// Names the approvals of open requests that will not count once another key is accepted.
pub(super) fn say_ending(keys: &ApprovalKeysAnswer, console: &Console) {
    let Some(accepted) = accepted_of(keys) else { return };
    let affected: Vec<&SignedApprovalAnswer> =
        keys.approvals.iter().filter(|one| one.fingerprint == accepted).collect();
    if affected.is_empty() {
        console.say("note: no pending request and no approval is affected: none has an approval with your present key");
        return;
    }
    console
        .say("note: once the new key is accepted, your approvals of these requests do not count any more:");
    say_requests(&affected, console);
    console.say("to approve one again then: `keyward approval approve ID`");
}

fn accepted_of(keys: &ApprovalKeysAnswer) -> Option<&str> {
    keys.keys.iter().find(|key| key.state == "accepted").map(|key| key.fingerprint.as_str())
}

fn say_requests(approvals: &[&SignedApprovalAnswer], console: &Console) {
    for SignedApprovalAnswer { approval, user_code, state, agent, fingerprint: _ } in approvals {
        let state = visible(state, STATE_CHARS);
        console.say(&format!("  {approval} ({user_code}, {state}) of the agent `{agent}`"));
    }
}
