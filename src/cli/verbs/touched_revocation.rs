//! The end of versions that a contained subject has read, without their grace periods.

use std::time::Duration;

use super::rotation_state::failure_of;
use crate::base::{RotationId, SecretName, Stopwatch};
use crate::cli::client::Client;
use crate::console::{CommandFailure, Console};
use crate::upstream::WITHOUT_UPSTREAM;
use crate::wire::{
    GET_ROTATION, Nothing, OrphanAnswer, RevokedVersionOutput, RotationAction, RotationAnswer,
    STEER_ROTATION, SteerRotationBody, TouchedSecretAnswer,
};

/// The longest wait for all rotations of a phase together, and the time between two looks.
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
    orders: RotationOrders<'c>,
    pending: Vec<PendingRevocation<'t>>,
}

/// What is known about a rotation that is to revoke a version.
enum RevocationState {
    Revoked,
    /// The rotation has ended or failed, and the version may still work.
    Failed(String),
    Pending,
}

/// The orders of the rotations that follow a containment.
#[derive(Clone, Copy)]
pub(super) struct RotationOrders<'c> {
    pub(super) client: &'c Client,
    /// The reason that the entries of the orders have.
    pub(super) reason: &'c str,
}

impl RotationOrders<'_> {
    /// Begins a rotation of `secret`, or finds the one in progress, whose failed step is tried again.
    ///
    /// # Errors
    /// [`CommandFailure`], also in the grace period of an earlier rotation.
    pub(super) async fn rotate(
        self,
        secret: &SecretName,
        revoke_previous: bool,
    ) -> Result<Option<RotationId>, CommandFailure> {
        let body = SteerRotationBody { revoke_previous, ..self.body(RotationAction::Rotate) };
        let ordered = self.client.call(STEER_ROTATION, secret, &body).await?.answer;
        if ordered.begun == Some(false) {
            let shown = self.client.call(GET_ROTATION, secret, &Nothing).await?;
            // Otherwise a dead letter would wait for ever, and an old failure would count as one of this order.
            if shown.run.as_ref().is_some_and(|run| run.trouble.is_some()) {
                let retry = self.body(RotationAction::Retry);
                self.client.call(STEER_ROTATION, secret, &retry).await?;
            }
        }
        Ok(ordered.rotation)
    }

    /// Ends the grace period of the rotation in progress; gives this rotation.
    async fn end_grace_period(self, secret: &SecretName) -> Result<RotationId, String> {
        let why = |failure: CommandFailure| failure.why().to_owned();
        let shown = self.client.call(GET_ROTATION, secret, &Nothing).await.map_err(why)?;
        let Some(run) = &shown.run else {
            return Err("the rotation has ended; repeat the command".to_owned());
        };
        // Not of a rotation that begins meanwhile: nobody has read the version that it replaces.
        let body = SteerRotationBody { rotation: Some(run.id), ..self.body(RotationAction::RevokePrevious) };
        let ordered = self.client.call(STEER_ROTATION, secret, &body).await;
        ordered.map_err(|failure| failure_of(&shown, run).unwrap_or(failure)).map_err(why)?;
        Ok(run.id)
    }

    fn body(self, action: RotationAction) -> SteerRotationBody {
        SteerRotationBody { reason: Some(self.reason.to_owned()), ..action.into() }
    }
}

impl<'c, 't> Revocations<'c, 't> {
    pub(super) const fn new(orders: RotationOrders<'c>) -> Self {
        Self { orders, pending: Vec::new() }
    }

    /// Ends the grace period of a replaced version that was read. Returns whether there is one.
    pub(super) async fn order_end_of_previous(&mut self, touched: &'t TouchedSecretAnswer) -> bool {
        let Some(previous) = &touched.previous else { return false };
        let secret = &touched.secret;
        let rotation = self.orders.end_grace_period(secret).await;
        self.pending.push(PendingRevocation { secret, version: previous.version, rotation });
        true
    }

    /// Waits for the end of the grace period that was ended for `secret`, until `deadline`. Its result is told later.
    pub(super) async fn await_end_of_previous(&self, secret: &SecretName, deadline: &Deadline) {
        let ended = self.pending.iter().find(|one| one.secret == secret);
        if let Some(Ok(rotation)) = ended.map(|one| &one.rotation) {
            drop(self.ended(secret, *rotation, deadline).await);
        }
    }

    /// Begins a rotation that revokes the current version as soon as there is a new one.
    ///
    /// # Errors
    /// [`CommandFailure`] if it has not begun.
    pub(super) async fn rotate(&mut self, touched: &'t TouchedSecretAnswer) -> Result<(), CommandFailure> {
        let secret = &touched.secret;
        let rotation = self.orders.rotate(secret, true).await?;
        let rotation = rotation.ok_or_else(|| "the broker did not name the rotation".to_owned());
        self.pending.push(PendingRevocation { secret, version: touched.version, rotation });
        Ok(())
    }

    /// The results, when all versions are revoked or the wait is over. Each is looked at once more then.
    pub(super) async fn ends(self, console: &Console) -> Vec<EndedVersion> {
        let _progress = (!self.pending.is_empty()).then(|| {
            console.progress("waiting until the upstreams have revoked the versions that were read")
        });
        let (mut ends, deadline) = (Vec::new(), Deadline::start());
        for PendingRevocation { secret, version, rotation } in &self.pending {
            let result = match rotation {
                Ok(rotation) => self.ended(secret, *rotation, &deadline).await,
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
    async fn ended(
        &self,
        secret: &SecretName,
        rotation: RotationId,
        deadline: &Deadline,
    ) -> Result<String, String> {
        loop {
            let shown = self.orders.client.call(GET_ROTATION, secret, &Nothing).await;
            let shown = shown.map_err(|failure| failure.why().to_owned())?;
            match state_of(&shown, rotation) {
                RevocationState::Revoked => return Ok(shown.answer.upstream),
                RevocationState::Failed(why) => return Err(why),
                RevocationState::Pending if !deadline.is_over() => tokio::time::sleep(LOOK).await,
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

/// The end of one wait for all rotations.
pub(super) struct Deadline(Stopwatch);

impl Deadline {
    pub(super) fn start() -> Self {
        Self(Stopwatch::start())
    }

    fn is_over(&self) -> bool {
        self.0.elapsed() >= WAIT
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
