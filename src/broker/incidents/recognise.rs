//! A leaked text: what it is, whose, whether it is accepted, and who received it. It is compared by the keyed digests
//! that are stored with values: nothing is opened, and the text is neither stored nor logged.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use tokio::runtime::Handle;

use crate::authn::{Credential, OperatorPrincipal, live};
use crate::base::limits::{HEAVY_WAIT_S, INCIDENT_NAMES_MAX, VALUE_CHECK_PAGES_MAX, VALUE_CHECK_VALUES_MAX};
use crate::base::{
    AgentName, Cancellation, ClockReading, Connection, LeaseId, SecretId, SecretName, Sensitive, Timestamp,
};
use crate::broker::administration::heavy::Priority;
use crate::broker::caller_services::AdminServices;
use crate::broker::failure::Failure;
use crate::broker::services::Services;
use crate::broker::world::records;
use crate::crypto::{KeyedDigest, sha256};
use crate::leases::LeaseStage;
use crate::pki::EnrolmentCode;
use crate::policy::{Authorised, CheckValues};
use crate::secrets::{Version, VersionStage};
use crate::token::unverified_claims;
use crate::wire::{
    EntriesQuery, EntryField, EntryFilter, EntryOrder, FieldFilter, NamesAnswer, RecognisedAnswer,
    ValueCheckAnswer,
};

/// Leases that are read at a time, so that no request waits.
const PART: usize = 1000;
/// Longer than every password that an upstream driver makes.
const PASSWORD_BYTES_MAX: usize = 1024;

impl AdminServices {
    /// Recognises `value`. One entry says what was recognised.
    ///
    /// # Errors
    /// [`Failure`] if the entry cannot be written, or a record is damaged.
    pub async fn check_value(
        &self,
        by: &Authorised<CheckValues>,
        value: &Sensitive<String>,
    ) -> Result<ValueCheckAnswer, Failure> {
        let heavy = self.heavy(by)?;
        let (services, operator, runtime) = (self.clone(), by.operator().clone(), Handle::current());
        let value = Sensitive::new(value.expose().clone());
        // On a thread of its own: the threads that answer are for orders to contain and to freeze.
        let compare =
            move |work: &Cancellation| runtime.block_on(services.recognised(&operator, &value, work));
        let Recognised { found, complete } = heavy.run(Priority::Ordinary, compare).await?;
        let seq = self.0.record_recognised(by.operator(), &found).await?;
        Ok(ValueCheckAnswer { found, complete, seq })
    }

