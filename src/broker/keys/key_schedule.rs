use crate::base::limits::{
    AUTHORITY_LEAD_S, CERTIFICATE_LIFE_MAX_S, LEEWAY_S, RENEWAL_GRACE_MAX_S, TOKEN_KEY_LEAD_S,
    TOKEN_LIFE_MAX_S,
};
use crate::broker::changes::ChangeRequest;
use crate::broker::failure::Failure;
use crate::broker::keys::key_order::SigningKey;
use crate::broker::keys::staging::{Force, StageChange};
use crate::broker::reading::Reading;
use crate::broker::services::Services;
use crate::keyring::{KeyStage, StageSince};

impl Services {
    /// Does the due steps of token keys.
    ///
    /// # Errors
    /// [`Failure`] of the first step that failed.
    pub async fn keep_token_keys(&self) -> Result<(), Failure> {
        self.keep_signing_key(SigningKey::Token).await
    }

    /// Does the due steps of authorities.
    ///
    /// # Errors
    /// [`Failure`] of the first step that failed.
    pub async fn keep_authorities(&self) -> Result<(), Failure> {
        self.keep_signing_key(SigningKey::Authority).await
    }

    /// Prepares the next generation early enough that, when it begins to sign, all valid certificates were issued
    /// with it and all verifiers have it. Then activates it, once no service needs the former one. Revokes an old generation when nothing that it signed
    /// can be valid. A failed step does not stop the others.
    async fn keep_signing_key(&self, key: SigningKey) -> Result<(), Failure> {
        let Times { life_s, lead_s, outlived_s } = self.times(key);
        self.follow(key)?;
        let request = ChangeRequest::by_schedule();
        let (generations, _) = self.state.read(|reading| key.generations(reading).clone());
        let now = self.state.clock.now();
        let stage = |generation, stage| StageChange { key, generation, stage };
        let ends = generations.active().map(|(_, active)| active.since.plus_s(life_s));
        let mut due = Due::default();
        match (generations.prepared(), ends) {
            (None, Some(ends)) if now >= ends.plus_s(lead_s.saturating_neg()) => {
                due.note(self.prepare_key(request, key).await);
            }
            (Some((next, prepared)), Some(ends))
                if now >= ends
                    && now >= prepared.since.plus_s(lead_s)
                    && !self.has_holders_behind(key, next, prepared) =>
            {
                due.note(self.stage_key(request, stage(next, KeyStage::Active), Force::No).await);
            }
            (None | Some(_), _) => {}
        }
        for (generation, stage_since) in generations.all() {
            let has_signed = matches!(stage_since.stage, KeyStage::Old | KeyStage::Tainted);
            if has_signed
                && now >= stage_since.since.plus_s(outlived_s)
                && !self.has_holders_behind(key, generation, stage_since)
            {
                due.note(self.stage_key(request, stage(generation, KeyStage::Revoked), Force::No).await);
            }
        }
        due.done()
    }

    /// Whether the next step of this generation would take the access of a holder away. The schedule waits for services:
    /// their certificates are valid for longer than those of agents.
    fn has_holders_behind(&self, key: SigningKey, generation: u32, stage_since: StageSince) -> bool {
        let behind = |reading: &Reading<'_>| {
            !self.behind(reading.unconditional(), generation, stage_since, reading.now()).is_empty()
        };
        matches!(key, SigningKey::Authority) && self.state.read(behind).0
    }

    const fn times(&self, key: SigningKey) -> Times {
        match key {
            SigningKey::Token => Times {
                life_s: self.settings.token_key_life_s,
                lead_s: TOKEN_KEY_LEAD_S,
                outlived_s: TOKEN_LIFE_MAX_S.saturating_add(LEEWAY_S),
            },
            SigningKey::Authority => Times {
                life_s: self.settings.authority_life_s,
                lead_s: AUTHORITY_LEAD_S,
                outlived_s: CERTIFICATE_LIFE_MAX_S
                    .saturating_add(RENEWAL_GRACE_MAX_S)
                    .saturating_add(LEEWAY_S),
            },
        }
    }
}

/// The times between the stages of a signing key, in seconds.
struct Times {
    /// The period in which a generation signs.
    life_s: i64,
    /// The period in which it is published before it signs.
    lead_s: i64,
    /// The time after its last signature until nothing that it signed can be valid.
    outlived_s: i64,
}

/// The results of the due steps.
#[derive(Default)]
struct Due(Option<Failure>);

impl Due {
    fn note<T>(&mut self, step: Result<T, Failure>) {
        let Err(failure) = step else { return };
        if self.0.is_some() {
            tracing::error!(?failure, "a step of the key schedule failed");
            return;
        }
        self.0 = Some(failure);
    }

    /// Returns the first failure, if there is one.
    fn done(self) -> Result<(), Failure> {
        self.0.map_or(Ok(()), Err)
    }
}
