use super::table::{AdminRequest, Routes};
use super::target::{id, name};
use crate::base::{Timestamp, code};
use crate::broker::{AdminServices, EvidenceOf, EvidenceQuery, EvidenceSince};
use crate::http::documents::problem::Problem;
use crate::policy::ExportEvidence;
use crate::wire::{self, EvidenceBody, Nothing, Zip};

/// The route of evidence bundles.
pub(crate) fn routes() -> Routes<AdminServices> {
    Routes::new().route(&wire::EXPORT_EVIDENCE, export)
}

async fn export(
    services: AdminServices,
    call: AdminRequest<ExportEvidence, Nothing, EvidenceBody>,
) -> Result<Zip, Problem> {
    let EvidenceBody { kind, name: called, since, until, last_s } = &call.input;
    let subject = match kind.as_str() {
        "agent" => EvidenceOf::Agent(name(called)?),
        "operator" => EvidenceOf::Operator(name(called)?),
        "incident" if until.is_some() => return Err(invalid("a bundle of an incident has no `until`")),
        "incident" => EvidenceOf::Incident(id(called)?),
        _ => return Err(invalid("`kind` is `agent`, `operator` or `incident`")),
    };
    let since = match (since.as_deref(), last_s) {
        (Some(_), Some(_)) => return Err(invalid("`since` and `last_s` exclude each other")),
        (None, None) => EvidenceSince::First,
        (None, Some(seconds)) => EvidenceSince::Last(*seconds),
        (Some(time), None) => EvidenceSince::Time(parsed(time)?),
    };
    let until = until.as_deref().map(parsed).transpose()?;
    Ok(Zip(services.export_evidence(&call.by, &EvidenceQuery { subject, since, until }).await?))
}

fn parsed(time: &str) -> Result<Timestamp, Problem> {
    Timestamp::parse(time).ok_or_else(|| invalid("a time is not in the form of RFC 3339"))
}

fn invalid(why: &'static str) -> Problem {
    Problem::new(code::JSON_INVALID).because(why)
}
