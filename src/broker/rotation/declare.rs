use std::collections::BTreeMap;

use super::super::failure::Failure;
use super::super::world::{Effect, World};
use super::carry_on::next_of;
use crate::base::code;
use crate::base::{Scope, SecretName, Timestamp};
use crate::config::{Faults, Place, SourceFile};
use crate::registry::{Action, Noun, PlannedChange, Unnamed};
use crate::rotation::{self, Asked, Declared, Rotation, Slots, UpstreamValue, keys};
use crate::store::Change;
use crate::upstream::{Shape, Target};

/// What an application of declarations does to rotations.
#[derive(Debug, Default)]
pub(in crate::broker) struct Planned {
    /// Line by line.
    pub(in crate::broker) changes: Vec<PlannedChange>,
    put: Vec<(Declared, Option<Timestamp>)>,
    left: Vec<(SecretName, UpstreamValue)>,
    removed: Vec<SecretName>,
}

/// What turns the rotations that there are into what `asked` says.
///
/// # Errors
/// [`Failure`] with every fault, and for a rotation that is under way and would have to be another one.
pub(in crate::broker) fn planned(
    (world, now): (&World, Timestamp),
    scope: &Scope,
    asked: &BTreeMap<SecretName, Asked>,
    unnamed: Unnamed,
    files: &[SourceFile],
) -> Result<Planned, Failure> {
    let (mut planned, mut faults) = (Planned::default(), Faults::of(files));
    for (secret, asked) in asked {
        match declared(world, scope, secret, asked) {
            Ok(declared) => planned.put((world, now), declared)?,
            Err((place, message)) => faults.tell(place, message),
        }
    }
    let mut planned = faults.or(planned)?;
    if unnamed == Unnamed::Prune {
        let reached = world.rotations.all().filter(|rotation| {
            let secret = world.secrets.named(&rotation.declared.secret);
            scope.covers(secret.and_then(|secret| secret.owner.as_ref()))
        });
        for rotation in reached.filter(|rotation| !asked.contains_key(&rotation.declared.secret)) {
            unmoved(rotation)?;
            if !rotation.orphans.is_empty() {
                return Err(Failure::new(code::ROTATION_HAS_ORPHANS));
            }
            planned.note(Action::Remove, &rotation.declared.secret, Vec::new());
            planned.removed.push(rotation.declared.secret.clone());
        }
    }
    Ok(planned)
}

/// What was asked for, when it can be.
fn declared(
    world: &World,
    scope: &Scope,
    secret: &SecretName,
    asked: &Asked,
) -> Result<Declared, (Place, String)> {
    let refuse = |place, message: &str| Err((place, message.to_owned()));
    let upstream = asked.upstream.to_string();
    let target =
        Target::read(&upstream).map_err(|error| (asked.place_of(error.field()), error.to_string()))?;
    let within = |name: &SecretName| {
        world.secrets.named(name).filter(|one| scope.covers(one.owner.as_ref())).is_some()
    };
    let is_there = world.secrets.named(secret).is_some();
    if is_there && !within(secret) {
        return refuse(asked.place, "this name is taken, by a secret that is not yours");
    }
    if !is_there && (target.needs_current() || *scope != Scope::Everything) {
        return refuse(asked.place, "this `secret` does not exist: put it first");
    }
    if target.administering().is_some_and(|admin| !within(admin)) {
        return refuse(asked.upstream_place, "the `admin_secret` does not exist: put it first");
    }
    let slots = match target.shape() {
        Shape::OneSlot => Slots::One,
        Shape::Pulled | Shape::TwoSlots => Slots::Two,
    };
    let interval_s = asked.schedule.as_ref().and_then(rotation::Schedule::interval_s);
    if slots == Slots::Two && interval_s.is_some_and(|every| every <= asked.grace_s) {
        return refuse(
            asked.place,
            "`every` must be longer than `grace`, in which the one before still drains",
        );
    }
    let (schedule, grace_s) = (asked.schedule.clone(), asked.grace_s);
    Ok(Declared { secret: secret.clone(), upstream, slots, schedule, grace_s })
}

/// Where an upstream is.
fn place(upstream: &str) -> Option<String> {
    Target::read(upstream).ok().and_then(|target| target.place())
}

/// That nothing is under way which is not yet settled.
fn unmoved(rotation: &Rotation) -> Result<(), Failure> {
    if rotation.run.is_some() { Err(Failure::new(code::ROTATION_UNDER_WAY)) } else { Ok(()) }
}

impl Planned {
    fn put(&mut self, (world, now): (&World, Timestamp), declared: Declared) -> Result<(), Failure> {
        let known = world.rotations.of(&declared.secret);
        match known.map(|known| &known.declared) {
            Some(old) if *old == declared => return Ok(()),
            Some(old) => {
                let changed = [
                    ("upstream", old.upstream != declared.upstream || old.slots != declared.slots),
                    ("schedule", old.schedule != declared.schedule),
                    ("grace", old.grace_s != declared.grace_s),
                ];
                if let Some(known) = known.filter(|_| old.upstream != declared.upstream) {
                    unmoved(known)?;
                    // Elsewhere nobody knows of what was made here.
                    if place(&old.upstream) != place(&declared.upstream) {
                        let left = known.left_behind().into_iter();
                        self.left.extend(left.map(|value| (declared.secret.clone(), value)));
                    }
                }
                let fields = changed.iter().filter(|(_, changed)| *changed);
                let fields = fields.map(|(field, _)| (*field).to_owned()).collect();
                self.note(Action::Update, &declared.secret, fields);
            }
            None => self.note(Action::Create, &declared.secret, Vec::new()),
        }
        let rescheduled = known.is_none_or(|known| known.declared.schedule != declared.schedule);
        let next = if rescheduled {
            // Counted from the value that is handed out: one that is older than the interval is due.
            let current = world.secrets.named(&declared.secret).and_then(|secret| secret.current);
            next_of(&declared, current.map_or(now, |version| version.stored_at))
        } else {
            known.and_then(|known| known.next)
        };
        self.put.push((declared, next));
        Ok(())
    }

    fn note(&mut self, action: Action, secret: &SecretName, fields: Vec<String>) {
        self.changes.push(PlannedChange {
            action,
            kind: Noun::Rotation,
            name: secret.to_string(),
            fields,
            remark: None,
        });
    }

    /// `change`, doing this too. It relies on the rotations and secrets being as they were read.
    pub(in crate::broker) fn added_to(self, mut change: Change<Effect>, as_of: u64) -> Change<Effect> {
        for (declared, next) in self.put {
            let (key, secret) = (keys::rotation(&declared.secret), declared.secret.clone());
            let effect = rotation::Effect::Declare { declared: Box::new(declared), next };
            change = change
                .rely(key, as_of)
                .advance(key)
                .rely(crate::secrets::keys::existence(&secret), as_of)
                .effect(Effect::Rotation(effect));
        }
        for (secret, value) in self.left {
            change = change.effect(Effect::Rotation(rotation::Effect::Orphan { secret, value }));
        }
        for secret in self.removed {
            let key = keys::rotation(&secret);
            let effect = rotation::Effect::Remove(secret);
            change = change.rely(key, as_of).advance(key).effect(Effect::Rotation(effect));
        }
        change
    }
}
