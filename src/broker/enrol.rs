use std::net::{IpAddr, SocketAddr};

use super::desk::{Again, AgentDesk, Core, deciding_again};
use super::failure::{Failure, FailureKind};
use super::world::Effect;
use crate::base::{CodeId, InstanceId, Sensitive, Timestamp};
use crate::issuance::{Certificate, Certify};
use crate::pki::{CertificatePlan, PublicKey, RequestError, Serial, SpiffeId, read_request};
use crate::policy::{Enrol, EnrolmentRefused, EnrolmentRequest, Grant, decide_enrolment};
use crate::registry::{
    Agent, CERTIFICATES, CertificateRecorded, CodeReused, Instance, InstanceEnrolled, Registry, keys,
};
use crate::revocation::{self, Subject};
use crate::store::{Change, CommitError};

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

/// A new identity, or the one that the same key got before.
#[derive(Debug)]
pub struct Enrolled {
    /// Whose it is.
    pub spiffe: SpiffeId,
    /// The instance.
    pub instance: InstanceId,
    /// The certificate, DER.
    pub certificate: Vec<u8>,
    /// When it ends.
    pub not_after: Timestamp,
}

/// What the state says about a redemption: to be recorded now, or recorded before.
enum Step {
    New { agent: Agent, grant: Grant<Enrol> },
    Again { agent: Agent, instance: Instance, grant: Grant<Enrol> },
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
        let permit = core.enrolments.admit(&source)?;
        let key = read_request(&input.request).map_err(bad_request)?;
        deciding_again!(async {
            let now = core.clock.now();
            let request =
                EnrolmentRequest { code: input.code, secret: input.secret.expose(), key: key.digest() };
            let (step, as_of) = core.store.read(|world, as_of| {
                let basis = (core.decision(now), &core.digests);
                let decided =
                    decide_enrolment((&world.registry, &world.revocations), &request, &permit, basis, now);
                (decided.and_then(|grant| step(&world.registry, grant)), as_of)
            });
            match step {
                Ok(Step::New { agent, grant }) => core.enrol_new(agent, grant, &key, &input, as_of).await,
                Ok(Step::Again { agent, instance, grant }) => {
                    core.enrol_again(agent, instance, grant, &key, as_of).await
                }
                Err(refused) => Err(Again::Stop(core.refuse_enrolment(refused, &input, &key).await)),
            }
        })
    }
}

