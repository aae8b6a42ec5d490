use crate::base::code;
use crate::broker::denial::Denial;
use crate::broker::failure::Failure;
use crate::broker::identity::revoke::Applied;
use crate::broker::keys::key_schedule::SCHEDULE;
use crate::broker::keys::rotate_keys::{Force, authority_staged, check_authority, not_so};
use crate::broker::once::{Asker, done_before, once_of};
use crate::broker::retry::{Again, deciding_again};
use crate::broker::services::Core;
use crate::broker::world::{Effect, World};
use crate::custody::{Order, TakeAway};
use crate::idempotency::Once;
use crate::keyring::{Generations, Stage};
use crate::pki;
use crate::store::{Change, OnConflict, Taken};

/// On whose word a signing key is brought to another stage.
#[derive(Clone, Copy)]
pub(in crate::broker) struct KeyWord<'a> {
    name: &'a str,
    asker: Option<Asker<'a>>,
    is_schedule: bool,
}

impl<'a> KeyWord<'a> {
    /// An operator's, or the schedule's.
    pub(in crate::broker) fn of(asker: Option<Asker<'a>>) -> Self {
        let name = asker.map_or(SCHEDULE, |(operator, _)| operator.name().as_str());
        Self { name, asker, is_schedule: asker.is_none() }
    }

    /// That of somebody on the broker's host, who is called so.
    pub(in crate::broker) const fn of_host(name: &'a str) -> Self {
        Self { name, asker: None, is_schedule: false }
    }

    pub(in crate::broker) const fn by(self) -> &'a str {
        self.name
    }

    fn once(self) -> Option<&'a Once> {
        once_of(self.asker)
    }

    /// `change` on this word.
    ///
    /// # Errors
    /// [`Failure`] when the operator may not do it any more.
    pub(in crate::broker) fn asked(
        self,
        core: &Core,
        change: Change<Effect>,
        as_of: u64,
    ) -> Result<Change<Effect>, Failure> {
        core.asked_by(change, self.asker, as_of)
    }

    /// Whether a key is ended in memory while the ledger cannot take it. One that has not signed yet gives
    /// nothing, and could still become the one that signs; what the schedule ends can wait.
    fn cannot_wait(self, generations: &Generations, generation: u32) -> bool {
        let mut all = generations.all();
        let standing = all.find(|(one, _)| *one == generation).map(|(_, standing)| standing.stage);
        !self.is_schedule && matches!(standing, Some(Stage::Old | Stage::Tainted))
    }
}

impl Core {
    /// Revokes a generation of the token key: no token that it signed counts any more.
    pub(in crate::broker) async fn revoke_token_key(
        &self,
        word: KeyWord<'_>,
        generation: u32,
    ) -> Result<Applied, Failure> {
        let stage = Stage::Revoked;
        let check = |world: &World| world.token_keys.generations().check(generation, stage);
        let applied = deciding_again!(async {
            let now = self.state.clock.now();
            let (checked, before, cannot_wait, as_of) = self.state.store.read(|world, as_of| {
                let cannot_wait = word.cannot_wait(world.token_keys.generations(), generation);
                (check(world), done_before(world, word.once(), now), cannot_wait, as_of)
            });
            if let Some(before) = before? {
                return Ok(Applied::recorded(before.seq));
            }
            checked.map_err(|error| Again::Stop(not_so(error)))?;
            let kid = self.signing.issuer.token_key_id(generation);
            let kid = kid.ok_or_else(|| Again::Stop(Failure::new(code::SIGNING_KEY_MISSING)))?;
            let change = self.token_key_change(word, (generation, stage), &kid, as_of)?;
            let taken = if cannot_wait {
                let taking = change.urgent().taking_away(Denial::token_key(now, generation));
                self.state.store.take_away(taking, OnConflict::Repeat, |world| check(world).is_ok()).await?
            } else {
                Taken::Recorded(self.state.store.commit(change, ()).await?.seq())
            };
            let order =
                Order { at: now, by: word.by().to_owned(), what: TakeAway::RevokeTokenKey(generation) };
            Ok(Applied { taken, order: Some(order) })
        })?;
        self.withdraw_token_key(generation)?;
        self.shed_once_recorded(&applied, stage);
        Ok(applied)
    }

    /// Taints or revokes a generation of the certificate authority.
    pub(in crate::broker) async fn end_authority(
        &self,
        word: KeyWord<'_>,
        (generation, stage): (u32, Stage),
        force: Force,
    ) -> Result<Applied, Failure> {
        let is_revoked = stage == Stage::Revoked;
        let applied = deciding_again!(async {
            let now = self.state.clock.now();
            let check = |world: &World| check_authority(world, (generation, stage), force, now);
            let (checked, before, cannot_wait, as_of) = self.state.store.read(|world, as_of| {
                let cannot_wait = word.cannot_wait(world.authority.generations(), generation);
                (check(world), done_before(world, word.once(), now), cannot_wait, as_of)
            });
            if let Some(before) = before? {
                return Ok(Applied::recorded(before.seq));
            }
            let (pin, behind) = checked?;
            let event = authority_staged(word.by(), (generation, stage), pin, behind);
            let change = Change::new(&event)?
                .effect(Effect::Pki(pki::Effect::Stage { generation, stage }))
                .rely(pki::keys::authority(), as_of);
            let change = word.asked(self, change, as_of)?;
            let taken = if cannot_wait {
                let taking = change.urgent().taking_away(Denial::authority(now, generation, is_revoked));
                self.state.store.take_away(taking, OnConflict::Repeat, |world| check(world).is_ok()).await?
            } else {
                Taken::Recorded(self.state.store.commit(change, ()).await?.seq())
            };
            let what = match stage {
                Stage::Revoked => TakeAway::RevokeAuthority(generation),
                Stage::Prepared | Stage::Active | Stage::Old | Stage::Tainted => {
                    TakeAway::TaintAuthority(generation)
                }
            };
            Ok(Applied { taken, order: Some(Order { at: now, by: word.by().to_owned(), what }) })
        })?;
        if is_revoked {
            self.withdraw_authority(generation)?;
        }
        self.notifications.authorities_changed();
        self.shed_once_recorded(&applied, stage);
        Ok(applied)
    }

    /// A private key leaves the keyring once the ledger has its end; the next look does so otherwise.
    fn shed_once_recorded(&self, applied: &Applied, stage: Stage) {
        if matches!(applied.taken, Taken::Recorded(_)) {
            self.shed_after(stage);
        }
    }
}
