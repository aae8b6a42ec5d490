use std::collections::{BTreeMap, BTreeSet};

use super::advance::next_of;
use super::outlook::Outlook;
use crate::base::code;
use crate::base::limits::{CALENDAR_LINES_MAX, HIGH_TOKEN_LIFE_MAX_S};
use crate::base::{Cancellation, Cancelled, CapabilityName, Scope, SecretName, Sensitivity, Timestamp};
use crate::broker::caller_services::AdminServices;
use crate::broker::failure::Failure;
use crate::broker::identity::standing::InstanceStanding;
use crate::broker::page::Page;
use crate::broker::reading::Reading;
use crate::broker::secrets::classify::foreign;
use crate::broker::services::Services;
use crate::broker::world::World;
use crate::policy::{Authorised, ReadSecretNames};
use crate::registry::{Agent, Delivery, Role};
use crate::revocation::Subject;
use crate::rotation::{FinishedRotation, Rotation, Run, Slots, UpstreamValue};
use crate::upstream::{explained, stored_driver};
use crate::wire::PageAnswer;
use crate::wire::{
    ConsumerAnswer, FinishedRotationAnswer, OrphanAnswer, RotationAnswer, RotationDueAnswer,
    RotationPlanAnswer, RunAnswer, RunFailureAnswer,
};

/// The period of a calendar, in seconds.
const CALENDAR_S: i64 = 366 * 24 * 3600;

impl AdminServices {
    /// All rotations within the operator's scope, by secret.
    #[must_use]
    pub fn rotations(&self, by: &Authorised<ReadSecretNames>, page: &Page) -> PageAnswer<RotationAnswer> {
        let now = self.0.state.clock.now();
        let scope = by.operator().scope();
        self.0.state.store.read(|world, _| {
            let within = |rotation: &&Rotation| within_reach(world, scope, &rotation.declared.secret).is_ok();
            let all = world.rotations.all().filter(within);
            page.of(
                all,
                |rotation| rotation.declared.secret.as_str(),
                |rotation| self.0.rotation_answer(rotation, now),
            )
        })
    }

    /// The rotation of `secret`.
    ///
    /// # Errors
    /// [`Failure`] when there is none within reach.
    pub fn rotation(
        &self,
        by: &Authorised<ReadSecretNames>,
        secret: &SecretName,
    ) -> Result<RotationAnswer, Failure> {
        let now = self.0.state.clock.now();
        self.0.state.store.read(|world, _| {
            let rotation = within_reach(world, by.operator().scope(), secret)?;
            Ok(self.0.rotation_answer(rotation, now))
        })
    }

    /// The scheduled rotations of the next year in order of time, at most `CALENDAR_LINES_MAX`.
    ///
    /// # Errors
    /// [`Failure`] if the work was cancelled.
    pub fn calendar(
        &self,
        by: &Authorised<ReadSecretNames>,
        work: &Cancellation,
    ) -> Result<Vec<RotationDueAnswer>, Failure> {
        let now = self.0.state.clock.now();
        let scope = by.operator().scope();
        // Schedules are slow to compute: on a thread of their own.
        let rotations: Vec<Rotation> = self.0.state.store.read(|world, _| {
            let within = |rotation: &&Rotation| within_reach(world, scope, &rotation.declared.secret).is_ok();
            let active = world.rotations.all().filter(|rotation| rotation.paused_at.is_none());
            active.filter(within).cloned().collect()
        });
        Ok(to_come(&rotations, now, work)?)
    }

    /// What a rotation of `secret` would do.
    ///
    /// # Errors
    /// [`Failure`] when there is none within reach.
    pub fn plan_rotation(
        &self,
        by: &Authorised<ReadSecretNames>,
        secret: &SecretName,
    ) -> Result<RotationPlanAnswer, Failure> {
        let now = self.0.state.clock.now();
        self.0.state.store.read(|world, _| {
            let rotation = within_reach(world, by.operator().scope(), secret)?;
            let upstream = describe(rotation);
            let calls = ["prepare a new value", "apply it", "verify it", "make it the current value"];
            let mut calls: Vec<String> = calls.iter().map(|call| format!("{upstream}: {call}")).collect();
            let overlap_s = match rotation.declared.slots {
                Slots::Two => {
                    calls.push(format!("{upstream}: revoke the previous value"));
                    rotation.declared.grace_s
                }
                Slots::One => 0,
            };
            let rotation = self.0.rotation_answer(rotation, now);
            let sensitivity = sensitivity(world, secret).as_str().into();
            let consumers = consumers(world, secret, now);
            Ok(RotationPlanAnswer { rotation, sensitivity, calls, overlap_s, consumers })
        })
    }
}

