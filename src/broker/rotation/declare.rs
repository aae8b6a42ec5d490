use std::collections::{BTreeMap, BTreeSet};

use super::advance::{makes_without_upstream, next_of};
use super::in_progress::in_progress;
use crate::base::code;
use crate::base::{Scope, SecretName, Timestamp, length_text};
use crate::broker::declarations::missing::missing_admin_secret;
use crate::broker::declarations::section::{Effects, Section, SectionContext, SectionFailure, SectionPlan};
use crate::broker::failure::Failure;
use crate::broker::world::{Effect, World};
use crate::config::{FaultList, FaultMessage, SourcePosition, Tables};
use crate::crypto::{Digest, sha256};
use crate::registry::{Action, ChangedValue, ForeignNames, Noun, PlannedChange, Undeclared, absent_secret};
use crate::rotation::{
    self, Declared, Rotation, RotationDeclaration, Run, Schedule, ScheduleFields, Slots, UpstreamValue, keys,
};
use crate::secrets;
use crate::store::Change;
use crate::upstream::{
    SlotCount, TargetError, changed_fields, declared_driver, stored_driver, stored_upstream,
};
use crate::wire::UnchangedObject;

/// The changes of an application to rotations.
#[derive(Debug, Default)]
struct PlannedRotations {
    /// The changes.
    changes: Vec<PlannedChange>,
    /// The declared rotations that stay as they are.
    unchanged: Vec<UnchangedObject>,
    /// The present upstreams of what it changes and removes.
    replaced: Vec<Digest>,
    put: Vec<(Declared, Option<Timestamp>)>,
    left: Vec<(SecretName, UpstreamValue)>,
    removed: Vec<SecretName>,
    /// Rotations in progress that end, each with its pending version and the due time of the next rotation.
    superseded: Vec<(SecretName, Option<u32>, Option<Timestamp>)>,
    /// Rotations that continue at once under the corrected declaration.
    corrected: Vec<SecretName>,
    /// The places of upstreams whose declaration changes: their circuits are closed.
    places: Vec<String>,
}

/// The effect of a changed declaration on a rotation in progress.
enum Fate {
    /// The upstream is unchanged: the rotation ends.
    Superseded,
    /// It waits after a failure: it continues with the corrected declaration, and first asks the upstream which value
    /// works.
    Corrected,
}

/// The rotations in declaration files.
pub(in crate::broker) struct RotationSection(BTreeMap<SecretName, RotationDeclaration>);

impl Section for RotationSection {
    const TABLES: &'static [&'static str] = rotation::TABLES;

    fn read(tables: &mut Tables<'_>, _scope: &Scope) -> Result<Self, FaultList> {
        rotation::parse(tables).map(Self)
    }

    /// The secrets of declared rotations that do not exist, also of rotations that the files do not name and that stay.
    /// A rotation that cannot make the first value is a fault of its own.
    fn first_values(&self, ground: &SectionContext<'_>) -> BTreeSet<SecretName> {
        if *ground.scope != Scope::Everything {
            return BTreeSet::new();
        }
        let kept = ground.world.rotations.all().map(|rotation| &rotation.declared.secret);
        let kept = kept.filter(|_| ground.rules.unnamed == Undeclared::Keep);
        let names = self.0.keys().chain(kept).take_while(|_| ground.work.step().is_ok());
        names.filter(|name| ground.world.secrets.existing(name).is_none()).cloned().collect()
    }

    /// Also refuses a change of a rotation in progress that cannot continue.
    fn plan(&self, ground: &SectionContext<'_>, drawn: &mut SectionPlan) -> Result<Effects, SectionFailure> {
        let SectionContext { world, now, scope, .. } = *ground;
        let (mut planned, mut faults) = (PlannedRotations::default(), ground.faults());
        for (secret, asked) in &self.0 {
            ground.work.step()?;
            match declared(world, scope, secret, asked, ground.rules.foreign_names) {
                Ok(declared) => planned.put(world, now, declared)?,
                Err((place, message)) => faults.tell(place, message),
            }
        }
        let mut planned = faults.or(planned)?;
        if ground.rules.unnamed == Undeclared::Prune {
            let within_reach = world.rotations.all().filter(|rotation| {
                let secret = world.secrets.named(&rotation.declared.secret);
                scope.covers(secret.and_then(|secret| secret.owner.as_ref()))
            });
            for rotation in within_reach.filter(|rotation| !self.0.contains_key(&rotation.declared.secret)) {
                planned.remove(rotation, now)?;
            }
        }
        drawn.changes.append(&mut planned.changes);
        drawn.upstreams.unchanged.append(&mut planned.unchanged);
        drawn.replaced.append(&mut planned.replaced);
        drawn.upstreams.places.append(&mut planned.places);
        Ok(Box::new(move |change, as_of| planned.added_to(change, as_of)))
    }
}

