//! A report about a subject for a responder: what it could reach, what it reached, what it holds, and what is unusual.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::activity::{Activity, Actors, Readings, Seen};
use super::held_credentials::{held_by_agent, held_by_operator};
use super::subjects::FoundSubject;
use super::views::subject_answer;
use crate::base::limits::{
    HEAVY_WAIT_S, INCIDENT_NAMES_MAX, PAGE_ENTRIES_MAX, REPORT_BASELINE_S, REPORT_ENTRIES_READ_MAX,
};
use crate::base::{
    AgentName, Cancellation, CapabilityName, InstanceId, MOMENT_FORMS, Moment, RoleName, Scope, SecretName,
    SubjectName, Timestamp, code,
};
use crate::broker::caller_services::AdminServices;
use crate::broker::failure::Failure;
use crate::broker::identity::revoke::agent_with;
use crate::broker::world::World;
use crate::policy::{Authorised, ReadLedger};
use crate::postings::TimeSpan;
use crate::quota::LastRefusal;
use crate::registry::{Agent, Delivery, Owned};
use crate::revocation::Subject;
use crate::wire::{
    EntriesQuery, EntryField, EntryFilter, EntryOrder, FieldFilter, NamesAnswer, ReachableCapabilityAnswer,
    ReachedSecretAnswer, RefusedCertificatesAnswer, ReportedEntries, SubjectAnswer, SubjectReportAnswer,
};

/// Agents that are read at a time, so that no request waits.
const PART: usize = 1000;
/// Time after which a report has the entries that were read until then.
const REPORT_WAIT: Duration = Duration::from_secs(HEAVY_WAIT_S / 2);

/// A report whose subject was found.
#[derive(Clone, Debug)]
pub struct WantedReport {
    subject: SubjectName,
    named: SubjectAnswer,
    since: Timestamp,
    /// The entries of the report.
    pub query: EntriesQuery,
}

impl AdminServices {
    /// The report about `subject` that the operator may get.
    ///
    /// # Errors
    /// [`Failure`] if no subject within the scope has this name, or entries are not found by subjects of this kind.
    pub fn wanted_report(
        &self,
        by: &Authorised<ReadLedger>,
        subject: &SubjectName,
        since: &str,
    ) -> Result<WantedReport, Failure> {
        let scope = by.operator().scope();
        let named = self.0.state.store.read(|world, _| {
            FoundSubject::find(world, scope, subject).map(|found| subject_answer(&found.named))
        })?;
        let text = subject.name().or_else(|| subject.id()).unwrap_or_default();
        let fields = field_of(subject)?.map(|field| FieldFilter { field, text }).into_iter().collect();
        let filter = EntryFilter { fields, since: Some(since.to_owned()), until: None };
        let query = EntriesQuery { order: EntryOrder::Newest, filter, ..EntriesQuery::default() };
        Ok(WantedReport {
            subject: subject.clone(),
            named,
            since: moment(since, self.0.state.clock.now())?,
            query,
        })
    }

