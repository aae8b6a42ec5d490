use std::net::IpAddr;

use super::records::Records;
use crate::base::{CapabilityName, InstanceId, OwnerName, RoleName, SecretName, TokenId};
use crate::leases::Lease;
use crate::operators::{self, CodeMaker, Operator, OperatorRole};
use crate::pki::{Record, SpiffeId};
use crate::registry::{self, Agent, AgentKind, Delivery, Instance, InstanceCertificate, Owned};
use crate::revocation::{Liveness, Revocations, Subject};
use crate::token::{Claims, Minted};

/// Every kind of credential that the broker issues and can revoke. A new kind is a variant here and a column of the table
/// in `tests/it/liveness`.
#[derive(Clone, Copy, Debug)]
pub enum Credential<'a> {
    /// A certificate of an instance of an agent or resource server.
    Certificate {
        /// The agent or resource server.
        agent: &'a Agent,
        /// The instance.
        instance: &'a Instance,
        /// The certificate.
        holding: &'a InstanceCertificate,
        /// The address of the presenting peer, if known.
        from: Option<IpAddr>,
    },
    /// A certificate of an operator.
    OperatorCertificate {
        /// The operator.
        operator: &'a Operator,
        /// The certificate.
        certificate: &'a operators::Certificate,
        /// The address of the presenting peer, if known.
        from: Option<IpAddr>,
    },
    /// An access token that is presented or introspected.
    Token {
        /// Its claims.
        claims: &'a Claims,
        /// The ledger entry that it names.
        minted: Option<&'a Minted>,
    },
    /// An access token that is signed again for the instance that it was issued to.
    MintedBefore {
        /// The token.
        token: TokenId,
        /// The ledger entry of its issue.
        seq: u64,
        /// The agent.
        agent: &'a Agent,
        /// The instance.
        instance: &'a Instance,
        /// Its capabilities.
        capabilities: &'a [(CapabilityName, String)],
    },
    /// An enrolment code of an agent or resource server.
    Code {
        /// The code.
        code: &'a registry::AgentCode,
        /// The address of the caller.
        from: IpAddr,
    },
    /// An enrolment code of an operator.
    OperatorCode {
        /// The code.
        code: &'a operators::OperatorCode,
        /// The address of the caller.
        from: IpAddr,
    },
    /// A login upstream.
    Lease {
        /// The lease.
        lease: &'a Lease,
        /// The secret that administers it, if known.
        administering: Option<&'a SecretName>,
    },
}

/// The reason why a credential is not valid.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CredentialFault {
    /// A subject that it was issued under was revoked later.
    Revoked,
    /// A subject that it was issued under, or belongs to now, is suspended.
    Suspended,
    /// The authority that signed its certificate was revoked.
    AuthorityRevoked,
    /// The subject that it was issued to was removed.
    HolderGone,
    /// It is bound to a certificate that is neither the current nor the next one of its holder.
    Replaced,
    /// No ledger entry issued it in this form.
    NotIssued,
    /// Its maker no longer has the right to make it, or the maker's certificate was revoked.
    MakerGone,
    /// Its capability is not declared any more, or no role of its holder holds it.
    NotGranted,
    /// It is presented from outside the networks that its operator is bound to.
    Elsewhere,
}

/// The only check of a credential against the records. Every consumer uses it; the credential's own times are checked
/// separately by `ClockReading::is_within`, because a renewal may come late.
///
/// # Errors
/// [`CredentialFault`] says why not.
pub fn live(credential: Credential<'_>, records: Records<'_>) -> Result<(), CredentialFault> {
    match credential {
        Credential::Certificate { agent, instance, holding, from } => {
            certificate(records, agent, instance, holding, from)
        }
        Credential::OperatorCertificate { operator, certificate, from } => {
            operator_certificate(records, operator, certificate, from)
        }
        Credential::Token { claims, minted } => token(records, claims, minted),
        Credential::MintedBefore { token, seq, agent, instance, capabilities } => {
            let names = capabilities.iter().map(|(name, _)| name);
            issued_for(records, agent, instance, token, seq, names)
        }
        Credential::Code { code, from } => agent_code(records, code, from),
        Credential::OperatorCode { code, from } => operator_code(records, code, from),
        Credential::Lease { lease, administering } => leased(records, lease, administering),
    }
}

