use std::collections::BTreeMap;

use serde_json::Value;

use super::entry_terms::{EntryTerm, address, shown_terms, source_term};
use super::events::{EntryOutcome, event_kinds, is_event_name};
use super::visible::{is_object_of, names_object_of};
use crate::base::{MOMENT_FORMS, Moment, Network, OwnerName, Timestamp, code, near_texts};
use crate::broker::failure::Failure;
use crate::broker::world::World;
use crate::ledger::Kind;
use crate::postings::TimeSpan;
use crate::wire::{self, EntryField};

/// A filter of entries whose texts were checked.
#[derive(Clone, Debug, Default)]
pub(super) struct EntryFilter {
    /// The alternatives of each field.
    fields: BTreeMap<EntryField, Vec<String>>,
    /// Of these sources, if there are any.
    networks: Vec<Network>,
    /// With objects of these owners, if there are any.
    owners: Vec<OwnerName>,
    pub(super) times: TimeSpan,
    /// Whether the reader is bound to an owner.
    is_of_bound_reader: bool,
}

impl EntryFilter {
    /// Checks `wanted`. Lengths of time are counted back from `now`.
    ///
    /// # Errors
    /// [`Failure`] that names the parameter whose text no entry can have.
    pub(super) fn check(wanted: &wire::EntryFilter, now: Timestamp) -> Result<Self, Failure> {
        let mut filter = Self::default();
        for one in &wanted.fields {
            let (field, text) = (one.field, one.text.as_str());
            if text.is_empty() {
                return Err(refused(field.as_str(), "is empty"));
            }
            match field {
                EntryField::Owner => {
                    let owner = text.parse().map_err(|_| refused("owner", "is not the name of an owner"))?;
                    filter.owners.push(owner);
                }
                EntryField::Source => {
                    filter.networks.push(network(text).ok_or_else(|| no_source(text))?);
                }
                EntryField::Kind if !is_event_name(text) => return Err(no_kind(text)),
                EntryField::Outcome if EntryOutcome::ALL.iter().all(|outcome| outcome.as_str() != text) => {
                    return Err(refused("outcome", "is not allowed, denied or failed"));
                }
                EntryField::Agent
                | EntryField::Instance
                | EntryField::Operator
                | EntryField::Capability
                | EntryField::SecretName
                | EntryField::Token
                | EntryField::Lease
                | EntryField::Approval
                | EntryField::Kind
                | EntryField::Outcome
                | EntryField::Decision
                | EntryField::Incident => {
                    filter.fields.entry(field).or_default().push(text.to_owned());
                }
            }
        }
        filter.times = TimeSpan {
            since: moment("since", wanted.since.as_deref(), now)?,
            until: moment("until", wanted.until.as_deref(), now)?,
        };
        Ok(filter)
    }

    /// The filter of a reader who is shown names of the objects of `owner` alone: an entry is not found by a name that the
    /// reader is not shown. `None` if no entry fits.
    pub(super) fn within(mut self, world: &World, owner: &OwnerName) -> Option<Self> {
        for field in [EntryField::Agent, EntryField::Capability, EntryField::SecretName] {
            let Some(texts) = self.fields.get_mut(&field) else { continue };
            texts.retain(|text| is_object_of(world, owner, field, text));
            if texts.is_empty() {
                return None;
            }
        }
        if !self.owners.is_empty() {
            self.owners.retain(|one| one == owner);
            (!self.owners.is_empty()).then_some(())?;
        }
        self.is_of_bound_reader = true;
        Some(self)
    }

    /// Whether every entry fits.
    pub(super) fn is_empty(&self) -> bool {
        self.fields.is_empty()
            && self.networks.is_empty()
            && self.owners.is_empty()
            && self.times == TimeSpan::default()
    }

    /// Whether the index finds no other entries than those that fit.
    pub(super) fn is_indexed_exactly(&self) -> bool {
        let is_exact = |network: &Network| {
            network.host().is_some() || network.indexed_around().as_ref() == Some(network)
        };
        self.owners.is_empty() && self.times == TimeSpan::default() && self.networks.iter().all(is_exact)
    }

    /// The fields and texts of which an entry has one of each group. The owner is none of them. A source is none for a
    /// reader who is bound to an owner: where such a search continues would tell the sources of others.
    pub(super) fn groups(&self) -> Vec<Vec<EntryTerm>> {
        let of_field = |(field, texts): (&EntryField, &Vec<String>)| {
            texts.iter().map(|text| (*field, text.clone())).collect()
        };
        let mut groups: Vec<Vec<EntryTerm>> = self.fields.iter().map(of_field).collect();
        if !self.networks.is_empty() && !self.is_of_bound_reader {
            groups.push(self.networks.iter().filter_map(source_term).collect());
        }
        groups
    }

    /// Whether an entry of this kind, which its reader is shown with `event`, fits. Its time is not asked about.
    pub(super) fn accepts(
        &self,
        kind: Kind,
        event: &Value,
        world: impl FnOnce(&dyn Fn(&World) -> bool) -> bool,
    ) -> bool {
        if !self.fields.is_empty() || !self.networks.is_empty() {
            let terms = shown_terms(kind, event);
            let has = |field: EntryField, text: &String| {
                terms.iter().any(|(of, found)| *of == field && found == text)
            };
            let is_from = |network: &Network| {
                let sources = terms.iter().filter(|(field, _)| *field == EntryField::Source);
                sources.filter_map(|(_, text)| address(text)).any(|address| network.contains(address))
            };
            let fits = self.fields.iter().all(|(field, texts)| texts.iter().any(|text| has(*field, text)))
                && (self.networks.is_empty() || self.networks.iter().any(is_from));
            if !fits {
                return false;
            }
        }
        self.owners.is_empty()
            || world(&|world| self.owners.iter().any(|owner| names_object_of(world, owner, event)))
    }
}