impl Services {
    fn rotation_answer(&self, rotation: &Rotation, now: Timestamp) -> RotationAnswer {
        let driver = stored_driver(&rotation.declared.upstream).ok();
        let place = driver.as_ref().and_then(|driver| driver.place());
        let circuit = place.and_then(|place| self.circuit(&place));
        let outlook = Outlook::of(rotation, circuit.as_ref().and_then(|circuit| circuit.until), now);
        let cause = circuit.filter(|_| outlook.circuit_open_until.is_some()).map(|circuit| circuit.cause);
        RotationAnswer {
            secret: rotation.declared.secret.clone(),
            logins: driver.as_ref().and_then(|driver| driver.logins()),
            upstream: driver.map_or_else(|| "unreadable".to_owned(), |driver| driver.describe()),
            schedule: rotation.declared.schedule.as_ref().map(crate::rotation::Schedule::describe),
            overlap: rotation.declared.slots == Slots::Two,
            grace_s: rotation.declared.grace_s,
            paused_at: text(rotation.paused_at),
            next: text(rotation.next),
            overdue: rotation.is_overdue(now),
            state: outlook.state.into(),
            next_try: text(outlook.next_try),
            circuit_open_until: text(outlook.circuit_open_until),
            run: rotation.run.as_ref().map(|run| run_of(run, outlook)),
            last_at: text(rotation.last.as_ref().map(|last| last.at)),
            last: rotation.last.as_ref().map(finished_of),
            checked_at: text(rotation.check.passed_at),
            circuit_cause: cause.map(|cause| format!("{}: {}", cause.code, cause.explained().why)),
            orphans: rotation.upstream.orphans.iter().map(|(at, orphan)| orphan_of(*at, orphan)).collect(),
        }
    }
}

fn finished_of(last: &FinishedRotation) -> FinishedRotationAnswer {
    let ending = Some(last.ending.as_str().into());
    FinishedRotationAnswer { rotation: last.id, version: last.version, ending }
}

fn text(at: Option<Timestamp>) -> Option<String> {
    at.map(|at| at.to_string())
}

fn run_of(run: &Run, outlook: Outlook) -> RunAnswer {
    let trouble = run.step.trouble.as_ref().map(|trouble| RunFailureAnswer {
        code: trouble.code.clone(),
        detail: trouble.detail.clone(),
        reason: explained(&trouble.code, trouble.detail.as_deref()),
        at: trouble.at.to_string(),
        retry_at: text(outlook.next_try),
    });
    RunAnswer {
        id: run.id,
        trigger: run.trigger.as_str().into(),
        begun_at: run.begun_at.to_string(),
        stage: run.stage.as_str().into(),
        version: run.versions.new,
        replaces: run.versions.replaced,
        touched: run.touched,
        failures: run.step.failures,
        trouble,
        grace_until: text(run.grace_until),
        revokes_previous: run.versions.revokes_replaced,
    }
}

fn orphan_of(at: Timestamp, orphan: &UpstreamValue) -> OrphanAnswer {
    OrphanAnswer {
        rotation: orphan.rotation,
        at: at.to_string(),
        version: orphan.version,
        slot: orphan.slot.as_ref().map(ToString::to_string),
    }
}

fn describe(rotation: &Rotation) -> String {
    let driver = stored_driver(&rotation.declared.upstream);
    driver.map_or_else(|_| "unreadable".to_owned(), |driver| driver.describe())
}

