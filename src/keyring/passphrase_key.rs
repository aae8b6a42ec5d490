use std::fmt;

use serde::{Deserialize, Serialize};

use super::passphrase::{Passphrase, PassphraseError};
use crate::base::encoding::{base64url, from_base64url};
use crate::base::{Entropy, Sensitive};
use crate::crypto::{Aad, AeadKey, KeyId, StretchCost, StretchError, stretch};

/// Bytes that were sealed with a passphrase, as they are stored.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PassphraseSealed {
    salt: String,
    cost: StretchCost,
    sealed: String,
}

/// The key that Argon2id makes of a passphrase. The passphrase itself is not part of it. Wiped on drop.
pub struct PassphraseKey {
    key: AeadKey,
    salt: [u8; 16],
    cost: StretchCost,
}

/// The reason why a passphrase does not seal or open.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PassphraseKeyError {
    /// The passphrase is malformed or too weak.
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
    /// The passphrase is wrong, or the sealed bytes were altered or moved: AES-GCM cannot tell these cases apart.
    #[error("the passphrase does not open the sealed bytes")]
    Wrong,
    /// The stored bytes have another form.
    #[error("the sealed bytes are damaged")]
    Malformed,
    /// The cost is out of range, or the machine has not enough memory.
    #[error(transparent)]
    Stretch(#[from] StretchError),
}

/// The id that bytes carry which a passphrase seals outside of the keyring.
const SEALS: KeyId = KeyId { family: 0xfe, generation: 1 };

impl PassphraseKey {
    /// The key of a passphrase that is chosen now, with a new salt.
    ///
    /// # Errors
    /// [`PassphraseKeyError`].
    pub fn choose(passphrase: &Passphrase, entropy: &dyn Entropy) -> Result<Self, PassphraseKeyError> {
        passphrase.check_length()?;
        Self::stretched(passphrase, entropy.bytes(), StretchCost::RECOMMENDED)
    }

    /// The key of a passphrase that may have sealed `sealed`: [`PassphraseKey::open`] finds out.
    ///
    /// # Errors
    /// [`PassphraseKeyError`].
    pub fn enter(passphrase: &Passphrase, sealed: &PassphraseSealed) -> Result<Self, PassphraseKeyError> {
        Self::stretched(passphrase, sealed.salt()?, sealed.cost)
    }

    fn stretched(
        passphrase: &Passphrase,
        salt: [u8; 16],
        cost: StretchCost,
    ) -> Result<Self, PassphraseKeyError> {
        let key = stretch(passphrase.bytes().expose(), &salt, cost)?;
        Ok(Self { key: AeadKey::new(SEALS, &key), salt, cost })
    }

    /// Seals `plain` for the place that `place` names.
    #[must_use]
    pub fn seal(&self, place: Aad, plain: &[u8], entropy: &dyn Entropy) -> PassphraseSealed {
        let sealed = self.key.seal(&bound(place, &self.salt, self.cost), plain, entropy);
        PassphraseSealed { salt: base64url(&self.salt), cost: self.cost, sealed: base64url(&sealed) }
    }

    /// Opens what a key of the same passphrase and salt sealed for the same place.
    ///
    /// # Errors
    /// [`PassphraseKeyError`].
    pub fn open(
        &self,
        place: Aad,
        sealed: &PassphraseSealed,
    ) -> Result<Sensitive<Vec<u8>>, PassphraseKeyError> {
        if sealed.salt()? != self.salt || sealed.cost != self.cost {
            return Err(PassphraseKeyError::Wrong);
        }
        let bytes = from_base64url(&sealed.sealed).ok_or(PassphraseKeyError::Malformed)?;
        let opened = self.key.open(&bound(place, &self.salt, self.cost), &bytes);
        opened.map_err(|_| PassphraseKeyError::Wrong)
    }
}

fn bound(place: Aad, salt: &[u8; 16], cost: StretchCost) -> Aad {
    let StretchCost { memory_kib, passes, lanes } = cost;
    place.field(salt).number(memory_kib.into()).number(passes.into()).number(lanes.into())
}

impl PassphraseSealed {
    fn salt(&self) -> Result<[u8; 16], PassphraseKeyError> {
        let salt = from_base64url(&self.salt).and_then(|salt| salt.try_into().ok());
        salt.ok_or(PassphraseKeyError::Malformed)
    }
}

impl fmt::Debug for PassphraseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PassphraseKey([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SystemEntropy;

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::entered(&Sensitive::new(text.as_bytes().to_vec())).unwrap()
    }

    fn place(number: u64) -> Aad {
        Aad::new("test").number(number)
    }

    #[test]
    fn sealed_bytes_open_by_their_passphrase_at_their_place() {
        // Given bytes that a passphrase sealed
        let words = passphrase("correct horse battery");
        let key = PassphraseKey::choose(&words, &SystemEntropy).unwrap();
        let sealed = key.seal(place(1), b"CNRY", &SystemEntropy);
        // When the passphrase is entered again, then they open at their place alone
        let again = PassphraseKey::enter(&words, &sealed).unwrap();
        assert_eq!(again.open(place(1), &sealed).unwrap().expose(), b"CNRY");
        assert_eq!(again.open(place(2), &sealed).unwrap_err(), PassphraseKeyError::Wrong);
        // When another passphrase, salt or cost is used, then they do not
        let other = PassphraseKey::enter(&passphrase("correct horse batterz"), &sealed).unwrap();
        assert_eq!(other.open(place(1), &sealed).unwrap_err(), PassphraseKeyError::Wrong);
        let salted = PassphraseKey::choose(&words, &SystemEntropy).unwrap();
        assert_eq!(salted.open(place(1), &sealed).unwrap_err(), PassphraseKeyError::Wrong);
        let cost = StretchCost { passes: 4, ..sealed.cost };
        let cheaper = PassphraseSealed { cost, ..sealed.clone() };
        assert_eq!(again.open(place(1), &cheaper).unwrap_err(), PassphraseKeyError::Wrong);
        let entered = PassphraseKey::enter(&words, &cheaper).unwrap();
        assert_eq!(entered.open(place(1), &cheaper).unwrap_err(), PassphraseKeyError::Wrong);
        for altered in [
            PassphraseSealed { salt: "AA".into(), ..sealed.clone() },
            PassphraseSealed { sealed: "!".into(), ..sealed },
        ] {
            assert_eq!(again.open(place(1), &altered).unwrap_err(), PassphraseKeyError::Malformed);
        }
    }

    #[test]
    fn chosen_passphrase_has_the_minimum_length() {
        let short = PassphraseKey::choose(&passphrase("fourteen chars"), &SystemEntropy);
        assert_eq!(short.unwrap_err(), PassphraseKeyError::Passphrase(PassphraseError::Short));
    }

    #[test]
    fn debug_text_of_a_passphrase_key_shows_nothing() {
        let key = PassphraseKey::choose(&passphrase("correct horse battery"), &SystemEntropy).unwrap();
        assert_eq!(format!("{key:?}"), "PassphraseKey([redacted])");
    }
}
