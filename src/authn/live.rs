use std::net::IpAddr;

use super::records::Records;
use super::subjects::{
    Basis, agent_code_basis, certificate_basis, issued_basis, lease_basis, maker_basis, of_capability,
    operator_certificate_basis, operator_code_basis,
};
use crate::base::{CapabilityName, InstanceId, RoleName, SecretName, TokenId};
use crate::leases::Lease;
use crate::operators::{self, CodeMaker, Operator, OperatorRole};
use crate::pki::{Record, SpiffeId};
use crate::registry::{self, Agent, AgentKind, Delivery, Instance, InstanceCertificate, Owned};
use crate::revocation::{Liveness, Subject};
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
        /// The address of the caller, if known.
        from: Option<IpAddr>,
    },
    /// An enrolment code of an operator.
    OperatorCode {
        /// The code.
        code: &'a operators::OperatorCode,
        /// The address of the caller, if known.
        from: Option<IpAddr>,
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

/// Whether a mark on `subject` concerns the credential: it was issued under the subject, or belongs to it now. A token
/// that is presented is asked about as one that was minted before.
#[must_use]
pub fn is_under(credential: Credential<'_>, records: Records<'_>, subject: &Subject) -> bool {
    let basis = basis_of(credential, records);
    basis.is_some_and(|basis| basis.is_under(subject)) || is_made_under(credential, records, subject)
}

/// What the marks judge the credential by; none if its holder is gone.
pub(super) fn basis_of(credential: Credential<'_>, records: Records<'_>) -> Option<Basis> {
    match credential {
        Credential::Certificate { agent, instance, holding, from } => {
            Some(certificate_basis(records, agent, instance, holding, from))
        }
        Credential::OperatorCertificate { operator, certificate, from } => {
            Some(operator_certificate_basis(operator, certificate, from))
        }
        Credential::Token { claims, .. } => holder(records, claims).and_then(|agent| {
            let instance = agent.instances.get(claims.instance)?;
            let names = capabilities_in(claims).ok()?;
            Some(issued_basis(records, agent, instance, claims.jti, claims.seq, &names))
        }),
        Credential::MintedBefore { token, seq, agent, instance, capabilities } => {
            let names = capabilities.iter().map(|(name, _)| name);
            Some(issued_basis(records, agent, instance, token, seq, names))
        }
        Credential::Code { code, from } => agent_code_basis(records, code, from),
        Credential::OperatorCode { code, from } => operator_code_basis(records, code, from),
        Credential::Lease { lease, administering } => lease_basis(records, lease, administering),
    }
}

/// Whether the credential is a code, and a mark on `subject` concerns its maker.
fn is_made_under(credential: Credential<'_>, records: Records<'_>, subject: &Subject) -> bool {
    let (id, issued) = match credential {
        Credential::Code { code, .. } => (code.id, code.issued_seq),
        Credential::OperatorCode { code, .. } => (code.id, code.issued_seq),
        Credential::Certificate { .. }
        | Credential::OperatorCertificate { .. }
        | Credential::Token { .. }
        | Credential::MintedBefore { .. }
        | Credential::Lease { .. } => return false,
    };
    let Some(made) = records.operators.maker_of(id) else { return false };
    let maker = records.operators.with(made.by);
    maker.is_some_and(|maker| {
        let basis = maker_basis(records, maker, made, issued);
        basis.with_addresses(made.addresses.into_iter().flatten()).is_under(subject)
    })
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
    of_capability(records, roles, capability, u64::MAX, &mut subjects);
    judge(records, &Basis::issued(u64::MAX, subjects)).is_ok()
}

/// Whether a secret can be used for a new issue: it is not suspended.
#[must_use]
pub fn may_open(records: Records<'_>, secret: &SecretName) -> bool {
    judge(records, &Basis::issued(u64::MAX, vec![Subject::Secret(secret.clone())])).is_ok()
}

fn certificate(
    records: Records<'_>,
    agent: &Agent,
    instance: &Instance,
    holding: &InstanceCertificate,
    from: Option<IpAddr>,
) -> Result<(), CredentialFault> {
    judge(records, &certificate_basis(records, agent, instance, holding, from))?;
    authority(records.authorities, holding.signed.and_then(|signed| signed.authority))
}

fn operator_certificate(
    records: Records<'_>,
    operator: &Operator,
    certificate: &operators::Certificate,
    from: Option<IpAddr>,
) -> Result<(), CredentialFault> {
    judge(records, &operator_certificate_basis(operator, certificate, from))?;
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
    issued_for(records, agent, instance, claims.jti, claims.seq, &capabilities_in(claims)?)
}

fn capabilities_in(claims: &Claims) -> Result<Vec<CapabilityName>, CredentialFault> {
    let names = claims.scope.split(' ').map(str::parse).collect::<Result<_, _>>();
    names.map_err(|_| CredentialFault::NotIssued)
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
    judge(records, &issued_basis(records, agent, instance, token, seq, capabilities))
}

fn agent_code(
    records: Records<'_>,
    code: &registry::AgentCode,
    from: Option<IpAddr>,
) -> Result<(), CredentialFault> {
    if records.revocations.codes.contains(code.id) {
        return Err(CredentialFault::Revoked);
    }
    let agent = records.registry.agent(code.agent).ok_or(CredentialFault::HolderGone)?;
    let basis = agent_code_basis(records, code, from).ok_or(CredentialFault::HolderGone)?;
    judge(records, &basis)?;
    let owner = records.registry.owners().of(&Owned::Agent(agent.name.clone()));
    let may_make = |maker: &Operator| maker.role == OperatorRole::Admin && maker.scope.covers(owner);
    made_by(records, records.operators.maker_of(code.id), code.issued_seq, may_make)
}

fn operator_code(
    records: Records<'_>,
    code: &operators::OperatorCode,
    from: Option<IpAddr>,
) -> Result<(), CredentialFault> {
    if records.revocations.codes.contains(code.id) {
        return Err(CredentialFault::Revoked);
    }
    let operator = records.operators.named(&code.operator).ok_or(CredentialFault::HolderGone)?;
    let basis = operator_code_basis(records, code, from).ok_or(CredentialFault::HolderGone)?;
    judge(records, &basis)?;
    if from.is_some_and(|from| !operator.profile.admits(from)) {
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
    judge(records, &maker_basis(records, maker, made, issued)).map_err(|_| CredentialFault::MakerGone)?;
    // While a network is contained, its operators can make codes: only those of before are revoked.
    let basis = Basis::issued(issued, Vec::new()).with_addresses(made.addresses.into_iter().flatten());
    if judge(records, &basis) == Err(CredentialFault::Revoked) {
        return Err(CredentialFault::MakerGone);
    }
    authority(records.authorities, made.authority).map_err(|_| CredentialFault::MakerGone)
}

fn leased(
    records: Records<'_>,
    lease: &Lease,
    administering: Option<&SecretName>,
) -> Result<(), CredentialFault> {
    let agent = records.registry.agent(lease.holder.agent).ok_or(CredentialFault::HolderGone)?;
    let basis = lease_basis(records, lease, administering).ok_or(CredentialFault::HolderGone)?;
    judge(records, &basis)?;
    let instance = agent.instances.get(lease.holder.instance);
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

fn judge(records: Records<'_>, basis: &Basis) -> Result<(), CredentialFault> {
    match records.revocations.judge(&basis.judged()) {
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
