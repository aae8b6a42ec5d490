use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use toml::Spanned;

use crate::base::CapabilityName;
use crate::base::limits::{LEASES_PER_AGENT, LEASES_PER_AGENT_MAX};
use crate::config::{FaultList, Faults, SourcePosition, Tables};

/// One `[[lease]]` as it was read; its upstream is checked by the driver.
#[derive(Clone, Debug)]
pub struct DeclaredLease {
    /// Most outstanding leases of one agent.
    pub per_agent: u32,
    /// The table `upstream`, as its driver reads it.
    pub upstream: serde_json::Map<String, serde_json::Value>,
    /// The place of the declaration.
    pub place: SourcePosition,
    /// The place of the upstream's declaration.
    pub upstream_place: SourcePosition,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawLease {
    /// The capability with the delivery `lease`.
    #[schemars(with = "CapabilityName")]
    capability: Spanned<String>,
    /// Leases of one agent at a time; 10 by default.
    #[schemars(with = "Option<u32>", range(min = 1, max = 1000))]
    per_agent: Option<Spanned<u32>>,
    /// The server of the logins.
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    upstream: Spanned<serde_json::Map<String, serde_json::Value>>,
}

/// The tables of declaration files that this room reads.
pub const TABLES: &[&str] = &["lease"];

/// Reads the room's `tables`.
///
/// # Errors
/// The faults that were found.
pub fn parse(tables: &mut Tables<'_>) -> Result<BTreeMap<CapabilityName, DeclaredLease>, FaultList> {
    let mut reader = Reader { asked: BTreeMap::new(), faults: tables.faults() };
    for (place, raw) in tables.take("lease", &mut reader.faults) {
        reader.lease(place, &raw);
    }
    reader.faults.or(reader.asked)
}

/// The schemas of the tables that this room reads, by name.
pub fn table_schemas(generator: &mut SchemaGenerator) -> Vec<(&'static str, Schema)> {
    vec![("lease", RawLease::json_schema(generator))]
}

struct Reader<'a> {
    asked: BTreeMap<CapabilityName, DeclaredLease>,
    faults: Faults<'a>,
}

impl Reader<'_> {
    fn lease(&mut self, place: SourcePosition, raw: &RawLease) {
        let per_agent = raw.per_agent.as_ref().map_or(LEASES_PER_AGENT, |count| *count.get_ref());
        if !(1..=LEASES_PER_AGENT_MAX).contains(&per_agent) {
            let per_agent_at = raw.per_agent.as_ref().map_or(place, |count| place.of(count));
            self.faults.tell(per_agent_at, format!("`per_agent` must be 1 to {LEASES_PER_AGENT_MAX}"));
        }
        let capability_at = place.of(&raw.capability);
        let capability = match raw.capability.get_ref().parse::<CapabilityName>() {
            Ok(capability) => capability,
            Err(error) => return self.faults.tell(capability_at, error.to_string()),
        };
        let upstream = raw.upstream.get_ref().clone();
        let upstream_place = place.of(&raw.upstream);
        let asked = DeclaredLease { per_agent, upstream, place, upstream_place };
        if self.asked.insert(capability, asked).is_some() {
            self.faults.tell(capability_at, "the lease of this capability is declared twice");
        }
    }
}
