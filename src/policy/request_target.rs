use super::context::DecisionContext;
use super::judged_mint::audience_of;
use super::mint_request::MintRequest;
use crate::base::{Audience, RequestTarget};

/// The audience and the actions that `request` names, as far as they are declared: an entry contains no other text of a
/// request. `None` if it names neither.
pub(super) fn target_of(context: &DecisionContext<'_>, request: &MintRequest) -> Option<RequestTarget> {
    if request.resource.is_none() && request.details.is_none() {
        return None;
    }
    let declared = |name| context.declarations().capability(name);
    let has = |audience: &Audience| {
        let mut capabilities = request.scope.iter().filter_map(declared);
        capabilities.any(|capability| audience_of(capability, context.limits) == audience)
    };
    let resource = request.resource.as_ref().filter(|audience| has(audience)).cloned();
    let other_resource = request.resource.is_some() && resource.is_none();
    let actions = request.details.iter().flat_map(|details| details.actions());
    let actions = actions.filter(|(name, _)| declared(name).is_some());
    let actions = actions.map(|(name, action)| (name.clone(), action.as_str().to_owned())).collect();
    Some(RequestTarget { resource, other_resource, actions })
}