    /// Makes the report. Changes nothing.
    ///
    /// # Errors
    /// [`Failure`] if the ledger is damaged.
    pub fn subject_report(
        &self,
        by: &Authorised<ReadLedger>,
        wanted: &WantedReport,
        work: &Cancellation,
    ) -> Result<SubjectReportAnswer, Failure> {
        let (now, scope, since) = (self.0.state.clock.now(), by.operator().scope(), wanted.since);
        let is_operator = matches!(wanted.subject, SubjectName::Operator(_));
        let is_actor = is_operator || matches!(wanted.subject, SubjectName::Agent(_));
        let actor = if is_actor { wanted.subject.name() } else { wanted.named.agent.clone() };
        let actors = wanted.actors(actor.as_deref());
        let (activity, entries) = self.activity_of(by, wanted, span(since, now), actors, work)?;
        let begin = since.plus_s(REPORT_BASELINE_S.saturating_neg());
        let end = Timestamp::from_ms(since.ms().saturating_sub(1));
        let (before, baseline) = self.activity_of(by, wanted, span(begin, end), actors, work)?;
        let agent = wanted.agent();
        let (capabilities, mut credentials) = self.0.state.store.read(|world, _| {
            if let SubjectName::Operator(name) = &wanted.subject {
                let operator = world.operators.named(name);
                let held = operator.map(|operator| held_by_operator(world, operator, now));
                return (Vec::new(), held.unwrap_or_default());
            }
            let agent = agent.as_ref().and_then(|agent| agent.in_records(world));
            let Some(agent) = agent else { return (Vec::new(), Vec::new()) };
            (reachable(world, scope, agent, &activity), held_by_agent(world, agent, &activity.tokens, now))
        });
        credentials.sort_by_key(|one| Reverse(one.accepted));
        let mut left = LeftOut(0);
        Ok(SubjectReportAnswer {
            subject: wanted.named.clone(),
            since: since.to_string(),
            until: now.to_string(),
            entries,
            baseline,
            denied: activity.denied,
            refused: self.with_pending(activity.refused.clone(), actor.as_deref()),
            unusual: activity.unusual(&before),
            acts: if is_operator { left.cut(activity.acts()) } else { Vec::new() },
            secrets: left.cut(self.reached_secrets(scope, &activity.secrets, work)?),
            services: left.cut(activity.services()),
            logins: left.cut(activity.logins()),
            sources: left.cut(activity.sources()),
            credentials: left.cut(credentials),
            capabilities: left.cut(capabilities),
            left_out: left.0,
        })
    }

    /// The refusals that entries count, and those since the newest summary, which no entry has yet.
    fn with_pending(
        &self,
        recorded: Option<RefusedCertificatesAnswer>,
        actor: Option<&str>,
    ) -> Option<RefusedCertificatesAnswer> {
        let pending = self
            .0
            .notifications
            .refusals
            .pending(|caller| actor.is_some_and(|actor| caller.name.as_deref() == Some(actor)));
        let Some(LastRefusal { count, at, source }) = pending else { return recorded };
        let before = recorded.map_or(0, |recorded| recorded.count);
        Some(RefusedCertificatesAnswer {
            count: before.saturating_add(count),
            last_at: at.to_string(),
            last_source: source.to_string(),
        })
    }

    /// The entries about the subject of this time, the newest first.
    fn activity_of(
        &self,
        by: &Authorised<ReadLedger>,
        wanted: &WantedReport,
        times: TimeSpan,
        actors: Actors<'_>,
        work: &Cancellation,
    ) -> Result<(Activity, ReportedEntries), Failure> {
        let mut query = wanted.query.clone();
        query.filter.since = times.since.map(|since| since.to_string());
        query.filter.until = times.until.map(|until| until.to_string());
        query.limit = Some(PAGE_ENTRIES_MAX);
        let mut activity = Activity::default();
        loop {
            let page = self.entries_for(by.operator(), &query, work)?;
            page.items.iter().for_each(|entry| activity.add(entry, actors));
            query.before = page.next_before;
            let (read, complete) = (activity.entries, page.next_before.is_none());
            if complete || read >= REPORT_ENTRIES_READ_MAX || work.elapsed() >= REPORT_WAIT {
                return Ok((activity, ReportedEntries { read, complete }));
            }
        }
    }

    /// The secrets that were read, each with the agents that read it, and those that can.
    fn reached_secrets(
        &self,
        scope: &Scope,
        read: &BTreeMap<(String, u64), Readings>,
        work: &Cancellation,
    ) -> Result<Vec<ReachedSecretAnswer>, Failure> {
        let names: BTreeSet<SecretName> = read.keys().filter_map(|(secret, _)| secret.parse().ok()).collect();
        let can_read = self.possible_readers(scope, &names, work)?;
        Ok(self.0.state.store.read(|world, _| {
            let answer = |((secret, version), readings): (&(String, u64), &Readings)| {
                let name = secret.parse::<SecretName>().ok();
                let known = name.as_ref().and_then(|name| world.secrets.existing(name));
                let current = known.and_then(|secret| secret.current);
                let stored = known.zip(u32::try_from(*version).ok());
                let stored = stored.and_then(|(secret, number)| secret.version(number));
                let Seen { first, last, count } = readings.seen.clone();
                ReachedSecretAnswer {
                    secret: secret.clone(),
                    version: *version,
                    stored_at: stored.map(|stored| stored.stored_at.to_string()),
                    first,
                    last,
                    count,
                    is_current: current.is_some_and(|current| u64::from(current.number) == *version),
                    has_rotation: name.as_ref().is_some_and(|name| world.rotations.of(name).is_some()),
                    readers: readings.readers(),
                    can_read: name
                        .and_then(|name| can_read.get(&name).cloned())
                        .unwrap_or(NamesAnswer { count: 0, names: Vec::new() }),
                }
            };
            read.iter().map(answer).collect()
        }))
    }

