use serde::{Deserialize, Serialize};

use super::schedule::Schedule;
use crate::base::{OperatorName, RotationId, SecretName, Timestamp, UpstreamSlot};

/// How a secret is rotated, as declared.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Declared {
    /// Which secret.
    pub secret: SecretName,
    /// What upstream it opens and how that is told of a new value: JSON, read by the driver's room.
    pub upstream: String,
    /// Whether the old value goes on working beside the new one.
    pub slots: Slots,
    /// When; by hand alone when there is none.
    pub schedule: Option<Schedule>,
    /// How long a replaced value is left to work, in seconds, where upstream has a slot for it.
    pub grace_s: u32,
}

/// How many values upstream can hold at a time.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Slots {
    /// One: the new value ends the old one at once.
    One,
    /// Two: they work side by side until the old one is retired.
    Two,
}

/// What has a rotation begin.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Trigger {
    /// Its schedule.
    Schedule,
    /// An operator.
    Operator(OperatorName),
    /// The current value was found not to work any more.
    Drift,
}

impl Trigger {
    /// The word for it.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::Operator(_) => "operator",
            Self::Drift => "drift",
        }
    }
}

/// How far a rotation has come. Each stage is one entry of the ledger.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RotationStage {
    /// It was decided on; there is no new value yet.
    Begun,
    /// The new value is durable here. Upstream may know it or not: a later attempt asks.
    Prepared,
    /// Upstream has said that it took the new value.
    Applied,
    /// The new value was seen to work.
    Verified,
    /// The new value is the one that is handed out; the old one is in its grace.
    Grace,
}

impl RotationStage {
    /// Every stage, in their order.
    pub const ALL: [Self; 5] = [Self::Begun, Self::Prepared, Self::Applied, Self::Verified, Self::Grace];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Prepared => "prepared",
            Self::Applied => "applied",
            Self::Verified => "verified",
            Self::Grace => "grace",
        }
    }
}

/// What went wrong with a step, the last time that it was tried.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct StepFailure {
    /// Its stable code.
    pub code: String,
    /// An SQLSTATE, a status or the name of a fault in a handshake.
    pub detail: Option<String>,
    /// When.
    pub at: Timestamp,
    /// When the step is tried again; `None` for a dead letter, which waits for an operator.
    pub retry_at: Option<Timestamp>,
}

/// One rotation under way.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Run {
    /// Its id.
    pub id: RotationId,
    /// What had it begin.
    pub trigger: Trigger,
    /// When it began.
    pub begun_at: Timestamp,
    /// How far it has come.
    pub stage: RotationStage,
    /// The versions that it exchanges.
    pub versions: RunVersions,
    /// Whether upstream may have been told of the new value.
    pub touched: bool,
    /// The attempts of the present step.
    pub step: StepAttempts,
    /// When the replaced value's grace ends, once it has begun.
    pub grace_until: Option<Timestamp>,
}

/// The versions that a rotation exchanges.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct RunVersions {
    /// The new version, once there is one.
    pub new: Option<u32>,
    /// The replaced version.
    pub replaced: Option<u32>,
    /// Whether the replaced version gets no grace period: it is revoked as soon as the new one is the current one.
    pub revokes_replaced: bool,
}

/// The failed attempts of the present step of a rotation.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct StepAttempts {
    /// Their number.
    pub failures: u32,
    /// The last failure.
    pub trouble: Option<StepFailure>,
}

impl Run {
    pub(super) const fn begin(id: RotationId, trigger: Trigger, begun_at: Timestamp) -> Self {
        Self {
            id,
            trigger,
            begun_at,
            stage: RotationStage::Begun,
            versions: RunVersions { new: None, replaced: None, revokes_replaced: false },
            touched: false,
            step: StepAttempts { failures: 0, trouble: None },
            grace_until: None,
        }
    }

    pub(super) fn fail(&mut self, trouble: StepFailure, touched: bool) {
        self.step.failures = self.step.failures.saturating_add(1);
        (self.step.trouble, self.touched) = (Some(trouble), touched);
    }

    pub(super) fn reach(&mut self, stage: RotationStage) {
        (self.stage, self.step) = (stage, StepAttempts::default());
    }

    /// Whether `other` is the same one at the same stage.
    #[must_use]
    pub fn is_at(&self, other: &Self) -> bool {
        (self.id, self.stage) == (other.id, other.stage)
    }

    /// Whether it waits for an operator.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.step.trouble.as_ref().is_some_and(|trouble| trouble.retry_at.is_none())
    }

    /// Whether nothing has changed upstream: no value of this rotation was made there, and none was sent.
    #[must_use]
    pub const fn has_changed_nothing(&self) -> bool {
        matches!(self.stage, RotationStage::Begun | RotationStage::Prepared) && !self.touched
    }

    /// Whether it waits after a failure, for its retry or for an operator: nothing is under way upstream.
    #[must_use]
    pub fn waits(&self, now: Timestamp) -> bool {
        self.step.trouble.as_ref().is_some_and(|trouble| trouble.retry_at.is_none_or(|at| at > now))
    }

    /// Whether it can end here and lose no value: nothing has changed upstream, or nothing is under way there
    /// and all that may work there is kept.
    #[must_use]
    pub fn can_be_given_up(&self, now: Timestamp) -> bool {
        self.has_changed_nothing() || self.waits(now)
    }

    /// Whether nothing is under way upstream, nor about to be: also while a grace lasts.
    #[must_use]
    pub fn rests(&self, now: Timestamp) -> bool {
        let in_grace = self.step.trouble.is_none() && self.grace_until.is_some_and(|until| until > now);
        self.can_be_given_up(now) || in_grace
    }

    /// When its next step may be taken; `None` for a dead letter.
    #[must_use]
    pub fn ready_at(&self) -> Option<Timestamp> {
        let after_trouble = match &self.step.trouble {
            Some(trouble) => trouble.retry_at?,
            None => self.begun_at,
        };
        Some(self.grace_until.map_or(after_trouble, |until| until.max(after_trouble)))
    }
}

