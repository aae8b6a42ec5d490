//! The rotation of the secrets that a contained subject has read.

use crate::base::{IncidentId, SecretName, code, length_text};
use crate::cli::client::Client;
use crate::cli::session::VerbSession;
use crate::console::CommandFailure;
use crate::wire::{
    LIST_TOUCHED_SECRETS, Nothing, PreviousVersionAnswer, RotationAction, STEER_ROTATION, SteerRotationBody,
    TouchedSecretAnswer, TouchedSecretsAnswer,
};

/// Begins the rotation of each secret, the most sensitive first, and adds its name to `rotated`.
///
/// # Errors
/// [`CommandFailure`] that names the secrets whose current value the subject has read, and that are not rotated, and the
/// values that it has read and that still work.
pub(super) async fn rotate_touched(
    client: &Client,
    incident: IncidentId,
    rotated: &mut Vec<SecretName>,
    session: VerbSession<'_>,
) -> Result<(), CommandFailure> {
    let touched = client.call(LIST_TOUCHED_SECRETS, &incident, &Nothing).await?;
    let (mut said, mut left) = (
        Vec::new(),
        Left { unknown: touched.unknown_readings, since_seq: touched.since_seq, ..Left::default() },
    );
    for secret in &touched.items {
        left.working.extend(working(secret));
        if !secret.is_current {
            said.push(replaced(secret));
            continue;
        }
        match rotate(client, secret).await {
            Ok(line) => {
                said.push(line);
                rotated.push(secret.secret.clone());
            }
            Err(why) => left.unrotated.push(format!("`{}` ({why})", secret.secret)),
        }
    }
    if !session.console.is_json() {
        said.push(searched(&touched));
        said.iter().for_each(|line| session.console.line(line));
    }
    left.failure().map_or(Ok(()), Err)
}

/// What the subject has read, and what the rotations do not end.
#[derive(Default)]
struct Left {
    unrotated: Vec<String>,
    /// Versions that still work upstream, each with its end and the command for it.
    working: Vec<String>,
    /// Readings that may be the subject's.
    unknown: usize,
    /// The first entry that was searched.
    since_seq: u64,
}

impl Left {
    fn failure(&self) -> Option<CommandFailure> {
        let mut why = Vec::new();
        if !self.unrotated.is_empty() {
            let secrets = self.unrotated.join(", ");
            why.push(format!("secrets that the subject has read, and that are not rotated: {secrets}"));
        }
        if !self.working.is_empty() {
            why.push(format!(
                "versions that the subject has read, and that still work: {}",
                self.working.join(", ")
            ));
        }
        if self.unknown > 0 {
            why.push(format!(
                "{} readings of deleted agents or forgotten instances may belong to the subject: \
                 `keyward audit list --kind secret.revealed` shows them",
                self.unknown
            ));
        }
        let since_seq = self.since_seq;
        if since_seq > 1 {
            why.push(format!(
                "the entries before {since_seq} were not searched: the broker's search index does not have them yet (then \
                 repeat the command later), or the subject has read secrets too often \
                 (`keyward audit list --kind secret.revealed --before {since_seq}`)"
            ));
        }
        (!why.is_empty()).then(|| CommandFailure::new(code::SECRETS_NOT_ROTATED).because(why.join("; ")))
    }
}

/// The versions that were read and work on, also after the rotation that the command begins, with the command that ends
/// them.
fn working(touched: &TouchedSecretAnswer) -> Vec<String> {
    let TouchedSecretAnswer { secret, version, .. } = touched;
    let end = format!("`keyward rotation revoke-previous {secret}`");
    let mut working = Vec::new();
    if let Some(PreviousVersionAnswer { version, until }) = &touched.previous {
        working.push(format!("`{secret}` version {version} until {until} ({end} ends it now)"));
    }
    if let Some(grace_s) = touched.grace_s.filter(|grace_s| touched.is_current && *grace_s > 0) {
        let grace = length_text(grace_s);
        working.push(format!(
            "`{secret}` version {version} for {grace} after the rotation (when it has made the new version, {end} ends it)"
        ));
    }
    working
}

/// The line about a secret whose current version was not read.
fn replaced(
    TouchedSecretAnswer { secret, version, previous, has_rotation, .. }: &TouchedSecretAnswer,
) -> String {
    let state = match (previous, has_rotation) {
        (Some(PreviousVersionAnswer { until, .. }), _) => format!("works upstream until {until}"),
        (None, true) => "is in no grace period of a rotation".to_owned(),
        (None, false) => {
            "works upstream unless a person has ended it there: no rotation is declared".to_owned()
        }
    };
    format!("secret `{secret}`: version {version} was read, and is not the current one any more; it {state}")
}

/// Rotates one secret; the line about it, or the reason why it is not rotated.
async fn rotate(client: &Client, touched: &TouchedSecretAnswer) -> Result<String, String> {
    let TouchedSecretAnswer { secret, sensitivity, .. } = touched;
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
