use std::collections::BTreeMap;

use crate::base::{Clock, Entropy, TrustDomain, code};
use crate::broker::failure::Failure;
use crate::broker::failure::broken;
use crate::broker::reading::{Preconditions, Reading};
use crate::broker::world::{Effect, World};
use crate::crypto::{EcdsaKey, Ed25519Key, SignatureForm};
use crate::issuance::Keys;
use crate::keyring::{Family, Generations, KeyStage, Keyring};
use crate::ledger::Notary;
use crate::pki::{self, Authority, AuthorityFounded};
use crate::store::{Change, Store};
use crate::token::{self, Signer, TokenKeyStaged};

/// The inputs for a new authority.
#[derive(Debug)]
pub struct Founding<'a> {
    /// The trust domain of its certificates.
    pub trust_domain: &'a TrustDomain,
    /// The time.
    pub clock: &'a dyn Clock,
    /// Randomness.
    pub entropy: &'a dyn Entropy,
}

/// The trusted authorities; for an empty ledger a first one, recorded before it is used.
///
/// # Errors
/// [`Failure`].
pub async fn authorities(
    store: &Store<World>,
    founding: &Founding<'_>,
    keyring: &Keyring,
) -> Result<Keys<Authority>, Failure> {
    let read = || Reading::in_store(store, founding.clock.now(), |reading| reading.authorities().clone());
    let (known, preconditions) = read();
    if known.generations().active().is_none() {
        found(store, founding, keyring, preconditions).await?;
    }
    let (record, _) = read();
    authorities_of(&record, founding.trust_domain, keyring)
}

/// The trusted authorities of `record`.
pub(crate) fn authorities_of(
    record: &pki::Record,
    trust_domain: &TrustDomain,
    keyring: &Keyring,
) -> Result<Keys<Authority>, Failure> {
    let mut all = BTreeMap::new();
    for generation in counting(record.generations()) {
        let certificate = record.certificate(generation).ok_or_else(missing)?;
        if certificate.trust_domain() != trust_domain {
            return Err(Failure::new(code::TRUST_DOMAIN_CHANGED));
        }
        let key = authority_key(keyring, generation)?;
        all.insert(
            generation,
            Authority::new(certificate.der().to_vec(), key).map_err(|error| broken(&error))?,
        );
    }
    let active = record.generations().active();
    active.and_then(|(active, _)| Keys::new(all, active)).ok_or_else(missing)
}

async fn found(
    store: &Store<World>,
    founding: &Founding<'_>,
    keyring: &Keyring,
    preconditions: Preconditions,
) -> Result<(), Failure> {
    let key = authority_key(keyring, 1)?;
    let now = founding.clock.now();
    let certificate = Authority::found(founding.trust_domain, &key, now, founding.entropy);
    let certificate = certificate.map_err(|error| broken(&error))?;
    let authority = Authority::new(certificate.clone(), key).map_err(|error| broken(&error))?;
    let event = AuthorityFounded {
        trust_domain: founding.trust_domain.as_str(),
        pin: authority.public().key_pin().hex(),
        not_after: authority.public().not_after().to_string(),
    };
    let change = Change::new(&event)?.effect(Effect::Pki(pki::Effect::Found(certificate)));
    store.commit(preconditions.added_to(change), ()).await?.redeem();
    Ok(())
}

/// The token keys that verify; for an empty ledger a first one, recorded before it is used.
///
/// # Errors
/// [`Failure`].
pub async fn token_keys(
    store: &Store<World>,
    founding: &Founding<'_>,
    keyring: &Keyring,
) -> Result<Keys<Signer>, Failure> {
    let now = founding.clock.now();
    let read = || Reading::in_store(store, now, |reading| reading.token_keys().generations().clone());
    let (known, preconditions) = read();
    if known.active().is_none() {
        let first = token_key(keyring, 1)?;
        let stage = KeyStage::Active;
        let event =
            TokenKeyStaged { by: "the start", generation: 1, kid: &first.jwk().kid, stage: stage.as_str() };
        let change =
            Change::new(&event)?.effect(Effect::Token(token::Effect::Stage { generation: 1, stage }));
        store.commit(preconditions.added_to(change), ()).await?.redeem();
    }
    token_keys_of(&read().0, keyring)
}

/// The token keys of `generations` that verify.
pub(crate) fn token_keys_of(generations: &Generations, keyring: &Keyring) -> Result<Keys<Signer>, Failure> {
    let all = counting(generations).map(|one| Ok((one, token_key(keyring, one)?)));
    let all = all.collect::<Result<BTreeMap<u32, Signer>, Failure>>()?;
    generations.active().and_then(|(active, _)| Keys::new(all, active)).ok_or_else(missing)
}

/// The checkpoint key of this generation, ready to sign under the ledger's name: trust domain and id.
///
/// # Errors
/// [`Failure`] if the keyring lacks it.
pub fn checkpoint_key(keyring: &Keyring, generation: u32, domain: &TrustDomain) -> Result<Notary, Failure> {
    let pkcs8 = keyring.signing(Family::Checkpoint, generation).map_err(|_| missing())?;
    let key = Ed25519Key::from_pkcs8(pkcs8).map_err(|error| broken(&error))?;
    Ok(Notary::new(format!("{domain}/{}", keyring.ledger()), key))
}

/// The authority's private key of this generation, ready to sign certificates.
pub(crate) fn authority_key(keyring: &Keyring, generation: u32) -> Result<EcdsaKey, Failure> {
    key(keyring, Family::Authority, generation, SignatureForm::Asn1)
}

/// The token key of this generation, ready to sign tokens.
pub(crate) fn token_key(keyring: &Keyring, generation: u32) -> Result<Signer, Failure> {
    let key = key(keyring, Family::Token, generation, SignatureForm::Fixed)?;
    Signer::new(key).map_err(|error| broken(&error))
}

fn key(keyring: &Keyring, family: Family, generation: u32, form: SignatureForm) -> Result<EcdsaKey, Failure> {
    let pkcs8 = keyring.signing(family, generation).map_err(|_| missing())?;
    EcdsaKey::from_pkcs8(pkcs8, form).map_err(|error| broken(&error))
}

fn counting(generations: &Generations) -> impl Iterator<Item = u32> {
    let all: Vec<_> = generations.all().collect();
    all.into_iter().filter(|(_, stage_since)| stage_since.stage.counts()).map(|(generation, _)| generation)
}

/// The failure if the keyring lacks a generation that the ledger names.
fn missing() -> Failure {
    Failure::new(code::SIGNING_KEY_MISSING)
}
