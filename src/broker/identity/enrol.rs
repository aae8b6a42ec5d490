use std::net::{IpAddr, SocketAddr};

use crate::base::{CodeId, InstanceId, Sensitive};
use crate::base::{code, peer_of};
use crate::broker::administration::authorise::while_made_by;
use crate::broker::desk::AgentDesk;
use crate::broker::failure::Failure;
use crate::broker::identity::certificates::{Enrolled, Holder, Occasion, Planned, read_key};
use crate::broker::retry::{Again, deciding_again};
use crate::broker::services::Core;
use crate::broker::world::Effect;
use crate::issuance::Certify;
use crate::ledger::AppendError;
use crate::pki::{self, PublicKey};
use crate::policy::{Enrol, EnrolmentRequest, Grant, decide_enrolment};
use crate::registry::{Agent, CodeReused, InstanceEnrolled, keys};
use crate::revocation::{self, Subject};
use crate::store::{Change, CommitError};
use crate::telemetry::Alarm;

/// What an enrolment request says, parsed.
#[derive(Debug)]
pub struct EnrolInput {
    /// The code's id.
    pub code: CodeId,
    /// The code's secret.
    pub secret: Sensitive<[u8; 32]>,
    /// The PKCS#10 request, DER.
    pub request: Vec<u8>,
    /// Where it comes from.
    pub peer: SocketAddr,
}

impl AgentDesk {
    /// Redeems an enrolment code for a certificate.
    ///
    /// The same code with the same key gets the same certificate again; any other key is refused
    /// and recorded as an alarm.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn enrol(&self, input: EnrolInput) -> Result<Enrolled, Failure> {
        let core = &*self.0;
        let source: IpAddr = input.peer.ip();
        let mut admitted = core.limits.enrolments.admit(&peer_of(source))?;
        let key = read_key(&input.request)?;
        deciding_again!(async {
            let reading = core.certifying(core.settings.agent_life_s)?;
            let request = EnrolmentRequest {
                code: input.code,
                secret: input.secret.expose(),
                key: key.digest(),
                source,
            };
            let (decision, agent, as_of) = core.state.store.read(|world, as_of| {
                let decision = decide_enrolment(&core.deciding(world, reading), &request, admitted.permit());
                let agent = world.registry.code(input.code).and_then(|code| world.registry.agent(code.agent));
                (decision, agent.cloned(), as_of)
            });
            let grant = match decision.grant() {
                Ok(grant) => grant,
                Err(denial) => {
                    if denial.code == code::ENROLMENT_CODE_USED {
                        core.raise_alarm(core.code_alarm(&input, &key)).await;
                    }
                    return Err(Again::Stop(Failure::new(denial.code)));
                }
            };
            let invalid = || Failure::new(code::ENROLMENT_CODE_INVALID);
            let agent = agent.ok_or_else(invalid)?;
            let Some(id) = grant.act().repeats() else {
                return core.enrol_new(agent, grant, &key, &input, as_of).await;
            };
            let instance = agent.instances.get(id).ok_or_else(invalid)?;
            let holder = Holder::instance(&agent, id, Occasion::Enrolment);
            let planned = Planned::instance(holder, &instance.current);
            core.certificate_again(planned, grant, &key, as_of).await
        })
    }
}

impl Core {
    async fn enrol_new(
        &self,
        agent: Agent,
        grant: Grant<Enrol>,
        key: &PublicKey,
        input: &EnrolInput,
        as_of: u64,
    ) -> Result<Enrolled, Again> {
        let reading = self.state.clock.reading();
        let instance = InstanceId::mint(reading.now(), &*self.state.entropy);
        let spiffe = self.agent_spiffe(&agent.name, agent.kind());
        let plan = self.plan_certificate(spiffe, self.settings.agent_life_s, key, reading.earliest());
        let event = InstanceEnrolled {
            agent: &agent.name,
            instance,
            code: input.code,
            serial: plan.serial.to_string(),
            key: plan.key.hex(),
            spiffe_id: plan.spiffe.to_string(),
            not_after: plan.not_after.to_string(),
            peer: input.peer.ip().to_string(),
        };
        let effect = crate::registry::Effect::Enrol {
            code: input.code,
            agent: agent.id,
            instance,
            serial: *plan.serial.as_bytes(),
            key: plan.key,
            not_before: plan.not_before,
            not_after: plan.not_after,
        };
        let change = Change::new(&event)?
            .effect(Effect::Registry(effect))
            .rely(pki::keys::authority(), as_of)
            .rely(revocation::keys::wide(), as_of)
            .rely(keys::code(input.code), as_of)
            .rely(keys::agent(agent.id), as_of)
            .rely(revocation::keys::subject(&Subject::Agent(agent.id)), as_of)
            .rely(keys::instances(agent.id), as_of)
            .effect(Effect::Registry(crate::registry::Effect::EnrolledFrom {
                agent: agent.id,
                instance,
                address: input.peer.ip().to_canonical(),
            }));
        let change = while_made_by(change, grant.act().maker(), as_of);
        let certify = Certify { grant, plan, key: key.clone() };
        let receipt = self.state.store.commit(change, certify).await?;
        let holder = Holder::instance(&agent, instance, Occasion::Enrolment);
        self.sign_and_record(&holder, receipt).await
    }

    /// One alarm per code: whoever holds a used code must not be able to fill the disk with it.
    fn code_alarm(&self, input: &EnrolInput, key: &PublicKey) -> Result<Option<Change<Effect>>, CommitError> {
        let found = self.state.store.read(|world, as_of| {
            let code = world.registry.code(input.code).filter(|code| !code.reported)?;
            let first = *code.redeemed.values().min()?;
            let agent = world.registry.agent(code.agent)?;
            Some((agent.name.clone(), first, as_of))
        });
        let Some((agent, first_instance, as_of)) = found else { return Ok(None) };
        self.notifications.meters.alarms().raise(
            Alarm::EnrolmentCodeReused,
            format_args!(
                "agent {agent}: enrolment code {} was presented again with another key, from {}; check who has the code",
                input.code,
                input.peer.ip()
            ),
        );
        let event = CodeReused {
            agent: &agent,
            code: input.code,
            first_instance,
            other_key: key.digest().hex(),
            peer: input.peer.ip().to_string(),
        };
        let alarm = keys::code_alarm(input.code);
        let report = crate::registry::Effect::ReportCode(input.code);
        let change = Change::new(&event)?.effect(Effect::Registry(report));
        Ok(Some(change.rely(alarm, as_of)))
    }

    /// Records an alarm, unless somebody else does at this moment: then its key has been advanced. The
    /// caller is refused in any case.
    pub(in crate::broker) async fn raise_alarm(&self, alarm: Result<Option<Change<Effect>>, CommitError>) {
        let recorded = match alarm {
            Ok(Some(alarm)) => self.state.store.commit(alarm, ()).await.map(|receipt| receipt.redeem()),
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        match recorded {
            Ok(()) | Err(CommitError::Append(AppendError::Conflict(_))) => {}
            Err(error) => tracing::error!(%error, "an alarm could not be recorded"),
        }
    }
}
