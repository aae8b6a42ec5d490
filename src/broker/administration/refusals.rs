use std::fmt;

use crate::authn::OperatorPrincipal;
use crate::base::code::{self, Code, CodeClass};
use crate::base::{IncidentId, OperatorName, SubjectName};
use crate::broker::caller_services::AdminServices;
use crate::broker::failure::{Failure, is_about_owned};
use crate::broker::incidents::has_subject;
use crate::broker::world::World;
use crate::operators::OperatorDenied;
use crate::pki::PeerCertificate;
use crate::quota::Note;

/// An object that a request names.
#[derive(Clone, Debug)]
pub enum RequestedObject {
    /// An object that can be contained.
    Subject(SubjectName),
    /// An incident.
    Incident(IncidentId),
}

impl fmt::Display for RequestedObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subject(name) => name.fmt(f),
            Self::Incident(id) => write!(f, "incident/{id}"),
        }
    }
}

impl RequestedObject {
    fn exists(&self, world: &World) -> bool {
        match self {
            Self::Subject(name) => has_subject(world, name),
            Self::Incident(id) => world.incidents().get(*id).is_some(),
        }
    }
}

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
            let subject = self.0.state.store.read(|world, _| named.filter(|one| one.exists(world)));
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
