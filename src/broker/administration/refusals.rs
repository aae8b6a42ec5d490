use crate::base::code::{self, Code, CodeClass};
use crate::base::{AgentName, OperatorId, OperatorName};
use crate::broker::caller_services::AdminServices;
use crate::broker::failure::{Failure, is_about_owned};
use crate::broker::incidents::has_subject;
use crate::broker::requested_object::RequestedObject;
use crate::broker::world::World;
use crate::operators::{Operator, OperatorDenied, OperatorRole};
use crate::pki::{PeerCertificate, SpiffeId};
use crate::quota::Note;

/// Codes of refusals that are recorded though the request conflicts with the state of an object.
const RECORDED_CONFLICTS: [Code; 4] = [
    code::LAST_ADMIN,
    code::NAME_RESERVED_BY_OWNER,
    code::WIDENING_NEEDS_SECOND_OPERATOR,
    code::PLAN_APPROVAL_OUTDATED,
];

/// An operator whose request was refused.
struct RefusedOperator {
    id: OperatorId,
    name: OperatorName,
    role: OperatorRole,
    is_bound: bool,
}

impl RefusedOperator {
    fn of(operator: &Operator) -> Self {
        let is_bound = operator.scope.owner().is_some();
        Self { id: operator.id, name: operator.name.clone(), role: operator.role, is_bound }
    }

    /// Whether the refusal of a request by this code is recorded. For an operator with an owner, an object of another owner
    /// does not exist: such a request is recorded also if there is no object, so that the number of entries does not tell
    /// the operator which objects exist.
    /// Declarations that another owner's objects refuse tell their names, so these are recorded, too.
    fn is_recorded(&self, failure: &Failure) -> bool {
        let code = failure.code;
        code.sort() == CodeClass::Denied
            || RECORDED_CONFLICTS.contains(&code)
            || (self.is_bound && is_about_owned(code))
            || failure.faults.iter().any(|fault| fault.is_foreign)
    }
}

/// The object as an entry names it, with its agent if it is an approval; `None` if it does not exist.
fn recorded(world: &World, object: &RequestedObject) -> Option<(String, Option<AgentName>)> {
    if let RequestedObject::Approval(reference) = object {
        // A request may name it by its code, and entries name it by its id.
        let opened = &world.approvals().find(*reference)?.opened;
        return Some((format!("approval/{}", opened.id), Some(opened.requester.name.clone())));
    }
    exists(world, object).then(|| (object.to_string(), None))
}

fn exists(world: &World, object: &RequestedObject) -> bool {
    match object {
        RequestedObject::Subject(name) => has_subject(world, name),
        RequestedObject::Incident(id) => world.incidents().get(*id).is_some(),
        RequestedObject::Lease(id) => world.leases.lease(*id).is_some(),
        RequestedObject::Approval(reference) => world.approvals().find(*reference).is_some(),
        RequestedObject::Code(id) => {
            world.registry.code(*id).is_some() || world.operators.code(*id).is_some()
        }
        RequestedObject::Authority(number) => {
            world.keys.authority.generations().all().any(|(known, _)| known == *number)
        }
        RequestedObject::TokenKey(number) => {
            world.keys.token_keys.generations().all().any(|(known, _)| known == *number)
        }
    }
}

impl AdminServices {
    /// Records that a request for `right` failed because of `failure`, if it was refused to an operator, unless the operator
    /// has had its share of entries. `object` is the object in the path of the request. Gives the operator.
    pub async fn record_refusal(
        &self,
        peer: &PeerCertificate,
        right: &'static str,
        failure: &Failure,
        object: Option<&RequestedObject>,
    ) -> Option<OperatorName> {
        let operator = self.refused_operator(peer, failure)?;
        if operator.is_recorded(failure)
            && let Note::Record { unrecorded } = self.0.limits.entries.operators.note(&operator.id)
        {
            let named = failure.object.as_deref().or(object);
            let found = self.0.state.store.read(|world, _| named.and_then(|one| recorded(world, one)));
            let (subject, agent) = found.unzip();
            let event = OperatorDenied {
                operator: &operator.name,
                role: operator.role.as_str(),
                right,
                subject,
                agent: agent.flatten(),
                code: failure.code.as_str(),
                unrecorded,
            };
            self.0.record_refusal(&event, peer.connection()).await;
        }
        Some(operator.name)
    }

    /// The operator behind `peer`. It may have been revoked, or its certificate have ended, since the request was refused:
    /// the refusal is still the operator's.
    fn refused_operator(&self, peer: &PeerCertificate, failure: &Failure) -> Option<RefusedOperator> {
        let is_of_certificate = failure.code.sort() == CodeClass::Unauthenticated
            || failure.code == code::OPERATOR_OUTSIDE_NETWORK;
        if is_of_certificate && self.identify(peer).is_err() {
            return None;
        }
        let SpiffeId::Operator { name, .. } = peer.spiffe() else { return None };
        self.0.state.store.read(|world, _| world.operators.named(name).map(RefusedOperator::of))
    }
}
