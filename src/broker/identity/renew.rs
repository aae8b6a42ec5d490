use crate::authn::{AuthnError, RenewingAgent, Timeliness};
use crate::base::encoding::hex;
use crate::base::{Connection, Timestamp, code};
use crate::broker::caller_services::AgentServices;
use crate::broker::deciding::IssuanceCaller;
use crate::broker::failure::Failure;
use crate::broker::identity::certificates::{
    CertificateOccasion, Enrolled, Holder, PlannedCertificate, PresentedKey, read_key,
};
use crate::broker::reading::Preconditions;
use crate::broker::retry::{AttemptError, retry_on_conflict};
use crate::broker::services::Services;
use crate::broker::world::Effect;
use crate::issuance::Certify;
use crate::pki::{CertificatePlan, PeerCertificate, PublicKey};
use crate::policy::{Denial, Grant, Renew, RenewalStep, decide_renewal};
use crate::registry::{
    self, Agent, CertificatePromoted, CertificateSlot, Instance, InstanceRenewed, InstanceState, LateRenewal,
    keys,
};
use crate::store::{Change, CommitError};
use crate::telemetry::Alarm;

/// A renewal request.
#[derive(Debug)]
pub struct RenewInput {
    /// The PKCS#10 request for the new key, DER.
    pub request: Vec<u8>,
    /// The connection of the caller.
    pub connection: Connection,
}

impl AgentServices {
    /// The agent or resource server behind the certificate of a connection, as one that may renew: its certificate may
    /// have ended, up to the grace ago.
    ///
    /// # Errors
    /// [`AuthnError`].
    pub fn identify_renewing(&self, peer: &PeerCertificate) -> Result<RenewingAgent, AuthnError> {
        let (grace_s, time) = (self.0.settings.renewal_grace_s, self.0.state.clock.reading());
        self.0.state.read(|reading| reading.renewing(peer, grace_s, time)).0
    }

    /// The end of the grace period of `peer`, if its certificate has expired and can still be renewed.
    #[must_use]
    pub fn renewable_until(&self, peer: &PeerCertificate) -> Option<Timestamp> {
        let renewing = self.identify_renewing(peer).ok()?;
        let is_late = renewing.timeliness() == Timeliness::Late;
        is_late.then(|| peer.not_after().plus_s(self.0.settings.renewal_grace_s))
    }

    /// Gives the instance of `renewing` its next certificate, for a new key. The one it has goes on
    /// to count until the next one is used. The same key gets the same certificate again.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn renew(&self, renewing: &RenewingAgent, input: RenewInput) -> Result<Enrolled, Failure> {
        let services = &*self.0;
        let mut admitted = services.limits.mints.admit(&renewing.agent())?;
        let key = read_key(&input.request)?;
        let peer = renewing.certificate();
        let renewed = retry_on_conflict!(async {
            let issue = services.state.certifying(services.settings.agent_life_s)?;
            let (time, deciding) = (issue.time, services.deciding(issue));
            let (read, preconditions) = services.state.read(|reading| {
                // The certificate may have been revoked or replaced while the body arrived.
                let renewing = reading.renewing(peer, services.settings.renewal_grace_s, time)?;
                reading.public_key(&key.digest());
                let agent = reading.acting_agent(renewing.agent());
                let found = agent.and_then(|agent| {
                    Some((agent.clone(), reading.acting_instance(agent, renewing.instance())?.clone()))
                });
                let context = deciding.timed_on(reading);
                let decision = decide_renewal(&context, &renewing, key.digest(), admitted.permit());
                Ok::<_, AuthnError>((renewing, decision, found))
            });
            let (renewing, decision, found) = read?;
            let grant = decision.grant().map_err(|denial| AttemptError::Stop(refused(&denial)))?;
            let (agent, instance) = found.ok_or(AuthnError::Unknown)?;
            if let (RenewalStep::Repeat, Some(next)) = (grant.act().step(), &instance.next) {
                let holder = Holder::instance(&agent, instance.id, CertificateOccasion::Renewal);
                let planned = PlannedCertificate::instance(holder, next);
                let key = PresentedKey { key: &key, connection: Some(input.connection) };
                return services.certificate_again(planned, grant, key, preconditions).await;
            }
            let next = NextCertificate { agent, instance, timeliness: renewing.timeliness() };
            services.renew_new(next, grant, &key, &input, preconditions).await
        });
        let caller =
            IssuanceCaller { id: renewing.agent(), instance: renewing.instance(), certificate: peer };
        services.noting_clock_refusal(caller, "renew", renewed).await
    }

    /// Whether the certificate of `peer` has to be renewed now, because its authority is tainted.
    #[must_use]
    pub fn is_to_be_replaced(&self, peer: &PeerCertificate) -> bool {
        self.0.is_of_tainted_authority(peer)
    }

    /// Records the first use of the next certificate of the instance behind `peer`: from here on it
    /// is the current one, and the one before is refused.
    ///
    /// # Errors
    /// [`Failure`]; then the request has to be refused.
    pub async fn promote(&self, peer: &PeerCertificate) -> Result<(), Failure> {
        let services = &*self.0;
        retry_on_conflict!(async {
            let (grace_s, time) = (services.settings.renewal_grace_s, services.state.clock.reading());
            let (read, preconditions) = services.state.read(|reading| {
                let renewing = reading.renewing(peer, grace_s, time)?;
                let agent = reading.acting_agent(renewing.agent()).ok_or(AuthnError::Unknown)?;
                let instance = reading.acting_instance(agent, renewing.instance());
                let previous = instance.ok_or(AuthnError::Unknown)?.current.serial;
                Ok::<_, AuthnError>((renewing, agent.name.clone(), previous))
            });
            let (renewing, agent, previous) = read?;
            if renewing.held() == CertificateSlot::Current {
                return Ok(());
            }
            let instance = renewing.instance();
            let event = CertificatePromoted {
                agent: &agent,
                instance,
                serial: peer.serial().to_string(),
                previous: hex(&previous),
            };
            let effect = registry::Effect::Promote { agent: renewing.agent(), instance };
            let change =
                Change::new(&event)?.requested_on(peer.connection()).effect(Effect::Registry(effect));
            services.state.commit(change, preconditions, ()).await?.redeem();
            Ok(())
        })
    }
}

