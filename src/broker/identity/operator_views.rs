use super::approval_key_views;
use super::operators::operator_unknown;
use crate::authn::{Credential, CredentialFault, live};
use crate::base::encoding::hex;
use crate::base::{OperatorName, Timestamp};
use crate::broker::caller_services::AdminServices;
use crate::broker::failure::Failure;
use crate::broker::identity::facts::counting;
use crate::broker::identity::revoke_code::open_codes_of_operator;
use crate::broker::incidents::containing::ContainingIncidents;
use crate::broker::page::Page;
use crate::broker::world::{World, records};
use crate::operators::{Operator, OperatorProfile};
use crate::policy::{Authorised, ReadOperators};
use crate::revocation::Subject;
use crate::wire::{CertificateAnswer, OperatorAnswer, OperatorUseAnswer, PageAnswer};

impl AdminServices {
    /// All operators, by name.
    #[must_use]
    pub fn operators(&self, by: &Authorised<ReadOperators>, page: &Page) -> PageAnswer<OperatorAnswer> {
        let now = self.0.state.clock.now();
        self.0.state.store.read(|world, _| {
            let incidents = ContainingIncidents::shown_to(by.operator(), world);
            let seen = |one: &Operator| OperatorAnswer {
                incident: incidents.of_subject(&Subject::Operator(one.id)),
                ..view(one, world, now, self.last_use(one))
            };
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
        self.0.state.store.read(|world, _| {
            let one = world.operators.named(name).ok_or_else(|| operator_unknown(world, name))?;
            let incidents = ContainingIncidents::shown_to(by.operator(), world);
            let incident = incidents.of_subject(&Subject::Operator(one.id));
            let open_codes = open_codes_of_operator(world, name, now);
            Ok(OperatorAnswer { incident, open_codes, ..view(one, world, now, self.last_use(one)) })
        })
    }
}

impl AdminServices {
    fn last_use(&self, operator: &Operator) -> Option<OperatorUseAnswer> {
        self.0.state.operator_uses.last(operator).map(|last| OperatorUseAnswer {
            at: last.at.to_string(),
            address: last.from.map(|from| from.to_canonical().to_string()),
        })
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
    last_use: Option<OperatorUseAnswer>,
) -> OperatorAnswer {
    let OperatorProfile { kind, networks, life_s, person } = &operator.profile;
    let certificates: Vec<_> = counting(operator, world, now)
        .map(|one| CertificateAnswer { serial: hex(&one.serial), not_after: one.not_after.to_string() })
        .collect();
    let state = if world.revocations.is_blocked(&Subject::Operator(operator.id)) {
        "suspended"
    } else if certificates.is_empty() {
        inactivity(operator, world, now)
    } else {
        "active"
    };
    OperatorAnswer {
        id: operator.id,
        name: operator.name.clone(),
        kind: kind.as_str().into(),
        role: operator.role.as_str().into(),
        owner: operator.scope.owner().cloned(),
        state: state.into(),
        incident: None,
        reason: world.revocations.reason(&Subject::Operator(operator.id)).map(ToString::to_string),
        certificates,
        open_codes: Vec::new(),
        networks: networks.iter().map(ToString::to_string).collect(),
        life_s: *life_s,
        person: person.as_ref().map(ToString::to_string),
        last_use,
        approval_keys: approval_key_views::answers(&operator.approval_keys),
    }
}
