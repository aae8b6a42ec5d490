use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use crate::base::limits::{LEASES_PER_AGENT, LEASES_PER_AGENT_MAX};
use crate::base::{Cancellation, CapabilityName};
use crate::config::{FaultList, Faults, Place, SourceFile};

/// One `[[lease]]` as it was read; what its upstream says is judged by whoever knows the drivers.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Most outstanding leases of one agent.
    pub per_agent: u32,
    /// The table `upstream`, as its driver reads it.
    pub upstream: serde_json::Map<String, serde_json::Value>,
    /// Where it was declared.
    pub place: Place,
    /// Where its upstream was.
    pub upstream_place: Place,
}

#[derive(Deserialize)]
struct RawFile {
    #[serde(default)]
    lease: Vec<Spanned<RawLease>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLease {
    capability: Spanned<String>,
    per_agent: Option<Spanned<u32>>,
    upstream: Spanned<serde_json::Map<String, serde_json::Value>>,
}

/// Reads the leases that `files` declare; other rooms read the rest of them.
///
/// # Errors
/// The faults that were found.
pub fn parse(
    files: &[SourceFile],
    work: &Cancellation,
) -> Result<BTreeMap<CapabilityName, Asked>, FaultList> {
    let mut reader = Reader { asked: BTreeMap::new(), faults: Faults::of(files, work) };
    for (file, RawFile { lease }) in reader.faults.read() {
        for raw in &lease {
            if reader.faults.takes(Place { file, offset: raw.span().start }) {
                reader.lease(file, raw);
            }
        }
    }
    reader.faults.or(reader.asked)
}

struct Reader<'a> {
    asked: BTreeMap<CapabilityName, Asked>,
    faults: Faults<'a>,
}

impl Reader<'_> {
    fn lease(&mut self, file: usize, spanned: &Spanned<RawLease>) {
        let raw = spanned.get_ref();
        let at = |offset: usize| Place { file, offset };
        let per_agent = raw.per_agent.as_ref().map_or(LEASES_PER_AGENT, |count| *count.get_ref());
        if !(1..=LEASES_PER_AGENT_MAX).contains(&per_agent) {
            let offset = raw.per_agent.as_ref().map_or(0, |count| count.span().start);
            self.faults.tell(at(offset), format!("`per_agent` must be 1 to {LEASES_PER_AGENT_MAX}"));
        }
        let capability_at = at(raw.capability.span().start);
        let capability = match raw.capability.get_ref().parse::<CapabilityName>() {
            Ok(capability) => capability,
            Err(error) => return self.faults.tell(capability_at, error.to_string()),
        };
        let upstream = raw.upstream.get_ref().clone();
        let (place, upstream_place) = (at(spanned.span().start), at(raw.upstream.span().start));
        let asked = Asked { per_agent, upstream, place, upstream_place };
        if self.asked.insert(capability, asked).is_some() {
            self.faults.tell(capability_at, "the lease of this capability is declared twice");
        }
    }
}