/// Whether an instance has a valid certificate: then it counts for `max_instances` and keeps leases and tokens.
#[must_use]
pub fn has_certificate(records: Records<'_>, agent: &Agent, instance: &Instance) -> bool {
    let counts =
        |holding| live(Credential::Certificate { agent, instance, holding, from: None }, records).is_ok();
    instance.holdings().any(counts)
}

/// Whether `capability` can be issued to this instance of an agent with these roles: no part of it is suspended.
#[must_use]
pub fn may_be_issued<'a>(
    records: Records<'_>,
    roles: impl IntoIterator<Item = &'a RoleName>,
    instance: InstanceId,
    capability: &CapabilityName,
) -> bool {
    let mut subjects = vec![Subject::Lineage(instance)];
    of_capability(records, roles, capability, &mut subjects);
    judge(records.revocations, u64::MAX, &subjects, &[]).is_ok()
}

/// Whether a secret can be used for a new issue: it is not suspended.
#[must_use]
pub fn may_open(records: Records<'_>, secret: &SecretName) -> bool {
    judge(records.revocations, u64::MAX, &[Subject::Secret(secret.clone())], &[]).is_ok()
}

fn certificate(
    records: Records<'_>,
    agent: &Agent,
    instance: &Instance,
    holding: &InstanceCertificate,
    from: Option<IpAddr>,
) -> Result<(), CredentialFault> {
    let mut subjects = of_instance(records, agent, instance);
    subjects.push(Subject::Certificate(holding.serial));
    let addresses: Vec<IpAddr> = instance.enrolled_from.into_iter().chain(from).collect();
    judge(records.revocations, instance.enrolled_seq, &subjects, &addresses)?;
    authority(records.authorities, holding.signed.and_then(|signed| signed.authority))
}

fn operator_certificate(
    records: Records<'_>,
    operator: &Operator,
    certificate: &operators::Certificate,
    from: Option<IpAddr>,
) -> Result<(), CredentialFault> {
    let mut subjects = vec![Subject::Operator(operator.id), Subject::Certificate(certificate.serial)];
    subjects.extend(operator.scope.owner().cloned().map(Subject::Owner));
    let addresses: Vec<IpAddr> = from.into_iter().collect();
    judge(records.revocations, certificate.enrolled_seq, &subjects, &addresses)?;
    authority(records.authorities, certificate.signed.and_then(|signed| signed.authority))?;
    if from.is_none_or(|from| operator.profile.admits(from)) {
        Ok(())
    } else {
        Err(CredentialFault::Elsewhere)
    }
}

fn token(records: Records<'_>, claims: &Claims, minted: Option<&Minted>) -> Result<(), CredentialFault> {
    if minted.is_none_or(|minted| !minted.issued(claims)) {
        return Err(CredentialFault::NotIssued);
    }
    let agent = holder(records, claims).ok_or(CredentialFault::HolderGone)?;
    let instance = agent.instances.get(claims.instance).ok_or(CredentialFault::HolderGone)?;
    let is_bound_to = |holding: &&InstanceCertificate| {
        let thumbprint = holding.signed.map(|signed| signed.thumbprint);
        thumbprint.is_some_and(|one| *one.base64url() == *claims.cnf.x5t_s256)
    };
    let holding = instance.holdings().find(is_bound_to).ok_or(CredentialFault::Replaced)?;
    certificate(records, agent, instance, holding, None)?;
    let names: Vec<CapabilityName> = claims
        .scope
        .split(' ')
        .map(str::parse)
        .collect::<Result<_, _>>()
        .map_err(|_| CredentialFault::NotIssued)?;
    issued_for(records, agent, instance, claims.jti, claims.seq, &names)
}

