use std::collections::BTreeSet;

use crate::base::Timestamp;
use crate::base::code;
use crate::base::limits::{BACKDATE_S, DOCUMENTS_MAX_AGE_S};
use crate::broker::failure::Failure;
use crate::broker::identity::bootstrap::broken;
use crate::broker::identity::operators::counting;
use crate::broker::identity::revoke::Ended;
use crate::broker::identity::standing::InstanceStanding;
use crate::broker::keys::end_keys::KeyWord;
use crate::broker::keys::signing_keys::{authority_key, token_key};
use crate::broker::once::{Asker, done_before, once_of};
use crate::broker::retry::{Again, deciding_again};
use crate::broker::services::Core;
use crate::broker::world::{Effect, World};
use crate::keyring::{Family, Generations, Stage, StageError, Standing};
use crate::operators::{Certificate, Operator};
use crate::pki::{self, Authority, AuthorityStaged};
use crate::store::Change;
use crate::token::{self, TokenKeyStaged};

/// A generation of the certificate authority as operators see it.
#[derive(Clone, Debug)]
pub struct AuthorityView {
    /// Its number.
    pub generation: u32,
    /// Where it is, and since when.
    pub standing: Standing,
    /// SHA-256 of its public key, in hex; empty when it has no certificate.
    pub pin: String,
    /// When its certificate ends.
    pub not_after: Option<Timestamp>,
    /// Live instances that stand in the way of its next stage: they do not know it yet, when it is
    /// prepared; they hold a certificate older than the one that signs, when it is old or tainted, and
    /// so do operators.
    pub behind: usize,
}

/// A generation of the token key as operators see it.
#[derive(Clone, Debug)]
pub struct TokenKeyView {
    /// Its number.
    pub generation: u32,
    /// Where it is, and since when.
    pub standing: Standing,
}

/// Whether instances that are behind stand in the way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Force {
    /// They do.
    No,
    /// An operator takes them leaving out for granted.
    Yes,
}

/// Whether every verifier that fetches the documents when they are stale has the prepared key `generation`.
fn is_published(generations: &Generations, generation: u32, now: Timestamp) -> bool {
    let prepared = generations.prepared().filter(|(prepared, _)| *prepared == generation);
    prepared.is_none_or(|(_, standing)| now >= standing.since.plus_s(DOCUMENTS_MAX_AGE_S))
}

fn too_new() -> Failure {
    Failure::new(code::TOKEN_KEY_TOO_NEW)
}

impl Core {
    pub(in crate::broker) async fn prepare_authority(&self, by: Option<Asker<'_>>) -> Result<(), Failure> {
        deciding_again!(async {
            let now = self.state.clock.now();
            let (next, before, as_of) = self.state.store.read(|world, as_of| {
                let next = following(world.authority.generations());
                (next, done_before(world, once_of(by), now), as_of)
            });
            if before?.is_some() {
                return Ok(());
            }
            let generation = next.map_err(|error| Again::Stop(not_so(error)))?;
            self.extend_keyring((Family::Authority, generation))?;
            let key = self.with_keyring(|keyring| authority_key(keyring, generation))?;
            let certificate = Authority::found(&self.settings.trust_domain, &key, now, &*self.state.entropy);
            let certificate = certificate.map_err(|error| Again::Stop(broken(&error)))?;
            let authority = Authority::new(certificate.clone(), key);
            let authority = authority.map_err(|error| Again::Stop(broken(&error)))?;
            let pin = authority.public().key_pin().hex();
            let event = authority_staged(KeyWord::of(by).by(), (generation, Stage::Prepared), pin, 0);
            let change = Change::new(&event)?
                .effect(Effect::Pki(pki::Effect::Prepare { generation, certificate }))
                .rely(pki::keys::authority(), as_of);
            self.state.store.commit(self.asked_by(change, by, as_of)?, ()).await?.redeem();
            Ok(self.follow_authorities()?)
        })?;
        self.notifications.authorities_changed();
        Ok(())
    }

