//! A leaked text: what it is, whose, whether it is accepted, and who received it. It is compared by the keyed digests
//! that are stored with values: nothing is opened, and the text is neither stored nor logged.

use std::collections::BTreeSet;

use serde_json::Value;
use tokio::runtime::Handle;

use super::known_values::{Comparison, Covered, KnownVersion, UpstreamStanding, candidates};
use super::pasted_text::PastedText;
use crate::authn::{Credential, OperatorPrincipal, live};
use crate::base::limits::{INCIDENT_NAMES_MAX, VALUE_CHECK_PAGES_MAX};
use crate::base::{
    AgentName, Cancellation, ClockReading, Connection, LeaseId, SecretName, Sensitive, Stopwatch, Timestamp,
};
use crate::broker::administration::heavy::Priority;
use crate::broker::caller_services::AdminServices;
use crate::broker::failure::Failure;
use crate::broker::identity::revoke::agent_with;
use crate::broker::services::Services;
use crate::broker::world::records;
use crate::crypto::sha256;
use crate::pki::EnrolmentCode;
use crate::policy::{Authorised, CheckValues};
use crate::token::{Claims, TokenError, unverified_claims};
use crate::wire::{
    EntriesQuery, EntryField, EntryFilter, EntryOrder, FieldFilter, NamesAnswer, RecognisedAnswer,
    ValueCheckAnswer,
};

impl AdminServices {
    /// Recognises `value` and its parts. Each compared part counts as a guess. One entry says what was recognised.
    ///
    /// # Errors
    /// [`Failure`] if the operator asks too often, the entry cannot be written, or a record is damaged.
    pub async fn check_value(
        &self,
        by: &Authorised<CheckValues>,
        value: &Sensitive<String>,
    ) -> Result<ValueCheckAnswer, Failure> {
        let heavy = self.heavy(by)?;
        let pasted = PastedText::of(value);
        self.0.values.checks.ask(&by.operator().id(), pasted.guesses())?;
        let (services, operator, runtime) = (self.clone(), by.operator().clone(), Handle::current());
        // On a thread of its own: the threads that answer are for orders to contain and to freeze.
        let compare =
            move |work: &Cancellation| runtime.block_on(services.recognised(&operator, &pasted, work));
        let Recognised { found, complete } = heavy.run(Priority::Ordinary, compare).await?;
        let seq = self.0.record_recognised(by.operator(), &found).await?;
        Ok(ValueCheckAnswer { found, complete, seq })
    }

    async fn recognised(
        &self,
        operator: &OperatorPrincipal,
        pasted: &PastedText,
        work: &Cancellation,
    ) -> Result<Recognised, Failure> {
        let services = &*self.0;
        let mut found = Vec::new();
        for credential in &pasted.credentials {
            found.extend(services.recognised_token(credential, operator.connection()).await?);
            found.extend(services.recognised_code(credential));
        }
        // A word with the form of a token may be a stored value: no one guesses it, so that it is no guess.
        let texts: Vec<_> = pasted.values.iter().chain(&pasted.credentials).flat_map(candidates).collect();
        let (scope, begun) = (operator.scope(), Stopwatch::start());
        let comparison = Comparison { texts: &texts, scope, work, begun };
        let (known, mut covered) = services.known_login(&comparison)?;
        found.extend(known.map(|(lease, agent)| login(lease, &agent)));
        let (secrets, of_versions) = services.known_versions(&comparison).await?;
        covered = covered.max(of_versions);
        let mut complete = covered == Covered::All && pasted.is_whole;
        for KnownVersion { secret, version, standing } in secrets {
            let (received_by, is_whole) = self.receivers(operator, &secret, version, &comparison)?;
            complete &= is_whole;
            found.push(RecognisedAnswer {
                kind: "secret".into(),
                which: secret.to_string(),
                version: Some(version),
                holder: None,
                accepted: standing == UpstreamStanding::Accepted,
                note: standing.note().map(Into::into),
                received_by: Some(received_by),
            });
        }
        Ok(Recognised { found, complete })
    }

