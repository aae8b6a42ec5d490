use crate::rotation::spoken;
use crate::wire::{IncidentAnswer, IncidentStepAnswer, IncidentTimesAnswer};

/// The head of the timeline of an incident: its record, as `incident.json` has it. Each fact is a label and its text.
pub(super) fn incident_facts(incident: &IncidentAnswer) -> Vec<(String, String)> {
    let IncidentTimesAnswer { first_sign, detected, contained, recovered, .. } = &incident.times;
    let IncidentTimesAnswer { to_detect_s, to_contain_s, to_recover_s, .. } = &incident.times;
    let people =
        if incident.people.is_empty() { "none stated".to_owned() } else { incident.people.join(", ") };
    let mut facts = vec![
        ("State", incident.state.to_string()),
        ("Opened", step(&incident.opened)),
        ("People", people),
        ("First sign", time(first_sign.as_deref(), None, "")),
        ("Detection", time(detected.as_deref(), *to_detect_s, "the first sign")),
        ("Containment", time(contained.as_deref(), *to_contain_s, "the detection")),
        ("Recovery", time(recovered.as_deref(), *to_recover_s, "the detection")),
    ];
    if let Some(closed) = &incident.closed {
        facts.push(("Closed", format!("{} by {} (entry {})", closed.at, closed.by, closed.seq)));
        facts.push(("Cause", closed.cause.clone()));
        facts.extend(closed.follow_ups.iter().map(|action| ("Follow-up action", action.clone())));
    }
    facts.into_iter().map(|(label, text)| (label.to_owned(), text)).collect()
}

/// When, by whom, and why.
fn step(step: &IncidentStepAnswer) -> String {
    let IncidentStepAnswer { at, by, seq, reason } = step;
    let entry = seq.map_or_else(String::new, |seq| format!(" (entry {seq})"));
    let reason = reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
    format!("{at} by {by}{entry}{reason}")
}

/// A time, and how long after the step `since` it was.
fn time(at: Option<&str>, after_s: Option<u64>, since: &str) -> String {
    let Some(at) = at else { return "not known".to_owned() };
    match after_s {
        Some(after_s) => {
            format!("{at} ({} after {since})", spoken(u32::try_from(after_s).unwrap_or(u32::MAX)))
        }
        None => at.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_of_a_step_has_how_long_it_took() {
        assert_eq!(time(None, None, ""), "not known");
        assert_eq!(time(Some("T"), None, "the detection"), "T");
        let took = format!("T ({} after the detection)", spoken(90));
        assert_eq!(time(Some("T"), Some(90), "the detection"), took);
    }
}
