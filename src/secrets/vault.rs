use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use serde::{Deserialize, Serialize};

use crate::base::limits::{SEALS_MAX, SEALS_RESERVED, SECRET_BYTES_MAX};
use crate::base::{Entropy, LeaseId, SecretId, Sensitive};
use crate::crypto::{
    Aad, AeadKey, CountedKey, Digest, Exhausted, KeyId, MacKey, SEAL_OVERHEAD_BYTES, UnsealError, derive_key,
    sealed_by,
};

/// An upstream secret in clear. Wiped on drop.
#[derive(Debug)]
pub struct SecretValue(Sensitive<Vec<u8>>);

impl SecretValue {
    /// The value `bytes`.
    ///
    /// # Errors
    /// [`VaultError::Size`] for an empty value or one beyond `SECRET_BYTES_MAX`.
    pub fn new(bytes: Sensitive<Vec<u8>>) -> Result<Self, VaultError> {
        let size = bytes.expose().len();
        if size == 0 || size > SECRET_BYTES_MAX { Err(VaultError::Size) } else { Ok(Self(bytes)) }
    }

    /// The value itself: for the response body, and nothing else.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.0.expose()
    }
}

/// A secret version as it is stored: its data key wrapped by the value key, and the value sealed
/// by the data key.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct SealedValue {
    wrapped_key: Vec<u8>,
    /// The value's digest under the data key. It recognises a leaked value without opening the stored one, and says
    /// nothing once the data key is lost: the digest of a destroyed version ends with the value key, as the value does.
    digest: Digest,
    value: Vec<u8>,
}