    /// The agents that read this version, by the newest entries about the secret; and whether these are all.
    fn receivers(
        &self,
        operator: &OperatorPrincipal,
        secret: &SecretName,
        version: u32,
        comparison: &Comparison<'_>,
    ) -> Result<(NamesAnswer, bool), Failure> {
        let field = |field, text: &str| FieldFilter { field, text: text.to_owned() };
        let fields =
            vec![field(EntryField::Kind, "secret.revealed"), field(EntryField::SecretName, secret.as_str())];
        let filter = EntryFilter { fields, since: None, until: None };
        let mut query = EntriesQuery { order: EntryOrder::Newest, filter, ..EntriesQuery::default() };
        let (mut agents, mut is_whole) = (BTreeSet::new(), false);
        for _ in 0..VALUE_CHECK_PAGES_MAX {
            if comparison.is_late() {
                break;
            }
            let page = self.entries_for(operator, &query, comparison.work)?;
            for entry in page.items.iter().filter(|entry| {
                entry.event.get("version").and_then(Value::as_u64) == Some(u64::from(version))
            }) {
                agents.extend(entry.event.get("agent").and_then(Value::as_str).map(str::to_owned));
            }
            query.before = page.next_before;
            if query.before.is_none() {
                is_whole = true;
                break;
            }
        }
        let count = agents.len();
        let names = agents.into_iter().take(INCIDENT_NAMES_MAX).collect();
        Ok((NamesAnswer { count, names }, is_whole))
    }
}

/// What a text is, and whether everything was searched.
struct Recognised {
    found: Vec<RecognisedAnswer>,
    complete: bool,
}

impl Services {
    /// A token that this broker signed, also an expired one.
    async fn recognised_token(
        &self,
        value: &Sensitive<String>,
        connection: Option<Connection>,
    ) -> Result<Option<RecognisedAnswer>, Failure> {
        let text = value.expose();
        let Ok(claimed) = unverified_claims(text) else { return Ok(None) };
        // As of its issue: a leaked token is often an expired one.
        let then = ClockReading::at(Timestamp::from_s(claimed.iat));
        let (which, holder, accepted) = match self.signing.verifier.verify_for_anybody(text, then) {
            Ok(claims) => {
                let is_expired = claims.exp <= self.state.clock.now().s();
                let accepted = !is_expired && self.counts(&claims, connection).await?;
                (claims.jti, Some(claims.sub.to_string()), accepted)
            }
            // The key that signed it may be removed: then the entry of its issue says the same.
            Err(TokenError::UnknownKey) if self.has_issued(&claimed)? => {
                let holder = self.state.store.read(|world, _| {
                    let agent = agent_with(world, claimed.instance)?;
                    Some(self.agent_spiffe(&agent.name, agent.kind()).to_string())
                });
                (claimed.jti, holder, false)
            }
            Err(_) => return Ok(None),
        };
        Ok(Some(RecognisedAnswer {
            kind: "token".into(),
            which: which.to_string(),
            version: None,
            holder,
            accepted,
            note: None,
            received_by: None,
        }))
    }

    /// Whether the ledger has the issue of a token with these claims.
    fn has_issued(&self, claims: &Claims) -> Result<bool, Failure> {
        Ok(self.minted(claims)?.is_some_and(|minted| minted.issued(claims)))
    }

    /// An enrolment code of this broker.
    fn recognised_code(&self, value: &Sensitive<String>) -> Option<RecognisedAnswer> {
        let code = EnrolmentCode::parse(value.expose()).ok()?;
        let (hash, now) = (sha256(code.secret.expose()), self.state.clock.now());
        self.state.store.read(|world, _| {
            let answer = |holder: String, accepted| RecognisedAnswer {
                kind: "enrolment-code".into(),
                which: code.id.to_string(),
                version: None,
                holder: Some(holder),
                accepted,
                note: None,
                received_by: None,
            };
            let of_agent = world.registry.code(code.id).filter(|known| known.hash == hash);
            if let Some(known) = of_agent {
                let holder = world.registry.agent(known.agent).map(|agent| agent.name.to_string());
                let is_live = live(Credential::Code { code: known, from: None }, records(world)).is_ok();
                let accepted = is_live && now < known.expires_at && !known.is_used_up();
                return Some(answer(holder.unwrap_or_default(), accepted));
            }
            let known = world.operators.code(code.id).filter(|known| known.hash == hash)?;
            let is_live = live(Credential::OperatorCode { code: known, from: None }, records(world)).is_ok();
            let accepted = is_live && now < known.expires_at && known.redeemed.is_none();
            Some(answer(known.operator.to_string(), accepted))
        })
    }
}

fn login(lease: LeaseId, agent: &AgentName) -> RecognisedAnswer {
    RecognisedAnswer {
        kind: "login".into(),
        which: lease.to_string(),
        version: None,
        holder: Some(agent.to_string()),
        // Also while it is being revoked.
        accepted: true,
        note: None,
        received_by: None,
    }
}
