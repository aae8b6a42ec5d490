use super::declared_then::{Access, DeclaredThen};
use crate::base::limits::READINGS_LOOKED_AT_MAX;
use crate::base::{AgentName, Cancellation, MOMENT_FORMS, Moment, SecretName, Timestamp, code};
use crate::broker::administration::entry_reads::TermSearch;
use crate::broker::caller_services::AdminServices;
use crate::broker::failure::Failure;
use crate::broker::world::World;
use crate::policy::{Authorised, ReadSecretNames};
use crate::postings::TimeSpan;
use crate::registry::Owned;
use crate::wire::{EntryField, SecretAccessAnswer, SecretAccessBody, SecretAccessOfAgent};

impl AdminServices {
    /// The agents that could read the secret `name` at a past time, by the declarations of then. The secret may be deleted
    /// since.
    ///
    /// # Errors
    /// [`Failure`] if there is no such secret within the scope, or the time is none of the past.
    pub fn access_then(
        &self,
        by: &Authorised<ReadSecretNames>,
        name: &SecretName,
        body: &SecretAccessBody,
        work: &Cancellation,
    ) -> Result<SecretAccessAnswer, Failure> {
        let (scope, store) = (by.operator().scope(), &self.0.state.store);
        let at = past(&body.at, self.0.state.clock.now())?;
        let is_within = |world: &World| {
            world.secrets.named(name).is_some_and(|secret| scope.covers(secret.owner.as_ref()))
        };
        if !store.read(|world, _| is_within(world)) {
            return Err(Failure::new(code::SECRET_UNKNOWN));
        }
        let kinds = DeclaredThen::EVENTS.map(|kind| (EntryField::Kind, kind.to_owned()));
        let search = TermSearch {
            store,
            any: vec![vec![kinds.to_vec()]],
            from: 1,
            through: store.head().seq,
            times: TimeSpan { since: None, until: Some(at) },
            most: READINGS_LOOKED_AT_MAX,
        };
        let mut events = Vec::new();
        let since_seq = search.run(work, |entries| {
            let of_then = entries.iter().filter(|entry| entry.time <= at);
            events.extend(of_then.map(|entry| (entry.seq, entry.kind, entry.event.clone())));
            Ok(())
        })?;
        events.sort_unstable_by_key(|(seq, ..)| *seq);
        let mut then = DeclaredThen::default();
        for (seq, kind, event) in &events {
            work.step()?;
            then.follow(*seq, *kind, event);
        }
        let found = then.with_access_to(name.as_str());
        let all = found.len();
        let items: Vec<SecretAccessOfAgent> = store.read(|world, _| {
            let owners = world.registry.owners();
            // An agent that is gone has no owner any more: only the scope `all` covers it.
            let is_shown = |one: &Access| {
                let agent = one.agent.parse::<AgentName>().ok();
                let owner = agent.and_then(|agent| owners.of(&Owned::Agent(agent)));
                scope.covers(owner)
            };
            found.into_iter().filter(is_shown).map(answer).collect()
        });
        let begins = self.begins_after(name, at)?;
        Ok(SecretAccessAnswer {
            at: at.to_string(),
            before: begins.map(|(what, _)| what.into()),
            begins_at: begins.map(|(_, begins)| begins.to_string()),
            complete: since_seq <= 1 && then.incomplete.is_empty(),
            hidden: all.saturating_sub(items.len()),
            items,
            since_seq,
            incomplete: then.incomplete,
        })
    }

    /// What began after `at`, and when: the ledger, or the secret with its first version.
    ///
    /// # Errors
    /// [`Failure`] if the ledger is damaged.
    fn begins_after(
        &self,
        name: &SecretName,
        at: Timestamp,
    ) -> Result<Option<(&'static str, Timestamp)>, Failure> {
        let store = &self.0.state.store;
        let first = store.entries(1, 1)?.first().map(|entry| entry.time);
        if let Some(first) = first.filter(|first| at < *first) {
            return Ok(Some(("ledger", first)));
        }
        let stored = store.read(|world, _| {
            let first = world.secrets.named(name).and_then(|secret| secret.version(1));
            first.map(|version| version.stored_at)
        });
        Ok(stored.filter(|stored| at < *stored).map(|stored| ("secret", stored)))
    }
}

fn answer(Access { agent, roles, capabilities }: Access) -> SecretAccessOfAgent {
    SecretAccessOfAgent { agent, roles, capabilities }
}

/// The time in `text`, or as long before `now` as it says.
fn past(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    let found = Moment::parse(text).map(|moment| moment.seen_from(now));
    let why = || format!("`at` is not {MOMENT_FORMS}, or it is in the future");
    found.filter(|at| *at <= now).ok_or_else(|| Failure::new(code::JSON_INVALID).because(why()))
}
