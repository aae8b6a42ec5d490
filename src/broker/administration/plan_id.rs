use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::Serialize;

use super::upload::Upload;
use crate::base::encoding::hex;
use crate::base::{AgentName, Cancellation, Cancelled, CapabilityName, OwnerName, RoleName};
use crate::broker::declarations::losses::{Loss, LostAccess};
use crate::broker::declarations::section::SectionPlan;
use crate::broker::declarations::widened::Widened;
use crate::broker::declarations::widening::Widening;
use crate::crypto::{Digest, sha256};
use crate::registry::{Noun, PlannedChange, Undeclared};

/// Bytes of the digest that an id shows.
const SHOWN_BYTES: usize = 16;

/// What a plan is: the files, the changes, the present declarations that they replace, those that they grant, and what
/// agents lose. Everything that a plan shows is part of it, except the counts of credentials, which change all the time.
#[derive(Serialize)]
struct PlanContent<'a> {
    format: &'static str,
    owner: Option<&'a str>,
    prune: bool,
    files: Vec<String>,
    changes: &'a [PlannedChange],
    replaced: Vec<String>,
    granted: Vec<String>,
    losses: Vec<(&'a AgentName, bool, String)>,
    /// The number of agents outside of the operator's scope.
    other_losses: usize,
    /// What becomes newly reachable.
    widening: Vec<String>,
    other_widening: (usize, usize),
}

/// Whether `text` has the form of an id.
pub(super) fn is_plan_id(text: &str) -> bool {
    text.len() == SHOWN_BYTES.saturating_mul(2)
        && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The id of a plan with this digest.
pub(super) fn plan_id(digest: Digest) -> String {
    hex(digest.as_bytes().get(..SHOWN_BYTES).unwrap_or_default())
}

/// The digest of the plan that was `drawn` of `upload`: the same plan has the same one, on every broker and at any time.
pub(super) fn plan_digest(
    upload: &Upload,
    drawn: &SectionPlan,
    losses: &BTreeMap<AgentName, Loss>,
    widening: &Widening,
    work: &Cancellation,
) -> Result<Digest, Cancelled> {
    let mut files: Vec<String> =
        upload.files.iter().map(|file| text_of(sha256(file.text.as_bytes()))).collect();
    files.sort_unstable();
    let mut digests = AccessDigests::default();
    let mut content = PlanContent {
        format: "keyward plan 3",
        owner: upload.operator.scope().owner().map(OwnerName::as_str),
        prune: upload.unnamed == Undeclared::Prune,
        files,
        changes: &drawn.changes,
        replaced: drawn.replaced.iter().copied().map(text_of).collect(),
        granted: granted(drawn, work)?,
        losses: Vec::new(),
        other_losses: 0,
        widening: widening.items.iter().map(Widened::text).collect(),
        other_widening: (widening.further, widening.others),
    };
    for (name, loss) in losses {
        work.step()?;
        if loss.is_within {
            content.losses.push((name, loss.is_removed, digests.of(&loss.access, work)?));
        } else {
            content.other_losses = content.other_losses.saturating_add(1);
        }
    }
    Ok(digest_of(&content))
}

/// The roles of changed agents, the capabilities of these and of changed roles, and the capabilities of changed leases, as
/// they are declared after the application.
fn granted(drawn: &SectionPlan, work: &Cancellation) -> Result<Vec<String>, Cancelled> {
    let declared = &drawn.after.declarations;
    let changed = |noun: Noun| drawn.changes.iter().filter(move |change| change.kind == noun.as_str());
    let mut roles: BTreeSet<RoleName> =
        changed(Noun::Role).filter_map(|change| change.name.parse().ok()).collect();
    for held in drawn.agent_roles.values() {
        for role in held {
            work.step()?;
            if !roles.contains(role) {
                roles.insert(role.clone());
            }
        }
    }
    let mut capabilities: BTreeSet<CapabilityName> =
        changed(Noun::Lease).filter_map(|change| change.name.parse().ok()).collect();
    let mut digests = Vec::new();
    for role in roles.iter().filter_map(|name| declared.role(name)) {
        for name in &role.capabilities {
            work.step()?;
            if !capabilities.contains(name) {
                capabilities.insert(name.clone());
            }
        }
        digests.push(text_of(digest_of(role)));
    }
    for capability in capabilities.iter().filter_map(|name| declared.capability(name)) {
        work.step()?;
        digests.push(text_of(digest_of(capability)));
        digests.extend(declared.parameters_of(&capability.name).map(|all| text_of(digest_of(all))));
    }
    Ok(digests)
}

/// Digests of lost access, each made once for all agents that share it.
#[derive(Default)]
struct AccessDigests(HashMap<*const LostAccess, String>);

impl AccessDigests {
    fn of(&mut self, access: &Arc<LostAccess>, work: &Cancellation) -> Result<String, Cancelled> {
        if let Some(known) = self.0.get(&Arc::as_ptr(access)) {
            return Ok(known.clone());
        }
        for _ in 0..access.names() {
            work.step()?;
        }
        let LostAccess { capabilities, redelivered, secrets, other_capabilities, other_secrets, .. } =
            &**access;
        let content = (capabilities, redelivered, secrets, other_capabilities, other_secrets);
        let digest = text_of(digest_of(&content));
        self.0.insert(Arc::as_ptr(access), digest.clone());
        Ok(digest)
    }
}

/// Maps with names as keys, lists and texts always have a JSON form.
fn digest_of(object: &impl Serialize) -> Digest {
    sha256(&serde_json::to_vec(object).unwrap_or_default())
}

fn text_of(digest: Digest) -> String {
    hex(digest.as_bytes())
}
