use crate::base::{InstanceId, code};
use crate::broker::caller_services::AgentServices;
use crate::broker::failure::Failure;
use crate::broker::identity::certificates::{
    CertificateOccasion, Enrolled, Holder, PlannedCertificate, PresentedKey,
};
use crate::broker::identity::redemption::{CodeReuse, EnrolInput, Redemption};
use crate::broker::reading::{Preconditions, Reading};
use crate::broker::retry::{AttemptError, retry_on_conflict};
use crate::broker::services::Services;
use crate::broker::world::Effect;
use crate::issuance::Certify;
use crate::policy::{Enrol, Grant, decide_enrolment};
use crate::registry::{self, Agent, CodeReused, InstanceEnrolled};
use crate::store::{Change, CommitError};
use crate::telemetry::Alarm;

impl AgentServices {
    /// Redeems an enrolment code for a certificate.
    ///
    /// The same code with the same key gets the same certificate again; any other key is refused
    /// and recorded as an alarm.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn enrol(&self, input: EnrolInput) -> Result<Enrolled, Failure> {
        let services = &*self.0;
        let mut redemption = Redemption::of(services, &input)?;
        let enrolled = retry_on_conflict!(async {
            let deciding = services.deciding(services.state.certifying(services.settings.agent_life_s)?);
            let permit = redemption.permit();
            let ((granted, agent, instance), preconditions) = services.state.read(|reading| {
                reading.public_key(&redemption.key.digest());
                let agent = reading.agent_of_code(input.code);
                let context = deciding.timed_on(reading);
                let granted = decide_enrolment(&context, &redemption.request(), permit).grant();
                let repeats = granted.as_ref().ok().and_then(|grant| grant.act().repeats());
                let instance = agent.zip(repeats).and_then(|(agent, id)| reading.acting_instance(agent, id));
                (granted, agent.cloned(), instance.cloned())
            });
            let grant = match granted {
                Ok(grant) => grant,
                Err(denial) => {
                    let reuse = |reading: &Reading<'_>| code_reuse(reading, &redemption);
                    return Err(services.not_redeemed(&redemption, &denial, reuse).await);
                }
            };
            let invalid = || Failure::new(code::ENROLMENT_CODE_INVALID);
            let agent = agent.ok_or_else(invalid)?;
            if grant.act().repeats().is_none() {
                return services.enrol_new(agent, grant, &redemption, preconditions).await;
            }
            let instance = instance.ok_or_else(invalid)?;
            let holder = Holder::instance(&agent, instance.id, CertificateOccasion::Enrolment);
            let planned = PlannedCertificate::instance(holder, &instance.current);
            let key = PresentedKey { key: &redemption.key, connection: Some(redemption.input.connection) };
            services.certificate_again(planned, grant, key, preconditions).await
        });
        services.noting_clock_refusal_of_code(&redemption, enrolled).await
    }
}

impl Services {
    async fn enrol_new(
        &self,
        agent: Agent,
        grant: Grant<Enrol>,
        Redemption { input, key, .. }: &Redemption<'_>,
        preconditions: Preconditions,
    ) -> Result<Enrolled, AttemptError> {
        let time = self.state.clock.reading();
        let instance = InstanceId::mint(time.now(), &*self.state.entropy);
        let spiffe = self.agent_spiffe(&agent.name, agent.kind());
        let plan = self.plan_certificate(spiffe, self.settings.agent_life_s, key, time.earliest());
        let event = InstanceEnrolled {
            agent: &agent.name,
            instance,
            code: input.code,
            serial: plan.serial.to_string(),
            key: plan.key.hex(),
            spiffe_id: plan.spiffe.to_string(),
            not_after: plan.not_after.to_string(),
            peer: input.connection.source.to_string(),
        };
        let effect = registry::Effect::Enrol {
            code: input.code,
            agent: agent.id,
            instance,
            serial: *plan.serial.as_bytes(),
            key: plan.key,
            not_before: plan.not_before,
            not_after: plan.not_after,
        };
        let address = input.connection.source;
        let from = registry::Effect::EnrolledFrom { agent: agent.id, instance, address };
        let change = Change::new(&event)?
            .requested_on(Some(input.connection))
            .effect(Effect::Registry(effect))
            .effect(Effect::Registry(from));
        let certify = Certify { grant, plan, key: key.clone() };
        let receipt = self.state.commit(change, preconditions, certify).await?;
        self.sign_and_record(&Holder::instance(&agent, instance, CertificateOccasion::Enrolment), receipt)
            .await
    }
}

fn code_reuse(
    reading: &Reading<'_>,
    Redemption { input, key, .. }: &Redemption<'_>,
) -> Result<Option<CodeReuse>, CommitError> {
    let world = reading.unconditional();
    let found = reading
        .unreported_code(input.code)
        .and_then(|code| Some((world.registry.agent(code.agent)?, code.first_instance()?)));
    let Some((agent, first_instance)) = found else { return Ok(None) };
    let event = CodeReused {
        agent: &agent.name,
        code: input.code,
        first_instance,
        other_key: key.digest().hex(),
        peer: input.connection.source.to_string(),
    };
    let change = Change::new(&event)?.effect(Effect::Registry(registry::Effect::ReportCode(input.code)));
    Ok(Some(CodeReuse { alarm: Alarm::EnrolmentCodeReused, holder: format!("agent {}", agent.name), change }))
}
