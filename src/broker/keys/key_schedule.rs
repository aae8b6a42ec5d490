use crate::base::limits::{
    AUTHORITY_LEAD_S, CERTIFICATE_LIFE_MAX_S, LEEWAY_S, RENEWAL_GRACE_MAX_S, TOKEN_KEY_LEAD_S,
    TOKEN_LIFE_MAX_S,
};
use crate::broker::failure::Failure;
use crate::broker::keys::rotate_keys::Force;
use crate::broker::services::Core;
use crate::keyring::Stage;

/// Who does what the schedule says; no operator's name has a space.
pub(in crate::broker) const SCHEDULE: &str = "the schedule";

impl Core {
    /// Does what is due about token keys: prepares the next one `TOKEN_KEY_LEAD_S` before the end of
    /// the life of the one that signs, lets it sign then, and forgets an old one when no token of
    /// its own can hold any more. A step that fails keeps no other from being done.
    ///
    /// # Errors
    /// [`Failure`] of the first step that failed.
    pub async fn keep_token_keys(&self) -> Result<(), Failure> {
        self.follow_token_keys()?;
        let now = self.state.clock.now();
        let generations = self.state.store.read(|world, _| world.token_keys.generations().clone());
        let Some((_, active)) = generations.active() else { return Ok(()) };
        let ends = active.since.plus_s(self.settings.token_key_life_s);
        let mut due = Due::default();
        match generations.prepared() {
            None if now >= ends.plus_s(TOKEN_KEY_LEAD_S.saturating_neg()) => {
                due.note(self.prepare_token_key(None).await);
            }
            Some((next, prepared)) if now >= ends && now >= prepared.since.plus_s(TOKEN_KEY_LEAD_S) => {
                due.note(self.stage_token_key(None, (next, Stage::Active), Force::No).await);
            }
            None | Some(_) => {}
        }
        for (generation, standing) in generations.all() {
            let over = standing.since.plus_s(TOKEN_LIFE_MAX_S.saturating_add(LEEWAY_S));
            if standing.stage == Stage::Old && now >= over {
                due.note(self.stage_token_key(None, (generation, Stage::Revoked), Force::No).await);
            }
        }
        due.done()
    }

    /// Does what is due about authorities: prepares the next one `AUTHORITY_LEAD_S` before the end of the
    /// time for which one signs, so that every certificate that holds by then was given with it, and lets it
    /// sign then; one that signs no more is forgotten when no certificate of its own can hold any more, nor
    /// be renewed with. A step that fails keeps no other from being done.
    ///
    /// # Errors
    /// [`Failure`] of the first step that failed.
    pub async fn keep_authorities(&self) -> Result<(), Failure> {
        self.follow_authorities()?;
        let now = self.state.clock.now();
        let generations = self.state.store.read(|world, _| world.authority.generations().clone());
        let ends =
            generations.active().map(|(_, active)| active.since.plus_s(self.settings.authority_life_s));
        let mut due = Due::default();
        match (generations.prepared(), ends) {
            (None, Some(ends)) if now >= ends.plus_s(AUTHORITY_LEAD_S.saturating_neg()) => {
                due.note(self.prepare_authority(None).await);
            }
            (Some((next, prepared)), Some(ends))
                if now >= ends && now >= prepared.since.plus_s(AUTHORITY_LEAD_S) =>
            {
                due.note(self.stage_authority(None, (next, Stage::Active), Force::No).await);
            }
            (None | Some(_), _) => {}
        }
        let longest = CERTIFICATE_LIFE_MAX_S.saturating_add(RENEWAL_GRACE_MAX_S).saturating_add(LEEWAY_S);
        for (generation, standing) in generations.all() {
            let signed = matches!(standing.stage, Stage::Old | Stage::Tainted);
            if signed && now >= standing.since.plus_s(longest) {
                due.note(self.stage_authority(None, (generation, Stage::Revoked), Force::No).await);
            }
        }
        due.done()
    }
}

/// What became of the steps that were due.
#[derive(Default)]
struct Due(Option<Failure>);

impl Due {
    fn note<T>(&mut self, step: Result<T, Failure>) {
        let Err(failure) = step else { return };
        if self.0.is_some() {
            tracing::error!(?failure, "another step of the schedule of keys failed");
            return;
        }
        self.0 = Some(failure);
    }

    /// Whether all of them were done.
    fn done(self) -> Result<(), Failure> {
        self.0.map_or(Ok(()), Err)
    }
}
