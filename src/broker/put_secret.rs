use super::authorise::while_allowed;
use super::desk::{AdminDesk, deciding_again};
use super::failure::Failure;
use super::world::Effect;
use crate::base::code;
use crate::base::limits::SECRET_VERSIONS_MAX;
use crate::base::{SecretId, SecretName, Sensitive};
use crate::policy::{Authorised, StoreSecrets};
use crate::secrets::{self, SecretStored, SecretValue, keys};
use crate::store::Change;

/// A stored version.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The secret's name.
    pub name: SecretName,
    /// The version, from 1.
    pub version: u32,
    /// The entry that says so.
    pub seq: u64,
}

impl AdminDesk {
    /// Stores `value` as the next version of the secret called `name`, which is created by its first.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn put_secret(
        &self,
        by: &Authorised<StoreSecrets>,
        name: SecretName,
        value: Sensitive<Vec<u8>>,
    ) -> Result<Stored, Failure> {
        let value = SecretValue::new(value)
            .map_err(|error| Failure::new(code::SECRET_SIZE).because(error.to_string()))?;
        let core = &*self.0;
        deciding_again!(async {
            let (known, as_of) = core.store.read(|world, as_of| {
                (world.secrets.named(&name).map(|secret| (secret.id, secret.current.number)), as_of)
            });
            let (id, before) = known.unwrap_or_else(|| (SecretId::mint(core.clock.now(), &*core.entropy), 0));
            let version = before.saturating_add(1);
            if version > SECRET_VERSIONS_MAX {
                return Err(Failure::new(code::SECRET_VERSIONS_EXHAUSTED).into());
            }
            let event =
                SecretStored { operator: by.operator().name(), secret: &name, secret_id: id, version };
            let sealed = core.sealer.seal(id, version, &value, &*core.entropy);
            let effect = secrets::Effect::Store { id, name: name.clone(), version, sealed };
            let mut change = Change::new(&event)?
                .effect(Effect::Secrets(effect))
                .rely(keys::secret(&name), as_of)
                .advance(keys::secret(&name));
            if before == 0 {
                change = change.advance(keys::existence(&name));
            }
            let receipt = core.store.commit(while_allowed(change, by.operator()), ()).await?;
            Ok(Stored { name: name.clone(), version, seq: receipt.seq() })
        })
    }
}
