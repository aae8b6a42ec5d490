//! A leaked text: what it is, whose, whether it is accepted, and who received it. It is compared by the keyed digests
//! that are stored with values: nothing is opened, and the text is neither stored nor logged.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::authn::{Credential, live};
use crate::base::limits::{INCIDENT_NAMES_MAX, VALUE_CHECK_PAGES_MAX, VALUE_CHECK_VALUES_MAX};
use crate::base::{Cancellation, ClockReading, LeaseId, SecretId, SecretName, Sensitive, Timestamp};
use crate::broker::caller_services::AdminServices;
use crate::broker::failure::Failure;
use crate::broker::services::Services;
use crate::broker::world::records;
use crate::crypto::sha256;
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
        let _heavy = self.heavy(by)?;
        let services = &*self.0;
        let mut found = Vec::new();
        found.extend(services.recognised_token(value).await?);
        found.extend(services.recognised_code(value));
        let (login, has_all_logins) = services.recognised_login(value);
        found.extend(login);
        let (secrets, has_all_versions) = services.recognised_versions(value).await?;
        for (secret, version, is_current) in secrets {
            let received_by = Some(self.receivers(by, &secret, version)?);
            found.push(RecognisedAnswer {
                kind: "secret".into(),
                which: secret.to_string(),
                version: Some(version),
                holder: None,
                accepted: is_current,
                received_by,
            });
        }
        let seq = services.record_recognised(by.operator(), &found).await?;
        Ok(ValueCheckAnswer { found, complete: has_all_logins && has_all_versions, seq })
    }

    /// The agents that read this version, by the newest entries about the secret.
    fn receivers(
        &self,
        by: &Authorised<CheckValues>,
        secret: &SecretName,
        version: u32,
    ) -> Result<NamesAnswer, Failure> {
        let field = |field, text: &str| FieldFilter { field, text: text.to_owned() };
        let fields =
            vec![field(EntryField::Kind, "secret.revealed"), field(EntryField::SecretName, secret.as_str())];
        let filter = EntryFilter { fields, since: None, until: None };
        let mut query = EntriesQuery { order: EntryOrder::Newest, filter, ..EntriesQuery::default() };
        let mut agents = BTreeSet::new();
        for _ in 0..VALUE_CHECK_PAGES_MAX {
            let page = self.entries(by, &query, &Cancellation::new())?;
            for entry in page.items.iter().filter(|entry| {
                entry.event.get("version").and_then(Value::as_u64) == Some(u64::from(version))
            }) {
                agents.extend(entry.event.get("agent").and_then(Value::as_str).map(str::to_owned));
            }
            query.before = page.next_before;
            if query.before.is_none() {
                break;
            }
        }
        let count = agents.len();
        Ok(NamesAnswer { count, names: agents.into_iter().take(INCIDENT_NAMES_MAX).collect() })
    }
}

impl Services {
    /// A token that this broker signed, also an expired one.
    async fn recognised_token(&self, value: &Sensitive<String>) -> Result<Option<RecognisedAnswer>, Failure> {
        let text = value.expose().trim();
        let Ok(claimed) = unverified_claims(text) else { return Ok(None) };
        // As of its issue: a leaked token is often an expired one.
        let then = ClockReading::at(Timestamp::from_s(claimed.iat));
        let Ok(claims) = self.signing.verifier.verify_for_anybody(text, then) else { return Ok(None) };
        let is_expired = claims.exp <= self.state.clock.now().s();
        let accepted = !is_expired && self.counts(&claims).await?;
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

    /// The password of a login, and whether all were compared.
    fn recognised_login(&self, value: &Sensitive<String>) -> (Option<RecognisedAnswer>, bool) {
        let (mut compared, mut after): (usize, Option<LeaseId>) = (0, None);
        while compared < VALUE_CHECK_VALUES_MAX {
            let (found, last) = self.state.store.read(|world, _| {
                let mut leases = world.leases.after(after);
                let mut last = None;
                for lease in leases.by_ref().take(PART) {
                    last = Some(lease.id);
                    let digest = match &lease.stage {
                        LeaseStage::Live { digest, .. } => Some(*digest),
                        LeaseStage::Ending(ending) => ending.digest,
                        LeaseStage::Intended => None,
                    };
                    let is_it = |digest| self.values.digests.recognises(&digest, value.expose().as_bytes());
                    if digest.is_some_and(is_it) {
                        return (
                            Some(RecognisedAnswer {
                                kind: "login".into(),
                                which: lease.id.to_string(),
                                version: None,
                                holder: Some(lease.holder.agent_name.to_string()),
                                // Also while it is being revoked.
                                accepted: true,
                                received_by: None,
                            }),
                            None,
                        );
                    }
                }
                (None, leases.next().and(last))
            });
            compared = compared.saturating_add(PART);
            if found.is_some() || last.is_none() {
                return (found, true);
            }
            after = last;
        }
        (None, false)
    }

    /// The versions of secrets with this value, and whether all were compared. A destroyed version is not.
    async fn recognised_versions(
        &self,
        value: &Sensitive<String>,
    ) -> Result<(Vec<(SecretName, u32, bool)>, bool), Failure> {
        let (versions, is_whole) = self.state.store.read(|world, _| {
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
            let stored = self.stored_version(id, version).await?;
            let candidate = value.expose().as_bytes();
            if self.signing.issuer.recognises(id, version.number, &stored, candidate)? {
                found.push((name, version.number, version.stage == VersionStage::Current));
            }
        }
        Ok((found, is_whole))
    }
}
