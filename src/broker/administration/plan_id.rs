use std::collections::BTreeMap;

use serde::Serialize;

use super::upload::Upload;
use crate::base::encoding::hex;
use crate::base::{AgentName, OwnerName};
use crate::broker::declarations::losses::Loss;
use crate::broker::declarations::section::SectionPlan;
use crate::crypto::{Digest, sha256};
use crate::registry::{PlannedChange, Undeclared};

/// Bytes of the digest that an id shows.
const SHOWN_BYTES: usize = 16;

/// What a plan is: the files, the changes, the present declarations that they replace, and what agents lose. Everything
/// that a plan shows is part of it, except the counts of credentials, which change all the time.
#[derive(Serialize)]
struct PlanContent<'a> {
    format: &'static str,
    owner: Option<&'a str>,
    prune: bool,
    files: Vec<String>,
    changes: &'a [PlannedChange],
    replaced: Vec<String>,
    losses: Vec<(&'a AgentName, bool, Vec<String>)>,
}

/// The id of the plan that was `drawn` of `upload`: the same plan has the same id, on every broker and at any time.
pub(super) fn plan_id(upload: &Upload, drawn: &SectionPlan, losses: &BTreeMap<AgentName, Loss>) -> String {
    let mut files: Vec<String> =
        upload.files.iter().map(|file| text_of(sha256(file.text.as_bytes()))).collect();
    files.sort_unstable();
    let lost = |loss: &Loss| {
        let capabilities = loss.capabilities.iter().map(|name| format!("-{name}"));
        let redelivered = loss.redelivered.iter().map(|name| format!("~{name}"));
        capabilities
            .chain(redelivered)
            .chain(loss.secrets.iter().map(|name| format!("-secret {name}")))
            .collect()
    };
    let content = PlanContent {
        format: "keyward plan 1",
        owner: upload.operator.scope().owner().map(OwnerName::as_str),
        prune: upload.unnamed == Undeclared::Prune,
        files,
        changes: &drawn.changes,
        replaced: drawn.replaced.iter().copied().map(text_of).collect(),
        losses: losses.iter().map(|(name, loss)| (name, loss.is_removed, lost(loss))).collect(),
    };
    // Maps with names as keys, lists and texts always have a JSON form.
    let written = serde_json::to_vec(&content).unwrap_or_default();
    hex(sha256(&written).as_bytes().get(..SHOWN_BYTES).unwrap_or_default())
}

fn text_of(digest: Digest) -> String {
    hex(digest.as_bytes())
}