/// The declared rotation, if it is valid.
pub(super) fn declared(
    world: &World,
    scope: &Scope,
    secret: &SecretName,
    asked: &RotationDeclaration,
    foreign_names: ForeignNames,
) -> Result<Declared, (SourcePosition, FaultMessage)> {
    let refuse = |place, message: FaultMessage| Err((place, message));
    let misplaced = |error: TargetError| (asked.place_of(error.field()), error.to_string().into());
    let driver = declared_driver(&asked.upstream).map_err(misplaced)?;
    let capabilities = driver.capabilities();
    let within = |name: &SecretName| {
        world.secrets.existing(name).filter(|one| scope.covers(one.owner.as_ref())).is_some()
    };
    let is_there = match foreign_names {
        ForeignNames::Told => world.secrets.existing(secret).is_some(),
        ForeignNames::Hidden => within(secret),
    };
    if is_there && !within(secret) {
        let message = "a secret of another owner has this name: choose another name";
        return refuse(asked.place, FaultMessage::foreign(message));
    }
    if !is_there && capabilities.needs_current {
        let message = absent_secret(secret, scope)
            .map(|absent| format!("a rotation of this driver needs a value that works: {absent}"));
        return refuse(asked.place, message);
    }
    if !is_there && *scope != Scope::Everything {
        let message = absent_secret(secret, scope).map(|absent| {
            format!(
                "{absent}; only a rotation that an operator with the scope `all` declares makes the first value"
            )
        });
        return refuse(asked.place, message);
    }
    if let Some(admin) = driver.admin_secret().filter(|admin| !within(admin)) {
        return refuse(asked.upstream_place, missing_admin_secret(admin, scope));
    }
    let slots = match capabilities.shape {
        SlotCount::OneSlot => Slots::One,
        SlotCount::Pulled | SlotCount::TwoSlots => Slots::Two,
    };
    let interval_s = asked.schedule.as_ref().and_then(rotation::Schedule::interval_s);
    if slots == Slots::Two && interval_s.is_some_and(|every| every <= asked.grace_s) {
        return refuse(
            asked.place,
            "`every` must be longer than `grace`, in which the previous version still works".into(),
        );
    }
    let upstream = stored_upstream(&asked.upstream);
    let (schedule, grace_s) = (asked.schedule.clone(), asked.grace_s);
    Ok(Declared { secret: secret.clone(), upstream, slots, schedule, grace_s })
}

/// The update from `old` to `new`, with the values that change.
fn update(old: &Declared, new: &Declared) -> PlannedChange {
    let mut change = PlannedChange::new(Action::Update, Noun::Rotation, new.secret.as_str());
    if old.upstream != new.upstream || old.slots != new.slots {
        change.fields.push("upstream".to_owned());
        change.values = changed_fields(Some(&old.upstream), &new.upstream);
    }
    if old.schedule != new.schedule {
        change.fields.push("schedule".to_owned());
        change.values.extend(changed_schedule(old.schedule.as_ref(), new.schedule.as_ref()));
    }
    let grace = ChangedValue::single("grace", Some(length_text(old.grace_s)), Some(length_text(new.grace_s)));
    change.fields.extend(grace.iter().map(|value| value.field.clone()));
    change.values.extend(grace);
    change
}

