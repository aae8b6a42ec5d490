use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::keys;
use super::record::{
    Declared, FinishedRotation, Rotation, RotationEnding, RotationStage, Run, RunVersions, StepAttempts,
    StepFailure, Trigger, UpstreamValue, UpstreamValues, ValueCheck,
};
use crate::base::{RotationId, SecretName, Timestamp, code};
use crate::ledger::Key;
use crate::store::At;

/// A state change of this room.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum Effect {
    /// Declares how a secret is rotated, and when next.
    Declare {
        /// How.
        declared: Box<Declared>,
        /// When next.
        next: Option<Timestamp>,
    },
    /// Takes a declaration away; nothing is under way then.
    Remove(SecretName),
    /// A rotation begins.
    Begin {
        /// Of this secret.
        secret: SecretName,
        /// Its id.
        id: RotationId,
        /// What has it begin.
        trigger: Trigger,
    },
    /// The new value is durable.
    Prepare {
        /// Of this secret.
        secret: SecretName,
        /// The version that holds it.
        version: u32,
        /// The version that it is to replace.
        replaces: Option<u32>,
    },
    /// Upstream is told of the new value from here on.
    Touch(SecretName),
    /// The next stage is reached.
    Reach {
        /// Of this secret.
        secret: SecretName,
        /// The stage.
        stage: RotationStage,
        /// When the grace of the replaced value ends, with [`RotationStage::Grace`].
        grace_until: Option<Timestamp>,
    },
    /// A step failed, as entries say it that were written before [`Effect::FailFor`].
    Fail {
        /// Of this secret.
        secret: SecretName,
        /// Its stable code.
        code: String,
        /// When it is tried again; never by itself when there is none.
        retry_at: Option<Timestamp>,
        /// Whether upstream may know of the new value.
        touched: bool,
    },
    /// A dead letter is tried again.
    Retry(SecretName),
    /// A rotation has ended.
    Finish {
        /// Of this secret.
        secret: SecretName,
        /// When the next one is due.
        next: Option<Timestamp>,
    },
    /// A rotation was given up; the value that was current is.
    Abandon {
        /// Of this secret.
        secret: SecretName,
        /// When the next one is due.
        next: Option<Timestamp>,
    },
    /// None begins by itself any more.
    Pause(SecretName),
    /// They do again.
    Resume {
        /// Of this secret.
        secret: SecretName,
        /// When the next one is due.
        next: Option<Timestamp>,
    },
    /// The current value was seen to work.
    Check(SecretName),
    /// Upstream has made a value.
    Make {
        /// Of this secret.
        secret: SecretName,
        /// The value.
        value: UpstreamValue,
    },
    /// Upstream may know a value that nobody uses.
    Orphan {
        /// Of this secret.
        secret: SecretName,
        /// The value.
        value: UpstreamValue,
    },
    /// An operator has dealt with what was left upstream.
    ClearOrphans(SecretName),
    /// Whether the current value works could not be asked.
    Unchecked(SecretName),
    /// A step failed, with what upstream called it.
    FailFor {
        /// Of this secret.
        secret: SecretName,
        /// Its stable code.
        code: String,
        /// An SQLSTATE, a status or the name of a fault in a handshake.
        detail: Option<String>,
        /// When it is tried again; never by itself when there is none.
        retry_at: Option<Timestamp>,
        /// Whether upstream may know of the new value.
        touched: bool,
    },
    /// An operator had the broker hand out this version from here on; a rotation under way has ended.
    Adopt {
        /// Of this secret.
        secret: SecretName,
        /// The version.
        version: u32,
        /// Whether upstream let it in.
        works: bool,
        /// When the next one is due.
        next: Option<Timestamp>,
    },
    /// The rotation under way gives the replaced version no grace period.
    RevokePrevious(SecretName),
}

impl Effect {
    /// Adds what it advances: a decision that relied on one of these keys before is made again.
    pub fn advances(&self, keys: &mut Vec<Key>) {
        match self {
            Self::Declare { declared, .. } => keys.push(keys::rotation(&declared.secret)),
            Self::Remove(secret)
            | Self::Begin { secret, .. }
            | Self::Prepare { secret, .. }
            | Self::Touch(secret)
            | Self::Reach { secret, .. }
            | Self::Fail { secret, .. }
            | Self::Retry(secret)
            | Self::Finish { secret, .. }
            | Self::Abandon { secret, .. }
            | Self::Pause(secret)
            | Self::Resume { secret, .. }
            | Self::Check(secret)
            | Self::Make { secret, .. }
            | Self::Orphan { secret, .. }
            | Self::ClearOrphans(secret)
            | Self::Unchecked(secret)
            | Self::FailFor { secret, .. }
            | Self::Adopt { secret, .. }
            | Self::RevokePrevious(secret) => keys.push(keys::rotation(secret)),
        }
    }

