use super::super::desk::{Again, Core, deciding_again};
use super::super::failure::Failure;
use super::counter::{Counter, revocations_at};
use crate::base::code;
use crate::leases::{LoginsSwept, StrayLoginEnded};
use crate::store::Change;
use crate::telemetry::Alarm;
use crate::upstream::Logins;

impl Core {
    /// Looks through every upstream for logins of this broker's that no lease knows and whose time is over,
    /// and ends them. There are none unless the ledger has lost entries: a login's name is durable before
    /// upstream hears of it. One whose time is not over may be a lease of the ledger that this is a copy of.
    ///
    /// # Errors
    /// [`Failure`] when the broker could not record what it does. An upstream that fails is told of in
    /// the log, and holds up no other.
    pub async fn sweep_logins(&self) -> Result<(), Failure> {
        let declared = self.store.read(|world, _| {
            let declared = world.leases.upstreams().map(|(declared, _)| declared);
            // The newest first: a server's authority may have changed since the others were declared.
            let mut declared: Vec<u64> = declared.collect();
            declared.reverse();
            declared
        });
        let mut seen = std::collections::BTreeSet::new();
        for declared in declared {
            let place = self.store.read(|world, _| Counter::of(world, declared).ok().map(|one| one.place));
            if place.is_some_and(|place| seen.insert(place)) {
                deciding_again!(self.sweep(declared))?;
            }
        }
        Ok(())
    }

    async fn sweep(&self, declared: u64) -> Result<(), Again> {
        // The administering secret may have been replaced while another server was looked through.
        let counter = self.store.read(|world, as_of| Counter::of(world, declared).map(|one| (one, as_of)));
        let Ok((counter, as_of)) = counter else { return Ok(()) };
        let Some(_call) = self.lets_call_at(&revocations_at(&counter.place)) else { return Ok(()) };
        let upstream = counter.target.describe();
        let event = LoginsSwept { upstream: upstream.clone(), administering: counter.administering() };
        let stored = self.stored_for(&counter).await?;
        let change = counter.relying(Change::new(&event)?, as_of);
        let receipt = self.store.commit(change, counter.loan()).await?;
        let admin = self.issuer.lend(receipt, &stored)?.deliver().pop();
        let admin = admin.ok_or_else(|| Failure::new(code::RECORD_UNREADABLE))?;
        let logins = Logins::new(&counter.target, &self.upstreams, &admin);
        let found = logins.ended_by(&self.login_prefix, self.clock.now()).await;
        self.note_answer_of(&revocations_at(&counter.place), found.as_ref().err());
        let found = match found {
            Ok(found) => found,
            Err(fault) => {
                tracing::warn!(place = %counter.place, code = %fault.code, "an upstream was not looked through");
                return Ok(());
            }
        };
        let known = |login: &String| {
            self.store.read(|world, _| world.leases.all().any(|lease| lease.login == *login))
        };
        for login in found.iter().filter(|login| !known(login)) {
            match logins.end(login).await {
                Ok(()) => {
                    self.meters.alarms().raise(
                        Alarm::StrayLogin,
                        format_args!("login {login} at {upstream} belonged to no lease and was removed"),
                    );
                    let event = StrayLoginEnded { upstream: upstream.clone(), login };
                    self.record_of_leases(Change::new(&event)?).await?;
                }
                Err(fault) => {
                    tracing::warn!(%login, code = %fault.code, "a stray login could not be ended");
                }
            }
        }
        Ok(())
    }
}
