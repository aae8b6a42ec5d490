//! The end of versions that a contained subject has read, without their grace periods.

use std::time::Duration;

use super::rotation_state::failure_of;
use crate::base::{RotationId, SecretName, Stopwatch, code};
use crate::cli::client::Client;
use crate::console::{CommandFailure, Console};
use crate::upstream::WITHOUT_UPSTREAM;
use crate::wire::{
    GET_ROTATION, Nothing, OrphanAnswer, RevokedVersionOutput, RotationAction, RotationAnswer,
    STEER_ROTATION, SteerRotationBody, TouchedSecretAnswer,
};

/// The longest wait for all rotations together, and the time between two looks.
const WAIT: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(250);

/// A version that a rotation revokes.
struct PendingRevocation<'t> {
    secret: &'t SecretName,
    version: u32,
    /// The rotation, or the reason why none revokes the version.
    rotation: Result<RotationId, String>,
}

/// The result for one version.
pub(super) struct EndedVersion {
    pub(super) version: RevokedVersionOutput,
    /// The line about its end, or the version with the reason why it may still work.
    pub(super) result: Result<String, String>,
}

/// The versions of the secrets `'t` that rotations revoke.
pub(super) struct Revocations<'c, 't> {
    client: &'c Client,
    since: Stopwatch,
    pending: Vec<PendingRevocation<'t>>,
}

/// What is known about a rotation that is to revoke a version.
enum RevocationState {
    Revoked,
    /// The rotation has ended or failed, and the version may still work.
    Failed(String),
    Pending,
}

/// Begins a rotation of `secret`, or finds the one in progress.
///
/// # Errors
/// [`CommandFailure`], also in the grace period of an earlier rotation.
pub(super) async fn ordered_rotation(
    client: &Client,
    secret: &SecretName,
    revoke_previous: bool,
) -> Result<Option<RotationId>, CommandFailure> {
    let body = SteerRotationBody { revoke_previous, ..RotationAction::Rotate.into() };
    Ok(client.call(STEER_ROTATION, secret, &body).await?.answer.rotation)
}

impl<'c, 't> Revocations<'c, 't> {
    pub(super) fn start(client: &'c Client) -> Self {
        Self { client, since: Stopwatch::start(), pending: Vec::new() }
    }

    /// Ends the grace period of a replaced version that was read.
    pub(super) async fn order_end_of_previous(&mut self, touched: &'t TouchedSecretAnswer) {
        let Some(previous) = &touched.previous else { return };
        let secret = &touched.secret;
        let rotation = self.end_grace_period(secret).await;
        self.pending.push(PendingRevocation { secret, version: previous.version, rotation });
    }

    /// Begins a rotation that revokes the current version as soon as there is a new one.
    ///
    /// # Errors
    /// The reason why it has not begun.
    pub(super) async fn rotate(&mut self, touched: &'t TouchedSecretAnswer) -> Result<(), String> {
        let (client, secret) = (self.client, &touched.secret);
        let is_of_it = |one: &&PendingRevocation<'_>| one.secret == secret;
        let earlier = self.pending.iter().find(is_of_it).and_then(|one| one.rotation.as_ref().ok().copied());
        if let Some(earlier) = earlier {
            // Its result is told later. While it has not ended, the broker refuses the next one.
            drop(self.ended(secret, earlier).await);
        }
        let ordered = match ordered_rotation(client, secret, true).await {
            Err(failure) if failure.code() == code::ROTATION_IN_GRACE_PERIOD.as_str() => {
                let earlier = self.end_grace_period(secret).await?;
                drop(self.ended(secret, earlier).await);
                ordered_rotation(client, secret, true).await
            }
            ordered => ordered,
        };
        let rotation = ordered.map_err(|failure| failure.why().to_owned())?;
        let rotation = rotation.ok_or_else(|| "the broker did not name the rotation".to_owned());
        self.pending.push(PendingRevocation { secret, version: touched.version, rotation });
        Ok(())
    }

    /// Ends the grace period of the rotation in progress; gives this rotation.
    async fn end_grace_period(&self, secret: &SecretName) -> Result<RotationId, String> {
        let body = SteerRotationBody::from(RotationAction::RevokePrevious);
        let why = |failure: CommandFailure| failure.why().to_owned();
        let shown = self.client.call(GET_ROTATION, secret, &Nothing).await.map_err(why)?;
        let Some(run) = &shown.run else {
            return Err("the rotation has ended; repeat the command".to_owned());
        };
        let ordered = self.client.call(STEER_ROTATION, secret, &body).await;
        ordered.map_err(|failure| failure_of(&shown, run).unwrap_or(failure)).map_err(why)?;
        Ok(run.id)
    }

    /// The results, when all versions are revoked or the wait is over.
    pub(super) async fn ends(self, console: &Console) -> Vec<EndedVersion> {
        let _progress = (!self.pending.is_empty()).then(|| {
            console.progress("waiting until the upstreams have revoked the versions that were read")
        });
        let mut ends = Vec::new();
        for PendingRevocation { secret, version, rotation } in &self.pending {
            let result = match rotation {
                Ok(rotation) => self.ended(secret, *rotation).await,
                Err(why) => Err(why.clone()),
            };
            let result = match result {
                Ok(upstream) => Ok(revoked(secret, *version, &upstream)),
                Err(why) => Err(format!("`{secret}` version {version} ({why})")),
            };
            ends.push(EndedVersion {
                version: RevokedVersionOutput { secret: (*secret).clone(), version: *version },
                result,
            });
        }
        ends
    }