/// A renewal before its record.
struct NextCertificate {
    agent: Agent,
    instance: Instance,
    timeliness: Timeliness,
}

impl Services {
    async fn renew_new(
        &self,
        next: NextCertificate,
        grant: Grant<Renew>,
        key: &PublicKey,
        input: &RenewInput,
        preconditions: Preconditions,
    ) -> Result<Enrolled, AttemptError> {
        let (agent, instance) = (&next.agent, &next.instance);
        let (life_s, time) = (self.settings.agent_life_s, self.state.clock.reading());
        let spiffe = self.agent_spiffe(&agent.name, agent.kind());
        let plan = self.plan_certificate(spiffe, life_s, key, time.earliest());
        let effect = registry::Effect::Renew {
            agent: agent.id,
            instance: instance.id,
            serial: *plan.serial.as_bytes(),
            key: plan.key,
            not_before: plan.not_before,
            not_after: plan.not_after,
        };
        let change = next.renewed(&plan, input)?.effect(Effect::Registry(effect));
        // An expired instance that renews counts for `max_instances` again.
        let is_lapsed = instance.state(time.now()) == InstanceState::Expired;
        let change = if is_lapsed { change.advance(keys::instances(agent.id)) } else { change };
        let certify = Certify { grant, plan, key: key.clone() };
        let receipt = self.state.commit(change, preconditions, certify).await?;
        if next.timeliness == Timeliness::Late {
            self.notifications.meters.alarms().raise(
                Alarm::LateRenewal,
                format_args!(
                    "agent {}: instance {} renewed its certificate after it had expired; find out who has its key",
                    agent.name, instance.id
                ),
            );
        }
        self.sign_and_record(&Holder::instance(agent, instance.id, CertificateOccasion::Renewal), receipt)
            .await
    }
}

impl NextCertificate {
    /// Raises the alarm about a late renewal.
    fn renewed(&self, plan: &CertificatePlan, input: &RenewInput) -> Result<Change<Effect>, CommitError> {
        let event = InstanceRenewed {
            agent: &self.agent.name,
            instance: self.instance.id,
            serial: plan.serial.to_string(),
            key: plan.key.hex(),
            not_after: plan.not_after.to_string(),
            previous: hex(&self.instance.current.serial),
            peer: input.connection.source.to_string(),
        };
        let change = match self.timeliness {
            Timeliness::InTime => Change::new(&event)?,
            Timeliness::Late => Change::new(&LateRenewal(event))?,
        };
        Ok(change.requested_on(Some(input.connection)))
    }
}

fn refused(denial: &Denial) -> Failure {
    let failure = Failure::new(denial.code);
    if denial.code == code::TOO_MANY_INSTANCES {
        return failure.because(
            "the agent has more live instances than `max_instances` allows; the oldest instances are kept",
        );
    }
    failure
}