/// The values of a new rotation.
fn created(new: &Declared) -> Vec<ChangedValue> {
    let mut values = changed_fields(None, &new.upstream);
    values.extend(changed_schedule(None, new.schedule.as_ref()));
    values.extend(ChangedValue::single("grace", None, Some(length_text(new.grace_s))));
    values
}

/// The values of the schedule `old` that are others in `new`.
fn changed_schedule(old: Option<&Schedule>, new: Option<&Schedule>) -> impl Iterator<Item = ChangedValue> {
    let [from, to] = [old, new].map(|one| one.map(Schedule::fields).unwrap_or_default());
    let days = |one: &ScheduleFields| one.blackout.iter().cloned().collect();
    let blackout = ChangedValue::list("blackout", &days(&from), &days(&to));
    let single = [
        ChangedValue::single("every", from.every, to.every),
        ChangedValue::single("cron", from.cron, to.cron),
        ChangedValue::single("zone", from.zone, to.zone),
        ChangedValue::single("window", from.window, to.window),
        ChangedValue::single("jitter", from.jitter, to.jitter),
    ];
    single.into_iter().flatten().chain(blackout)
}

/// When the first value of a secret without one is made, for the line of the plan.
fn first_value_remark(declared: &Declared) -> &'static str {
    let is_bounded = declared.schedule.as_ref().is_some_and(Schedule::is_bounded);
    if is_bounded && !makes_without_upstream(&declared.upstream) {
        "the secret has no value: the broker makes the first one when `window` and `blackout` allow it"
    } else {
        "the secret has no value: the broker makes the first one at once"
    }
}

/// The location of an upstream.
fn place(upstream: &str) -> Option<String> {
    stored_driver(upstream).ok().and_then(|driver| driver.place())
}

fn has_orphans(secret: &SecretName) -> Failure {
    Failure::new(code::ROTATION_HAS_ORPHANS)
        .because(format!("the upstream of `{secret}` may hold orphans: values of earlier attempts that the broker does not use"))
        .mended_by(format!(
            "delete them at the upstream (`keyward rotation show {secret}` lists them), then `keyward rotation \
             clear-orphans {secret}`"
        ))
}

/// The effect of a changed upstream on the rotation in progress, if there is one.
fn fate(known: &Rotation, declared: &Declared, now: Timestamp) -> Result<Option<Fate>, Failure> {
    let Some(run) = &known.run else { return Ok(None) };
    if run.has_changed_nothing() {
        return Ok(Some(Fate::Superseded));
    }
    let creates = |upstream: &str| stored_driver(upstream).is_ok_and(|driver| driver.capabilities().creates);
    let (before, after) = (&known.declared, declared);
    let is_made_elsewhere = creates(&before.upstream) && place(&before.upstream) != place(&after.upstream);
    let is_like = before.slots == after.slots && creates(&before.upstream) == creates(&after.upstream);
    if run.waits(now) && is_like && !is_made_elsewhere {
        return Ok(Some(Fate::Corrected));
    }
    Err(in_progress(known, run, now))
}

impl Fate {
    /// A note about the change, which the ledger's entry contains.
    fn remark(&self, run: &Run) -> String {
        let (id, stage) = (run.id, run.stage.as_str());
        match self {
            Self::Superseded => format!(
                "cancels rotation {id} at the stage `{stage}`, which has changed nothing at the upstream"
            ),
            Self::Corrected => {
                format!("rotation {id}, at the stage `{stage}`, continues with the new declaration")
            }
        }
    }
}

