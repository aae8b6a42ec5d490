use super::desk::{Again, Core};
use super::failure::Failure;
use super::world::Effect;
use crate::base::code;
use crate::base::{AgentId, InstanceId, Timestamp};
use crate::index::Tree;
use crate::issuance::{Certificate, Certify};
use crate::ledger::Receipt;
use crate::pki::{CertificatePlan, PublicKey, RequestError, Serial, SpiffeId, read_request};
use crate::policy::{Certifying, Grant};
use crate::registry::{
    self, Agent, CERTIFICATES, CertificateRecorded, CertificateRetried, Holding, RENEWED_CERTIFICATES, keys,
};
use crate::revocation::{self, Subject};
use crate::store::Change;

/// An agent's certificate: a new one, or the one that the same key got before.
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

/// What a certificate is for: where it is kept.
#[derive(Clone, Copy, Debug)]
pub(super) enum Occasion {
    /// The first of an instance.
    Enrolment,
    /// The next one of an instance.
    Renewal,
}

impl Occasion {
    const fn tree(self) -> Tree {
        match self {
            Self::Enrolment => CERTIFICATES,
            Self::Renewal => RENEWED_CERTIFICATES,
        }
    }

    const fn kept(self, agent: AgentId, instance: InstanceId, certificate: Vec<u8>) -> registry::Effect {
        match self {
            Self::Enrolment => registry::Effect::RecordCertificate { agent, instance, certificate },
            Self::Renewal => registry::Effect::RecordRenewed { agent, instance, certificate },
        }
    }
}

/// A certificate that was planned on the ledger earlier.
pub(super) struct Planned<'a> {
    pub(super) agent: &'a Agent,
    pub(super) instance: InstanceId,
    pub(super) holding: &'a Holding,
}

impl Core {
    /// What the agent's certificate for `key` will say.
    pub(super) fn plan_certificate(&self, agent: &Agent, key: &PublicKey, now: Timestamp) -> CertificatePlan {
        let issuer_not_after = self.issuer.authority().not_after();
        let life_s = self.settings.agent_life_s;
        CertificatePlan::draw(self.spiffe_of(agent), key, now, life_s, issuer_not_after, &*self.entropy)
    }

    /// Signs what was recorded to be signed, and records the certificate, so that a repeated request
    /// gets this very one. Of two at once the first to be recorded wins; the other decides again and
    /// finds it.
    pub(super) async fn sign_and_record<A: Certifying>(
        &self,
        (agent, instance): (AgentId, InstanceId),
        receipt: Receipt<Certify<A>>,
        occasion: Occasion,
    ) -> Result<Enrolled, Again> {
        let planned_seq = receipt.seq();
        let Certificate { der, plan } = self.issuer.certify(receipt)?.deliver();
        let event = CertificateRecorded { instance, thumbprint: crate::crypto::sha256(&der).hex() };
        let change = Change::new(&event)?
            .effect(Effect::Registry(occasion.kept(agent, instance, der.clone())))
            .rely(keys::certificate(instance), planned_seq)
            .advance(keys::certificate(instance));
        let certificate = self.store.commit(change, der).await?.redeem();
        Ok(Enrolled { spiffe: plan.spiffe, instance, certificate, not_after: plan.not_after })
    }

    /// The same key comes again. Its certificate is the recorded one; when the broker stopped
    /// between the record of the plan and that of the certificate, it is signed now from the very
    /// plan that was recorded.
    pub(super) async fn certificate_again<A: Certifying>(
        &self,
        Planned { agent, instance, holding }: Planned<'_>,
        grant: Grant<A>,
        key: &PublicKey,
        as_of: u64,
        occasion: Occasion,
    ) -> Result<Enrolled, Again> {
        let spiffe = self.spiffe_of(agent);
        if let Some(seq) = holding.certificate_seq {
            let der = self.store.record(occasion.tree(), instance.as_bytes(), seq).await?;
            let (certificate, not_after) = (der.expose().clone(), holding.not_after);
            return Ok(Enrolled { spiffe, instance, certificate, not_after });
        }
        let plan = CertificatePlan {
            spiffe,
            serial: Serial::from_bytes(holding.serial),
            key: holding.key,
            not_before: holding.not_before,
            not_after: holding.not_after,
        };
        let event = CertificateRetried { agent: &agent.name, instance };
        let change = Change::new(&event)?
            .rely(keys::agent(agent.id), as_of)
            .rely(revocation::keys::subject(Subject::Agent(agent.id)), as_of)
            .rely(revocation::keys::subject(Subject::Instance(instance)), as_of)
            .rely(keys::certificate(instance), as_of);
        let receipt = self.store.commit(change, Certify { grant, plan, key: key.clone() }).await?;
        self.sign_and_record((agent.id, instance), receipt, occasion).await
    }

    fn spiffe_of(&self, agent: &Agent) -> SpiffeId {
        SpiffeId::Agent { trust_domain: self.settings.trust_domain.clone(), name: agent.name.clone() }
    }
}

/// The public key in a PKCS#10 request, DER, once the request proves that its sender holds the key.
pub(super) fn read_key(request: &[u8]) -> Result<PublicKey, Failure> {
    read_request(request).map_err(bad_request)
}

fn bad_request(error: RequestError) -> Failure {
    let code = match error {
        RequestError::TooLarge => code::CSR_TOO_LARGE,
        RequestError::Malformed => code::CSR_MALFORMED,
        RequestError::KeyType => code::CSR_KEY_TYPE,
        RequestError::Signature => code::CSR_SIGNATURE,
        RequestError::AsksForMore => code::CSR_ASKS_FOR_MORE,
    };
    Failure::new(code).because(error.to_string())
}