    /// Whether it takes something away: such an entry is anchored at once.
    #[must_use]
    pub const fn takes_away(&self) -> bool {
        match self {
            Self::Remove(_) | Self::Pause(_) | Self::RevokePrevious(_) => true,
            Self::Declare { .. }
            | Self::Begin { .. }
            | Self::Prepare { .. }
            | Self::Touch(_)
            | Self::Reach { .. }
            | Self::Fail { .. }
            | Self::Retry(_)
            | Self::Finish { .. }
            | Self::Abandon { .. }
            | Self::Resume { .. }
            | Self::Check(_)
            | Self::Make { .. }
            | Self::Orphan { .. }
            | Self::ClearOrphans(_)
            | Self::Unchecked(_)
            | Self::FailFor { .. }
            | Self::Adopt { .. } => false,
        }
    }
}

/// All rotations in memory.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Rotations {
    all: BTreeMap<SecretName, Rotation>,
}

impl Rotations {
    /// What is known of the rotation of `secret`.
    #[must_use]
    pub fn of(&self, secret: &SecretName) -> Option<&Rotation> {
        self.all.get(secret)
    }

    /// All of them, by secret.
    pub fn all(&self) -> impl Iterator<Item = &Rotation> {
        self.all.values()
    }

    /// Applies an effect.
    pub fn apply(&mut self, at: At, effect: &Effect) {
        match effect {
            Effect::Declare { declared, next } => self.declare(declared, *next),
            Effect::Remove(secret) => drop(self.all.remove(secret)),
            Effect::Pause(secret) => self.with(secret, |rotation| rotation.paused_at = Some(at.time)),
            Effect::Resume { secret, next } => self.with(secret, |rotation| {
                rotation.paused_at = None;
                rotation.next = *next;
            }),
            Effect::Check(secret) => self.with(secret, |rotation| {
                rotation.check = ValueCheck::passed(at.time);
            }),
            Effect::Unchecked(secret) => {
                self.with(secret, |rotation| rotation.check.asked_at = Some(at.time))
            }
            Effect::Begin { secret, id, trigger } => self.with(secret, |rotation| {
                rotation.run = Some(Run::begin(*id, trigger.clone(), at.time));
            }),
            Effect::Finish { secret, next } => self.with(secret, |rotation| {
                let replaced = rotation.run.as_ref().and_then(|run| run.versions.replaced);
                rotation.upstream.made.retain(|value| value.version != replaced);
                rotation.end(at.time, *next, RotationEnding::Finished, |run| run.versions.new);
                rotation.check = ValueCheck::passed(at.time);
            }),
            Effect::Abandon { secret, next } => {
                let ending = RotationEnding::Abandoned;
                self.with(secret, |rotation| rotation.end(at.time, *next, ending, |_| None));
            }
            Effect::Prepare { secret, version, replaces } => self.with_run(secret, |run| {
                let (new, replaced) = (Some(*version), *replaces);
                run.versions = RunVersions { new, replaced, ..run.versions };
                run.reach(RotationStage::Prepared);
            }),
            Effect::RevokePrevious(secret) => {
                self.with_run(secret, |run| run.versions.revokes_replaced = true);
            }
            Effect::Touch(secret) => self.with_run(secret, |run| run.touched = true),
            Effect::Reach { secret, stage, grace_until } => self.with_run(secret, |run| {
                run.reach(*stage);
                run.grace_until = *grace_until;
            }),
            Effect::Fail { secret, code, retry_at, touched } => {
                let trouble =
                    StepFailure { code: code.clone(), detail: None, at: at.time, retry_at: *retry_at };
                self.with_run(secret, |run| run.fail(trouble, *touched));
            }
            Effect::FailFor { secret, code, detail, retry_at, touched } => {
                let (code, detail) = (code.clone(), detail.clone());
                if code == code::UPSTREAM_CHANGED_BY_COPY.as_str() {
                    let foreign = detail.clone().map(|mark| (at.seq, mark));
                    self.with(secret, |rotation| rotation.foreign_mark = foreign);
                }
                let trouble = StepFailure { code, detail, at: at.time, retry_at: *retry_at };
                self.with_run(secret, |run| run.fail(trouble, *touched));
            }
            Effect::Adopt { secret, version, works, next } => {
                self.with(secret, |rotation| rotation.adopt(at.time, *version, *works, *next));
            }
            Effect::Make { secret, value } => {
                self.with(secret, |rotation| rotation.upstream.made.push(value.clone()))
            }
            Effect::Orphan { secret, value } => self.with(secret, |rotation| rotation.leave(at.time, value)),
            Effect::ClearOrphans(secret) => self.with(secret, |rotation| rotation.upstream.orphans.clear()),
            // What has failed once asks first, and then tells upstream again although it said that it took it.
            Effect::Retry(secret) => {
                self.with_run(secret, |run| run.step = StepAttempts { failures: 1, trouble: None })
            }
        }
    }