/// Why a value was not sealed or opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// Empty, or larger than a secret may be.
    #[error("a secret has 1 to {SECRET_BYTES_MAX} bytes")]
    Size,
    /// The stored record is not a sealed value.
    #[error("the stored value has an unknown format")]
    Form,
    /// The record does not open: another key, or altered or moved.
    #[error("the stored value does not open")]
    Open(#[source] UnsealError),
    /// The value key has wrapped as many data keys as one key may: another one has to take over.
    #[error("the value key cannot wrap: {0}")]
    Exhausted(#[from] Exhausted),
}

/// A version as it was read back: its record, and the data key wrapped anew when that was done since.
#[derive(Debug)]
pub struct StoredVersion {
    /// What was stored when the version came.
    pub record: Sensitive<Vec<u8>>,
    /// The data key, wrapped by a later value key.
    pub rewrapped: Option<Sensitive<Vec<u8>>>,
}

impl StoredVersion {
    /// The data key as the newest value key wrapped it.
    fn wrapped_key<'a>(&'a self, sealed: &'a SealedValue) -> &'a [u8] {
        self.rewrapped.as_ref().map_or(&sealed.wrapped_key, |key| key.expose())
    }
}

/// Seals values. Cannot open any.
pub struct Sealer(RwLock<Arc<CountedKey>>);

impl Sealer {
    /// Uses the value key.
    #[must_use]
    pub fn new(value_key: AeadKey) -> Self {
        Self(RwLock::new(Arc::new(CountedKey::new(value_key))))
    }

    /// Wraps by `value_key`, which has wrapped nothing, from now on.
    pub fn turn_to(&self, value_key: AeadKey) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(CountedKey::new(value_key));
    }

    /// The value key has wrapped as many as `seals` data keys before.
    pub fn count_from(&self, seals: u64) {
        self.key().count_from(seals);
    }

    /// Upper bound of the data keys that the value key has wrapped.
    #[must_use]
    pub fn seals(&self) -> u64 {
        self.key().seals()
    }

    /// Whether there is room for what begins now and is sealed after an upstream was called: so much is left then that
    /// it can be sealed, also beside other steps.
    ///
    /// # Errors
    /// [`VaultError::Exhausted`].
    pub fn has_room(&self) -> Result<(), VaultError> {
        if self.seals() < SEALS_MAX.saturating_sub(SEALS_RESERVED) { Ok(()) } else { Err(Exhausted.into()) }
    }

    /// Wipes the value key: what is sealed from here on opens for nobody.
    pub fn forget(&self, entropy: &dyn Entropy) {
        let nobodys = Sensitive::<[u8; 32]>::filled(|key| entropy.fill(key));
        let id = self.key().id();
        self.turn_to(AeadKey::new(id, &nobodys));
    }

    fn key(&self) -> Arc<CountedKey> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Seals `value` as `version` of the secret `id` under a fresh data key.
    ///
    /// # Errors
    /// [`VaultError::Exhausted`].
    pub fn seal(
        &self,
        id: SecretId,
        version: u32,
        value: &SecretValue,
        entropy: &dyn Entropy,
    ) -> Result<SealedValue, VaultError> {
        self.seal_bound(&bound(id, version), value, entropy)
    }

    /// Seals the password of a leased login, likewise.
    ///
    /// # Errors
    /// [`VaultError::Exhausted`].
    pub fn seal_login(
        &self,
        lease: LeaseId,
        password: &SecretValue,
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>, VaultError> {
        Ok(self.seal_bound(&bound_login(lease), password, entropy)?.to_bytes())
    }

    fn seal_bound(
        &self,
        bound: &Aad,
        value: &SecretValue,
        entropy: &dyn Entropy,
    ) -> Result<SealedValue, VaultError> {
        let data_key = Sensitive::<[u8; 32]>::filled(|key| entropy.fill(key));
        let wrapped_key = self.key().seal(bound, data_key.expose(), entropy)?;
        let digest = digest_key(&data_key).tag(value.expose());
        let value = AeadKey::new(DATA_KEY, &data_key).seal(bound, value.expose(), entropy);
        Ok(SealedValue { wrapped_key, digest, value })
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealer({:?})", self.key())
    }
}

/// Opens values. Held by issuance alone.
pub struct Opener(RwLock<BTreeMap<KeyId, Arc<AeadKey>>>);

impl Opener {
    /// Takes value keys into use: more than one while a new one is taking over.
    #[must_use]
    pub fn new(value_keys: impl IntoIterator<Item = AeadKey>) -> Self {
        Self(RwLock::new(value_keys.into_iter().map(|key| (key.id(), Arc::new(key))).collect()))
    }

    /// Opens what `value_key` wraps, too.
    pub fn learn(&self, value_key: AeadKey) {
        let mut keys = self.0.write().unwrap_or_else(PoisonError::into_inner);
        keys.insert(value_key.id(), Arc::new(value_key));
    }

    /// Opens nothing any more but what the newest value key wraps.
    pub fn shed(&self) {
        let mut keys = self.0.write().unwrap_or_else(PoisonError::into_inner);
        while keys.len() > 1 {
            keys.pop_first();
        }
    }

    /// Opens nothing any more.
    pub fn forget(&self) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The data key of a version, under any value key.
    fn unwrap(&self, bound: &Aad, wrapped: &[u8]) -> Result<Sensitive<[u8; 32]>, VaultError> {
        let by = sealed_by(wrapped).map_err(VaultError::Open)?;
        let key = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&by).map(Arc::clone);
        let key = key.ok_or(VaultError::Open(UnsealError::OtherKey(by)))?;
        let unwrapped = key.open(bound, wrapped).map_err(VaultError::Open)?;
        let data_key: &[u8; 32] = unwrapped.expose().as_slice().try_into().map_err(|_| VaultError::Form)?;
        Ok(Sensitive::filled(|to| to.copy_from_slice(data_key)))
    }

    /// The data key of a version wrapped by what `sealer` wraps by, when something else wraps it now.
    /// The value is not touched, and nothing in clear comes out.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn rewrap(
        &self,
        id: SecretId,
        version: u32,
        stored: &StoredVersion,
        sealer: &Sealer,
        entropy: &dyn Entropy,
    ) -> Result<Option<Vec<u8>>, VaultError> {
        let sealed = SealedValue::from_bytes(stored.record.expose())?;
        let wrapped = stored.wrapped_key(&sealed);
        let (bound, newest) = (bound(id, version), sealer.key());
        if sealed_by(wrapped).map_err(VaultError::Open)? == newest.id() {
            return Ok(None);
        }
        let data_key = self.unwrap(&bound, wrapped)?;
        Ok(Some(newest.seal(&bound, data_key.expose(), entropy)?))
    }

    /// Whether one of `candidates` is the value of `version` of the secret `id`, of which `stored` is kept. The value is not
    /// opened.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn recognises(
        &self,
        id: SecretId,
        version: u32,
        stored: &StoredVersion,
        candidates: &[&[u8]],
    ) -> Result<bool, VaultError> {
        let sealed = SealedValue::from_bytes(stored.record.expose())?;
        let data_key = self.unwrap(&bound(id, version), stored.wrapped_key(&sealed))?;
        let key = digest_key(&data_key);
        let has_length =
            |candidate: &&&[u8]| candidate.len().checked_add(SEAL_OVERHEAD_BYTES) == Some(sealed.value.len());
        // Without a digest of each text of another length: a text has many runs of words.
        let mut same_length = candidates.iter().filter(has_length);
        Ok(same_length.any(|candidate| key.verify(candidate, &sealed.digest)))
    }

    /// Opens `stored`, what is kept of `version` of the secret `id`.
    ///
    /// # Errors
    /// [`VaultError`]; a record of another secret or version does not open.
    pub fn open(
        &self,
        id: SecretId,
        version: u32,
        stored: &StoredVersion,
    ) -> Result<SecretValue, VaultError> {
        let sealed = SealedValue::from_bytes(stored.record.expose())?;
        self.open_bound(&bound(id, version), stored.wrapped_key(&sealed), &sealed.value)
    }

    /// Opens the password of a leased login. Nobody wraps its data key anew: once the value key has
    /// turned, a login is not handed out again.
    ///
    /// # Errors
    /// [`VaultError`]; that of another lease does not open.
    pub fn open_login(&self, lease: LeaseId, sealed: &[u8]) -> Result<SecretValue, VaultError> {
        let sealed = SealedValue::from_bytes(sealed)?;
        self.open_bound(&bound_login(lease), &sealed.wrapped_key, &sealed.value)
    }

    fn open_bound(&self, bound: &Aad, wrapped: &[u8], value: &[u8]) -> Result<SecretValue, VaultError> {
        let data_key = self.unwrap(bound, wrapped)?;
        let value = AeadKey::new(DATA_KEY, &data_key).open(bound, value).map_err(VaultError::Open)?;
        SecretValue::new(value)
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        write!(f, "Opener({:?})", keys.keys().collect::<Vec<_>>())
    }
}

