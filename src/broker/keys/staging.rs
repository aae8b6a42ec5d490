use crate::base::limits::DOCUMENTS_MAX_AGE_S;
use crate::base::{Timestamp, code};
use crate::broker::changes::{ChangeDraft, ChangeRequest, Initiator, ReadOutcome};
use crate::broker::denial::MemoryRevocation;
use crate::broker::failure::Failure;
use crate::broker::failure::broken;
use crate::broker::keys::behind::named;
use crate::broker::keys::key_order::SigningKey;
use crate::broker::keys::signing_keys::{authority_key, token_key};
use crate::broker::reading::Reading;
use crate::broker::removals::{Ended, Removal, RemovalOrder, Removed};
use crate::broker::retry::{AttemptError, retry_on_conflict};
use crate::broker::services::Services;
use crate::broker::world::Effect;
use crate::custody::RevocationOrder;
use crate::keyring::{Generations, KeyStage, StageError};
use crate::pki::{self, Authority, AuthorityStaged};
use crate::store::{Change, RevocationOutcome};
use crate::token::{self, TokenKeyStaged};

/// A change of the stage of a generation.
#[derive(Clone, Copy, Debug)]
pub struct StageChange {
    /// The key.
    pub key: SigningKey,
    /// The generation.
    pub generation: u32,
    /// Its next stage.
    pub stage: KeyStage,
}

/// Whether a change may lock out holders of older certificates, or verifiers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Force {
    /// No: the change is refused.
    No,
    /// Yes: an operator accepts this.
    Yes,
}

impl StageChange {
    const fn ends(self) -> bool {
        matches!((self.key, self.stage), (_, KeyStage::Revoked) | (SigningKey::Authority, KeyStage::Tainted))
    }

    /// Its effect in memory until the ledger records it. Not for a key that has not signed yet, because it gives no
    /// access and could still become active, and not for the schedule, which can wait.
    fn denial(self, by: Initiator<'_>, reading: &Reading<'_>) -> Option<MemoryRevocation> {
        let mut all = self.key.generations(reading).all();
        let (_, stage_since) = all.find(|(one, _)| *one == self.generation)?;
        let has_signed = matches!(stage_since.stage, KeyStage::Old | KeyStage::Tainted);
        let denial = match self.key {
            SigningKey::Token => MemoryRevocation::token_key(reading.now(), self.generation),
            SigningKey::Authority => {
                MemoryRevocation::authority(reading.now(), self.generation, self.stage == KeyStage::Revoked)
            }
        };
        (has_signed && !matches!(by, Initiator::Schedule)).then_some(denial)
    }

    const fn order(self) -> RevocationOrder {
        match (self.key, self.stage) {
            (SigningKey::Token, _) => RevocationOrder::RevokeTokenKey(self.generation),
            (SigningKey::Authority, KeyStage::Revoked) => RevocationOrder::RevokeAuthority(self.generation),
            (SigningKey::Authority, _) => RevocationOrder::TaintAuthority(self.generation),
        }
    }
}

impl Services {
    /// Makes the next generation; it is published and does not sign yet. The keyring has it before the ledger names
    /// it. After a stop in between, the next attempt uses it.
    pub(crate) async fn prepare_key(
        &self,
        request: ChangeRequest<'_>,
        key: SigningKey,
    ) -> Result<(), Failure> {
        retry_on_conflict!(async {
            let following = |reading: &Reading<'_>| following(key.generations(reading));
            let (generation, preconditions) = match self.state.read_for(request, following)? {
                ReadOutcome::Now(generation, preconditions) => (generation, preconditions),
                ReadOutcome::Before(_) => return Ok(()),
            };
            // Rare and short, so it may block the thread.
            let next = (key.family(), generation);
            self.change_keyring(|keyring| keyring.extension(&self.keyring.path, next, &*self.state.entropy))
                .map_err(|error| Failure::internal(code::KEYRING_FAILED, &error))?;
            let change = StageChange { key, generation, stage: KeyStage::Prepared };
            let change = match key {
                SigningKey::Token => self.token_key_change(request.by, change, &self.kid(generation)?)?,
                SigningKey::Authority => self.prepared_authority(request.by, change)?,
            };
            self.state.commit_draft(request, ChangeDraft::of(change, ()), preconditions).await?;
            Ok::<_, AttemptError>(self.follow(key)?)
        })?;
        self.signing_keys_changed(key);
        Ok(())
    }

    /// Changes the stage of a generation.
    pub(crate) async fn stage_key(
        &self,
        request: ChangeRequest<'_>,
        change: StageChange,
        force: Force,
    ) -> Result<Ended, Failure> {
        if change.ends() {
            let applied = self.end_key(request, change, force).await?;
            return Ok(self.conclude(applied).await);
        }
        let kid = self.kid(change.generation);
        let staged = self.state.change(request, |reading| {
            Ok(ChangeDraft::of(self.staged(reading, request.by, change, force, &kid)?, ()))
        });
        let seq = staged.await?.seq();
        self.follow(change.key)?;
        self.signing_keys_changed(change.key);
        Ok(Ended::Recorded(seq))
    }

    /// Taints or revokes a generation.
    pub(crate) async fn end_key(
        &self,
        request: ChangeRequest<'_>,
        change: StageChange,
        force: Force,
    ) -> Result<Removed, Failure> {
        let kid = self.kid(change.generation);
        let ended = self.state.change_revoking(request, |reading| {
            let staged = self.staged(reading, request.by, change, force, &kid)?;
            let denial = change.denial(request.by, reading);
            Ok(Removal {
                change: if denial.is_some() { staged.urgent() } else { staged },
                denial,
                order: RemovalOrder::Unconditional(Some(change.order())),
                count: None,
            })
        });
        let applied = ended.await?;
        if change.stage == KeyStage::Revoked {
            self.withdraw(change.key, change.generation)?;
        }
        self.signing_keys_changed(change.key);
        // A private key leaves the keyring after the ledger has its revocation, otherwise at the next check.
        if matches!(applied.taken, RevocationOutcome::Recorded(_)) {
            self.shed_after(change.stage);
        }
        Ok(applied)
    }