    /// The agents that can read each of these secrets: all of them for a secret within the scope, and otherwise those within
    /// the scope.
    fn possible_readers(
        &self,
        scope: &Scope,
        secrets: &BTreeSet<SecretName>,
        work: &Cancellation,
    ) -> Result<BTreeMap<SecretName, NamesAnswer>, Failure> {
        let store = &self.0.state.store;
        let mut readers: BTreeMap<SecretName, NamesAnswer> = BTreeMap::new();
        let mut after: Option<AgentName> = None;
        loop {
            work.step()?;
            after = store.read(|world, _| {
                let opening = opening_roles(world, secrets);
                let mut agents = world.registry.agents_after(after.as_ref());
                let mut last = None;
                for agent in agents.by_ref().take(PART) {
                    last = Some(agent.name.clone());
                    if world.revocations.is_blocked(&Subject::Agent(agent.id)) {
                        continue;
                    }
                    let owner = world.registry.owners().of(&Owned::Agent(agent.name.clone()));
                    let is_within = scope.covers(owner);
                    let opened: BTreeSet<&SecretName> =
                        agent.roles.iter().filter_map(|role| opening.get(role)).flatten().copied().collect();
                    for secret in opened {
                        let owner = world.secrets.named(secret).and_then(|one| one.owner.as_ref());
                        if !is_within && !scope.covers(owner) {
                            continue;
                        }
                        let none = || NamesAnswer { count: 0, names: Vec::new() };
                        let known = readers.entry(secret.clone()).or_insert_with(none);
                        known.count = known.count.saturating_add(1);
                        if known.names.len() < INCIDENT_NAMES_MAX {
                            known.names.push(agent.name.to_string());
                        }
                    }
                }
                agents.next().and(last)
            });
            if after.is_none() {
                return Ok(readers);
            }
        }
    }
}

impl WantedReport {
    /// Whose entries are the activity of the subject; `actor` is the agent or operator of it, if it has one.
    const fn actors<'a>(&self, actor: Option<&'a str>) -> Actors<'a> {
        match (actor, &self.subject) {
            (Some(actor), _) => Actors::One(actor),
            (None, SubjectName::Secret(_) | SubjectName::Token(_)) => Actors::Agents,
            (None, _) => Actors::Any,
        }
    }

    /// The agent that it is about.
    fn agent(&self) -> Option<ReportedAgent> {
        if let SubjectName::Agent(name) = &self.subject {
            return Some(ReportedAgent::Named(name.clone()));
        }
        if let SubjectName::Instance(id) = &self.subject {
            return Some(ReportedAgent::OfInstance(*id));
        }
        None
    }
}

enum ReportedAgent {
    Named(AgentName),
    OfInstance(InstanceId),
}

impl ReportedAgent {
    fn in_records<'w>(&self, world: &'w World) -> Option<&'w Agent> {
        match self {
            Self::Named(name) => world.registry.agent_named(name),
            Self::OfInstance(id) => agent_with(world, *id),
        }
    }
}

/// The number of items that lists do not have.
struct LeftOut(u64);

impl LeftOut {
    fn cut<T>(&mut self, mut items: Vec<T>) -> Vec<T> {
        self.0 = self.0.saturating_add(items.len().saturating_sub(INCIDENT_NAMES_MAX) as u64);
        items.truncate(INCIDENT_NAMES_MAX);
        items
    }
}

/// From `since` to `until`.
const fn span(since: Timestamp, until: Timestamp) -> TimeSpan {
    TimeSpan { since: Some(since), until: Some(until) }
}

