use crate::authn::OperatorPrincipal;
use crate::base::OperatorName;
use crate::base::code::{self, Code, CodeClass};
use crate::broker::caller_services::AdminServices;
use crate::broker::failure::{Failure, is_about_owned};
use crate::broker::incidents::has_subject;
use crate::broker::requested_object::RequestedObject;
use crate::broker::world::World;
use crate::operators::OperatorDenied;
use crate::pki::PeerCertificate;
use crate::quota::Note;

/// Codes of refusals that are recorded though the request conflicts with the state of an object.
const RECORDED_CONFLICTS: [Code; 2] = [code::LAST_ADMIN, code::NAME_RESERVED_BY_OWNER];

/// Whether the refusal of a request of `operator` by this code is recorded. For an operator with an owner, an object of
/// another owner does not exist: such a request is recorded also if there is no object, so that the number of entries does
/// not tell the operator which objects exist.
fn is_recorded(operator: &OperatorPrincipal, code: Code) -> bool {
    let is_bound = operator.scope().owner().is_some();
    code.sort() == CodeClass::Denied
        || RECORDED_CONFLICTS.contains(&code)
        || (is_bound && is_about_owned(code))
}

fn exists(world: &World, object: &RequestedObject) -> bool {
    match object {
        RequestedObject::Subject(name) => has_subject(world, name),
        RequestedObject::Incident(id) => world.incidents().get(*id).is_some(),
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
        let operator = self.identify(peer).ok()?;
        if is_recorded(&operator, failure.code)
            && let Note::Record { unrecorded } = self.0.limits.operator_denials.note(&operator.id())
        {
            let named = failure.object.as_deref().or(object);
            let subject = self.0.state.store.read(|world, _| named.filter(|one| exists(world, one)));
            let event = OperatorDenied {
                operator: operator.name(),
                role: operator.role().as_str(),
                right,
                subject: subject.map(ToString::to_string),
                code: failure.code.as_str(),
                unrecorded,
            };
            self.0.record_refusal(&event, operator.connection()).await;
        }
        Some(operator.name().clone())
    }
}
