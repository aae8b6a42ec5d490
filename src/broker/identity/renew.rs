use std::net::SocketAddr;

use crate::authn::{self, AuthnError, RenewingAgent, Timeliness};
use crate::base::code;
use crate::base::encoding::hex;
use crate::broker::desk::{AgentDesk, records};
use crate::broker::failure::Failure;
use crate::broker::identity::certificates::{Enrolled, Holder, Occasion, Planned, read_key};
use crate::broker::retry::{Again, deciding_again};
use crate::broker::services::Core;
use crate::broker::world::{Effect, World};
use crate::issuance::Certify;
use crate::keyring::Stage;
use crate::pki::{self, CertificatePlan, PeerCertificate, PublicKey};
use crate::policy::{Denial, Grant, Renew, RenewalStep, decide_renewal};
use crate::registry::{
    Agent, CertificatePromoted, Held, Instance, InstanceRenewed, InstanceState, LateRenewal, keys,
};
use crate::revocation::{self, Subject};
use crate::store::{Change, CommitError};
use crate::telemetry::Alarm;

/// What a renewal request says.
#[derive(Debug)]
pub struct RenewInput {
    /// The PKCS#10 request for the new key, DER.
    pub request: Vec<u8>,
    /// Where it comes from.
    pub peer: SocketAddr,
}

impl AgentDesk {
    /// The agent or resource server behind the certificate of a connection, as one that may renew: its certificate may
    /// have ended, up to the grace ago.
    ///
    /// # Errors
    /// [`AuthnError`].
    pub fn identify_renewing(&self, peer: &PeerCertificate) -> Result<RenewingAgent, AuthnError> {
        self.0.state.store.read(|world, as_of| self.0.renewing(world, peer, as_of))
    }

    /// Gives the instance of `renewing` its next certificate, for a new key. The one it has goes on
    /// to count until the next one is used. The same key gets the same certificate again.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn renew(&self, renewing: RenewingAgent, input: RenewInput) -> Result<Enrolled, Failure> {
        let core = &*self.0;
        let mut admitted = core.limits.mints.admit(&renewing.agent())?;
        let key = read_key(&input.request)?;
        let peer = renewing.certificate().clone();
        let mut proved = Some(renewing);
        deciding_again!(async {
            let reading = core.certifying(core.settings.agent_life_s)?;
            let (renewing, decision, found) = core.state.store.read(|world, as_of| {
                let renewing = match proved.take() {
                    Some(renewing) => renewing,
                    None => core.renewing(world, &peer, as_of)?,
                };
                let context = core.deciding(world, reading);
                let decision = decide_renewal(&context, &renewing, key.digest(), admitted.permit());
                let agent = world.registry.agent(renewing.agent());
                let instance = agent.and_then(|agent| agent.instances.get(renewing.instance()));
                let found = agent.cloned().zip(instance.cloned());
                Ok::<_, AuthnError>((renewing, decision, found))
            })?;
            let grant = decision.grant().map_err(|denial| Again::Stop(refused(&denial)))?;
            let (agent, instance) = found.ok_or(AuthnError::Unknown)?;
            match (grant.act().step(), &instance.next) {
                (RenewalStep::Repeat, Some(next)) => {
                    let holder = Holder::instance(&agent, instance.id, Occasion::Renewal);
                    let planned = Planned::instance(holder, next);
                    core.certificate_again(planned, grant, &key, renewing.as_of()).await
                }
                (RenewalStep::Plan | RenewalStep::Repeat, _) => {
                    core.renew_new((&agent, &instance), (grant, &renewing), &key, &input).await
                }
            }
        })
    }

    /// Whether the certificate of `peer` is to be replaced now: its authority is tainted.
    #[must_use]
    pub fn is_to_be_replaced(&self, peer: &PeerCertificate) -> bool {
        self.0.is_of_tainted_authority(peer)
    }

    /// Records the first use of the next certificate of the instance behind `peer`: from here on it
    /// is the current one, and the one before is refused.
    ///
    /// # Errors
    /// [`Failure`]; nothing is to be done for this certificate then.
    pub async fn promote(&self, peer: &PeerCertificate) -> Result<(), Failure> {
        let core = &*self.0;
        deciding_again!(async {
            let (renewing, found) = core.state.store.read(|world, as_of| {
                let renewing = core.renewing(world, peer, as_of)?;
                let agent = world.registry.agent(renewing.agent());
                let previous = agent.and_then(|agent| agent.instances.get(renewing.instance()));
                let found = agent.zip(previous).map(|(agent, one)| (agent.name.clone(), one.current.serial));
                Ok::<_, AuthnError>((renewing, found.ok_or(AuthnError::Unknown)?))
            })?;
            if renewing.held() == Held::Current {
                return Ok(());
            }
            let ((agent, previous), instance) = (found, renewing.instance());
            let event = CertificatePromoted {
                agent: &agent,
                instance,
                serial: peer.serial().to_string(),
                previous: hex(&previous),
            };
            let effect = crate::registry::Effect::Promote { agent: renewing.agent(), instance };
            let change = Change::new(&event)?
                .effect(Effect::Registry(effect))
                .rely(pki::keys::authority(), renewing.as_of())
                .rely(revocation::keys::wide(), renewing.as_of())
                .rely(revocation::keys::subject(&Subject::Agent(renewing.agent())), renewing.as_of())
                .rely(revocation::keys::subject(&Subject::Instance(instance)), renewing.as_of())
                .rely(keys::agent(renewing.agent()), renewing.as_of())
                .rely(keys::certificate(instance), renewing.as_of());
            core.state.store.commit(change, ()).await?.redeem();
            Ok(())
        })
    }
}

