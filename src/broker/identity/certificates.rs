use crate::base::code;
use crate::base::encoding::hex;
use crate::base::{AgentId, AgentName, Connection, InstanceId, OperatorName, Timestamp};
use crate::broker::failure::Failure;
use crate::broker::reading::Preconditions;
use crate::broker::retry::AttemptError;
use crate::broker::services::Services;
use crate::broker::world::Effect;
use crate::crypto::{Digest, sha256};
use crate::index::IndexTree;
use crate::issuance::{Certify, SignedCertificate};
use crate::ledger::{Key, Receipt};
use crate::operators::{self, Operator, OperatorCertificateRecorded, OperatorCertificateRetried};
use crate::pki::{CertificatePlan, PublicKey, RequestError, Serial, SpiffeId, read_request};
use crate::policy::{Certifying, Grant};
use crate::registry::{self, Agent, AgentKind, CertificateRecorded, CertificateRetried, InstanceCertificate};
use crate::store::{Change, CommitError};

/// A certificate: a new one, or the one that the same key got already.
#[derive(Debug)]
pub struct Enrolled {
    /// The identity.
    pub spiffe: SpiffeId,
    /// The instance of an agent's certificate.
    pub instance: Option<InstanceId>,
    /// The certificate, DER.
    pub certificate: Vec<u8>,
    /// When it ends.
    pub not_after: Timestamp,
}

/// The subject of a certificate, which determines its events and its place in the index.
#[derive(Clone, Debug)]
pub(crate) enum Holder {
    /// An instance of an agent, or of a resource server.
    Instance {
        /// The agent.
        agent: AgentId,
        /// Its name.
        name: AgentName,
        /// What it is.
        kind: AgentKind,
        /// The instance.
        instance: InstanceId,
        /// Which of its certificates.
        occasion: CertificateOccasion,
    },
    /// An operator.
    Operator {
        /// Its name.
        name: OperatorName,
        /// The certificate's serial.
        serial: [u8; 16],
    },
}

/// Which of an instance's certificates.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CertificateOccasion {
    /// The first.
    Enrolment,
    /// The next one.
    Renewal,
}

impl Holder {
    pub(crate) fn instance(agent: &Agent, instance: InstanceId, occasion: CertificateOccasion) -> Self {
        let (name, kind) = (agent.name.clone(), agent.kind());
        Self::Instance { agent: agent.id, name, kind, instance, occasion }
    }

    pub(crate) fn operator(operator: &Operator, serial: [u8; 16]) -> Self {
        Self::Operator { name: operator.name.clone(), serial }
    }

    const fn instance_id(&self) -> Option<InstanceId> {
        match self {
            Self::Instance { instance, .. } => Some(*instance),
            Self::Operator { .. } => None,
        }
    }

    /// The place of the signed certificate in the index.
    fn place(&self) -> (IndexTree, Vec<u8>) {
        match self {
            Self::Instance { instance, occasion, .. } => {
                let tree = match occasion {
                    CertificateOccasion::Enrolment => registry::CERTIFICATES,
                    CertificateOccasion::Renewal => registry::RENEWED_CERTIFICATES,
                };
                (tree, instance.as_bytes().to_vec())
            }
            Self::Operator { serial, .. } => (operators::CERTIFICATES, serial.to_vec()),
        }
    }

    /// The preconditions which prevent that two certificates are signed from one plan.
    fn key(&self) -> Key {
        match self {
            Self::Instance { instance, .. } => registry::keys::certificate(*instance),
            Self::Operator { name, .. } => operators::keys::certificates(name),
        }
    }

    /// The change that stores `certificate`.
    fn recorded(&self, certificate: Vec<u8>) -> Result<Change<Effect>, CommitError> {
        let thumbprint = sha256(&certificate).hex();
        match self {
            Self::Instance { agent, name, instance, occasion, .. } => {
                let (agent, instance) = (*agent, *instance);
                let effect = match occasion {
                    CertificateOccasion::Enrolment => {
                        registry::Effect::RecordCertificate { agent, instance, certificate }
                    }
                    CertificateOccasion::Renewal => {
                        registry::Effect::RecordRenewed { agent, instance, certificate }
                    }
                };
                let event = CertificateRecorded { agent: name, instance, thumbprint };
                Ok(Change::new(&event)?.effect(Effect::Registry(effect)))
            }
            Self::Operator { name, serial, .. } => {
                let event = OperatorCertificateRecorded { operator: name, serial: hex(serial), thumbprint };
                let (operator, serial) = (name.clone(), *serial);
                let effect = operators::Effect::RecordCertificate { operator, serial, certificate };
                Ok(Change::new(&event)?.effect(Effect::Operators(effect)))
            }
        }
    }

    /// The change that records a second signature from the same plan.
    fn retried(&self) -> Result<Change<Effect>, CommitError> {
        match self {
            Self::Instance { name, instance, .. } => {
                Change::new(&CertificateRetried { agent: name, instance: *instance })
            }
            Self::Operator { name, serial, .. } => {
                Change::new(&OperatorCertificateRetried { operator: name, serial: hex(serial) })
            }
        }
    }
}

/// The key of a request for a certificate.
#[derive(Clone, Copy)]
pub(crate) struct PresentedKey<'a> {
    pub(crate) key: &'a PublicKey,
    /// The connection of the request.
    pub(crate) connection: Option<Connection>,
}