fn step(registry: &Registry, grant: Grant<Enrol>) -> Result<Step, EnrolmentRefused> {
    let agent = registry.agent(grant.act().agent()).ok_or(EnrolmentRefused::BadCode)?.clone();
    match grant.act().repeats() {
        None => Ok(Step::New { agent, grant }),
        Some(id) => match agent.instances.get(&id).cloned() {
            Some(instance) => Ok(Step::Again { agent, instance, grant }),
            None => Err(EnrolmentRefused::BadCode),
        },
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
        let now = self.clock.now();
        let instance = InstanceId::mint(now, &*self.entropy);
        let spiffe =
            SpiffeId::Agent { trust_domain: self.settings.trust_domain.clone(), name: agent.name.clone() };
        let plan = CertificatePlan::draw(
            spiffe,
            key,
            now,
            self.settings.agent_life_s,
            self.issuer.authority().not_after(),
            &*self.entropy,
        );
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
            .rely(keys::code(input.code), as_of)
            .rely(keys::agent(agent.id), as_of)
            .rely(revocation::keys::subject(Subject::Agent(agent.id)), as_of)
            .rely(keys::instances(agent.id), as_of)
            .advance(keys::code(input.code))
            .advance(keys::instances(agent.id));
        let certify = Certify { grant, plan, key: key.clone() };
        let receipt = self.store.commit(change, certify).await?;
        let certificate = self.issuer.certify(receipt)?.deliver();
        self.record_certificate(&agent, instance, certificate).await
    }

    /// The same key comes again. Its certificate is the recorded one; when the broker stopped
    /// between the record of the enrolment and that of the certificate, it is signed now from the
    /// very plan that was recorded.
    async fn enrol_again(
        &self,
        agent: Agent,
        instance: Instance,
        grant: Grant<Enrol>,
        key: &PublicKey,
        as_of: u64,
    ) -> Result<Enrolled, Again> {
        let spiffe =
            SpiffeId::Agent { trust_domain: self.settings.trust_domain.clone(), name: agent.name.clone() };
        if let Some(seq) = instance.certificate_seq {
            let der = self.store.record(CERTIFICATES, instance.id.as_bytes(), seq).await?;
            return Ok(Enrolled {
                spiffe,
                instance: instance.id,
                certificate: der.expose().clone(),
                not_after: instance.not_after,
            });
        }
        let plan = CertificatePlan {
            spiffe,
            serial: Serial::from_bytes(instance.serial),
            key: instance.key,
            not_before: instance.not_before,
            not_after: instance.not_after,
        };
        let event = crate::registry::CertificateRetried { agent: &agent.name, instance: instance.id };
        let change = Change::new(&event)?
            .rely(keys::agent(agent.id), as_of)
            .rely(revocation::keys::subject(Subject::Agent(agent.id)), as_of)
            .rely(revocation::keys::subject(Subject::Instance(instance.id)), as_of)
            .rely(keys::certificate(instance.id), as_of);
        let certify = Certify { grant, plan, key: key.clone() };
        let receipt = self.store.commit(change, certify).await?;
        let certificate = self.issuer.certify(receipt)?.deliver();
        self.record_certificate(&agent, instance.id, certificate).await
    }

    /// Records the signed certificate, so that a repeated redemption gets this very one. Of two
    /// redemptions at once the first to be recorded wins; the other decides again and finds it.
    async fn record_certificate(
        &self,
        agent: &Agent,
        instance: InstanceId,
        certificate: Certificate,
    ) -> Result<Enrolled, Again> {
        let Certificate { der, plan } = certificate;
        let event = CertificateRecorded { instance, thumbprint: crate::crypto::sha256(&der).hex() };
        let effect = crate::registry::Effect::RecordCertificate {
            agent: agent.id,
            instance,
            certificate: der.clone(),
        };
        let change = Change::new(&event)?
            .effect(Effect::Registry(effect))
            .rely(keys::certificate(instance), 0)
            .advance(keys::certificate(instance));
        let receipt = self.store.commit(change, der).await?;
        Ok(Enrolled {
            spiffe: plan.spiffe,
            instance,
            certificate: receipt.redeem(),
            not_after: plan.not_after,
        })
    }

    async fn refuse_enrolment(
        &self,
        refused: EnrolmentRefused,
        input: &EnrolInput,
        key: &PublicKey,
    ) -> Failure {
        match refused {
            EnrolmentRefused::BadCode => Failure::new(
                FailureKind::Unauthenticated,
                "enrolment_code_invalid",
                "the enrolment code is unknown, wrong, or has ended",
                "have an operator make a new one: `keyward agent invite NAME`",
            ),
            EnrolmentRefused::TooManyInstances => Failure::new(
                FailureKind::Conflict,
                "too_many_instances",
                "the agent has as many live instances as it may have",
                "raise `max_instances` in the agent's declaration, or wait until an old certificate ends",
            ),
            EnrolmentRefused::Reused => {
                if let Err(error) = self.raise_code_alarm(input, key).await {
                    tracing::error!(%error, code = %input.code, "an alarm could not be recorded");
                }
                Failure::new(
                    FailureKind::Conflict,
                    "enrolment_code_used",
                    "the enrolment code was redeemed before, with another key; an alarm was recorded",
                    "if you did not redeem it, somebody else has it: tell your operator, and ask for a new code",
                )
            }
        }
    }

    /// One alarm per code: whoever holds a used code must not be able to fill the disk with it.
    async fn raise_code_alarm(&self, input: &EnrolInput, key: &PublicKey) -> Result<(), CommitError> {
        let found = self.store.read(|world, _| {
            let code = world.registry.code(input.code)?;
            let (first, _) = code.redeemed?;
            let agent = world.registry.agent(code.agent)?;
            Some((agent.name.clone(), first))
        });
        let Some((agent, first_instance)) = found else { return Ok(()) };
        tracing::warn!(%agent, code = %input.code, peer = %input.peer.ip(), "an enrolment code was used again with another key");
        let event = CodeReused {
            agent: &agent,
            code: input.code,
            first_instance,
            other_key: key.digest().hex(),
            peer: input.peer.ip().to_string(),
        };
        let alarm = keys::code_alarm(input.code);
        let change = Change::new(&event)?.rely(alarm, 0).advance(alarm);
        match self.store.commit(change, ()).await {
            Ok(_) | Err(CommitError::Append(crate::ledger::AppendError::Conflict(_))) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn bad_request(error: RequestError) -> Failure {
    let (code, fix) = match error {
        RequestError::TooLarge => ("csr_too_large", "send a request for one P-256 key"),
        RequestError::Malformed => ("csr_malformed", "send one PKCS#10 request in DER, base64url"),
        RequestError::KeyType => {
            ("csr_key_type", "make a P-256 key: `openssl ecparam -name prime256v1 -genkey`")
        }
        RequestError::Signature => ("csr_signature", "sign the request with the key that it is for"),
        RequestError::AsksForMore => (
            "csr_asks_for_more",
            "only the key is taken: make the request with an empty subject and no extensions",
        ),
    };
    Failure::new(FailureKind::Invalid, code, &error.to_string(), fix)
}
