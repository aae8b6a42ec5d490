//! The rotation of the secrets that a contained subject has read.

use super::touched_revocation::{Deadline, Revocations, RotationOrders};
use crate::base::{IncidentId, SubjectName, code, length_text};
use crate::cli::client::Client;
use crate::cli::session::VerbSession;
use crate::console::CommandFailure;
use crate::wire::{
    ContainmentProgress, LIST_TOUCHED_SECRETS, Nothing, PreviousVersionAnswer, TouchedSecretAnswer,
    TouchedSecretsAnswer,
};

/// The rotation of what was read under the subject of an incident.
pub(super) struct TouchedRotation<'a> {
    pub(super) client: &'a Client,
    pub(super) incident: IncidentId,
    /// The subject, for the command to repeat.
    pub(super) subject: &'a SubjectName,
    /// The reason that the entries of the rotations have.
    pub(super) reason: &'a str,
    /// Whether the versions that were read get no grace period.
    pub(super) revokes_previous: bool,
}

impl TouchedRotation<'_> {
    /// Begins the rotation of each secret, the most sensitive first, and adds its name to `progress`. If the versions that
    /// were read get no grace period, waits until they are revoked.
    ///
    /// # Errors
    /// [`CommandFailure`] that names the secrets whose current value the subject has read, and that are not rotated, and the
    /// values that it has read and that still work.
    pub(super) async fn run(
        &self,
        progress: &mut ContainmentProgress,
        session: VerbSession<'_>,
    ) -> Result<(), CommandFailure> {
        let touched = self.client.call(LIST_TOUCHED_SECRETS, &self.incident, &Nothing).await?;
        let mut left = Left {
            unknown: touched.unknown_readings,
            since_seq: touched.since_seq,
            repeats: self.revokes_previous.then(|| self.repeated()),
            ..Left::default()
        };
        let say = |line: &str| {
            if !session.console.is_json() {
                session.console.line(line);
            }
        };
        let orders = RotationOrders { client: self.client, reason: self.reason };
        let mut revocations = Revocations::new(orders);
        // Everything that does not depend on another rotation is ordered before anything is waited for.
        let mut later = Vec::new();
        for secret in &touched.items {
            let ends_previous = if self.revokes_previous {
                revocations.order_end_of_previous(secret).await
            } else {
                left.working.extend(working(secret));
                false
            };
            if !secret.is_current {
                say(&replaced(secret));
            } else if ends_previous {
                later.push(secret);
            } else {
                let ordered = self.rotate(secret, orders, &mut revocations).await;
                left.note(secret, ordered, progress, say);
            }
        }
        let deadline = Deadline::start();
        for secret in later {
            revocations.await_end_of_previous(&secret.secret, &deadline).await;
            let ordered = self.rotate(secret, orders, &mut revocations).await;
            left.note(secret, ordered, progress, say);
        }
        for ended in revocations.ends(session.console).await {
            match ended.result {
                Ok(line) => {
                    say(&line);
                    progress.revoked.push(ended.version);
                }
                Err(why) => left.working.push(why),
            }
        }
        say(&searched(&touched));
        left.failure().map_or(Ok(()), Err)
    }

    /// Begins the rotation of one secret.
    ///
    /// # Errors
    /// The reason why it is not rotated.
    async fn rotate<'t>(
        &self,
        touched: &'t TouchedSecretAnswer,
        orders: RotationOrders<'_>,
        revocations: &mut Revocations<'_, 't>,
    ) -> Result<(), String> {
        let secret = &touched.secret;
        if !touched.has_rotation {
            return Err("no rotation is declared".to_owned());
        }
        let ordered = if self.revokes_previous {
            revocations.rotate(touched).await
        } else {
            orders.rotate(secret, false).await.map(drop)
        };
        ordered.map_err(|failure| {
            if failure.code() != code::ROTATION_IN_GRACE_PERIOD.as_str() {
                return failure.why().to_owned();
            }
            // Others may still use the previous version, which the subject has not read: a person decides.
            let (revoke, rotate) = (
                format!("`keyward rotation revoke-previous {secret}`"),
                format!("`keyward secret rotate {secret}`"),
            );
            format!("an earlier rotation is in its grace period: {revoke}, then {rotate}")
        })
    }

    fn repeated(&self) -> String {
        format!("`keyward contain {} --reason TEXT --rotate-touched --revoke-previous`", self.subject)
    }
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
    /// The command that goes on with what is left, if one does.
    repeats: Option<String>,
}

impl Left {
    /// Notes the order of the rotation of `touched`.
    fn note(
        &mut self,
        touched: &TouchedSecretAnswer,
        ordered: Result<(), String>,
        progress: &mut ContainmentProgress,
        say: impl Fn(&str),
    ) {
        let TouchedSecretAnswer { secret, sensitivity, .. } = touched;
        match ordered {
            Ok(()) => {
                say(&format!("secret `{secret}` (sensitivity {sensitivity}): the rotation has begun"));
                progress.rotated.push(secret.clone());
            }
            Err(why) => self.unrotated.push(format!("`{secret}` ({why})")),
        }
    }

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
        if why.is_empty() {
            return None;
        }
        let failure = CommandFailure::new(code::SECRETS_NOT_ROTATED).because(why.join("; "));
        Some(match &self.repeats {
            Some(repeats) => failure.mended_by(format!(
                "change each secret without a rotation at its upstream, then store the new value: `keyward secret put NAME`; \
                 for the others, correct the stated problem, then repeat {repeats} until the exit code is 0"
            )),
            None => failure,
        })
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

/// The line about the entries that were searched.
fn searched(touched: &TouchedSecretsAnswer) -> String {
    let which = if touched.items.is_empty() { "No secret was read" } else { "These secrets were read" };
    if touched.since_seq <= 1 {
        return format!("{which}: the whole ledger was searched");
    }
    format!("{which} since ledger entry {}", touched.since_seq)
}