/// A certificate whose plan is recorded.
pub(crate) struct PlannedCertificate {
    pub(crate) holder: Holder,
    pub(crate) serial: [u8; 16],
    pub(crate) times: (Timestamp, Timestamp),
    /// The entry of the certificate, and its SHA-256 if known; `None` until it is signed.
    pub(crate) signed: Option<(u64, Option<Digest>)>,
}

impl Services {
    /// The plan of a certificate for `key`.
    pub(crate) fn plan_certificate(
        &self,
        spiffe: SpiffeId,
        life_s: i64,
        key: &PublicKey,
        now: Timestamp,
    ) -> CertificatePlan {
        let issuer_not_after = self.signing.issuer.authority().not_after();
        CertificatePlan::draw(spiffe, key, now, life_s, issuer_not_after, &*self.state.entropy)
    }

    /// Signs what was recorded to be signed, and records the certificate, so that a repeated request
    /// gets this very one. Of two at once the first to be recorded wins; the other decides again and
    /// finds it.
    pub(crate) async fn sign_and_record<A: Certifying>(
        &self,
        holder: &Holder,
        receipt: Receipt<Certify<A>>,
    ) -> Result<Enrolled, AttemptError> {
        let planned_seq = receipt.seq();
        let SignedCertificate { der, plan } = self.signing.issuer.certify(receipt)?.deliver();
        let unsigned = Preconditions::of(holder.key(), planned_seq);
        let certificate = self.state.commit(holder.recorded(der.clone())?, unsigned, der).await?.redeem();
        let instance = holder.instance_id();
        Ok(Enrolled { spiffe: plan.spiffe, instance, certificate, not_after: plan.not_after })
    }

    /// The same key comes again. Its certificate is the recorded one; when the broker stopped
    /// between the record of the plan and that of the certificate, it is signed now from the very
    /// plan that was recorded.
    pub(crate) async fn certificate_again<A: Certifying>(
        &self,
        planned: PlannedCertificate,
        grant: Grant<A>,
        key: PresentedKey<'_>,
        preconditions: Preconditions,
    ) -> Result<Enrolled, AttemptError> {
        let PresentedKey { key, connection } = key;
        let PlannedCertificate { holder, serial, times: (not_before, not_after), signed } = planned;
        let spiffe = self.spiffe_of(&holder);
        if let Some((seq, thumbprint)) = signed {
            let (tree, place) = holder.place();
            let certificate = self.state.store.record(tree, &place, seq).await?.expose().clone();
            if thumbprint.is_some_and(|thumbprint| thumbprint != sha256(&certificate)) {
                // Another key was renewed meanwhile, and its certificate is the next one.
                return Err(AttemptError::Retry);
            }
            return Ok(Enrolled { spiffe, instance: holder.instance_id(), certificate, not_after });
        }
        let serial = Serial::from_bytes(serial);
        let plan = CertificatePlan { spiffe, serial, key: key.digest(), not_before, not_after };
        let certify = Certify { grant, plan, key: key.clone() };
        let retried = holder.retried()?.requested_on(connection);
        let receipt = self.state.commit(retried, preconditions, certify).await?;
        self.sign_and_record(&holder, receipt).await
    }

    pub(crate) fn agent_spiffe(&self, name: &AgentName, kind: AgentKind) -> SpiffeId {
        let (trust_domain, name) = (self.settings.trust_domain.clone(), name.clone());
        match kind {
            AgentKind::Agent => SpiffeId::Agent { trust_domain, name },
            AgentKind::ResourceServer => SpiffeId::ResourceServer { trust_domain, name },
        }
    }

    pub(crate) fn operator_spiffe(&self, name: &OperatorName) -> SpiffeId {
        SpiffeId::Operator { trust_domain: self.settings.trust_domain.clone(), name: name.clone() }
    }

    fn spiffe_of(&self, holder: &Holder) -> SpiffeId {
        match holder {
            Holder::Instance { name, kind, .. } => self.agent_spiffe(name, *kind),
            Holder::Operator { name, .. } => self.operator_spiffe(name),
        }
    }
}

impl PlannedCertificate {
    pub(crate) fn instance(holder: Holder, holding: &InstanceCertificate) -> Self {
        let times = (holding.not_before, holding.not_after);
        Self {
            holder,
            serial: holding.serial,
            times,
            signed: holding.signed.map(|signed| (signed.seq, Some(signed.thumbprint))),
        }
    }

    pub(crate) fn operator(holder: Holder, held: &operators::Certificate) -> Self {
        let times = (held.not_before, held.not_after);
        let signed = held.signed.map(|signed| (signed.seq, signed.thumbprint));
        Self { holder, serial: held.serial, times, signed }
    }
}

/// The public key in a PKCS#10 request, DER, once the request proves that its sender holds the key.
pub(crate) fn read_key(request: &[u8]) -> Result<PublicKey, Failure> {
    read_request(request).map_err(bad_request)
}

fn bad_request(error: RequestError) -> Failure {
    let code = match error {
        RequestError::TooLarge => code::CSR_TOO_LARGE,
        RequestError::Malformed => code::CSR_MALFORMED,
        RequestError::KeyType => code::CSR_KEY_TYPE,
        RequestError::Signature => code::CSR_SIGNATURE,
        RequestError::AsksForMore => code::CSR_SUBJECT_OR_EXTENSIONS,
    };
    Failure::new(code).because(error.to_string())
}
