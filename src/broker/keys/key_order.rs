use std::sync::PoisonError;

use crate::broker::failure::Failure;
use crate::broker::failure::broken;
use crate::broker::keys::signing_keys::{authorities_of, token_keys_of};
use crate::broker::reading::Reading;
use crate::broker::services::Services;
use crate::keyring::{Family, Generations};

/// A key that the broker signs with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SigningKey {
    /// Signs tokens.
    Token,
    /// Signs certificates.
    Authority,
}

impl SigningKey {
    pub(crate) fn generations<'w>(self, reading: &Reading<'w>) -> &'w Generations {
        match self {
            Self::Token => reading.token_keys().generations(),
            Self::Authority => reading.authorities().generations(),
        }
    }

    pub(crate) const fn family(self) -> Family {
        match self {
            Self::Token => Family::Token,
            Self::Authority => Family::Authority,
        }
    }
}

impl Services {
    /// Uses the generations of the present state to sign.
    ///
    /// # Errors
    /// [`Failure`] if the keyring lacks one.
    pub(crate) fn follow(&self, key: SigningKey) -> Result<(), Failure> {
        match key {
            SigningKey::Token => self.follow_token_keys(),
            SigningKey::Authority => self.follow_authorities(),
        }
    }

    /// Uses the token keys of the present state to sign and verify.
    ///
    /// # Errors
    /// [`Failure`] if the keyring lacks one.
    pub(crate) fn follow_token_keys(&self) -> Result<(), Failure> {
        let mut followed = self.signing.followed.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(now) =
            self.state.store.read(|world, _| newer(&followed, world.keys.token_keys.generations()))
        else {
            return Ok(());
        };
        let keys = token_keys_of(&now, &self.keyring())?;
        self.signing.issuer.use_token_keys(keys);
        self.signing.verifier.accept(&self.signing.issuer.key_set()).map_err(|error| broken(&error))?;
        *followed = now;
        Ok(())
    }

    /// Uses the authorities of the present state to sign.
    ///
    /// # Errors
    /// [`Failure`] if the keyring lacks a key of them.
    pub(crate) fn follow_authorities(&self) -> Result<(), Failure> {
        let mut followed = self.signing.followed.authorities.lock().unwrap_or_else(PoisonError::into_inner);
        let record = self.state.store.read(|world, _| {
            newer(&followed, world.keys.authority.generations())
                .map(|now| (now, world.keys.authority.clone()))
        });
        let Some((now, record)) = record else { return Ok(()) };
        let keys = authorities_of(&record, &self.settings.trust_domain, &self.keyring())?;
        self.signing.issuer.use_authorities(keys);
        *followed = now;
        Ok(())
    }

    /// Stops signing and verifying with this generation, also before the entry is durable.
    ///
    /// # Errors
    /// [`Failure`] of loading the other keys; the key is withdrawn in any case.
    pub(crate) fn withdraw(&self, key: SigningKey, generation: u32) -> Result<(), Failure> {
        let signing = &self.signing;
        match key {
            SigningKey::Token => {
                let _followed = signing.followed.tokens.lock().unwrap_or_else(PoisonError::into_inner);
                signing.issuer.withdraw_token_key(generation);
                signing.verifier.accept(&signing.issuer.key_set()).map_err(|error| broken(&error))?;
            }
            SigningKey::Authority => {
                let _followed = signing.followed.authorities.lock().unwrap_or_else(PoisonError::into_inner);
                signing.issuer.withdraw_authority(generation);
            }
        }
        self.follow(key)
    }
}

/// The generations in the state, if they differ.
fn newer(followed: &Generations, known: &Generations) -> Option<Generations> {
    (followed != known).then(|| known.clone())
}
