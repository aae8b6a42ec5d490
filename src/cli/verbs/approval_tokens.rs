//! The tokens of an approval that a denial leaves valid, and how they are revoked.

use crate::cli::owners::roles_of;
use crate::console::{Console, visible};
use crate::policy::RevokeTokens;
use crate::wire::ValidTokenAnswer;

/// Characters of a time that are shown.
const TIME_CHARS: usize = 64;

/// Names the tokens that are valid after a denial, and says how they are revoked.
pub(super) fn say_valid_tokens(tokens: &[ValidTokenAnswer], console: &Console) {
    let Some(last) = tokens.last() else { return };
    let until = visible(&last.expires_at, TIME_CHARS);
    console.say(&match tokens.len() {
        1 => format!("note: the denial does not revoke the token of this approval, which is valid until {until}"),
        count => format!(
            "note: the denial does not revoke the tokens of this approval: {count} are valid, the last one until {until}"
        ),
    });
    say_how_to_revoke(tokens, console);
}

/// Says how the tokens are revoked, one command for each.
pub(super) fn say_how_to_revoke(tokens: &[ValidTokenAnswer], console: &Console) {
    if tokens.is_empty() {
        return;
    }
    let roles = roles_of::<RevokeTokens>();
    console
        .say(&format!("to revoke valid tokens, as an operator with the role {roles} and the scope `all`:"));
    for one in tokens {
        let until = visible(&one.expires_at, TIME_CHARS);
        console.say(&format!("  keyward token revoke {}    (valid until {until})", one.token));
    }
}