pub(super) fn refused(parameter: &'static str, why: &str) -> Failure {
    Failure::new(code::QUERY_INVALID)
        .because(format!("the parameter `{parameter}` {why}"))
        .mended_by(format!("correct `{parameter}`; docs/reference/http.md describes the filters of entries"))
}

/// The refusal of a text that is no name of an event.
fn no_kind(text: &str) -> Failure {
    let event = format!("alarm.{}", text.replace('_', "-"));
    let why = if is_event_name(&event) {
        format!("is the name of an alarm; its event is {event}")
    } else {
        let near = near_texts(text, event_kinds().into_iter().map(|(name, _)| name)).into_iter().next();
        let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        format!("is not the name of an event{near}")
    };
    refused("kind", &why).mended_by("copy the name from the output of `keyward audit kinds`")
}

/// The refusal of a text that is no source.
fn no_source(text: &str) -> Failure {
    match Network::around(text) {
        Some(around) => refused("source", "is the address of a host and a prefix length, not a network")
            .mended_by(format!(
                "name the network `{around}`, or the address alone, without the prefix length"
            )),
        None => refused("source", "is not an address or a network such as 10.1.0.0/16"),
    }
}

/// A network, or an address as one.
fn network(text: &str) -> Option<Network> {
    text.parse().ok().or_else(|| Network::of_host(text.parse().ok()?))
}

/// The moment in `text`, seen from `now`.
pub(super) fn moment(
    parameter: &'static str,
    text: Option<&str>,
    now: Timestamp,
) -> Result<Option<Timestamp>, Failure> {
    let Some(text) = text else { return Ok(None) };
    let found = Moment::parse(text).map(|moment| moment.seen_from(now));
    found.map(Some).ok_or_else(|| refused(parameter, &format!("is not {MOMENT_FORMS}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_s(1_800_000_000);

    fn filter(field: EntryField, text: &str) -> wire::EntryFilter {
        let fields = vec![wire::FieldFilter { field, text: text.to_owned() }];
        wire::EntryFilter { fields, ..wire::EntryFilter::default() }
    }

    #[test]
    fn source_with_bits_beyond_its_prefix_is_refused_with_the_network() {
        for (text, meant) in [("10.0.0.5/24", "`10.0.0.0/24`"), ("fd00::5/64", "`fd00::/64`")] {
            let failure = EntryFilter::check(&filter(EntryField::Source, text), NOW).unwrap_err();
            assert_eq!(failure.code, code::QUERY_INVALID);
            assert!(failure.why.contains("not a network") && failure.fix.contains(meant), "{}", failure.fix);
        }
        assert!(EntryFilter::check(&filter(EntryField::Source, "10.0.0.5"), NOW).is_ok());
    }

    #[test]
    fn a_wrong_kind_is_refused_with_a_similar_one() {
        for (text, near) in [("secret.reveal", "`secret.revealed`"), ("nothing.like-it", "not the name")] {
            let failure = EntryFilter::check(&filter(EntryField::Kind, text), NOW).unwrap_err();
            assert!(failure.why.contains(near) && failure.fix.contains("audit kinds"), "{}", failure.why);
        }
    }

    #[test]
    fn times_are_read_as_moments_or_as_lengths_before_now() {
        for (text, since) in [
            ("6h", NOW.plus_s(-6 * 3600)),
            ("2027-01-15", Timestamp::parse("2027-01-15T00:00:00Z").unwrap()),
            ("2027-01-15T09:00+01:00", Timestamp::parse("2027-01-15T08:00:00Z").unwrap()),
            ("2027-01-15T08:00:00Z", Timestamp::parse("2027-01-15T08:00:00Z").unwrap()),
        ] {
            let wanted = wire::EntryFilter { since: Some(text.to_owned()), ..wire::EntryFilter::default() };
            let filter = EntryFilter::check(&wanted, NOW).unwrap();
            assert_eq!(filter.times, TimeSpan { since: Some(since), until: None });
            assert!(!filter.is_empty() && !filter.is_indexed_exactly());
        }
        let wanted =
            wire::EntryFilter { until: Some("yesterday".to_owned()), ..wire::EntryFilter::default() };
        assert!(EntryFilter::check(&wanted, NOW).unwrap_err().why.contains("`until`"));
    }

    #[test]
    fn texts_that_no_entry_has_are_refused() {
        for (field, text) in [
            (EntryField::Kind, "secret.reveal"),
            (EntryField::Outcome, "ok"),
            (EntryField::Source, "10.0.0.300"),
            (EntryField::Owner, "no owner"),
            (EntryField::Agent, ""),
        ] {
            let failure = EntryFilter::check(&filter(field, text), NOW).unwrap_err();
            assert_eq!(failure.code, code::QUERY_INVALID);
            assert!(failure.why.contains(field.as_str()), "{}", failure.why);
        }
    }

    #[test]
    fn a_network_is_searched_by_the_network_around_it() {
        for (text, indexed, exact) in [
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.0/24", "10.1.2.0/24", true),
            ("10.1.2.0/25", "10.1.2.0/24", false),
        ] {
            let filter = EntryFilter::check(&filter(EntryField::Source, text), NOW).unwrap();
            assert_eq!(filter.groups(), [[(EntryField::Source, indexed.to_owned())]]);
            assert_eq!(filter.is_indexed_exactly(), exact, "{text}");
        }
    }
}
