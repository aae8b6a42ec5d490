//! Entries that are kept from an operator, because they are about an incident that affects this operator.

use serde_json::Value;

use super::entry_terms::event_terms;
use crate::base::{IncidentId, OperatorName};
use crate::broker::incidents::views::affects;
use crate::broker::world::World;
use crate::wire::EntryField;

/// Whether an entry with this incident and `event` belongs to an incident that affects `operator`, or is the record of a
/// search for one by another operator.
pub(crate) fn is_kept_from(
    world: &World,
    operator: &OperatorName,
    incident: Option<IncidentId>,
    event: &Value,
) -> bool {
    let is_kept = |id: IncidentId| world.incidents().get(id).is_some_and(|one| affects(one, operator));
    let terms = event_terms(event).into_iter().filter(|(field, _)| *field == EntryField::Incident);
    let named = terms.filter_map(|(_, text)| text.parse().ok());
    let searched = searches(event).filter_map(|filter| filter.strip_prefix("incident=")?.parse().ok());
    let mut incidents = incident.into_iter().chain(named).chain(searched);
    // The records forget old incidents; the event itself remains.
    incidents.any(is_kept) || is_accused(event, operator) || is_search_for(event, operator)
}

/// The filters of a reading of the ledger.
fn searches(event: &Value) -> impl Iterator<Item = &str> {
    let filters = event.get("filter").and_then(Value::as_array).into_iter().flatten();
    filters.filter_map(Value::as_str)
}

fn is_search_for(event: &Value, operator: &OperatorName) -> bool {
    let own = |filter: &str| filter.strip_prefix("operator=") == Some(operator.as_str());
    searches(event).any(own) && event.get("by").and_then(Value::as_str) != Some(operator.as_str())
}

/// Whether the event is a step of an incident that affects `operator`, or a certificate of it, by another operator.
fn is_accused(event: &Value, operator: &OperatorName) -> bool {
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