    async fn recognised(
        &self,
        operator: &OperatorPrincipal,
        value: &Sensitive<String>,
        work: &Cancellation,
    ) -> Result<Recognised, Failure> {
        let services = &*self.0;
        let mut found = Vec::new();
        found.extend(services.recognised_token(value, operator.connection()).await?);
        found.extend(services.recognised_code(value));
        let texts = candidates(value);
        let (login, mut complete) = services.recognised_login(&texts, work)?;
        found.extend(login);
        let (secrets, is_whole) = services.recognised_versions(&texts, work).await?;
        complete &= is_whole;
        for (secret, version, is_current) in secrets {
            let (received_by, is_whole) = self.receivers(operator, &secret, version, work)?;
            complete &= is_whole;
            found.push(RecognisedAnswer {
                kind: "secret".into(),
                which: secret.to_string(),
                version: Some(version),
                holder: None,
                accepted: is_current,
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
        work: &Cancellation,
    ) -> Result<(NamesAnswer, bool), Failure> {
        let field = |field, text: &str| FieldFilter { field, text: text.to_owned() };
        let fields =
            vec![field(EntryField::Kind, "secret.revealed"), field(EntryField::SecretName, secret.as_str())];
        let filter = EntryFilter { fields, since: None, until: None };
        let mut query = EntriesQuery { order: EntryOrder::Newest, filter, ..EntriesQuery::default() };
        let (mut agents, mut is_whole) = (BTreeSet::new(), false);
        for _ in 0..VALUE_CHECK_PAGES_MAX {
            if is_late(work) {
                break;
            }
            let page = self.entries_for(operator, &query, work)?;
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

/// Whether the search has to end, so that there is an answer.
fn is_late(work: &Cancellation) -> bool {
    work.elapsed() >= Duration::from_secs(HEAVY_WAIT_S / 2)
}

/// The text as it was given, without the line break at its end, and with one: files and programs add and remove it.
fn candidates(value: &Sensitive<String>) -> Vec<Sensitive<Vec<u8>>> {
    let given = value.expose().as_str();
    let bare = given.strip_suffix('\n').map_or(given, |bare| bare.strip_suffix('\r').unwrap_or(bare));
    let mut texts = vec![Sensitive::new(bare.as_bytes().to_vec())];
    texts.push(Sensitive::new([bare.as_bytes(), b"\n"].concat()));
    if given != bare {
        texts.push(Sensitive::new(given.as_bytes().to_vec()));
    }
    texts
}

impl Services {
    /// A token that this broker signed, also an expired one.
    async fn recognised_token(
        &self,
        value: &Sensitive<String>,
        connection: Option<Connection>,
    ) -> Result<Option<RecognisedAnswer>, Failure> {
        let text = value.expose().trim();
        let Ok(claimed) = unverified_claims(text) else { return Ok(None) };
        // As of its issue: a leaked token is often an expired one.
        let then = ClockReading::at(Timestamp::from_s(claimed.iat));
        let Ok(claims) = self.signing.verifier.verify_for_anybody(text, then) else { return Ok(None) };
        let is_expired = claims.exp <= self.state.clock.now().s();
        let accepted = !is_expired && self.counts(&claims, connection).await?;
        Ok(Some(RecognisedAnswer {
            kind: "token".into(),
            which: claims.jti.to_string(),
            version: None,
            holder: Some(claims.sub.to_string()),
            accepted,
            received_by: None,
        }))
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

    /// The password of a login, and whether all were compared. The digests are compared outside of the state.
    fn recognised_login(
        &self,
        texts: &[Sensitive<Vec<u8>>],
        work: &Cancellation,
    ) -> Result<(Option<RecognisedAnswer>, bool), Failure> {
        let (mut compared, mut after): (usize, Option<LeaseId>) = (0, None);
        while compared < VALUE_CHECK_VALUES_MAX && !is_late(work) {
            work.step()?;
            let (part, last) = self.state.store.read(|world, _| {
                let mut leases = world.leases.after(after);
                let (mut part, mut last) = (Vec::new(), None);
                for lease in leases.by_ref().take(PART) {
                    last = Some(lease.id);
                    let digest = match &lease.stage {
                        LeaseStage::Live { digest, .. } => Some(*digest),
                        LeaseStage::Ending(ending) => ending.digest,
                        LeaseStage::Intended => None,
                    };
                    part.extend(digest.map(|digest| (lease.id, lease.holder.agent_name.clone(), digest)));
                }
                (part, leases.next().and(last))
            });
            let short: Vec<_> =
                texts.iter().filter(|text| text.expose().len() <= PASSWORD_BYTES_MAX).collect();
            let is_it = |digest: &KeyedDigest| {
                short.iter().any(|text| self.values.digests.recognises(digest, text.expose()))
            };
            let found = part.into_iter().find(|(.., digest)| is_it(digest));
            compared = compared.saturating_add(PART);
            if found.is_some() || last.is_none() {
                return Ok((found.map(|(lease, agent, _)| login(lease, &agent)), true));
            }
            after = last;
        }
        Ok((None, false))
    }

    /// The versions of secrets with this value, and whether all were compared. A destroyed version is not.
    async fn recognised_versions(
        &self,
        texts: &[Sensitive<Vec<u8>>],
        work: &Cancellation,
    ) -> Result<(Vec<(SecretName, u32, bool)>, bool), Failure> {
        let (versions, mut is_whole) = self.state.store.read(|world, _| {
            let kept = world.secrets.all().flat_map(|secret| {
                let kept = secret.versions().filter(|version| version.stage != VersionStage::Destroyed);
                kept.map(|version| (secret.name.clone(), secret.id, version))
            });
            let mut kept: Vec<(SecretName, SecretId, Version)> =
                kept.take(VALUE_CHECK_VALUES_MAX.saturating_add(1)).collect();
            let is_whole = kept.len() <= VALUE_CHECK_VALUES_MAX;
            kept.truncate(VALUE_CHECK_VALUES_MAX);
            (kept, is_whole)
        });
        let mut found = Vec::new();
        for (name, id, version) in versions {
            work.step()?;
            if is_late(work) || found.len() >= INCIDENT_NAMES_MAX {
                return Ok((found, false));
            }
            match self.is_version(id, version, texts).await {
                Ok(true) => found.push((name, version.number, version.stage == VersionStage::Current)),
                Ok(false) => {}
                // One that cannot be read hides no other one.
                Err(failure) => {
                    tracing::warn!(secret = %name, version = version.number, code = %failure.code, "a version could not be compared with a leaked text");
                    is_whole = false;
                }
            }
        }
        Ok((found, is_whole))
    }

    async fn is_version(
        &self,
        id: SecretId,
        version: Version,
        texts: &[Sensitive<Vec<u8>>],
    ) -> Result<bool, Failure> {
        let stored = self.stored_version(id, version).await?;
        for text in texts {
            if self.signing.issuer.recognises(id, version.number, &stored, text.expose())? {
                return Ok(true);
            }
        }
        Ok(false)
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
        received_by: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_compared_with_and_without_its_line_break() {
        for given in ["hunter2", "hunter2\n", "hunter2\r\n"] {
            let texts = candidates(&Sensitive::new(given.to_owned()));
            let has = |text: &[u8]| texts.iter().any(|one| one.expose() == text);
            assert!(has(b"hunter2") && has(b"hunter2\n") && has(given.as_bytes()), "{given:?}");
        }
    }
}
