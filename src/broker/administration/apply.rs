use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use crate::authn::OperatorPrincipal;
use crate::base::code;
use crate::base::limits::OUTCOME_LIFE_S;
use crate::base::{AgentId, Cancellation, CapabilityName, Scope, SecretName};
use crate::broker::administration::heavy::{HeavyRequest, Priority};
use crate::broker::desk::AdminDesk;
use crate::broker::failure::Failure;
use crate::broker::identity::revoke::{self, Ended};
use crate::broker::leases;
use crate::broker::once::{done_before, remembering};
use crate::broker::planning::Planning;
use crate::broker::retry::{Again, deciding_again};
use crate::broker::rotation::{Planned, planned};
use crate::broker::services::Core;
use crate::broker::world::{Effect, World};
use crate::config::SourceFile;
use crate::idempotency::{Once, Outcome};
use crate::policy::{Authorised, Declare};
use crate::registry::{
    self, AgentSpec, Declaration, DeclarationsApplied, Delivery, Ground, Narrowing, Plan, PlannedChange,
    Registry, SecretGround, Unnamed, draw, keys, parse,
};
use crate::rotation::{self, Asked};
use crate::secrets::Secret;
use crate::store::Change;

/// What an application did, or a plan would do.
#[derive(Debug)]
pub struct Applied {
    /// Line by line.
    pub changes: Vec<PlannedChange>,
    /// What became of it; `None` when nothing was done. In memory is only what it takes away.
    pub done: Option<Ended>,
}

/// Declaration files that an operator uploaded.
#[derive(Debug)]
pub struct Uploaded {
    /// The files.
    pub files: Vec<SourceFile>,
    /// What happens to things that they do not name.
    pub unnamed: Unnamed,
}

impl AdminDesk {
    /// Shows what [`AdminDesk::apply`] would do, and does nothing.
    ///
    /// # Errors
    /// [`Failure`] with the faults of the files, or when they are too much for one application.
    pub async fn plan(
        &self,
        by: &Authorised<Declare>,
        heavy: &HeavyRequest,
        uploaded: Uploaded,
    ) -> Result<Applied, Failure> {
        let upload = Upload::read(by, heavy, uploaded).await?;
        let core = Arc::clone(&self.0);
        let planned = heavy.run(Priority::Ordinary, move |work| {
            let (plan, as_of) = core.draw(&upload, work)?;
            let (change, changes) = core.change(&upload.operator, plan, as_of)?;
            change.fits::<World>()?;
            Ok(Applied { changes, done: None })
        });
        planned.await
    }

    /// Brings about what `files` declare, in one append: all of it, or nothing. The request of `once`
    /// does it once.
    ///
    /// # Errors
    /// [`Failure`] with the faults of the files; nothing was changed then.
    pub async fn apply(
        &self,
        by: &Authorised<Declare>,
        heavy: &HeavyRequest,
        uploaded: Uploaded,
        once: Option<&Once>,
    ) -> Result<Applied, Failure> {
        let unnamed = uploaded.unnamed;
        let upload = Arc::new(Upload::read(by, heavy, uploaded).await?);
        let core = &*self.0;
        deciding_again!(async {
            let before = core.state.store.read(|world, _| done_before(world, once, core.state.clock.now()));
            if let Some(before) = before? {
                return Ok(core.applied_before(before.seq)?);
            }
            let (drawing, upload) = (Arc::clone(&self.0), Arc::clone(&upload));
            let recorded = once.is_some();
            let drawn = heavy.run(Priority::Ordinary, move |work| {
                let (plan, as_of) = drawing.draw(&upload, work)?;
                // A request with a key has its entry even then: the same one later finds the same outcome.
                if plan.records.is_empty() && !recorded {
                    return Ok::<_, Again>(None);
                }
                let places: Vec<String> =
                    plan.rotations.places().iter().cloned().chain(plan.leases.places()).collect();
                let narrowing =
                    drawing.state.store.read(|world, _| Narrowing::of(&world.registry, &plan.records));
                let (change, changes) = drawing.change(&upload.operator, plan, as_of)?;
                Ok(Some((change, changes, narrowing, as_of, places)))
            });
            let Some((mut change, changes, narrowing, as_of, places)) = drawn.await? else {
                return Ok(Applied { changes: Vec::new(), done: None });
            };
            change = remembering(change, (once, as_of), OUTCOME_LIFE_S, || Outcome::Recorded);
            if unnamed == Unnamed::Prune {
                // What is pruned is whoever is not named, and nobody may have come meanwhile.
                change = change.rely(keys::agents(), as_of);
            }
            let applied = if narrowing.is_empty() {
                revoke::Applied::recorded(core.state.store.commit(change, ()).await?.seq())
            } else {
                core.apply_narrowing(by.operator().name().as_str(), change, narrowing).await?
            };
            core.notifications.standing_changed();
            // What was declared anew is tried at once, though it failed as it was declared before.
            places.iter().for_each(|place| core.try_again_at(place));
            core.notifications.rotations_changed();
            core.notifications.leases_changed();
            Ok(Applied { changes, done: Some(core.conclude(applied).await) })
        })
    }
}

impl Core {
    /// What the application of entry `seq` did, as the entry says it.
    fn applied_before(&self, seq: u64) -> Result<Applied, Failure> {
        #[derive(Deserialize)]
        struct Event {
            changes: Vec<PlannedChange>,
        }
        let entries = self.state.store.entries(seq, 1)?;
        let event = entries.first().and_then(|entry| serde_json::from_slice::<Event>(&entry.event).ok());
        let event = event.ok_or_else(|| Failure::new(code::RECORD_UNREADABLE))?;
        Ok(Applied { changes: event.changes, done: Some(Ended::Recorded(seq)) })
    }