impl Core {
    pub(in crate::broker) fn is_of_tainted_authority(&self, peer: &PeerCertificate) -> bool {
        let stage = |world: &World| peer.authority().and_then(|key| world.authority.stage_of(key));
        self.state.store.read(|world, _| stage(world) == Some(Stage::Tainted))
    }

    fn renewing(
        &self,
        world: &World,
        peer: &PeerCertificate,
        as_of: u64,
    ) -> Result<RenewingAgent, AuthnError> {
        authn::renewing(
            peer,
            records(world),
            as_of,
            self.settings.renewal_grace_s,
            self.state.clock.reading(),
        )
    }

    async fn renew_new(
        &self,
        (agent, instance): (&Agent, &Instance),
        (grant, renewing): (Grant<Renew>, &RenewingAgent),
        key: &PublicKey,
        input: &RenewInput,
    ) -> Result<Enrolled, Again> {
        let spiffe = self.agent_spiffe(&agent.name, agent.kind());
        let plan = self.plan_certificate(
            spiffe,
            self.settings.agent_life_s,
            key,
            self.state.clock.reading().earliest(),
        );
        let effect = crate::registry::Effect::Renew {
            agent: agent.id,
            instance: instance.id,
            serial: *plan.serial.as_bytes(),
            key: plan.key,
            not_before: plan.not_before,
            not_after: plan.not_after,
        };
        let as_of = renewing.as_of();
        let change = renewed((agent, instance), &plan, renewing.timeliness(), input)?
            .effect(Effect::Registry(effect))
            .rely(pki::keys::authority(), as_of)
            .rely(revocation::keys::wide(), as_of)
            .rely(keys::agent(agent.id), as_of)
            .rely(revocation::keys::subject(&Subject::Agent(agent.id)), as_of)
            .rely(revocation::keys::subject(&Subject::Instance(instance.id)), as_of)
            .rely(keys::instances(agent.id), as_of)
            .rely(keys::certificate(instance.id), as_of);
        // A lapsed instance that is live again takes a place among those that the agent may have.
        let is_lapsed = instance.state(self.state.clock.now()) == InstanceState::Expired;
        let change = if is_lapsed { change.advance(keys::instances(agent.id)) } else { change };
        let receipt = self.state.store.commit(change, Certify { grant, plan, key: key.clone() }).await?;
        if renewing.timeliness() == Timeliness::Late {
            self.notifications.meters.alarms().raise(
                Alarm::LateRenewal,
                format_args!(
                    "agent {}: instance {} renewed its certificate after its end; check who holds its key",
                    agent.name, instance.id
                ),
            );
        }
        let holder = Holder::instance(agent, instance.id, Occasion::Renewal);
        self.sign_and_record(&holder, receipt).await
    }
}

/// What the ledger says of it: a late renewal is an alarm.
fn renewed(
    (agent, instance): (&Agent, &Instance),
    plan: &CertificatePlan,
    timeliness: Timeliness,
    input: &RenewInput,
) -> Result<Change<Effect>, CommitError> {
    let event = InstanceRenewed {
        agent: &agent.name,
        instance: instance.id,
        serial: plan.serial.to_string(),
        key: plan.key.hex(),
        not_after: plan.not_after.to_string(),
        previous: hex(&instance.current.serial),
        peer: input.peer.ip().to_string(),
    };
    match timeliness {
        Timeliness::InTime => Change::new(&event),
        Timeliness::Late => Change::new(&LateRenewal(event)),
    }
}

fn refused(denial: &Denial) -> Failure {
    let failure = Failure::new(denial.code);
    if denial.code == code::TOO_MANY_INSTANCES {
        return failure
            .because("the agent may have fewer live instances than it has, and older ones come first");
    }
    failure
}
