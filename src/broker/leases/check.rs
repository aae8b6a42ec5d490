use std::sync::Arc;

use super::declare::offer;
use super::lease_upstream::LeaseUpstream;
use crate::base::limits::LEASE_LIFE_MIN_S;
use crate::base::{CapabilityName, code};
use crate::broker::administration::heavy::{HeavyRequest, Priority};
use crate::broker::caller_services::AdminServices;
use crate::broker::changes::Initiator;
use crate::broker::declarations::sections::parse_tables;
use crate::broker::failure::Failure;
use crate::broker::reading::Preconditions;
use crate::broker::retry::{AttemptError, retry_on_conflict};
use crate::config::{Faults, SourceFile};
use crate::leases::{self, LeaseCheckAttempted};
use crate::policy::{Authorised, CheckPlanned};
use crate::registry::ForeignNames;
use crate::store::Change;
use crate::upstream::{Finding, NewLogin, stored_lease_driver};
use crate::wire::{FindingAnswer, LeaseCheckAnswer};

/// A lease in declaration files that is to be checked.
struct CheckedLease {
    upstream: LeaseUpstream,
    per_agent: u32,
}

impl AdminServices {
    /// Checks the upstream of a lease as `files` declare it, before an apply. It creates no login.
    ///
    /// # Errors
    /// [`Failure`] with the faults of the lease, if the files declare no lease of `capability`, or if the call cannot be
    /// recorded.
    pub async fn check_planned_lease(
        &self,
        by: &Authorised<CheckPlanned>,
        heavy: &HeavyRequest,
        files: Vec<SourceFile>,
        capability: &CapabilityName,
    ) -> Result<LeaseCheckAnswer, Failure> {
        let (services, files) = (&*self.0, Arc::new(files));
        let opened = retry_on_conflict!(async {
            let (own, operator) = (self.clone(), by.operator().clone());
            let (files, named) = (Arc::clone(&files), capability.clone());
            let read = heavy.run(Priority::Ordinary, move |work| {
                let asked = leases::parse(&mut parse_tables(&files, work)?)?;
                let asked = asked.get(&named).ok_or_else(|| Failure::new(code::CAPABILITY_UNKNOWN))?;
                let (read, preconditions) = own.0.state.read(|reading| {
                    let (world, scope) = (reading.unconditional(), operator.scope());
                    let declared = offer(world, scope, ForeignNames::Told, &named, asked);
                    let declared = declared.map_err(|(place, message)| {
                        let mut faults = Faults::of(&files, work);
                        faults.tell(place, message);
                        let invalid = |()| Failure::new(code::DECLARATIONS_INVALID);
                        faults.or(()).map_or_else(Failure::from, invalid)
                    })?;
                    let driver = stored_lease_driver(&declared.upstream)
                        .map_err(|error| Failure::internal(code::RECORD_UNREADABLE, &error))?;
                    let upstream = LeaseUpstream::planned(world, driver)?.noted(reading);
                    Ok::<_, Failure>(CheckedLease { upstream, per_agent: declared.per_agent })
                });
                Ok::<(CheckedLease, Preconditions), Failure>((read?, preconditions))
            });
            let (checked, preconditions) = read.await?;
            let event = LeaseCheckAttempted {
                operator: by.operator().name(),
                capability,
                upstream: checked.upstream.driver.describe(),
                administering: checked.upstream.administering(),
            };
            let change = Change::new(&event)?;
            let preconditions =
                preconditions.and(services.state.still_allowed(Initiator::Operator(by.operator()))?);
            let (admin, _) = services.open_admin_secret(&checked.upstream, change, preconditions).await?;
            Ok::<_, AttemptError>((checked, admin))
        });
        let (CheckedLease { upstream, per_agent }, admin) = opened?;
        let name = format!("{}check", services.upstream.login_prefix);
        let until = services.state.clock.now().plus_s(i64::from(LEASE_LIFE_MIN_S));
        let login = NewLogin { name: &name, until, per_agent };
        let findings = upstream.driver.check(services.lease_call(&admin), login).await;
        Ok(LeaseCheckAnswer {
            capability: capability.clone(),
            upstream: upstream.driver.describe(),
            ok: findings.iter().all(|finding| finding.ok),
            findings: findings.into_iter().map(|finding| finding_of(finding, capability)).collect(),
        })
    }
}

fn finding_of(Finding { what, ok, says, fix }: Finding, capability: &CapabilityName) -> FindingAnswer {
    let fix = fix.map(|fix| fix.replace("NAME", capability.as_str()));
    FindingAnswer { what: what.into(), ok, says, fix }
}