/// The moment in `text`, seen from `now`.
fn moment(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    let found = Moment::parse(text).map(|moment| moment.seen_from(now));
    found.ok_or_else(|| Failure::new(code::JSON_INVALID).because(format!("`since` is not {MOMENT_FORMS}")))
}

/// The field by which entries about the subject are found; none for everything.
fn field_of(subject: &SubjectName) -> Result<Option<EntryField>, Failure> {
    let fix = match subject {
        SubjectName::Agent(_) => return Ok(Some(EntryField::Agent)),
        SubjectName::Instance(_) => return Ok(Some(EntryField::Instance)),
        SubjectName::Operator(_) => return Ok(Some(EntryField::Operator)),
        SubjectName::Owner(_) => return Ok(Some(EntryField::Owner)),
        SubjectName::Capability(_) => return Ok(Some(EntryField::Capability)),
        SubjectName::Secret(_) => return Ok(Some(EntryField::SecretName)),
        SubjectName::Token(_) => return Ok(Some(EntryField::Token)),
        SubjectName::Network(_) => return Ok(Some(EntryField::Source)),
        SubjectName::Everything => return Ok(None),
        SubjectName::Role(_) => {
            "name each agent that has the role, `agent/NAME`, or a capability of it, `capability/NAME`: \
             `keyward agent list` and `keyward role show ROLE` show them"
        }
        SubjectName::Certificate(_) => "name the agent, operator or instance that has the certificate",
    };
    let why = format!("entries of the ledger do not name a {}", subject.kind());
    Err(Failure::new(code::SUBJECT_FORM_UNKNOWN).because(why).mended_by(fix))
}

/// The roles whose holders may read one of these secrets.
fn opening_roles<'s>(
    world: &World,
    secrets: &'s BTreeSet<SecretName>,
) -> BTreeMap<RoleName, BTreeSet<&'s SecretName>> {
    let declarations = world.registry.declarations();
    let opened = |name: &CapabilityName| {
        declarations.capability(name)?.delivery.secret().and_then(|one| secrets.get(one))
    };
    let roles = declarations.roles().map(|role| {
        let secrets: BTreeSet<&SecretName> = role.capabilities.iter().filter_map(opened).collect();
        (role.name.clone(), secrets)
    });
    roles.filter(|(_, secrets)| !secrets.is_empty()).collect()
}

/// The capabilities of the agent within the scope.
fn reachable(
    world: &World,
    scope: &Scope,
    agent: &Agent,
    activity: &Activity,
) -> Vec<ReachableCapabilityAnswer> {
    let (declarations, owners) = (world.registry.declarations(), world.registry.owners());
    let names: BTreeSet<&CapabilityName> = declarations.capabilities_of(&*agent.roles).collect();
    let within =
        names.into_iter().filter(|name| scope.covers(owners.of(&Owned::Capability((*name).clone()))));
    let declared = within.filter_map(|name| declarations.capability(name));
    let answer = declared.map(|capability| ReachableCapabilityAnswer {
        capability: capability.name.to_string(),
        access: capability.access.as_str().into(),
        delivery: capability.delivery.as_str().into(),
        target: match &capability.delivery {
            Delivery::Mint { audience } => Some(audience.to_string()),
            Delivery::Reveal { secret } => Some(secret.to_string()),
            Delivery::Lease => None,
        },
        used: activity.used(capability.name.as_str()),
    });
    answer.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_items_are_listed_and_the_rest_is_counted() {
        let mut left = LeftOut(0);
        assert_eq!(left.cut(vec![0_u8; INCIDENT_NAMES_MAX]).len(), INCIDENT_NAMES_MAX);
        assert_eq!(left.0, 0);
        assert_eq!(left.cut(vec![0_u8; INCIDENT_NAMES_MAX + 1]).len(), INCIDENT_NAMES_MAX);
        assert_eq!(left.0, 1);
        const { assert!(REPORT_ENTRIES_READ_MAX as usize >= PAGE_ENTRIES_MAX) };
        const { assert!(REPORT_BASELINE_S == 30 * 24 * 3600) };
    }
}