/// The scheduled times of `rotations`, which are in the order of their secrets, up to the limit of lines. No more
/// times are computed than needed.
fn to_come(
    rotations: &[Rotation],
    now: Timestamp,
    work: &Cancellation,
) -> Result<Vec<RotationDueAnswer>, Cancelled> {
    let until = now.plus_s(CALENDAR_S);
    let first = |rotation: &Rotation| {
        let due = rotation.due(now).filter(|_| rotation.run.is_none());
        due.or(rotation.next).map(|at| at.max(now))
    };
    let firsts = rotations.iter().enumerate();
    let firsts =
        firsts.filter_map(|(place, rotation)| Some((first(rotation)?, place, rotation.is_overdue(now))));
    let mut next: BTreeSet<(Timestamp, usize, bool)> = firsts.collect();
    let mut lines = Vec::new();
    while let Some((at, place, overdue)) = next.pop_first().filter(|(at, ..)| *at <= until) {
        let Some(Rotation { declared, .. }) = rotations.get(place) else { break };
        work.step()?;
        lines.push(RotationDueAnswer { secret: declared.secret.clone(), at: at.to_string(), overdue });
        if lines.len() >= CALENDAR_LINES_MAX {
            break;
        }
        let later = next_of(declared, at).filter(|later| *later > at);
        next.extend(later.map(|later| (later, place, false)));
    }
    Ok(lines)
}

fn sensitivity(world: &World, secret: &SecretName) -> Sensitivity {
    world.secrets.named(secret).map_or(Sensitivity::default(), |secret| secret.sensitivity)
}

/// The agents that can read `secret`, without suspended and contained ones.
pub(in crate::broker) fn consumers(
    world: &World,
    secret: &SecretName,
    now: Timestamp,
) -> Vec<ConsumerAnswer> {
    let declared = world.registry.declarations();
    let sensitivity = sensitivity(world, secret);
    let owner = world.secrets.named(secret).and_then(|secret| secret.owner.as_ref());
    let reading = Reading::of(world, 0, now);
    let foreign: BTreeSet<_> = foreign(&reading, secret, sensitivity, owner).into_iter().collect();
    let reading = declared.capabilities().filter(
        |capability| matches!(&capability.delivery, Delivery::Reveal { secret: read } if read == secret),
    );
    let reading: BTreeSet<_> = reading.map(|capability| &capability.name).collect();
    let reads = |role: &Role| -> Vec<CapabilityName> {
        role.capabilities.iter().filter(|name| reading.contains(name)).cloned().collect()
    };
    let by_role: BTreeMap<_, _> = declared.roles().map(|role| (&role.name, reads(role))).collect();
    let mut holders: BTreeMap<&CapabilityName, Vec<&Agent>> = BTreeMap::new();
    // One pass over the agents for all capabilities that deliver the secret.
    let may_act = |agent: &&Agent| !world.revocations.is_blocked(&Subject::Agent(agent.id));
    for agent in world.registry.agents().filter(may_act) {
        let held = agent.roles.iter().filter_map(|role| by_role.get(role)).flatten();
        for name in held.collect::<BTreeSet<_>>() {
            holders.entry(name).or_default().push(agent);
        }
    }
    reading
        .iter()
        .filter_map(|name| declared.capability(name))
        .map(|capability| {
            let agents = holders.remove(&capability.name).unwrap_or_default();
            let of_agents = agents.iter().flat_map(|one| one.instances.iter().map(move |its| (*one, its)));
            let standing = of_agents.map(|(one, its)| InstanceStanding::of(world, one, its, now));
            ConsumerAnswer {
                capability: capability.name.clone(),
                live_instances: standing.filter(|one| *one == InstanceStanding::Live).count(),
                agents: agents.iter().map(|agent| agent.name.clone()).collect(),
                token_life_s: match sensitivity {
                    Sensitivity::Ordinary => capability.max_life_s,
                    Sensitivity::High => capability.max_life_s.min(HIGH_TOKEN_LIFE_MAX_S),
                },
                cut_off: foreign.contains(&capability.name),
            }
        })
        .collect()
}

/// The rotation of `secret`, when it is within reach.
fn within_reach<'a>(world: &'a World, scope: &Scope, secret: &SecretName) -> Result<&'a Rotation, Failure> {
    let owner = world.secrets.named(secret).and_then(|secret| secret.owner.as_ref());
    let rotation = world.rotations.of(secret).filter(|_| scope.covers(owner));
    rotation.ok_or_else(|| Failure::new(code::ROTATION_UNKNOWN))
}