impl PlannedRotations {
    fn put(&mut self, world: &World, now: Timestamp, declared: Declared) -> Result<(), Failure> {
        let known = world.rotations.of(&declared.secret);
        let current = world.secrets.named(&declared.secret).and_then(|secret| secret.current);
        let mut fated = None;
        match known.map(|known| &known.declared) {
            Some(old) if *old == declared => {
                let (kind, name) = (Noun::Rotation.as_str().into(), declared.secret.to_string());
                self.unchanged.push(UnchangedObject { kind, name });
                return Ok(());
            }
            Some(old) => {
                if let Some(known) = known.filter(|_| old.upstream != declared.upstream) {
                    fated = fate(known, &declared, now)?;
                    self.places.extend(place(&declared.upstream));
                    // Another upstream does not know the values that this one made.
                    if place(&old.upstream) != place(&declared.upstream) {
                        let left = known.left_behind().into_iter();
                        self.left.extend(left.map(|value| (declared.secret.clone(), value)));
                    }
                }
                let run = known.and_then(|known| known.run.as_ref());
                let mut change = update(old, &declared);
                change.remark = run.zip(fated.as_ref()).map(|(run, fate)| fate.remark(run));
                self.changes.push(change);
                self.replaced.push(sha256(old.upstream.as_bytes()));
            }
            None => {
                let remark = current.is_none().then(|| first_value_remark(&declared).to_owned());
                let change = PlannedChange::new(Action::Create, Noun::Rotation, declared.secret.as_str());
                self.changes.push(PlannedChange { remark, values: created(&declared), ..change });
            }
        }
        let rescheduled = known.is_none_or(|known| known.declared.schedule != declared.schedule);
        let next = match current {
            None => Some(now),
            // The interval begins at the time of the current value: an older one is due at once.
            Some(version) if rescheduled => next_of(&declared, version.stored_at),
            Some(_) => known.and_then(|known| known.next),
        };
        match fated {
            Some(Fate::Superseded) => {
                let version = known.and_then(|known| known.run.as_ref()).and_then(|run| run.versions.new);
                self.superseded.push((declared.secret.clone(), version, next));
            }
            Some(Fate::Corrected) => self.corrected.push(declared.secret.clone()),
            None => {}
        }
        self.put.push((declared, next));
        Ok(())
    }

    /// Removes a rotation. A rotation in progress ends too, if it has changed nothing at the upstream.
    fn remove(&mut self, rotation: &Rotation, now: Timestamp) -> Result<(), Failure> {
        let secret = &rotation.declared.secret;
        let mut remark = None;
        if let Some(run) = &rotation.run {
            if !run.has_changed_nothing() {
                return Err(in_progress(rotation, run, now));
            }
            remark = Some(Fate::Superseded.remark(run));
            self.superseded.push((secret.clone(), run.versions.new, None));
        }
        if !rotation.upstream.orphans.is_empty() {
            return Err(has_orphans(secret));
        }
        let change = PlannedChange::new(Action::Remove, Noun::Rotation, secret.as_str());
        self.changes.push(PlannedChange { remark, ..change });
        self.replaced.push(sha256(rotation.declared.upstream.as_bytes()));
        self.removed.push(secret.clone());
        Ok(())
    }

    /// Adds these changes to `change`, which relies on unchanged rotations and secrets.
    fn added_to(self, mut change: Change<Effect>, as_of: u64) -> Change<Effect> {
        for (declared, next) in self.put {
            let (key, secret) = (keys::rotation(&declared.secret), declared.secret.clone());
            let effect = rotation::Effect::Declare { declared: Box::new(declared), next };
            change = change
                .rely(key, as_of)
                .rely(secrets::keys::existence(&secret), as_of)
                .effect(Effect::Rotation(effect));
        }
        for (secret, version, next) in self.superseded {
            if let Some(version) = version {
                let kept = secrets::Effect::Abandon { name: secret.clone(), version };
                change = change.effect(Effect::Secrets(kept));
            }
            change = change.effect(Effect::Rotation(rotation::Effect::Abandon { secret, next }));
        }
        for secret in self.corrected {
            change = change.effect(Effect::Rotation(rotation::Effect::Retry(secret)));
        }
        for (secret, value) in self.left {
            change = change.effect(Effect::Rotation(rotation::Effect::Orphan { secret, value }));
        }
        for secret in self.removed {
            let key = keys::rotation(&secret);
            let effect = rotation::Effect::Remove(secret);
            change = change.rely(key, as_of).effect(Effect::Rotation(effect));
        }
        change
    }
}
