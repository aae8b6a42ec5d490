use std::collections::{BTreeMap, BTreeSet};

use crate::authn::{Credential, is_under};
use crate::base::limits::READINGS_LOOKED_AT_MAX;
use crate::base::{
    AgentName, Cancellation, CapabilityName, IncidentId, InstanceId, OwnerName, Scope, SecretName,
    Sensitivity, TokenId,
};
use crate::broker::administration::entry_reads::TermSearch;
use crate::broker::administration::entry_terms::EntryTerm;
use crate::broker::caller_services::AdminServices;
use crate::broker::failure::Failure;
use crate::broker::world::{World, records};
use crate::incidents::IncidentSubject;
use crate::ledger::Kind;
use crate::policy::{Authorised, ReadIncidents};
use crate::postings::TimeSpan;
use crate::registry::Owned;
use crate::revocation::Subject;
use crate::rotation::{Rotation, RotationStage, Slots};
use crate::secrets::SecretRevealed;
use crate::store::Event;
use crate::wire::{EntryField, PreviousVersionAnswer, TouchedSecretAnswer, TouchedSecretsAnswer};

/// The parts of the entry of a reading that matter here.
#[derive(serde::Deserialize)]
struct Reading {
    #[serde(skip)]
    seq: u64,
    agent: AgentName,
    instance: InstanceId,
    token: TokenId,
    capability: CapabilityName,
    secret: SecretName,
    version: u32,
}

const REVEALED: Kind = <SecretRevealed<'_> as Event>::KIND;

/// The readings of a secret.
#[derive(Default)]
struct Readings {
    /// The last one, and its time.
    last: Option<(Reading, String)>,
    versions: BTreeSet<u32>,
}

/// Whether a reading was one under a subject.
enum Concern {
    Yes,
    No,
    /// The records have forgotten the instance, and the entry alone does not say it.
    Unknown,
}

impl From<bool> for Concern {
    fn from(is_concerned: bool) -> Self {
        if is_concerned { Self::Yes } else { Self::No }
    }
}

impl AdminServices {
    /// The secrets within the operator's scope that were read under the incident's subjects: the most sensitive first, then
    /// the last read first. The search reads at most `READINGS_LOOKED_AT_MAX` entries, the newest ones.
    ///
    /// # Errors
    /// [`Failure`] if no incident within the scope has this id, or if the ledger is damaged.
    pub fn touched_secrets(
        &self,
        by: &Authorised<ReadIncidents>,
        id: IncidentId,
        work: &Cancellation,
    ) -> Result<TouchedSecretsAnswer, Failure> {
        let services = &*self.0;
        let scope = by.operator().scope();
        let subjects = services.named_subjects(by.operator(), id)?;
        let mut readings: BTreeMap<SecretName, Readings> = BTreeMap::new();
        let mut unknown_readings = 0_usize;
        let search = TermSearch {
            store: &services.state.store,
            any: subjects.iter().filter_map(|(subject, named)| terms(subject, named)).collect(),
            from: 1,
            through: services.state.store.head().seq,
            times: TimeSpan::default(),
            most: READINGS_LOOKED_AT_MAX,
        };
        let since_seq = search.run(work, |entries| {
            let revealed = entries.iter().filter(|entry| entry.kind == REVEALED);
            services.state.store.read(|world, _| {
                for entry in revealed {
                    let Ok(reading) = serde_json::from_slice::<Reading>(&entry.event) else { continue };
                    let reading = Reading { seq: entry.seq, ..reading };
                    match concern_of_any(world, &subjects, &reading) {
                        Concern::Yes => {
                            let of_secret = readings.entry(reading.secret.clone()).or_default();
                            of_secret.versions.insert(reading.version);
                            if of_secret.last.as_ref().is_none_or(|(last, _)| last.seq < reading.seq) {
                                of_secret.last = Some((reading, entry.time.to_string()));
                            }
                        }
                        Concern::Unknown => unknown_readings = unknown_readings.saturating_add(1),
                        Concern::No => {}
                    }
                }
            });
            Ok(())
        })?;
        let items = self.touched(scope, readings);
        Ok(TouchedSecretsAnswer { items, since_seq, unknown_readings })
    }