/// How a rotation ended.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct FinishedRotation {
    /// Which.
    pub id: RotationId,
    /// When.
    pub at: Timestamp,
    /// The version that it brought; `None` when it was given up.
    pub version: Option<u32>,
    /// How it ended.
    pub ending: RotationEnding,
}

/// How a rotation ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum RotationEnding {
    /// With its last step: the previous version is revoked, or is an orphan.
    Finished,
    /// An operator made a version the current one. The upstream may accept other versions.
    Adopted,
    /// It was given up: a value was stored, or the declaration changed. The upstream may accept other versions.
    Abandoned,
}

impl RotationEnding {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Adopted => "adopted",
            Self::Abandoned => "abandoned",
        }
    }
}

/// A value as upstream knows it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct UpstreamValue {
    /// The rotation for which upstream made it, or which left it there.
    pub rotation: RotationId,
    /// The version that it is; none when it was never heard of.
    pub version: Option<u32>,
    /// What upstream calls its place, when that is known.
    pub slot: Option<UpstreamSlot>,
}

/// What is known of one secret's rotation.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Rotation {
    /// How it is declared.
    pub declared: Declared,
    /// Since when it does not begin by itself, when it was paused.
    pub paused_at: Option<Timestamp>,
    /// When the next one is due by schedule.
    pub next: Option<Timestamp>,
    /// The one under way.
    pub run: Option<Run>,
    /// The last one that ended.
    pub last: Option<FinishedRotation>,
    /// The checks of the current value.
    pub check: ValueCheck,
    /// The values that the upstream knows.
    pub upstream: UpstreamValues,
    /// The entry that says which mark of another copy of the broker was found upstream last, and that mark in words.
    pub foreign_mark: Option<(u64, String)>,
}

/// The checks whether the upstream accepts the current value.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct ValueCheck {
    /// The last success.
    pub passed_at: Option<Timestamp>,
    /// The last check, with or without an answer.
    pub asked_at: Option<Timestamp>,
}

impl ValueCheck {
    /// A success at `at`.
    #[must_use]
    pub const fn passed(at: Timestamp) -> Self {
        Self { passed_at: Some(at), asked_at: Some(at) }
    }
}

/// The values of a secret that its upstream knows.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct UpstreamValues {
    /// Values that the upstream made and was not told to end.
    pub made: Vec<UpstreamValue>,
    /// Values that the upstream may know and nobody uses, with the time of the discovery: an operator has to delete them
    /// there.
    pub orphans: Vec<(Timestamp, UpstreamValue)>,
}

impl Rotation {
    /// Whether upstream may have ended the value that is still handed out: between telling upstream of
    /// the new one and handing that out, where upstream holds one value only.
    #[must_use]
    pub fn is_swapping(&self) -> bool {
        let between = |run: &Run| {
            let stage = matches!(
                run.stage,
                RotationStage::Prepared | RotationStage::Applied | RotationStage::Verified
            );
            stage && run.touched && !run.is_dead()
        };
        self.declared.slots == Slots::One && self.run.as_ref().is_some_and(between)
    }

    /// When a new run is to begin, or the one under way to go on; `None` when nothing is to be done
    /// by itself.
    #[must_use]
    pub fn due(&self, now: Timestamp) -> Option<Timestamp> {
        if let Some(run) = &self.run {
            return run.ready_at();
        }
        if self.paused_at.is_some() {
            return None;
        }
        let next = self.next?;
        match &self.declared.schedule {
            Some(schedule) if next <= now => schedule.permitted_from(now),
            _ => Some(next),
        }
    }

    /// What upstream calls the place of this version, when it made it and said so.
    #[must_use]
    pub fn slot(&self, version: u32) -> Option<&UpstreamSlot> {
        self.upstream.made.iter().find(|value| value.version == Some(version))?.slot.as_ref()
    }

    /// Whether upstream made this version, or was left with it, and has not been told to end it.
    #[must_use]
    pub fn is_known_upstream(&self, version: u32) -> bool {
        let orphans = self.upstream.orphans.iter().map(|(_, orphan)| orphan);
        self.upstream.made.iter().chain(orphans).any(|value| value.version == Some(version))
    }

    /// What upstream would go on knowing, and nobody use, if the value were another one from here on.
    #[must_use]
    pub fn left_behind(&self) -> Vec<UpstreamValue> {
        let mut left = self.upstream.made.clone();
        let in_grace = self.run.as_ref().filter(|run| run.stage == RotationStage::Grace && !left.is_empty());
        if let Some((run, version)) = in_grace.and_then(|run| Some((run, run.versions.replaced?)))
            && left.iter().all(|value| value.version != Some(version))
        {
            left.push(UpstreamValue { rotation: run.id, version: Some(version), slot: None });
        }
        left
    }

    /// Whether a rotation has set a value at the upstream, or the upstream has accepted one.
    #[must_use]
    pub fn is_established(&self) -> bool {
        let has_finished = self.last.as_ref().is_some_and(|last| last.version.is_some());
        let is_in_grace = self.run.as_ref().is_some_and(|run| run.stage == RotationStage::Grace);
        has_finished || is_in_grace || self.check.passed_at.is_some()
    }

    /// Whether a scheduled rotation should have begun before `now` and has not.
    #[must_use]
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        self.run.is_none() && self.next.is_some_and(|next| next < now)
    }
}
