use crate::broker::caller_services::AdminServices;
use crate::broker::changes::{ChangeRequest, OperatorRequest};
use crate::broker::failure::Failure;
use crate::broker::keys::behind::named;
use crate::broker::keys::key_order::SigningKey;
use crate::broker::keys::staging::{Force, StageChange};
use crate::broker::removals::Ended;
use crate::idempotency::IdempotencyKey;
use crate::keyring::StageSince;
use crate::policy::{Authorised, OfSigningKeys, RotateSigningKeys};
use crate::wire::{AuthorityAnswer, TokenKeyAnswer};

impl AdminServices {
    /// All generations of the certificate authority, the oldest first.
    #[must_use]
    pub fn authorities<R: OfSigningKeys>(&self, _by: &Authorised<R>) -> Vec<AuthorityAnswer> {
        let now = self.0.state.clock.now();
        self.0.state.store.read(|world, _| {
            let view = |(generation, stage_since): (u32, StageSince)| {
                let certificate = world.keys.authority.certificate(generation);
                let behind = self.0.behind(world, generation, stage_since, now);
                AuthorityAnswer {
                    generation,
                    stage: stage_since.stage.as_str().into(),
                    since: stage_since.since.to_string(),
                    pin: certificate.map(|one| one.key_pin().hex()).unwrap_or_default(),
                    not_after: certificate.map(|one| one.not_after().to_string()),
                    behind: behind.len(),
                    behind_names: named(&behind).into_iter().map(str::to_owned).collect(),
                }
            };
            world.keys.authority.generations().all().map(view).collect()
        })
    }

    /// All generations of the token key, the oldest first.
    #[must_use]
    pub fn token_keys<R: OfSigningKeys>(&self, _by: &Authorised<R>) -> Vec<TokenKeyAnswer> {
        let view = |(generation, stage_since): (u32, StageSince)| {
            let (stage, since) = (stage_since.stage.as_str().into(), stage_since.since.to_string());
            TokenKeyAnswer { generation, stage, since }
        };
        self.0.state.store.read(|world, _| world.keys.token_keys.generations().all().map(view).collect())
    }

    /// Makes and publishes the next generation; it does not sign yet.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn prepare_key(
        &self,
        by: &Authorised<RotateSigningKeys>,
        key: SigningKey,
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<(), Failure> {
        self.published(self.0.prepare_key(ChangeRequest::by(by.operator(), idempotency), key)).await
    }

    /// Changes the stage of a generation.
    ///
    /// # Errors
    /// [`Failure`]; without [`Force`] also if live instances have not renewed for an authority, or verifiers may not
    /// have fetched the token key yet.
    pub async fn stage_key(
        &self,
        by: &Authorised<RotateSigningKeys>,
        change: StageChange,
        force: Force,
        request: OperatorRequest<'_>,
    ) -> Result<Ended, Failure> {
        self.published(self.0.stage_key(ChangeRequest::of(by.operator(), request), change, force)).await
    }

    /// Makes a change of signing keys, then waits until the public documents for a sealed broker are written, also
    /// after a failure.
    async fn published<T>(&self, change: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let changed = change.await;
        self.0.keyring.publishing.publish().await;
        changed
    }
}