    fn touched(&self, scope: &Scope, readings: BTreeMap<SecretName, Readings>) -> Vec<TouchedSecretAnswer> {
        let mut items: Vec<TouchedSecretAnswer> = self.0.state.store.read(|world, _| {
            let seen = readings.into_values().filter_map(|Readings { last, versions }| {
                let (reading, at) = last?;
                let secret = world.secrets.existing(&reading.secret)?;
                let rotation = world.rotations.of(&reading.secret);
                let overlapping = rotation.filter(|rotation| rotation.declared.slots == Slots::Two);
                scope.covers(secret.owner.as_ref()).then(|| TouchedSecretAnswer {
                    has_rotation: rotation.is_some(),
                    grace_s: overlapping.map(|rotation| rotation.declared.grace_s),
                    previous: rotation.and_then(previous).filter(|one| versions.contains(&one.version)),
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

/// The replaced version that still works beside the current one.
fn previous(rotation: &Rotation) -> Option<PreviousVersionAnswer> {
    let run = rotation.run.as_ref().filter(|run| run.stage == RotationStage::Grace)?;
    let (version, until) = (run.versions.replaced?, run.grace_until?);
    Some(PreviousVersionAnswer { version, until: until.to_string() })
}

/// The terms of readings that may be ones under the subject; none if there are no such readings.
fn terms(subject: &Subject, named: &IncidentSubject) -> Option<Vec<Vec<EntryTerm>>> {
    if matches!(subject, Subject::Operator(_) | Subject::OperatorEnrolment(_)) {
        return None;
    }
    let kind = (EntryField::Kind, SecretRevealed::NAME.to_owned());
    Some(std::iter::once(kind).chain(own_term(subject, named)).map(|term| vec![term]).collect())
}

/// The term of the entries that name the subject in a use of it; none if they do not name it.
pub(super) fn own_term(subject: &Subject, named: &IncidentSubject) -> Option<EntryTerm> {
    match subject {
        Subject::Token(id) => Some((EntryField::Token, id.to_string())),
        Subject::Instance(id) | Subject::Lineage(id) => Some((EntryField::Instance, id.to_string())),
        Subject::Capability(name) => Some((EntryField::Capability, name.to_string())),
        Subject::Secret(name) => Some((EntryField::SecretName, name.to_string())),
        Subject::Agent(_) => named.name.clone().map(|name| (EntryField::Agent, name)),
        Subject::Operator(_)
        | Subject::OperatorEnrolment(_)
        | Subject::Role(_)
        | Subject::Owner(_)
        | Subject::Certificate(_)
        | Subject::Network(_)
        | Subject::Everything => None,
    }
}

fn concern_of_any(world: &World, subjects: &[(Subject, IncidentSubject)], reading: &Reading) -> Concern {
    let mut found = Concern::No;
    for (subject, named) in subjects {
        match concern(world, subject, named.name.as_deref(), reading) {
            Concern::Yes => return Concern::Yes,
            Concern::Unknown => found = Concern::Unknown,
            Concern::No => {}
        }
    }
    found
}

/// Whether the reading was one under the subject, whose agent or operator has this `name`. The entry names the token, the
/// instance and the capability; the records know the rest, also of expired instances.
fn concern(world: &World, subject: &Subject, name: Option<&str>, reading: &Reading) -> Concern {
    match subject {
        Subject::Everything => Concern::Yes,
        Subject::Token(token) => (reading.token == *token).into(),
        Subject::Instance(instance) | Subject::Lineage(instance) => (reading.instance == *instance).into(),
        Subject::Capability(capability) => (reading.capability == *capability).into(),
        Subject::Secret(secret) => (reading.secret == *secret).into(),
        Subject::Agent(id) => {
            // Another agent of this name has other instances.
            let other = world.registry.agent_named(&reading.agent).filter(|agent| agent.id != *id);
            let is_of_other = other.is_some_and(|other| other.instances.get(reading.instance).is_some());
            (name == Some(reading.agent.as_str()) && !is_of_other).into()
        }
        // Operators do not read values.
        Subject::Operator(_) | Subject::OperatorEnrolment(_) => Concern::No,
        Subject::Owner(owner) if is_of(world, owner, reading) => Concern::Yes,
        Subject::Role(_) | Subject::Owner(_) | Subject::Certificate(_) | Subject::Network(_) => {
            let Some(agent) = world.registry.agent_named(&reading.agent) else { return Concern::Unknown };
            let Some(instance) = agent.instances.get(reading.instance) else { return Concern::Unknown };
            let capabilities = [(reading.capability.clone(), String::new())];
            let (token, seq, capabilities) = (reading.token, reading.seq, &capabilities);
            let read = Credential::MintedBefore { token, seq, agent, instance, capabilities };
            is_under(read, records(world), subject).into()
        }
    }
}

/// Whether the owner has the secret or the capability of the reading.
fn is_of(world: &World, owner: &OwnerName, reading: &Reading) -> bool {
    let secret = world.secrets.named(&reading.secret);
    let capability = world.registry.owners().of(&Owned::Capability(reading.capability.clone()));
    secret.and_then(|secret| secret.owner.as_ref()) == Some(owner) || capability == Some(owner)
}