    fn draw(&self, upload: &Upload, work: &Cancellation) -> Result<(Drawn, u64), Failure> {
        let Upload { operator, files, declared: declaration, unnamed } = upload;
        let (now, scope, unnamed) = (self.state.clock.now(), operator.scope(), *unnamed);
        self.state.store.read(|world, as_of| {
            let secret = |name: &_| world.secrets.named(name);
            let within = |name: &_| secret(name).filter(|one| scope.covers(one.owner.as_ref()));
            let there =
                |one: &Secret| SecretGround { owner: one.owner.clone(), sensitivity: one.sensitivity };
            let secret = |name: &_| within(name).map(there);
            let broker = &self.settings.tokens.broker;
            let ground = Ground { registry: &world.registry, scope, secret: &secret, broker, work };
            let mut records = draw(&ground, &declaration.records, unnamed, files)?;
            let planning = Planning { world, scope, unnamed, files, work };
            let mut rotations = planned(&planning, now, &declaration.rotations)?;
            let mut leases = leases::planned(&planning, &records, &declaration.leases)?;
            records.changes.append(&mut rotations.changes);
            records.changes.append(&mut leases.changes);
            Ok((Drawn { records, rotations, leases }, as_of))
        })
    }

    /// The plan as one change. It relies on no other application having come between, and advances
    /// everything that it touches, so that no mint decided before commits after.
    fn change(
        &self,
        operator: &OperatorPrincipal,
        Drawn { records: plan, rotations, leases }: Drawn,
        as_of: u64,
    ) -> Result<(Change<Effect>, Vec<PlannedChange>), Failure> {
        let (agents, removed, snapshot) = self.state.store.read(|world, _| {
            let registry = &world.registry;
            let agents = plan.agents.iter().map(|(spec, serves)| {
                let before = registry.agent_named(&spec.name).and_then(|agent| agent.serves.as_ref());
                let served = (before != serves.as_ref()).then(|| serves.clone());
                (self.id_for(registry, spec), spec.clone(), served)
            });
            let removed = plan.removed_agents.iter().filter_map(|name| registry.agent_named(name));
            let removed = removed.map(|agent| agent.id);
            let snapshot = registry.declarations().after(&plan).snapshot();
            (agents.collect::<Vec<_>>(), removed.collect::<Vec<_>>(), snapshot)
        });
        let event = DeclarationsApplied {
            operator: operator.name(),
            changes: &plan.changes,
            snapshot: snapshot.hex(),
        };
        let change = Change::new(&event)?.rely(keys::declarations(), as_of);
        let mut change = self.while_allowed(change, operator)?;
        for capability in &plan.capabilities {
            if let Delivery::Reveal { secret } = &capability.delivery {
                change = change.rely(crate::secrets::keys::existence(secret), as_of);
            }
        }
        change = change.effect(Effect::Registry(registry::Effect::Declare {
            capabilities: plan.capabilities,
            removed_capabilities: plan.removed_capabilities,
            roles: plan.roles,
            removed_roles: plan.removed_roles,
        }));
        for (id, spec, served) in agents {
            change = change
                .rely(keys::agent_name(&spec.name), as_of)
                .rely(keys::agent(id), as_of)
                .effect(Effect::Registry(registry::Effect::PutAgent { id, spec }));
            if let Some(audience) = served {
                let effect = registry::Effect::Serve { agent: id, audience };
                change = change.effect(Effect::Registry(effect));
            }
        }
        for id in removed {
            change = change
                .rely(keys::agent(id), as_of)
                .effect(Effect::Registry(registry::Effect::RemoveAgent(id)));
        }
        for (thing, owner) in plan.owners {
            change = change.effect(Effect::Registry(registry::Effect::Own { thing, owner }));
        }
        Ok((leases.added_to(rotations.added_to(change, as_of), as_of), plan.changes))
    }

    fn id_for(&self, registry: &Registry, spec: &AgentSpec) -> AgentId {
        let known = registry.agent_named(&spec.name).map(|agent| agent.id);
        known.unwrap_or_else(|| AgentId::mint(self.state.clock.now(), &*self.state.entropy))
    }
}

/// Files that an operator uploaded, and what they declare.
struct Upload {
    operator: OperatorPrincipal,
    files: Vec<SourceFile>,
    declared: Declared,
    unnamed: Unnamed,
}

/// What files declare, by the rooms that read them.
struct Declared {
    records: Declaration,
    rotations: BTreeMap<SecretName, Asked>,
    leases: BTreeMap<CapabilityName, crate::leases::Asked>,
}

/// What an application of it does.
struct Drawn {
    records: Plan,
    rotations: Planned,
    leases: leases::Planned,
}

impl Upload {
    async fn read(
        by: &Authorised<Declare>,
        heavy: &HeavyRequest,
        Uploaded { files, unnamed }: Uploaded,
    ) -> Result<Self, Failure> {
        let operator = by.operator().clone();
        let reading = heavy.run(Priority::Low, move |work| {
            let declared = Declared::read(&files, operator.scope(), work)?;
            Ok::<_, Failure>(Self { operator, files, declared, unnamed })
        });
        reading.await
    }
}

impl Declared {
    fn read(files: &[SourceFile], scope: &Scope, work: &Cancellation) -> Result<Self, Failure> {
        let records = parse(files, scope, work)?;
        let rotations = rotation::parse(files, work)?;
        Ok(Self { records, rotations, leases: crate::leases::parse(files, work)? })
    }
}
