use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;

use super::trial_world::AssumedSecret;
use crate::base::{
    AgentName, Cancellation, CapabilityName, GivenParameters, OwnerName, PolicyName, RequestOutcome,
    SecretName, Sensitivity, Timestamp, length_s,
};
use crate::config::{FaultList, Faults, SourceFile, SourcePosition, Tables};
use crate::rules::Action;

/// The time of a case that names none: a Monday, 2026-01-05, 12:00 UTC.
const NOON: Timestamp = Timestamp::from_s(1_767_614_400);

/// A request of a policy test, and the outcome that it expects.
#[derive(Clone, Debug)]
pub(super) struct PolicyCase {
    pub(super) name: String,
    pub(super) request: CaseRequest,
    pub(super) expect: RequestOutcome,
    /// The life that the token or the lease has to get, in seconds.
    pub(super) expect_life_s: Option<u32>,
    /// A policy that has to match.
    pub(super) policy: Option<PolicyName>,
    pub(super) place: SourcePosition,
}

/// The request of a case.
#[derive(Clone, Debug)]
pub(super) struct CaseRequest {
    pub(super) agent: AgentName,
    pub(super) capability: CapabilityName,
    /// The action; by default the one that the delivery of the capability has.
    pub(super) action: Option<Action>,
    pub(super) time: Timestamp,
    pub(super) source: Option<IpAddr>,
    pub(super) life_s: Option<u32>,
    /// The time since the agent last read a secret of the sensitivity `high`.
    pub(super) since_sensitive_read_s: Option<u32>,
    /// The parameters of the capability.
    pub(super) parameters: GivenParameters,
}

/// The content of case files.
#[derive(Debug, Default)]
pub(super) struct CaseFile {
    pub(super) cases: Vec<PolicyCase>,
    pub(super) secrets: BTreeMap<SecretName, CaseSecret>,
}

/// A secret that a case file states.
#[derive(Clone, Debug)]
pub(super) struct CaseSecret {
    pub(super) assumed: AssumedSecret,
    pub(super) place: SourcePosition,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCase {
    name: String,
    agent: String,
    capability: String,
    action: Option<String>,
    time: Option<String>,
    source: Option<String>,
    life: Option<String>,
    since_sensitive_read: Option<String>,
    #[serde(default)]
    parameters: GivenParameters,
    expect: String,
    expect_life: Option<String>,
    policy: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSecret {
    name: String,
    owner: Option<String>,
    sensitivity: Option<String>,
}

impl CaseFile {
    /// Reads the `[[case]]` and `[[secret]]` tables of `files`.
    ///
    /// # Errors
    /// The faults of the files.
    pub(super) fn read(files: &[SourceFile], work: &Cancellation) -> Result<Self, FaultList> {
        let mut tables = Tables::parse(files, &["case", "secret"], work)?;
        let mut faults = tables.faults();
        let mut read = Self::default();
        for (place, raw) in tables.take::<RawSecret>("secret", &mut faults) {
            let Some((name, assumed)) = secret(&raw, place, &mut faults) else { continue };
            if read.secrets.contains_key(&name) {
                faults.tell(place, "another `[[secret]]` has the same name");
            }
            read.secrets.insert(name, CaseSecret { assumed, place });
        }
        for (place, raw) in tables.take::<RawCase>("case", &mut faults) {
            let case = case(&raw, place, &mut faults);
            if read.cases.iter().any(|known| known.name == raw.name) {
                faults.tell(place, "another case has the same name");
            }
            read.cases.extend(case);
        }
        faults.or(read)
    }
}

/// The value of a field, or a fault with the reason.
fn field<T, E: ToString>(
    read: Result<T, E>,
    field: &str,
    place: SourcePosition,
    faults: &mut Faults<'_>,
) -> Option<T> {
    read.map_err(|error| faults.tell(place, format!("`{field}`: {}", error.to_string()))).ok()
}

fn secret(
    raw: &RawSecret,
    place: SourcePosition,
    faults: &mut Faults<'_>,
) -> Option<(SecretName, AssumedSecret)> {
    let name = field(raw.name.parse::<SecretName>(), "name", place, faults);
    let owner = raw.owner.as_deref().map(str::parse::<OwnerName>).transpose();
    let owner = field(owner, "owner", place, faults);
    let sensitivity = raw.sensitivity.as_deref().map(str::parse::<Sensitivity>).transpose();
    let sensitivity = field(sensitivity, "sensitivity", place, faults)?.unwrap_or_default();
    Some((name?, AssumedSecret { owner: owner?, sensitivity }))
}

/// A length of time in seconds.
fn length(text: Option<&str>) -> Result<Option<u32>, &'static str> {
    text.map(|text| length_s(text).ok_or("write a length of time, e.g. \"5m\"")).transpose()
}

/// The life that a case expects, in seconds. Only a request that is allowed has one.
fn expected_life(text: Option<&str>, expect: Option<RequestOutcome>) -> Result<Option<u32>, &'static str> {
    match expect {
        Some(RequestOutcome::Deny | RequestOutcome::Approval) if text.is_some() => {
            Err("a request with the outcome `deny` or `approval` gets no life")
        }
        Some(_) | None => length(text),
    }
}

fn case(raw: &RawCase, place: SourcePosition, faults: &mut Faults<'_>) -> Option<PolicyCase> {
    let agent = field(raw.agent.parse::<AgentName>(), "agent", place, faults);
    let capability = field(raw.capability.parse::<CapabilityName>(), "capability", place, faults);
    let action = raw.action.as_deref().map(|text| {
        let known = Action::ALL.into_iter().find(|one| one.as_str() == text);
        known.ok_or("the actions are `token`, `read_secret` and `lease`")
    });
    let action = field(action.transpose(), "action", place, faults);
    let time = raw.time.as_deref().map_or(Ok(NOON), |text| {
        Timestamp::parse(text).ok_or("write a time as in RFC 3339, e.g. \"2026-01-05T12:00:00Z\"")
    });
    let time = field(time, "time", place, faults);
    let source = raw
        .source
        .as_deref()
        .map(|text| text.parse::<IpAddr>().map_err(|_| "write an IP address, e.g. \"10.1.2.3\""));
    let source = field(source.transpose(), "source", place, faults);
    let life_s = field(length(raw.life.as_deref()), "life", place, faults);
    let since = length(raw.since_sensitive_read.as_deref());
    let since_sensitive_read_s = field(since, "since_sensitive_read", place, faults);
    let expect = RequestOutcome::ALL.into_iter().find(|one| one.as_str() == raw.expect);
    let expect = expect.ok_or("the outcomes are `allow`, `constrain`, `approval` and `deny`");
    let expect = field(expect, "expect", place, faults);
    let expect_life_s =
        field(expected_life(raw.expect_life.as_deref(), expect), "expect_life", place, faults);
    let policy = field(raw.policy.as_deref().map(str::parse).transpose(), "policy", place, faults);
    let request = CaseRequest {
        agent: agent?,
        capability: capability?,
        action: action?,
        time: time?,
        source: source?,
        life_s: life_s?,
        since_sensitive_read_s: since_sensitive_read_s?,
        parameters: raw.parameters.clone(),
    };
    Some(PolicyCase {
        name: raw.name.clone(),
        request,
        expect: expect?,
        expect_life_s: expect_life_s?,
        policy: policy?,
        place,
    })
}
