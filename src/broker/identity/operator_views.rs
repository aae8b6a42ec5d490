use std::net::IpAddr;

use super::approval_key_views;
use super::operators::operator_unknown;
use crate::authn::{Credential, CredentialFault, blocking, live};
use crate::base::encoding::hex;
use crate::base::{OperatorName, Timestamp};
use crate::broker::caller_services::AdminServices;
use crate::broker::failure::Failure;
use crate::broker::identity::facts::counting;
use crate::broker::identity::revoke_code::open_codes_of_operator;
use crate::broker::incidents::containing::ContainingIncidents;
use crate::broker::page::Page;
use crate::broker::world::{World, records};
use crate::operators::{Certificate, Operator, OperatorProfile, OperatorUse};
use crate::policy::{Authorised, ReadOperators};
use crate::revocation::Subject;
use crate::wire::{CertificateAnswer, ContainmentAnswer, OperatorAnswer, OperatorUseAnswer, PageAnswer};

impl AdminServices {
    /// All operators, by name.
    #[must_use]
    pub fn operators(&self, by: &Authorised<ReadOperators>, page: &Page) -> PageAnswer<OperatorAnswer> {
        let now = self.0.state.clock.now();
        self.0.state.store.read(|world, _| {
            let incidents = ContainingIncidents::shown_to(by.operator(), world);
            let seen = |one: &Operator| view(one, world, now, &incidents, self.last_use(one));
            page.of(world.operators.all(), |one| one.name.as_str(), seen)
        })
    }

    /// The operator called `name`.
    ///
    /// # Errors
    /// [`Failure`] if it does not exist.
    pub fn operator(
        &self,
        by: &Authorised<ReadOperators>,
        name: &OperatorName,
    ) -> Result<OperatorAnswer, Failure> {
        let now = self.0.state.clock.now();
        let refused = self.0.refused_acceptance(by.operator(), name);
        let refused_acceptance = refused.map(|code| code.as_str().into());
        self.0.state.store.read(|world, _| {
            let one = world.operators.named(name).ok_or_else(|| operator_unknown(world, name))?;
            let incidents = ContainingIncidents::shown_to(by.operator(), world);
            let open_codes = open_codes_of_operator(world, name, now);
            let seen = view(one, world, now, &incidents, self.last_use(one));
            Ok(OperatorAnswer { open_codes, refused_acceptance, ..seen })
        })
    }
}

impl AdminServices {
    fn last_use(&self, operator: &Operator) -> Option<OperatorUse> {
        self.0.state.operator_uses.last(operator)
    }
}

/// The state of an operator that is not suspended, and has no valid certificate.
fn inactivity(operator: &Operator, world: &World, now: Timestamp) -> &'static str {
    let faults = operator.certificates.iter().filter(|one| now < one.not_after).filter_map(|certificate| {
        live(Credential::OperatorCertificate { operator, certificate, from: None }, records(world)).err()
    });
    let faults: Vec<CredentialFault> = faults.collect();
    let is_dead = world.revocations.dead_before(&Subject::Operator(operator.id)) > 0;
    if faults.contains(&CredentialFault::Suspended) {
        "contained"
    } else if is_dead || !faults.is_empty() {
        "revoked"
    } else if operator.certificates.is_empty() && operator.last_use.is_none() {
        "invited"
    } else {
        "expired"
    }
}

fn view(
    operator: &Operator,
    world: &World,
    now: Timestamp,
    incidents: &ContainingIncidents,
    last_use: Option<OperatorUse>,
) -> OperatorAnswer {
    let OperatorProfile { kind, networks, life_s, person } = &operator.profile;
    let (valid, from): (Vec<&Certificate>, _) =
        (counting(operator, world, now).collect(), last_use.and_then(|last| last.from));
    let is_refused = |certificate: &&Certificate| {
        live(Credential::OperatorCertificate { operator, certificate, from }, records(world))
            == Err(CredentialFault::Suspended)
    };
    let subject = Subject::Operator(operator.id);
    let state = if world.revocations.is_blocked(&subject) {
        "suspended"
    } else if valid.is_empty() {
        inactivity(operator, world, now)
    } else if valid.iter().all(is_refused) {
        "contained"
    } else {
        "active"
    };
    let containments = if matches!(state, "suspended" | "contained") {
        containments_of(operator, world, from, incidents)
    } else {
        Vec::new()
    };
    let refusing = containments.first();
    let reason = world.revocations.reason(&subject).map(ToString::to_string);
    OperatorAnswer {
        id: operator.id,
        name: operator.name.clone(),
        kind: kind.as_str().into(),
        role: operator.role.as_str().into(),
        owner: operator.scope.owner().cloned(),
        state: state.into(),
        incident: incidents.of_subject(&subject).or_else(|| refusing.map(|one| one.incident)),
        reason: reason.or_else(|| refusing.and_then(|one| one.reason.clone())),
        certificates: valid
            .iter()
            .map(|one| CertificateAnswer { serial: hex(&one.serial), not_after: one.not_after.to_string() })
            .collect(),
        open_codes: Vec::new(),
        networks: networks.iter().map(ToString::to_string).collect(),
        life_s: *life_s,
        person: person.as_ref().map(ToString::to_string),
        last_use: last_use.map(|last| OperatorUseAnswer {
            at: last.at.to_string(),
            address: last.from.map(|from| from.to_canonical().to_string()),
        }),
        containments,
        approval_keys: approval_key_views::answers(&operator.approval_keys),
        introduced_by: introducers(operator, world),
        refused_acceptance: None,
    }
}

/// The names of the operators that introduced `operator`, and the ids of those that were deleted since.
fn introducers(operator: &Operator, world: &World) -> Vec<String> {
    let name = |id| world.operators.with(id).map(|one| one.name.to_string());
    operator.introduced_by().map(|id| name(id).unwrap_or_else(|| id.to_string())).collect()
}

/// The containments that refuse the certificates of the operator, presented from the address of its last use.
fn containments_of(
    operator: &Operator,
    world: &World,
    from: Option<IpAddr>,
    incidents: &ContainingIncidents,
) -> Vec<ContainmentAnswer> {
    let mut found = Vec::new();
    for certificate in &operator.certificates {
        let presented = Credential::OperatorCertificate { operator, certificate, from };
        incidents.add_to(&mut found, &blocking(presented, records(world)), world, false);
    }
    found
}