    fn signing_keys_changed(&self, key: SigningKey) {
        if key == SigningKey::Authority {
            self.notifications.authorities_changed();
        }
    }

    /// The id by which tokens name the key of this generation.
    fn kid(&self, generation: u32) -> Result<String, Failure> {
        match self.signing.issuer.token_key_id(generation) {
            Some(kid) => Ok(kid),
            None => Ok(token_key(&self.keyring(), generation)?.jwk().kid.clone()),
        }
    }

    /// The change of the stage of a generation, if it is allowed.
    fn staged(
        &self,
        reading: &Reading<'_>,
        by: Initiator<'_>,
        change: StageChange,
        force: Force,
        kid: &Result<String, Failure>,
    ) -> Result<Change<Effect>, Failure> {
        let StageChange { key, generation, stage } = change;
        let generations = key.generations(reading);
        generations.check(generation, stage).map_err(not_so)?;
        if key == SigningKey::Token {
            let is_fetched = change.ends() || is_published(generations, generation, reading.now());
            if force == Force::No && !is_fetched {
                return Err(Failure::new(code::TOKEN_KEY_TOO_NEW));
            }
            return self.token_key_change(by, change, kid.as_ref().map_err(Failure::clone)?);
        }
        let stage_since =
            generations.all().find(|(one, _)| *one == generation).map(|(_, stage_since)| stage_since);
        let harms = match (stage_since.map(|stage_since| stage_since.stage), stage) {
            (_, KeyStage::Active) | (Some(KeyStage::Old | KeyStage::Tainted), KeyStage::Revoked) => true,
            (_, KeyStage::Prepared | KeyStage::Old | KeyStage::Tainted | KeyStage::Revoked) => false,
        };
        let world = reading.unconditional();
        let behind = |stage_since| self.behind(world, generation, stage_since, reading.now());
        let behind = stage_since.filter(|_| harms).map_or_else(Vec::new, behind);
        if !behind.is_empty() && force == Force::No {
            return Err(certificates_not_renewed(&behind));
        }
        let certificate = reading.authorities().certificate(generation);
        let pin = certificate.map(|one| one.key_pin().hex()).unwrap_or_default();
        let event =
            AuthorityStaged { by: by.name(), generation, pin, stage: stage.as_str(), behind: behind.len() };
        let effect = pki::Effect::Stage { generation, stage };
        Ok(Change::new(&event)?.effect(Effect::Pki(effect)))
    }

    fn token_key_change(
        &self,
        by: Initiator<'_>,
        StageChange { generation, stage, .. }: StageChange,
        kid: &str,
    ) -> Result<Change<Effect>, Failure> {
        let event = TokenKeyStaged { by: by.name(), generation, kid, stage: stage.as_str() };
        Ok(Change::new(&event)?.effect(Effect::Token(token::Effect::Stage { generation, stage })))
    }

    fn prepared_authority(
        &self,
        by: Initiator<'_>,
        StageChange { generation, stage, .. }: StageChange,
    ) -> Result<Change<Effect>, Failure> {
        let key = authority_key(&self.keyring(), generation)?;
        let now = self.state.clock.now();
        let certificate = Authority::found(&self.settings.trust_domain, &key, now, &*self.state.entropy);
        let certificate = certificate.map_err(|error| broken(&error))?;
        let authority = Authority::new(certificate.clone(), key).map_err(|error| broken(&error))?;
        let pin = authority.public().key_pin().hex();
        let event = AuthorityStaged { by: by.name(), generation, pin, stage: stage.as_str(), behind: 0 };
        Ok(Change::new(&event)?.effect(Effect::Pki(pki::Effect::Prepare { generation, certificate })))
    }
}

/// The next generation, if it may be prepared.
fn following(generations: &Generations) -> Result<u32, Failure> {
    let next = generations.following();
    generations.check(next, KeyStage::Prepared).map_err(not_so)?;
    Ok(next)
}

/// Whether all verifiers that respect the cache time of the documents have the prepared key `generation`.
fn is_published(generations: &Generations, generation: u32, now: Timestamp) -> bool {
    let prepared = generations.prepared().filter(|(prepared, _)| *prepared == generation);
    prepared.is_none_or(|(_, stage_since)| now >= stage_since.since.plus_s(DOCUMENTS_MAX_AGE_S))
}

/// The failure with the names of the holders that would lose access, as many as a message can contain.
fn certificates_not_renewed(names: &[&str]) -> Failure {
    let shown = named(names);
    let others = if names.iter().all(|name| shown.contains(name)) { "" } else { ", and others" };
    Failure::new(code::CERTIFICATES_NOT_RENEWED).because(format!(
        "{} certificates have not been renewed since the newer authority was prepared or activated, and their holders \
         would lose access: {}{others}",
        names.len(),
        shown.join(", ")
    ))
}

fn not_so(error: StageError) -> Failure {
    let code = match error {
        StageError::Unknown => code::GENERATION_UNKNOWN,
        StageError::PreparedAlready => code::GENERATION_ALREADY_PREPARED,
        StageError::Order(..) => code::GENERATION_INVALID_STATE,
    };
    Failure::new(code).because(error.to_string())
}