    /// Entry times go on from `now`, which is before `was`: what lies after `now` comes back by the same step,
    /// and what is overdue by that is due now. Whether a wrong clock put it there nobody knows: rather one rotation
    /// too early than none for as long as the clock was wrong.
    pub fn time_went_back(&mut self, now: Timestamp, was: Timestamp) {
        let early = |at: &mut Option<Timestamp>| *at = at.map(|at| at.min(now));
        let due = |at: &mut Option<Timestamp>| {
            *at = at.map(|at| if at > now { at.brought_back(was, now).max(now) } else { at });
        };
        for rotation in self.all.values_mut() {
            early(&mut rotation.paused_at);
            early(&mut rotation.check.passed_at);
            early(&mut rotation.check.asked_at);
            due(&mut rotation.next);
            if let Some(last) = &mut rotation.last {
                last.at = last.at.brought_back(was, now).min(now);
            }
            for (found_at, _) in &mut rotation.upstream.orphans {
                *found_at = (*found_at).min(now);
            }
            let Some(run) = &mut rotation.run else { continue };
            run.begun_at = run.begun_at.min(now);
            due(&mut run.grace_until);
            if let Some(trouble) = &mut run.step.trouble {
                trouble.at = trouble.at.min(now);
                early(&mut trouble.retry_at);
            }
        }
    }

    fn declare(&mut self, declared: &Declared, next: Option<Timestamp>) {
        match self.all.get_mut(&declared.secret) {
            Some(known) => (known.declared, known.next) = (declared.clone(), next),
            None => {
                let fresh = Rotation::fresh(declared.clone(), next);
                self.all.insert(fresh.declared.secret.clone(), fresh);
            }
        }
    }

    fn with(&mut self, secret: &SecretName, change: impl FnOnce(&mut Rotation)) {
        if let Some(rotation) = self.all.get_mut(secret) {
            change(rotation);
        }
    }

    fn with_run(&mut self, secret: &SecretName, change: impl FnOnce(&mut Run)) {
        if let Some(run) = self.all.get_mut(secret).and_then(|rotation| rotation.run.as_mut()) {
            change(run);
        }
    }
}

impl Rotation {
    /// One that was never under way.
    #[must_use]
    pub const fn fresh(declared: Declared, next: Option<Timestamp>) -> Self {
        Self {
            declared,
            paused_at: None,
            next,
            run: None,
            last: None,
            check: ValueCheck { passed_at: None, asked_at: None },
            upstream: UpstreamValues { made: Vec::new(), orphans: Vec::new() },
            foreign_mark: None,
        }
    }

    fn leave(&mut self, at: Timestamp, value: &UpstreamValue) {
        if value.version.is_some() {
            self.upstream.made.retain(|made| made.version != value.version);
            self.upstream.orphans.retain(|(_, orphan)| orphan.version != value.version);
        } else if let Some(run) = &mut self.run {
            // What was asked for is given up: what is asked for next is another one.
            run.touched = false;
        }
        self.upstream.orphans.push((at, value.clone()));
    }

    fn adopt(&mut self, at: Timestamp, version: u32, works: bool, next: Option<Timestamp>) {
        for value in self.left_behind().iter().filter(|value| value.version != Some(version)) {
            self.leave(at, value);
        }
        // What is used again is nobody's to delete upstream.
        let is_it = |value: &UpstreamValue| value.version == Some(version);
        let taken =
            self.upstream.orphans.iter().find(|(_, orphan)| is_it(orphan)).map(|(_, orphan)| orphan.clone());
        self.upstream.orphans.retain(|(_, orphan)| !is_it(orphan));
        self.upstream.made.extend(taken);
        if self.run.is_some() {
            self.end(at, next, RotationEnding::Adopted, |_| Some(version));
        }
        if works {
            self.check = ValueCheck::passed(at);
        }
    }

    fn end(
        &mut self,
        at: Timestamp,
        next: Option<Timestamp>,
        ending: RotationEnding,
        version: impl FnOnce(&Run) -> Option<u32>,
    ) {
        if let Some(run) = self.run.take() {
            self.last = Some(FinishedRotation { id: run.id, at, version: version(&run), ending });
        }
        self.next = next;
    }
}
