use crate::authn::Timeliness;
use crate::base::encoding::hex;
use crate::base::{Connection, code};
use crate::broker::caller_services::AdminServices;
use crate::broker::failure::Failure;
use crate::broker::identity::bootstrap::other_certificates;
use crate::broker::identity::certificates::{Enrolled, Holder, PlannedCertificate, PresentedKey};
use crate::broker::identity::redemption::{CodeReuse, EnrolInput, Redemption};
use crate::broker::reading::{Preconditions, Reading};
use crate::broker::retry::{AttemptError, retry_on_conflict};
use crate::broker::services::Services;
use crate::broker::world::Effect;
use crate::issuance::Certify;
use crate::operators::{
    self, Operator, OperatorCertificate, OperatorCodeReused, OperatorEnrolled, OperatorLateRenewal,
    OperatorRenewed,
};
use crate::pki::{CertificatePlan, PeerCertificate, PublicKey, SpiffeId};
use crate::policy::{AdmitOperator, Grant, OperatorAdmission, decide_operator_enrolment};
use crate::store::{Change, CommitError};
use crate::telemetry::Alarm;

impl AdminServices {
    /// Redeems an operator's enrolment code for a certificate, as `AgentServices::enrol` does an
    /// agent's: the same key gets the same certificate, any other key is refused and is an alarm.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn enrol(&self, input: EnrolInput) -> Result<Enrolled, Failure> {
        let services = &*self.0;
        let mut redemption = Redemption::of(services, &input)?;
        let enrolled = retry_on_conflict!(async {
            let deciding = services.deciding(services.state.certifying(services.settings.operator_life_s)?);
            let permit = redemption.permit();
            let ((decision, operator), preconditions) = services.state.read(|reading| {
                let operator = reading.operator_of_code(input.code).cloned();
                let context = deciding.timed_on(reading);
                (decide_operator_enrolment(&context, &redemption.request(), permit), operator)
            });
            match (decision.grant(), operator) {
                (Ok(grant), Some(operator)) => {
                    services
                        .admit_operator(&operator, grant, &redemption.key, input.connection, preconditions)
                        .await
                }
                (Ok(_), None) => Err(AttemptError::Stop(Failure::new(code::ENROLMENT_CODE_INVALID))),
                (Err(denial), _) => {
                    let reuse = |reading: &Reading<'_>| code_reuse(reading, &redemption);
                    Err(services.not_redeemed(&redemption, &denial, reuse).await)
                }
            }
        });
        services.noting_clock_refusal_of_code(&redemption, enrolled).await
    }

    /// The serial numbers of the other certificates of the operator that `enrolled`, which stay valid or can be renewed. They are
    /// a part of the answer to this enrolment alone.
    #[must_use]
    pub fn certificates_beside(&self, enrolled: &Enrolled) -> Vec<String> {
        let SpiffeId::Operator { name, .. } = &enrolled.spiffe else { return Vec::new() };
        let own = PeerCertificate::parse(&enrolled.certificate);
        own.map_or_else(|_| Vec::new(), |own| other_certificates(&self.0, name, own.serial()))
    }
}

impl Services {
    /// The certificate of `grant`: the one that was planned for this key, or a new one.
    pub(super) async fn admit_operator(
        &self,
        operator: &Operator,
        grant: Grant<AdmitOperator>,
        key: &PublicKey,
        connection: Connection,
        preconditions: Preconditions,
    ) -> Result<Enrolled, AttemptError> {
        let planned = grant.act().repeats().and_then(|serial| operator.certificate(&serial));
        if let Some(planned) = planned {
            let holder = Holder::operator(operator, planned.serial);
            let planned = PlannedCertificate::operator(holder, planned);
            let key = PresentedKey { key, connection: Some(connection) };
            return self.certificate_again(planned, grant, key, preconditions).await;
        }
        let life_s = self.operator_life_s(&operator.profile);
        let time = self.state.certifying(life_s)?.time;
        let plan = self.plan_certificate(self.operator_spiffe(&operator.name), life_s, key, time.earliest());
        let by = grant.act().by();
        let change = admitted(&operator.name, by, &plan, connection)?;
        let holder = Holder::operator(operator, *plan.serial.as_bytes());
        let certify = Certify { grant, plan, key: key.clone() };
        let receipt = self.state.commit(change, preconditions, certify).await?;
        if matches!(by, OperatorAdmission::Certificate { timeliness: Timeliness::Late, .. }) {
            self.notifications.meters.alarms().raise(
                Alarm::OperatorLateRenewal,
                format_args!(
                    "operator {}, from {}: the certificate was renewed after it had expired; ask the operator, and \
                     suspend the operator if it was another person",
                    operator.name,
                    connection.source
                ),
            );
        }
        self.sign_and_record(&holder, receipt).await
    }
}

fn code_reuse(
    reading: &Reading<'_>,
    Redemption { input, key, .. }: &Redemption<'_>,
) -> Result<Option<CodeReuse>, CommitError> {
    let code = reading.unreported_operator_code(input.code);
    let Some((operator, (first, _))) = code.and_then(|code| Some((&code.operator, code.redeemed?))) else {
        return Ok(None);
    };
    let event = OperatorCodeReused {
        operator,
        code: input.code,
        first_serial: hex(&first),
        other_key: key.digest().hex(),
        peer: input.connection.source.to_string(),
    };
    let change = Change::new(&event)?.effect(Effect::Operators(operators::Effect::ReportCode(input.code)));
    Ok(Some(CodeReuse {
        alarm: Alarm::OperatorEnrolmentCodeReused,
        holder: format!("operator {operator}"),
        change,
    }))
}

/// The event and the effects of a certificate that will be signed.
fn admitted(
    operator: &crate::base::OperatorName,
    by: OperatorAdmission,
    plan: &CertificatePlan,
    connection: Connection,
) -> Result<Change<Effect>, CommitError> {
    let certificate =
        OperatorCertificate { serial: *plan.serial.as_bytes(), key: plan.key, not_after: plan.not_after };
    let (name, not_before) = (operator.clone(), plan.not_before);
    let (serial, key, not_after) = (plan.serial.to_string(), plan.key.hex(), plan.not_after.to_string());
    let peer = connection.source.to_string();
    let change = match by {
        OperatorAdmission::Code(code) => {
            let event = OperatorEnrolled { operator, code, serial, key, not_after, peer };
            let (serial, address) = (certificate.serial, connection.source.to_canonical());
            let from = operators::Effect::EnrolledFrom { operator: name.clone(), serial, address };
            let effect = operators::Effect::Enrol { code, operator: name, certificate, not_before };
            Change::new(&event)?.effect(Effect::Operators(effect)).effect(Effect::Operators(from))
        }
        OperatorAdmission::Certificate { serial: replaces, timeliness } => {
            let previous = hex(&replaces);
            let event = OperatorRenewed { operator, serial, key, not_after, previous, peer };
            let effect = operators::Effect::Renew { operator: name, replaces, certificate, not_before };
            let change = match timeliness {
                Timeliness::InTime => Change::new(&event)?,
                Timeliness::Late => Change::new(&OperatorLateRenewal(event))?,
            };
            change.effect(Effect::Operators(effect))
        }
    };
    Ok(change.requested_on(Some(connection)))
}
