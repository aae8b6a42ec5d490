use std::collections::{BTreeMap, HashMap};

use super::reach::Look;
use crate::base::limits::{PAGE_ENTRIES_MAX, READINGS_LOOKED_AT_MAX};
use crate::base::{AgentName, Cancellation, IncidentId, InstanceId, Scope, SecretName, Sensitivity, code};
use crate::broker::caller_services::AdminServices;
use crate::broker::failure::Failure;
use crate::broker::world::World;
use crate::ledger::Kind;
use crate::policy::{Authorised, ReadIncidents};
use crate::revocation::Subject;
use crate::secrets::SecretRevealed;
use crate::store::Event;
use crate::wire::{TouchedSecretAnswer, TouchedSecretsAnswer};

/// The parts of the entry of a reading that matter here.
#[derive(serde::Deserialize)]
struct Reading {
    agent: AgentName,
    instance: InstanceId,
    secret: SecretName,
    version: u32,
}

const REVEALED: Kind = <SecretRevealed<'_> as Event>::KIND;

/// The last reading of a secret.
struct LastReading {
    reading: Reading,
    at: String,
}

impl AdminServices {
    /// The secrets within the operator's scope that agents under the incident's subjects have read, in the newest
    /// `READINGS_LOOKED_AT_MAX` entries of the ledger: the most sensitive first, then the last read first.
    ///
    /// # Errors
    /// [`Failure`] if no incident within the scope has this id, if its subjects are gone, or if the ledger is damaged.
    pub fn touched_secrets(
        &self,
        by: &Authorised<ReadIncidents>,
        id: IncidentId,
        work: &Cancellation,
    ) -> Result<TouchedSecretsAnswer, Failure> {
        let services = &*self.0;
        let scope = by.operator().scope();
        let subjects = services.present_subjects(scope, id)?;
        if subjects.is_empty() {
            return Err(Failure::new(code::SUBJECT_UNKNOWN));
        }
        let head = services.state.store.head().seq;
        let first = head.saturating_sub(READINGS_LOOKED_AT_MAX).saturating_add(1);
        let (mut last_readings, mut from): (BTreeMap<SecretName, LastReading>, u64) =
            (BTreeMap::new(), first);
        let mut known: HashMap<AgentName, bool> = HashMap::new();
        let depends = |subject: &Subject| matches!(subject, Subject::Instance(_) | Subject::Secret(_));
        let depends_on_reading = subjects.iter().any(depends);
        while from <= head {
            work.step()?;
            let entries = services.state.store.entries(from, PAGE_ENTRIES_MAX)?;
            let Some(last) = entries.last() else { break };
            from = last.seq.saturating_add(1);
            for entry in entries.iter().filter(|entry| entry.kind == REVEALED) {
                let Ok(reading) = serde_json::from_slice::<Reading>(&entry.event) else { continue };
                let look = || services.state.store.read(|world, _| self.concerns(world, &subjects, &reading));
                let is_concerned = if depends_on_reading {
                    look()
                } else {
                    *known.entry(reading.agent.clone()).or_insert_with(look)
                };
                if is_concerned {
                    let at = entry.time.to_string();
                    last_readings.insert(reading.secret.clone(), LastReading { reading, at });
                }
            }
        }
        Ok(TouchedSecretsAnswer { items: self.touched(scope, last_readings), since_seq: first })
    }

    /// Whether the reading was one of an agent, instance or secret under one of the subjects.
    fn concerns(&self, world: &World, subjects: &[Subject], reading: &Reading) -> bool {
        let now = self.0.state.clock.now();
        subjects.iter().any(|subject| {
            if let Subject::Instance(instance) = subject {
                return reading.instance == *instance;
            }
            if let Subject::Secret(secret) = subject {
                return reading.secret == *secret;
            }
            let look = Look { world, subjects: std::slice::from_ref(subject), now };
            world.registry.agent_named(&reading.agent).is_some_and(|agent| look.concerns(agent))
        })
    }

    fn touched(
        &self,
        scope: &Scope,
        last_readings: BTreeMap<SecretName, LastReading>,
    ) -> Vec<TouchedSecretAnswer> {
        let mut items: Vec<TouchedSecretAnswer> = self.0.state.store.read(|world, _| {
            let seen = last_readings.into_values().filter_map(|LastReading { reading, at }| {
                let secret = world.secrets.existing(&reading.secret)?;
                scope.covers(secret.owner.as_ref()).then(|| TouchedSecretAnswer {
                    has_rotation: world.rotations.of(&reading.secret).is_some(),
                    is_current: secret.current.is_some_and(|current| current.number == reading.version),
                    sensitivity: secret.sensitivity.as_str().into(),
                    secret: reading.secret,
                    version: reading.version,
                    agent: reading.agent,
                    at,
                })
            });
            seen.collect()
        });
        let high = Sensitivity::High.as_str();
        items.sort_by(|one, other| {
            let first = (one.sensitivity != high).cmp(&(other.sensitivity != high));
            first.then_with(|| other.at.cmp(&one.at))
        });
        items
    }
}
