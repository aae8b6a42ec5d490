//! Every refused request of an operator passes here on its way out of the route table.

use std::sync::Arc;

use axum::extract::Request;

use crate::base::OwnerName;
use crate::broker::{AdminServices, AgentServices, HostServices, RequestedObject};
use crate::http::documents::problem::Problem;
use crate::http::route::{Caller, Route};
use crate::http::transport::listener::Peer;
use crate::pki::PeerCertificate;

/// The part of a request that the record of its refusal needs.
pub(crate) struct RefusableRequest {
    certificate: Option<Arc<PeerCertificate>>,
    right: Option<&'static str>,
    object: Option<RequestedObject>,
}

impl RefusableRequest {
    pub(crate) fn of(request: &Request, route: &Route) -> Self {
        let right = match route.caller {
            Caller::Operator(need) => Some(need.right),
            Caller::Public | Caller::Agent | Caller::ResourceServer | Caller::Enrolled | Caller::Host => None,
        };
        let peer = request.extensions().get::<Peer>().filter(|_| right.is_some());
        let certificate = peer.and_then(|peer| peer.certificate.clone());
        let object = right.and_then(|_| (route.document.object)(request.uri().path(), route.path));
        Self { certificate, right, object }
    }
}

/// Services whose refusals of requests may have to be recorded.
pub(crate) trait RecordRefusals: Sync {
    /// Records the refusal, if it has to be.
    fn recorded(&self, request: RefusableRequest, problem: Problem) -> impl Future<Output = Problem> + Send;

    /// The same refusal for a caller that is limited to `owner`. If the object in the path of the request does not exist, an
    /// operator is told the similar names.
    fn told(
        &self,
        problem: Problem,
        _object: Option<&RequestedObject>,
        owner: Option<&OwnerName>,
    ) -> Problem {
        within(problem, owner)
    }
}

/// The refusal of a caller that is limited to this owner.
pub(crate) fn within(problem: Problem, owner: Option<&OwnerName>) -> Problem {
    match owner {
        Some(owner) => problem.within(owner),
        None => problem,
    }
}

impl RecordRefusals for AdminServices {
    async fn recorded(&self, request: RefusableRequest, problem: Problem) -> Problem {
        let RefusableRequest { certificate: Some(certificate), right: Some(right), object } = request else {
            return problem;
        };
        let refused = self.record_refusal(&certificate, right, problem.failure(), object.as_ref());
        match refused.await {
            Some(operator) => problem.of_operator(operator),
            None => problem,
        }
    }

    fn told(&self, problem: Problem, object: Option<&RequestedObject>, owner: Option<&OwnerName>) -> Problem {
        within(problem.saying(|failure| self.with_near_names(failure, object, owner)), owner)
    }
}

/// Use cases record the denials of agents, with their decisions.
impl RecordRefusals for AgentServices {
    async fn recorded(&self, _: RefusableRequest, problem: Problem) -> Problem {
        problem
    }
}

/// A user of the host has every right.
impl RecordRefusals for HostServices {
    async fn recorded(&self, _: RefusableRequest, problem: Problem) -> Problem {
        problem
    }
}