    /// Waits for the end of a rotation; gives its upstream.
    ///
    /// # Errors
    /// The reason why the version that it replaces may still work.
    async fn ended(&self, secret: &SecretName, rotation: RotationId) -> Result<String, String> {
        loop {
            let shown = self.client.call(GET_ROTATION, secret, &Nothing).await;
            let shown = shown.map_err(|failure| failure.why().to_owned())?;
            match state_of(&shown, rotation) {
                RevocationState::Revoked => return Ok(shown.answer.upstream),
                RevocationState::Failed(why) => return Err(why),
                RevocationState::Pending if self.since.elapsed() < WAIT => tokio::time::sleep(LOOK).await,
                RevocationState::Pending => {
                    return Err(format!(
                        "its rotation has not ended after {} seconds, its state is `{}`: the broker goes on with it; \
                         `keyward rotation show {secret}` shows the next attempt",
                        WAIT.as_secs(),
                        shown.state
                    ));
                }
            }
        }
    }
}

fn state_of(shown: &RotationAnswer, rotation: RotationId) -> RevocationState {
    let secret = &shown.secret;
    if let Some(run) = shown.run.as_ref().filter(|run| run.id == rotation) {
        let failure = failure_of(shown, run);
        return failure
            .map_or(RevocationState::Pending, |failure| RevocationState::Failed(failure.why().to_owned()));
    }
    let last = shown.last.as_ref().filter(|last| last.rotation == rotation);
    let is_finished = last.and_then(|last| last.ending.as_ref()).is_some_and(|ending| ending == "finished");
    if !is_finished {
        return RevocationState::Failed(format!(
            "another command ended its rotation, and the upstream may still accept the version: delete it there, or rotate \
             again: `keyward secret rotate {secret}`"
        ));
    }
    let is_left = |orphan: &OrphanAnswer| orphan.rotation == rotation && orphan.version.is_some();
    if shown.orphans.iter().any(is_left) {
        return RevocationState::Failed(format!(
            "the broker cannot revoke it, because it does not know its place at the upstream: delete it there, then \
             `keyward rotation clear-orphans {secret}`"
        ));
    }
    RevocationState::Revoked
}

fn revoked(secret: &SecretName, version: u32, upstream: &str) -> String {
    if upstream == WITHOUT_UPSTREAM {
        return format!(
            "secret `{secret}`: version {version} is replaced; no upstream has the value, so each program that still accepts \
             it has to stop that itself"
        );
    }
    format!("secret `{secret}`: the upstream has revoked version {version}")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ID: &str = "rot_00000000000000000000000010";

    fn state(change: Value) -> String {
        let mut rotation = json!({
            "secret": "a/b", "upstream": "u", "schedule": null, "overlap": true, "grace_s": 60, "paused_at": null,
            "next": null, "overdue": false, "run": null, "last_at": null, "state": "idle", "checked_at": null,
            "orphans": [],
        });
        rotation.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        match state_of(&serde_json::from_value(rotation).unwrap(), ID.parse().unwrap()) {
            RevocationState::Revoked => "revoked".to_owned(),
            RevocationState::Failed(why) => why,
            RevocationState::Pending => "pending".to_owned(),
        }
    }

    fn last(ending: &str) -> Value {
        json!({ "rotation": ID, "version": 2, "ending": ending })
    }

    #[test]
    fn only_a_finished_rotation_without_an_orphan_has_revoked() {
        assert_eq!(state(json!({ "last": last("finished") })), "revoked");
        for ending in ["adopted", "abandoned"] {
            assert!(state(json!({ "last": last(ending) })).contains("may still accept"), "{ending}");
        }
        assert!(state(json!({})).contains("another command ended"), "nothing is known of it");
        let orphan = json!([{ "rotation": ID, "at": "x", "version": 1, "slot": null }]);
        assert!(
            state(json!({ "last": last("finished"), "orphans": orphan })).contains("clear-orphans a/b"),
            "the upstream has the value somewhere"
        );
    }

    #[test]
    fn a_failed_step_ends_the_wait_and_is_named() {
        let run = |trouble: Value| {
            json!({ "run": {
                "id": ID, "trigger": "operator", "begun_at": "x", "stage": "grace", "version": 2, "touched": true,
                "failures": 1, "trouble": trouble, "grace_until": "then",
            } })
        };
        assert_eq!(state(run(Value::Null)), "pending");
        let trouble =
            json!({ "code": "upstream_refused", "detail": null, "reason": "r", "at": "x", "retry_at": "y" });
        assert!(state(run(trouble)).contains("has stopped at `grace`"));
    }

    #[test]
    fn a_generated_value_is_not_called_revoked() {
        let name = "a/b".parse().unwrap();
        assert!(revoked(&name, 1, WITHOUT_UPSTREAM).contains("no upstream has the value"));
        assert!(revoked(&name, 1, "http").ends_with("has revoked version 1"));
    }
}