    pub(in crate::broker) async fn stage_authority(
        &self,
        by: Option<Asker<'_>>,
        (generation, stage): (u32, Stage),
        force: Force,
    ) -> Result<Ended, Failure> {
        if matches!(stage, Stage::Tainted | Stage::Revoked) {
            let applied = self.end_authority(KeyWord::of(by), (generation, stage), force).await?;
            return Ok(self.conclude(applied).await);
        }
        let seq = deciding_again!(async {
            let now = self.state.clock.now();
            let (checked, before, as_of) = self.state.store.read(|world, as_of| {
                let checked = check_authority(world, (generation, stage), force, now);
                (checked, done_before(world, once_of(by), now), as_of)
            });
            if let Some(before) = before? {
                return Ok(before.seq);
            }
            let (pin, behind) = checked?;
            let event = authority_staged(KeyWord::of(by).by(), (generation, stage), pin, behind);
            let change = Change::new(&event)?
                .effect(Effect::Pki(pki::Effect::Stage { generation, stage }))
                .rely(pki::keys::authority(), as_of);
            let receipt = self.state.store.commit(self.asked_by(change, by, as_of)?, ()).await?;
            let seq = receipt.seq();
            receipt.redeem();
            self.follow_authorities()?;
            Ok(seq)
        })?;
        self.notifications.authorities_changed();
        Ok(Ended::Recorded(seq))
    }

    pub(in crate::broker) async fn prepare_token_key(&self, by: Option<Asker<'_>>) -> Result<(), Failure> {
        deciding_again!(async {
            let (next, before, as_of) = self.state.store.read(|world, as_of| {
                let next = following(world.token_keys.generations());
                (next, done_before(world, once_of(by), self.state.clock.now()), as_of)
            });
            if before?.is_some() {
                return Ok(());
            }
            let generation = next.map_err(|error| Again::Stop(not_so(error)))?;
            self.extend_keyring((Family::Token, generation))?;
            let key = self.with_keyring(|keyring| token_key(keyring, generation))?;
            let kid = key.jwk().kid.clone();
            let change =
                self.token_key_change(KeyWord::of(by), (generation, Stage::Prepared), &kid, as_of)?;
            self.state.store.commit(change, ()).await?.redeem();
            Ok(self.follow_token_keys()?)
        })
    }

    pub(in crate::broker) async fn stage_token_key(
        &self,
        by: Option<Asker<'_>>,
        (generation, stage): (u32, Stage),
        force: Force,
    ) -> Result<Ended, Failure> {
        if stage == Stage::Revoked {
            let applied = self.revoke_token_key(KeyWord::of(by), generation).await?;
            return Ok(self.conclude(applied).await);
        }
        let seq = deciding_again!(async {
            let (checked, before, as_of) = self.state.store.read(|world, as_of| {
                let generations = world.token_keys.generations();
                let checked = generations.check(generation, stage);
                let is_fetched =
                    force == Force::Yes || is_published(generations, generation, self.state.clock.now());
                let checked =
                    checked.map_err(not_so).and_then(|()| if is_fetched { Ok(()) } else { Err(too_new()) });
                (checked, done_before(world, once_of(by), self.state.clock.now()), as_of)
            });
            if let Some(before) = before? {
                return Ok(before.seq);
            }
            checked?;
            let key = self.with_keyring(|keyring| token_key(keyring, generation))?;
            let change =
                self.token_key_change(KeyWord::of(by), (generation, stage), &key.jwk().kid, as_of)?;
            let receipt = self.state.store.commit(change, ()).await?;
            let seq = receipt.seq();
            receipt.redeem();
            self.follow_token_keys()?;
            Ok(seq)
        })?;
        Ok(Ended::Recorded(seq))
    }

    /// The change that brings a token key to `stage`, on this word.
    pub(in crate::broker) fn token_key_change(
        &self,
        word: KeyWord<'_>,
        (generation, stage): (u32, Stage),
        kid: &str,
        as_of: u64,
    ) -> Result<Change<Effect>, Again> {
        let event = TokenKeyStaged { by: word.by(), generation, kid, stage: stage.as_str() };
        let change = Change::new(&event)?
            .effect(Effect::Token(token::Effect::Stage { generation, stage }))
            .rely(token::keys::token_keys(), as_of);
        Ok(word.asked(self, change, as_of)?)
    }

    /// A key in the keyring before anything is said of it: what a stop in between leaves is taken up
    /// by the next attempt. Rare and short, so that it may hold up the thread it runs on.
    fn extend_keyring(&self, key: (Family, u32)) -> Result<(), Again> {
        let extended =
            self.change_keyring(|keyring| keyring.extension(&self.keyring.path, key, &*self.state.entropy));
        extended.map(drop).map_err(|error| Again::Stop(Failure::internal(code::KEYRING_FAILED, &error)))
    }

    fn with_keyring<T>(
        &self,
        take: impl FnOnce(&crate::keyring::Keyring) -> Result<T, Failure>,
    ) -> Result<T, Again> {
        take(&self.keyring()).map_err(Again::Stop)
    }
}