/// The agent in the subject of a token.
fn holder<'r>(Records { registry, authorities, .. }: Records<'r>, claims: &Claims) -> Option<&'r Agent> {
    match claims.sub.parse() {
        Ok(SpiffeId::Agent { name, trust_domain }) if authorities.trust_domain() == Some(&trust_domain) => {
            registry.agent_named(&name).filter(|agent| agent.kind() == AgentKind::Agent)
        }
        Ok(_) | Err(_) => None,
    }
}

/// Checks a token's record: the subjects that it was issued under, and those that it belongs to now.
fn issued_for<'a>(
    records: Records<'_>,
    agent: &Agent,
    instance: &Instance,
    token: TokenId,
    seq: u64,
    capabilities: impl IntoIterator<Item = &'a CapabilityName>,
) -> Result<(), CredentialFault> {
    let mut subjects = of_instance(records, agent, instance);
    subjects.extend([Subject::Token(token), Subject::Lineage(instance.id)]);
    for name in capabilities {
        of_capability(records, &*agent.roles, name, &mut subjects);
    }
    let addresses: Vec<IpAddr> = instance.enrolled_from.into_iter().collect();
    judge(records.revocations, seq, &subjects, &addresses)
}

fn agent_code(records: Records<'_>, code: &registry::AgentCode, from: IpAddr) -> Result<(), CredentialFault> {
    let agent = records.registry.agent(code.agent).ok_or(CredentialFault::HolderGone)?;
    let owner = records.registry.owners().of(&Owned::Agent(agent.name.clone()));
    let mut subjects = vec![Subject::Everything, Subject::Agent(agent.id)];
    subjects.extend(owner.cloned().map(Subject::Owner));
    judge(records.revocations, code.issued_seq, &subjects, &[from])?;
    let may_make = |maker: &Operator| maker.role == OperatorRole::Admin && maker.scope.covers(owner);
    made_by(records, records.operators.maker_of(code.id), code.issued_seq, may_make)
}

fn operator_code(
    records: Records<'_>,
    code: &operators::OperatorCode,
    from: IpAddr,
) -> Result<(), CredentialFault> {
    let operator = records.operators.named(&code.operator).ok_or(CredentialFault::HolderGone)?;
    let mut subjects = vec![Subject::Operator(operator.id)];
    subjects.extend(operator.scope.owner().cloned().map(Subject::Owner));
    judge(records.revocations, code.issued_seq, &subjects, &[from])?;
    if !operator.profile.admits(from) {
        return Err(CredentialFault::Elsewhere);
    }
    made_by(records, records.operators.maker_of(code.id), code.issued_seq, Operator::is_full_admin)
}

/// Whether the maker of a code still has the right to make it, and neither the certificate of the maker nor its authority
/// was revoked later. The expiry or renewal of that certificate does not end a code. A code without a maker was made on
/// the host.
fn made_by(
    records: Records<'_>,
    made: Option<&CodeMaker>,
    issued: u64,
    may_make: impl Fn(&Operator) -> bool,
) -> Result<(), CredentialFault> {
    let Some(made) = made else { return Ok(()) };
    let maker =
        records.operators.with(made.by).filter(|maker| may_make(maker)).ok_or(CredentialFault::MakerGone)?;
    let mut subjects = vec![Subject::Operator(maker.id)];
    subjects.extend(maker.scope.owner().cloned().map(Subject::Owner));
    subjects.push(Subject::Certificate(made.certificate));
    judge(records.revocations, issued, &subjects, &[]).map_err(|_| CredentialFault::MakerGone)?;
    authority(records.authorities, made.authority).map_err(|_| CredentialFault::MakerGone)
}

