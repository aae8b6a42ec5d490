use crate::broker::desk::AdminDesk;
use crate::broker::failure::Failure;
use crate::broker::identity::revoke::Ended;
use crate::broker::keys::rotate_keys::{AuthorityView, Force, TokenKeyView, behind};
use crate::idempotency::Once;
use crate::keyring::{Stage, Standing};
use crate::pki;
use crate::policy::{Authorised, OfSigningKeys, RotateSigningKeys};

impl AdminDesk {
    /// All generations of the certificate authority, the oldest first.
    #[must_use]
    pub fn authorities<R: OfSigningKeys>(&self, _by: &Authorised<R>) -> Vec<AuthorityView> {
        let now = self.0.state.clock.now();
        self.0.state.store.read(|world, _| {
            let view = |(generation, standing): (u32, Standing)| {
                let certificate = world.authority.certificate(generation);
                AuthorityView {
                    generation,
                    standing,
                    pin: certificate.map(|one| one.key_pin().hex()).unwrap_or_default(),
                    not_after: certificate.map(pki::AuthorityCertificate::not_after),
                    behind: behind(world, standing, now).len(),
                }
            };
            world.authority.generations().all().map(view).collect()
        })
    }

    /// Makes the next authority and publishes it; it signs nothing yet.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn prepare_authority(
        &self,
        by: &Authorised<RotateSigningKeys>,
        once: Option<&Once>,
    ) -> Result<(), Failure> {
        self.published(self.0.prepare_authority(Some((by.operator(), once)))).await
    }

    /// Brings an authority to `stage`.
    ///
    /// # Errors
    /// [`Failure`]; without [`Force`] also when live instances are behind.
    pub async fn stage_authority(
        &self,
        by: &Authorised<RotateSigningKeys>,
        (generation, stage): (u32, Stage),
        force: Force,
        once: Option<&Once>,
    ) -> Result<Ended, Failure> {
        self.published(self.0.stage_authority(Some((by.operator(), once)), (generation, stage), force)).await
    }

    /// All generations of the token key, the oldest first.
    #[must_use]
    pub fn token_keys<R: OfSigningKeys>(&self, _by: &Authorised<R>) -> Vec<TokenKeyView> {
        let view = |(generation, standing)| TokenKeyView { generation, standing };
        self.0.state.store.read(|world, _| world.token_keys.generations().all().map(view).collect())
    }

    /// Makes the next token key and publishes it; it signs nothing yet.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn prepare_token_key(
        &self,
        by: &Authorised<RotateSigningKeys>,
        once: Option<&Once>,
    ) -> Result<(), Failure> {
        self.published(self.0.prepare_token_key(Some((by.operator(), once)))).await
    }

    /// Brings a token key to `stage`.
    ///
    /// # Errors
    /// [`Failure`]; without [`Force`] also when verifiers may not have fetched a key that is to sign.
    pub async fn stage_token_key(
        &self,
        by: &Authorised<RotateSigningKeys>,
        (generation, stage): (u32, Stage),
        force: Force,
        once: Option<&Once>,
    ) -> Result<Ended, Failure> {
        self.published(self.0.stage_token_key(Some((by.operator(), once)), (generation, stage), force)).await
    }

    /// Makes a change of signing keys, and returns once the public documents for a sealed broker are written: also
    /// after a failure, which leaves what was done before it.
    async fn published<T>(&self, change: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let changed = change.await;
        self.0.keyring.publishing.publish().await;
        changed
    }
}
