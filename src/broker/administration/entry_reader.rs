use serde_json::Value;

use super::visible::{VisibleEvent, visible};
use crate::authn::OperatorPrincipal;
use crate::base::{OperatorName, OwnerName};
use crate::broker::incidents::views::sees_own_incidents;
use crate::broker::world::World;
use crate::store::Store;

/// An operator who reads entries.
#[derive(Clone, Copy, Debug)]
pub(super) struct EntryReader<'a>(&'a OperatorPrincipal);

impl<'a> EntryReader<'a> {
    pub(super) const fn new(operator: &'a OperatorPrincipal) -> Self {
        Self(operator)
    }

    /// The owner that the reader is bound to. Then the reader sees entries about objects of this owner, and about itself.
    pub(super) const fn owner(&self) -> Option<&'a OwnerName> {
        self.0.scope().owner()
    }

    /// The part of `event` that the reader sees; `None` if the entry is not shown.
    pub(super) fn shown(&self, store: &Store<World>, event: Value) -> Option<VisibleEvent> {
        let operator = self.0.name();
        if !sees_own_incidents(self.0) && is_accused(&event, operator) {
            return None;
        }
        match self.owner() {
            None => Some(VisibleEvent { event, is_redacted: false }),
            Some(owner) => store.read(|world, _| visible(world, owner, operator, event)),
        }
    }
}

/// Whether the event is a step of an incident that affects `operator`, or a certificate of it, by another operator.
pub(crate) fn is_accused(event: &Value, operator: &OperatorName) -> bool {
    let text =
        |value: &Value, field: &str| value.get(field).and_then(Value::as_str) == Some(operator.as_str());
    if event.get("incident").is_none_or(|incident| !incident.is_string()) || text(event, "by") {
        return false;
    }
    let is_it = |subject: &Value| {
        let is_operator = subject.get("kind").and_then(Value::as_str) == Some("operator");
        text(subject, "operator") || (is_operator && text(subject, "name"))
    };
    let further = event.get("subjects").and_then(Value::as_array).into_iter().flatten();
    text(event, "operator") || event.get("subject").into_iter().chain(further).any(is_it)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_step_of_an_incident_accuses_its_subjects() {
        let eve: OperatorName = "eve".parse().unwrap();
        let operator = json!({ "kind": "operator", "id": "op_1", "name": "eve" });
        let agent = json!({ "kind": "agent", "name": "eve" });
        let certificate = json!({ "kind": "certificate", "id": "1", "operator": "eve" });
        for (event, is_accusing) in [
            (json!({ "incident": "inc_1", "subject": operator, "by": "ann" }), true),
            (json!({ "incident": "inc_1", "subject": agent, "subjects": [operator], "by": "ann" }), true),
            (json!({ "incident": "inc_1", "subject": certificate, "by": "ann" }), true),
            (json!({ "incident": "inc_1", "subject": { "kind": "certificate" }, "operator": "eve" }), true),
            (json!({ "incident": "inc_1", "subject": operator, "by": "eve" }), false),
            (json!({ "incident": "inc_1", "subject": agent, "by": "ann" }), false),
            (json!({ "subject": operator, "by": "ann" }), false),
        ] {
            assert_eq!(is_accused(&event, &eve), is_accusing, "{event}");
        }
    }
}