fn leased(
    records: Records<'_>,
    lease: &Lease,
    administering: Option<&SecretName>,
) -> Result<(), CredentialFault> {
    let agent = records.registry.agent(lease.holder.agent).ok_or(CredentialFault::HolderGone)?;
    let mut subjects = of_holder(records, agent, lease.holder.instance);
    subjects.push(Subject::Lineage(lease.holder.instance));
    subjects.extend(administering.cloned().map(Subject::Secret));
    of_capability(records, &*agent.roles, &lease.capability, &mut subjects);
    let instance = agent.instances.get(lease.holder.instance);
    let addresses: Vec<IpAddr> = instance.and_then(|one| one.enrolled_from).into_iter().collect();
    judge(records.revocations, lease.issued.seq, &subjects, &addresses)?;
    // An instance is forgotten only after its certificates have expired: then the lease has expired, too.
    if let Some(instance) = instance.filter(|instance| !has_certificate(records, agent, instance)) {
        let holding = &instance.current;
        live(Credential::Certificate { agent, instance, holding, from: None }, records)?;
    }
    let declarations = records.registry.declarations();
    let mut roles = agent.roles.iter().filter_map(|name| declarations.role(name));
    let holds = roles.any(|role| role.capabilities.contains(&lease.capability));
    let offered = declarations.capability(&lease.capability);
    let offered = offered.is_some_and(|one| one.delivery == Delivery::Lease);
    if holds && offered { Ok(()) } else { Err(CredentialFault::NotGranted) }
}

/// The subjects of an instance's credentials.
fn of_instance(records: Records<'_>, agent: &Agent, instance: &Instance) -> Vec<Subject> {
    of_holder(records, agent, instance.id)
}

fn of_holder(records: Records<'_>, agent: &Agent, instance: InstanceId) -> Vec<Subject> {
    let mut subjects = vec![Subject::Everything, Subject::Agent(agent.id), Subject::Instance(instance)];
    let owner: Option<&OwnerName> = records.registry.owners().of(&Owned::Agent(agent.name.clone()));
    subjects.extend(owner.cloned().map(Subject::Owner));
    subjects
}

/// The subjects of a credential for a capability of an agent with these roles.
fn of_capability<'a>(
    Records { registry, secrets, .. }: Records<'_>,
    roles: impl IntoIterator<Item = &'a RoleName>,
    name: &CapabilityName,
    subjects: &mut Vec<Subject>,
) {
    let (declarations, owners) = (registry.declarations(), registry.owners());
    subjects.push(Subject::Capability(name.clone()));
    subjects.extend(owners.of(&Owned::Capability(name.clone())).cloned().map(Subject::Owner));
    if let Some(Delivery::Reveal { secret }) = declarations.capability(name).map(|one| &one.delivery)
        && let Some(secret) = secrets.named(secret)
    {
        subjects.push(Subject::Secret(secret.name.clone()));
        subjects.extend(secret.owner.clone().map(Subject::Owner));
    }
    let holds = |role: &&RoleName| declarations.role(role).is_some_and(|one| one.capabilities.contains(name));
    subjects.extend(roles.into_iter().filter(holds).cloned().map(Subject::Role));
}

fn judge(
    revocations: &Revocations,
    issued: u64,
    subjects: &[Subject],
    addresses: &[IpAddr],
) -> Result<(), CredentialFault> {
    match revocations.judge(issued, subjects, addresses) {
        Liveness::Live => Ok(()),
        Liveness::Suspended => Err(CredentialFault::Suspended),
        Liveness::Revoked => Err(CredentialFault::Revoked),
    }
}

/// Whether the authority of this generation is trusted. A certificate that is not signed yet has none.
fn authority(authorities: &Record, generation: Option<u32>) -> Result<(), CredentialFault> {
    let Some(generation) = generation else { return Ok(()) };
    let stage = authorities.generations().all().find(|(one, _)| *one == generation);
    if stage.is_some_and(|(_, stage_since)| stage_since.stage.counts()) {
        Ok(())
    } else {
        Err(CredentialFault::AuthorityRevoked)
    }
}
