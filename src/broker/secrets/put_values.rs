use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, PoisonError};

use crate::base::limits::PUT_VALUES_MAX;
use crate::base::{Entropy, SecretName, Sensitive, code};
use crate::broker::failure::Failure;
use crate::broker::world::World;
use crate::crypto::{Digest, MacKey};
use crate::idempotency::IdempotencyKey;
use crate::secrets::SecretValue;

/// Digests of the values that were stored with an idempotency key, under a key of this process: a repeated
/// idempotency key with another value is refused. The ledger contains only the digest under the value's own data key.
/// Another digest would outlive the value, and a reader of ledger and keyring could test guesses of a destroyed
/// value.
pub struct PutValues {
    key: MacKey,
    put: Mutex<PutValue>,
}

impl fmt::Debug for PutValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PutValues")
    }
}

#[derive(Default)]
struct PutValue {
    values: HashMap<Digest, Value>,
    order: VecDeque<Digest>,
}

struct Value {
    secret: SecretName,
    version: u32,
    digest: Digest,
}

impl PutValues {
    /// An empty set.
    #[must_use]
    pub fn new(entropy: &dyn Entropy) -> Self {
        Self { key: MacKey::new(&Sensitive::filled(|to| entropy.fill(to))), put: Mutex::default() }
    }

    /// Refuses if the request of `idempotency` had another value before, as far as this process knows.
    pub(crate) fn check(
        &self,
        idempotency: Option<&IdempotencyKey>,
        value: &SecretValue,
    ) -> Result<(), Failure> {
        let Some(idempotency) = idempotency else { return Ok(()) };
        let digest = self.key.tag(value.expose());
        let put = self.put.lock().unwrap_or_else(PoisonError::into_inner);
        match put.values.get(idempotency.slot()) {
            Some(known) if known.digest != digest => Err(Failure::new(code::IDEMPOTENCY_KEY_REUSED)),
            Some(_) | None => Ok(()),
        }
    }

    /// Notes the value of the request of `idempotency`.
    pub(crate) fn note(
        &self,
        idempotency: Option<&IdempotencyKey>,
        value: &SecretValue,
        secret: &SecretName,
        version: u32,
    ) {
        let Some(idempotency) = idempotency else { return };
        let (slot, digest) = (*idempotency.slot(), self.key.tag(value.expose()));
        let mut put = self.put.lock().unwrap_or_else(PoisonError::into_inner);
        put.values.insert(slot, Value { secret: secret.clone(), version, digest });
        put.order.push_back(slot);
        while put.order.len() > PUT_VALUES_MAX {
            if let Some(oldest) = put.order.pop_front() {
                put.values.remove(&oldest);
            }
        }
    }

    /// Wipes the key.
    pub(crate) fn forget(&self) {
        self.key.forget();
    }

    /// Forgets the values that were destroyed.
    pub(crate) fn forget_destroyed(&self, world: &World) {
        let is_there = |value: &Value| {
            world.secrets.named(&value.secret).is_some_and(|secret| secret.version(value.version).is_some())
        };
        let mut put = self.put.lock().unwrap_or_else(PoisonError::into_inner);
        put.values.retain(|_, value| is_there(value));
    }
}