/// A data key seals one value and is known by nothing but that: all share one id, in a family that
/// the keyring never gives.
const DATA_KEY: KeyId = KeyId { family: 0, generation: 1 };

/// What both layers are bound to: the secret and its version. The sealing adds its format and the
/// id of the key that sealed, so that a data key can be wrapped anew without touching the value.
fn bound(id: SecretId, version: u32) -> Aad {
    Aad::new("keyward/secret-value").field(id.as_bytes()).number(u64::from(version))
}

/// The key of the digest of the value that `data_key` seals.
fn digest_key(data_key: &Sensitive<[u8; 32]>) -> MacKey {
    MacKey::new(&derive_key(data_key, b"", "keyward value digest"))
}

fn bound_login(lease: LeaseId) -> Aad {
    Aad::new("keyward/leased-login").field(lease.as_bytes())
}

impl SealedValue {
    /// `length of the wrapped key ‖ wrapped key ‖ digest ‖ sealed value`.
    #[must_use]
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.wrapped_key.len()).unwrap_or(u32::MAX);
        [&length.to_be_bytes()[..], &self.wrapped_key, self.digest.as_bytes(), &self.value].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, VaultError> {
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or(VaultError::Form)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| VaultError::Form)?;
        let (wrapped_key, rest) = rest.split_at_checked(length).ok_or(VaultError::Form)?;
        let (digest, value) = rest.split_first_chunk::<32>().ok_or(VaultError::Form)?;
        let digest = Digest::from_bytes(*digest);
        Ok(Self { wrapped_key: wrapped_key.to_vec(), digest, value: value.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{SystemEntropy, Timestamp};

    fn value_key() -> AeadKey {
        AeadKey::new(KeyId { family: 1, generation: 1 }, &Sensitive::new([3; 32]))
    }

    fn kept(record: &[u8]) -> StoredVersion {
        StoredVersion { record: Sensitive::new(record.to_vec()), rewrapped: None }
    }

    fn id() -> SecretId {
        SecretId::mint(Timestamp::from_s(1), &SystemEntropy)
    }

    fn value(bytes: &[u8]) -> SecretValue {
        SecretValue::new(Sensitive::new(bytes.to_vec())).unwrap()
    }

    #[test]
    fn opens_what_was_sealed_and_nothing_that_was_moved() {
        let (one, other) = (id(), id());
        let stored = Sealer::new(value_key()).seal(one, 1, &value(b"v"), &SystemEntropy).unwrap().to_bytes();
        let opener = Opener::new([value_key()]);
        assert_eq!(opener.open(one, 1, &kept(&stored)).unwrap().expose(), b"v");
        assert!(opener.open(one, 2, &kept(&stored)).is_err(), "another version");
        assert!(opener.open(other, 1, &kept(&stored)).is_err(), "another secret");
    }

    #[test]
    fn a_rewrapped_version_opens_by_the_new_value_key_alone() {
        let newer = || AeadKey::new(KeyId { family: 1, generation: 2 }, &Sensitive::new([4; 32]));
        let (one, sealer, opener) = (id(), Sealer::new(value_key()), Opener::new([value_key()]));
        let stored = sealer.seal(one, 1, &value(b"v"), &SystemEntropy).unwrap().to_bytes();
        assert!(opener.rewrap(one, 1, &kept(&stored), &sealer, &SystemEntropy).unwrap().is_none());
        opener.learn(newer());
        sealer.turn_to(newer());
        let rewrapped = opener.rewrap(one, 1, &kept(&stored), &sealer, &SystemEntropy).unwrap().unwrap();
        let over = StoredVersion { rewrapped: Some(Sensitive::new(rewrapped)), ..kept(&stored) };
        assert_eq!(opener.open(one, 1, &kept(&stored)).unwrap().expose(), b"v", "both keys are there");
        opener.shed();
        assert_eq!(opener.open(one, 1, &over).unwrap().expose(), b"v");
        assert!(opener.recognises(one, 1, &over, &[b"v"]).unwrap(), "the digest belongs to the data key");
        assert!(
            opener.recognises(one, 1, &kept(&stored), &[b"v"]).is_err(),
            "nor does the digest say anything"
        );
        assert!(opener.open(one, 1, &kept(&stored)).is_err(), "the old key has gone");
        assert!(opener.open(one, 2, &over).is_err(), "another version");
        assert!(opener.rewrap(one, 1, &over, &sealer, &SystemEntropy).unwrap().is_none(), "once");
    }

    #[test]
    fn a_logins_password_opens_as_that_leases_and_as_no_other() {
        let lease = || LeaseId::mint(Timestamp::from_s(1), &SystemEntropy);
        let (one, other) = (lease(), lease());
        let sealed = Sealer::new(value_key()).seal_login(one, &value(b"v"), &SystemEntropy).unwrap();
        let opener = Opener::new([value_key()]);
        assert_eq!(opener.open_login(one, &sealed).unwrap().expose(), b"v");
        assert!(opener.open_login(other, &sealed).is_err(), "another lease");
        let secret = SecretId::from_bytes(*one.as_bytes());
        assert!(opener.open(secret, 1, &kept(&sealed)).is_err(), "it is no secret's version");
    }

    #[test]
    fn swapped_halves_do_not_open() {
        let sealer = Sealer::new(value_key());
        let one = id();
        let a = sealer.seal(one, 1, &value(b"a"), &SystemEntropy).unwrap();
        let b = sealer.seal(one, 1, &value(b"b"), &SystemEntropy).unwrap();
        let mixed = SealedValue { value: b.value, ..a };
        assert!(Opener::new([value_key()]).open(one, 1, &kept(&mixed.to_bytes())).is_err());
    }

    #[test]
    fn the_value_of_a_version_is_recognised_and_no_other_is() {
        let (one, sealer) = (id(), Sealer::new(value_key()));
        let record = |value: &SecretValue| sealer.seal(one, 1, value, &SystemEntropy).unwrap();
        let (stored, again) = (record(&value(b"hunter2")), record(&value(b"hunter2")));
        assert_ne!(stored.digest, again.digest, "equal values have digests of their own");
        let (opener, stored) = (Opener::new([value_key()]), kept(&stored.to_bytes()));
        assert!(opener.recognises(one, 1, &stored, &[b"hunter2"]).unwrap());
        assert!(!opener.recognises(one, 1, &stored, &[b"hunter3"]).unwrap());
        assert!(opener.recognises(one, 2, &stored, &[b"hunter2"]).is_err(), "another version");
    }

    #[test]
    fn size_is_judged_at_the_limit_and_one_beyond() {
        assert!(SecretValue::new(Sensitive::new(Vec::new())).is_err());
        assert!(SecretValue::new(Sensitive::new(vec![0; SECRET_BYTES_MAX])).is_ok());
        assert!(SecretValue::new(Sensitive::new(vec![0; SECRET_BYTES_MAX + 1])).is_err());
    }

    #[test]
    fn damaged_records_are_refused() {
        let one = id();
        let stored = Sealer::new(value_key()).seal(one, 1, &value(b"v"), &SystemEntropy).unwrap().to_bytes();
        for cut in 0..stored.len() {
            assert!(Opener::new([value_key()]).open(one, 1, &kept(&stored[..cut])).is_err(), "{cut}");
        }
    }
}
