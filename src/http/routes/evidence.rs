use super::table::{AdminRequest, Routes};
use super::target::name;
use crate::base::{Timestamp, code};
use crate::broker::{AdminServices, EvidenceOf, EvidenceQuery, EvidenceRange};
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
    let EvidenceBody { kind, name: called, since, last_s } = &call.input;
    let subject = match kind.as_str() {
        "agent" => EvidenceOf::Agent(name(called)?),
        "operator" => EvidenceOf::Operator(name(called)?),
        _ => return Err(invalid("`kind` is `agent` or `operator`")),
    };
    let range = match (since.as_deref(), last_s) {
        (Some(_), Some(_)) => return Err(invalid("`since` and `last_s` exclude each other")),
        (None, None) => EvidenceRange::All,
        (None, Some(seconds)) => EvidenceRange::Last(*seconds),
        (Some(time), None) => {
            let since = Timestamp::parse(time);
            EvidenceRange::Since(since.ok_or_else(|| invalid("`since` is no time in the form of RFC 3339"))?)
        }
    };
    Ok(Zip(services.export_evidence(&call.by, &EvidenceQuery { subject, range }).await?))
}

fn invalid(why: &'static str) -> Problem {
    Problem::new(code::JSON_INVALID).because(why)
}
