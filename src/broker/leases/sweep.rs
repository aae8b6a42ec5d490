use super::super::desk::Core;
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
        let counters = self.store.read(|world, _| {
            let declared = world.leases.upstreams().map(|(declared, _)| declared);
            // The newest first: a server's authority may have changed since the others were declared.
            let mut declared: Vec<u64> = declared.collect();
            declared.reverse();
            let counters = declared.into_iter().filter_map(|declared| Counter::of(world, declared).ok());
            counters.collect::<Vec<_>>()
        });
        let mut seen = std::collections::BTreeSet::new();
        for counter in counters {
            if seen.insert(counter.place.clone()) && self.lets_call_at(&revocations_at(&counter.place)) {
                self.sweep(&counter).await?;
            }
        }
        Ok(())
    }

    async fn sweep(&self, counter: &Counter) -> Result<(), Failure> {
        let upstream = counter.target.describe();
        let event = LoginsSwept { upstream: upstream.clone(), administering: counter.administering() };
        let stored = self.stored_for(counter).await?;
        let receipt = self.store.commit(Change::new(&event)?, counter.loan()).await?;
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