/// The next generation, when it may be prepared.
fn following(generations: &Generations) -> Result<u32, StageError> {
    let next = generations.following();
    generations.check(next, Stage::Prepared).map(|()| next)
}

pub(in crate::broker) fn authority_staged(
    by: &str,
    (generation, stage): (u32, Stage),
    pin: String,
    behind: usize,
) -> AuthorityStaged<'_> {
    AuthorityStaged { by, generation, pin, stage: stage.as_str(), behind }
}

/// The pin of the authority that may go to `stage`, and how many instances that leaves behind.
pub(in crate::broker) fn check_authority(
    world: &World,
    (generation, stage): (u32, Stage),
    force: Force,
    now: Timestamp,
) -> Result<(String, usize), Failure> {
    let generations = world.authority.generations();
    generations.check(generation, stage).map_err(not_so)?;
    let standing = generations.all().find(|(one, _)| *one == generation).map(|(_, standing)| standing);
    let harms = match (standing.map(|standing| standing.stage), stage) {
        (_, Stage::Active) | (Some(Stage::Old | Stage::Tainted), Stage::Revoked) => true,
        (_, Stage::Prepared | Stage::Old | Stage::Tainted | Stage::Revoked) => false,
    };
    let behind = standing.filter(|_| harms).map_or_else(Vec::new, |standing| behind(world, standing, now));
    if !behind.is_empty() && force == Force::No {
        return Err(certificates_not_renewed(&behind));
    }
    let certificate = world.authority.certificate(generation);
    Ok((certificate.map(|one| one.key_pin().hex()).unwrap_or_default(), behind.len()))
}

/// The names of those who hold an older certificate than `standing` asks for, each as often as it does:
/// instances that count, or will when they are resumed, and operators, where their certificates would not
/// count any more.
pub(in crate::broker) fn behind(world: &World, standing: Standing, now: Timestamp) -> Vec<&str> {
    let active = world.authority.generations().active().map(|(_, active)| active.since);
    match (standing.stage, active) {
        (Stage::Prepared, _) => instances_before(world, standing.since, now).collect(),
        (Stage::Old | Stage::Tainted, Some(since)) => {
            instances_before(world, since, now).chain(operators_before(world, since, now)).collect()
        }
        (Stage::Old | Stage::Tainted, None) | (Stage::Active | Stage::Revoked, _) => Vec::new(),
    }
}

fn instances_before(world: &World, since: Timestamp, now: Timestamp) -> impl Iterator<Item = &str> {
    let of_agents = world.registry.agents().flat_map(|one| one.instances.iter().map(move |its| (one, its)));
    let older = of_agents.filter(move |(_, its)| its.current.not_before.plus_s(BACKDATE_S) < since);
    let counting = older.filter(move |(agent, its)| {
        let standing = InstanceStanding::of(world, agent, its, now);
        matches!(standing, InstanceStanding::Live | InstanceStanding::Suspended)
    });
    counting.map(|(agent, _)| agent.name.as_str())
}

/// Operators who can act now by older certificates alone.
fn operators_before(world: &World, since: Timestamp, now: Timestamp) -> impl Iterator<Item = &str> {
    let is_older = move |one: &Certificate| one.not_before.plus_s(BACKDATE_S) < since;
    let locked_out = move |operator: &&Operator| {
        let mut acting = counting(operator, world, now).peekable();
        acting.peek().is_some() && acting.all(is_older)
    };
    world.operators.all().filter(locked_out).map(|operator| operator.name.as_str())
}

/// Says who would be locked out, as far as a message can.
fn certificates_not_renewed(names: &[&str]) -> Failure {
    const NAMED_MAX: usize = 10;
    let distinct: BTreeSet<&str> = names.iter().copied().collect();
    let named = distinct.iter().take(NAMED_MAX).copied().collect::<Vec<_>>().join(", ");
    let others = if distinct.len() > NAMED_MAX { ", and others" } else { "" };
    Failure::new(code::CERTIFICATES_NOT_RENEWED).because(format!(
        "{} certificates have not been renewed since then, and their holders would be locked out: {named}{others}",
        names.len()
    ))
}

pub(in crate::broker) fn not_so(error: StageError) -> Failure {
    let code = match error {
        StageError::Unknown => code::GENERATION_UNKNOWN,
        StageError::PreparedAlready => code::GENERATION_ALREADY_PREPARED,
        StageError::Order(..) => code::GENERATION_INVALID_STATE,
    };
    Failure::new(code).because(error.to_string())
}
