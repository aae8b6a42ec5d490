use std::sync::Arc;

use super::context::{RotationContext, Step};
use super::declare::declared;
use crate::base::{SecretName, code};
use crate::broker::administration::heavy::{HeavyRequest, Priority};
use crate::broker::caller_services::AdminServices;
use crate::broker::changes::Initiator;
use crate::broker::declarations::sections::parse_tables;
use crate::broker::failure::Failure;
use crate::broker::services::Services;
use crate::config::{Faults, SourceFile};
use crate::policy::{Authorised, CheckPlanned, RotateSecrets};
use crate::registry::ForeignNames;
use crate::rotation::{self, Declared, Rotation};
use crate::upstream::{Finding, RotationCall, stored_driver};
use crate::wire::{FindingAnswer, UpstreamCheckAnswer};

fn finding_of(Finding { what, ok, says, fix }: Finding, secret: &SecretName) -> FindingAnswer {
    let fix = fix.map(|fix| fix.replace("NAME", secret.as_str()));
    FindingAnswer { what: what.into(), ok, says, fix }
}

/// The rotation as it is declared, with what is known of the values at the same upstream.
fn fresh(declared: Declared, known: Option<&Rotation>) -> Rotation {
    let place = |upstream: &str| stored_driver(upstream).ok().and_then(|driver| driver.place());
    let known = known.filter(|known| place(&known.declared.upstream) == place(&declared.upstream));
    let fresh = Rotation::fresh(declared, None);
    match known {
        Some(Rotation { last, check, .. }) => Rotation { last: last.clone(), check: *check, ..fresh },
        None => fresh,
    }
}

impl AdminServices {
    /// Checks the declared upstream of the rotation of `secret`, without a change there.
    ///
    /// # Errors
    /// [`Failure`] if no rotation is within the scope, or the call cannot be recorded.
    pub async fn check_rotation(
        &self,
        by: &Authorised<RotateSecrets>,
        secret: &SecretName,
    ) -> Result<UpstreamCheckAnswer, Failure> {
        let scope = by.operator().scope();
        self.0.state.read(|reading| reading.rotation_within(scope, secret).map(drop)).0?;
        let at = self.0.context(secret)?;
        self.0.check_upstream(&at, Initiator::Operator(by.operator())).await
    }

    /// Checks the upstream of a rotation as `files` declare it, before an apply.
    ///
    /// # Errors
    /// [`Failure`] with all faults of the files, or if they declare no rotation of `secret`.
    pub async fn check_planned(
        &self,
        by: &Authorised<CheckPlanned>,
        heavy: &HeavyRequest,
        files: Vec<SourceFile>,
        secret: &SecretName,
    ) -> Result<UpstreamCheckAnswer, Failure> {
        let (services, operator, secret) = (Arc::clone(&self.0), by.operator().clone(), secret.clone());
        let reading = heavy.run(Priority::Ordinary, move |work| {
            let asked = rotation::parse(&mut parse_tables(&files, work)?)?;
            let asked = asked.get(&secret).ok_or_else(|| Failure::new(code::ROTATION_UNKNOWN))?;
            services.context_of(|reading| {
                let declared =
                    declared(reading.unconditional(), operator.scope(), &secret, asked, ForeignNames::Told);
                let fresh = |declared| fresh(declared, reading.rotation(&secret));
                declared.map(fresh).map_err(|(place, message)| {
                    let mut faults = Faults::of(&files, work);
                    faults.tell(place, message);
                    let invalid = |()| Failure::new(code::DECLARATIONS_INVALID);
                    faults.or(()).map_or_else(Failure::from, invalid)
                })
            })
        });
        let at = reading.await?;
        self.0.check_upstream(&at, Initiator::Operator(by.operator())).await
    }
}

impl Services {
    async fn check_upstream(
        &self,
        at: &RotationContext,
        by: Initiator<'_>,
    ) -> Result<UpstreamCheckAnswer, Failure> {
        let lent = self.open_values(at, by, Step::Check, &at.current()).await?;
        let (admin, current) = (lent.admin.as_ref(), lent.values.first());
        let is_established = at.rotation.is_established();
        let findings = at.driver.check(RotationCall { admin, current, is_established, ..at.call() }).await;
        Ok(UpstreamCheckAnswer {
            secret: at.name().clone(),
            upstream: at.driver.describe(),
            ok: findings.iter().all(|finding| finding.ok),
            findings: findings.into_iter().map(|finding| finding_of(finding, at.name())).collect(),
        })
    }
}
