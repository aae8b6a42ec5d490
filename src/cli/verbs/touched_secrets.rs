//! The rotation of the secrets that a contained subject has read.

use crate::base::{IncidentId, SecretName, code};
use crate::cli::client::Client;
use crate::cli::session::VerbSession;
use crate::console::CommandFailure;
use crate::wire::{
    LIST_TOUCHED_SECRETS, Nothing, RotationAction, STEER_ROTATION, SteerRotationBody, TouchedSecretAnswer,
    TouchedSecretsAnswer,
};

/// Begins the rotation of each secret, the most sensitive first, and adds its name to `rotated`.
///
/// # Errors
/// [`CommandFailure`] that names the secrets whose current value the subject has read, and that are not rotated.
pub(super) async fn rotate_touched(
    client: &Client,
    incident: IncidentId,
    rotated: &mut Vec<SecretName>,
    session: VerbSession<'_>,
) -> Result<(), CommandFailure> {
    let touched = client.call(LIST_TOUCHED_SECRETS, &incident, &Nothing).await?;
    let (mut left, mut said) = (Vec::new(), Vec::new());
    for secret in &touched.items {
        match rotate(client, secret).await {
            Ok(line) => {
                said.push(line);
                rotated.extend(secret.is_current.then(|| secret.secret.clone()));
            }
            Err(why) => left.push((secret.secret.clone(), why)),
        }
    }
    if !session.console.is_json() {
        said.push(searched(&touched));
        said.iter().for_each(|line| session.console.line(line));
    }
    if left.is_empty() && touched.unknown_readings == 0 && touched.since_seq <= 1 {
        Ok(())
    } else {
        Err(unrotated(&left, &touched))
    }
}

/// Rotates one secret; the line about it, or the reason why it is not rotated.
async fn rotate(client: &Client, touched: &TouchedSecretAnswer) -> Result<String, String> {
    let TouchedSecretAnswer { secret, version, sensitivity, .. } = touched;
    if !touched.is_current {
        return Ok(format!(
            "secret `{secret}`: version {version} was read, and is not the current one any more; during a grace \
             period it still works upstream: `keyward rotation revoke-previous {secret}`"
        ));
    }
    if !touched.has_rotation {
        return Err("no rotation is declared".to_owned());
    }
    let body = SteerRotationBody { action: RotationAction::Rotate };
    let begun = client.call(STEER_ROTATION, secret, &body).await;
    begun.map_err(|failure| {
        if failure.code() != code::ROTATION_IN_GRACE_PERIOD.as_str() {
            return failure.why().to_owned();
        }
        let (revoke, rotate) = (
            format!("`keyward rotation revoke-previous {secret}`"),
            format!("`keyward secret rotate {secret}`"),
        );
        format!("an earlier rotation is in its grace period: {revoke}, then {rotate}")
    })?;
    Ok(format!("secret `{secret}` (sensitivity {sensitivity}): the rotation has begun"))
}

/// The line about the entries that were searched.
fn searched(touched: &TouchedSecretsAnswer) -> String {
    let which = if touched.items.is_empty() { "No secret was read" } else { "These secrets were read" };
    if touched.since_seq <= 1 {
        return format!("{which}: the whole ledger was searched");
    }
    format!("{which} since ledger entry {}", touched.since_seq)
}

fn unrotated(left: &[(SecretName, String)], touched: &TouchedSecretsAnswer) -> CommandFailure {
    let TouchedSecretsAnswer { since_seq, unknown_readings: unknown, .. } = touched;
    let secrets: Vec<String> = left.iter().map(|(secret, why)| format!("`{secret}` ({why})")).collect();
    let mut why = Vec::new();
    if !left.is_empty() {
        let secrets = secrets.join(", ");
        why.push(format!("secrets that the subject has read, and that are not rotated: {secrets}"));
    }
    if *unknown > 0 {
        why.push(format!(
            "{unknown} readings of deleted agents or forgotten instances may belong to the subject: \
             `keyward audit list --kind secret.revealed` shows them"
        ));
    }
    if *since_seq > 1 {
        why.push(format!(
            "the entries before {since_seq} were not searched: the broker's search index does not have them yet (then \
             repeat the command later), or the subject has read secrets too often \
             (`keyward audit list --kind secret.revealed --before {since_seq}`)"
        ));
    }
    CommandFailure::new(code::SECRETS_NOT_ROTATED).because(why.join("; "))
}
