use crate::base::Timestamp;
use crate::broker::changes::{ChangeRequest, OperatorRequest};
use crate::broker::desk::AdminDesk;
use crate::broker::failure::Failure;
use crate::broker::keys::behind::behind;
use crate::broker::keys::key_order::SigningKey;
use crate::broker::keys::staging::{Force, StageChange};
use crate::broker::removals::Ended;
use crate::idempotency::Once;
use crate::keyring::Standing;
use crate::pki;
use crate::policy::{Authorised, OfSigningKeys, RotateSigningKeys};

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

    /// All generations of the token key, the oldest first.
    #[must_use]
    pub fn token_keys<R: OfSigningKeys>(&self, _by: &Authorised<R>) -> Vec<TokenKeyView> {
        let view = |(generation, standing)| TokenKeyView { generation, standing };
        self.0.state.store.read(|world, _| world.token_keys.generations().all().map(view).collect())
    }

    /// Makes the next generation and publishes it; it signs nothing yet.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn prepare_key(
        &self,
        by: &Authorised<RotateSigningKeys>,
        key: SigningKey,
        once: Option<&Once>,
    ) -> Result<(), Failure> {
        self.published(self.0.prepare_key(ChangeRequest::by(by.operator(), once), key)).await
    }

    /// Brings a generation to another stage.
    ///
    /// # Errors
    /// [`Failure`]; without [`Force`] also when live instances are behind an authority, or verifiers may not have
    /// fetched a token key that is to sign.
    pub async fn stage_key(
        &self,
        by: &Authorised<RotateSigningKeys>,
        change: StageChange,
        force: Force,
        request: OperatorRequest<'_>,
    ) -> Result<Ended, Failure> {
        self.published(self.0.stage_key(ChangeRequest::of(by.operator(), request), change, force)).await
    }

    /// Makes a change of signing keys, and returns once the public documents for a sealed broker are written: also
    /// after a failure, which leaves what was done before it.
    async fn published<T>(&self, change: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let changed = change.await;
        self.0.keyring.publishing.publish().await;
        changed
    }
}
