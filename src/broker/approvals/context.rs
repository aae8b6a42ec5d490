//! How a request for approval differs from what its agent usually does.

use std::time::Duration;

use serde_json::Value;

use super::counts::{Counts, count, most_common};
use super::reads::within;
use super::usual_parameters::{self, UsualParameters};
use crate::approvals::Approval;
use crate::base::limits::{
    APPROVAL_PREVIOUS_MAX, HEAVY_WAIT_S, PAGE_ENTRIES_MAX, REPORT_BASELINE_S, REPORT_ENTRIES_READ_MAX,
};
use crate::base::{ApprovalReference, Cancellation, CapabilityName, RecordedParameters, Scope, Timestamp};
use crate::broker::caller_services::AdminServices;
use crate::broker::failure::Failure;
use crate::broker::world::{World, records};
use crate::policy::{Authorised, ReadApprovals, is_within};
use crate::store::Event as _;
use crate::token::TokenMinted;
use crate::wire::{
    ApprovalContextAnswer, ApprovalDifferenceAnswer, ApprovalState, EntriesQuery, EntryField, EntryFilter,
    EntryOrder, FieldFilter, FixedText, PreviousApprovalAnswer, ReportedEntries,
};

/// Time after which the comparison has the entries that were read until then.
const CONTEXT_WAIT: Duration = Duration::from_secs(HEAVY_WAIT_S / 2);

impl AdminServices {
    /// Compares the request `reference` with the tokens of its agent in the 30 days before it, as far as the operator sees
    /// them, and lists earlier requests for some of its capabilities.
    ///
    /// # Errors
    /// [`Failure`] if there is no such request within the operator's scope, or the ledger is damaged.
    pub fn approval_context(
        &self,
        by: &Authorised<ReadApprovals>,
        reference: ApprovalReference,
        work: &Cancellation,
    ) -> Result<ApprovalContextAnswer, Failure> {
        let (now, scope) = (self.0.state.clock.now(), by.operator().scope());
        let (approval, previous) = self.0.state.store.read(|world, _| {
            let approval = within(world, scope, reference)?;
            Ok::<_, Failure>((approval.clone(), previous_requests(world, scope, approval, now)))
        })?;
        let (usual, entries) = self.usual_tokens(by, &approval, work)?;
        Ok(ApprovalContextAnswer {
            approval: approval.opened.id,
            entries,
            tokens: usual.tokens,
            compared: usual.compared(),
            differences: usual.differences(&approval),
            previous,
        })
    }

    /// The tokens of the agent before its request.
    fn usual_tokens(
        &self,
        by: &Authorised<ReadApprovals>,
        approval: &Approval,
        work: &Cancellation,
    ) -> Result<(UsualTokens, ReportedEntries), Failure> {
        let field = |field, text: &str| FieldFilter { field, text: text.to_owned() };
        let (agent, end) = (&approval.opened.requester.name, approval.opened_at);
        let filter = EntryFilter {
            fields: vec![
                field(EntryField::Agent, agent.as_str()),
                field(EntryField::Kind, TokenMinted::NAME),
            ],
            since: Some(end.plus_s(REPORT_BASELINE_S.saturating_neg()).to_string()),
            until: Some(end.to_string()),
        };
        let (order, limit) = (EntryOrder::Newest, Some(PAGE_ENTRIES_MAX));
        let mut query = EntriesQuery { order, filter, limit, ..EntriesQuery::default() };
        let (mut usual, mut read) = (UsualTokens::default(), 0_u64);
        loop {
            let page = self.entries_for(by.operator(), &query, work)?;
            read = read.saturating_add(page.items.len() as u64);
            page.items.iter().for_each(|entry| usual.add(&entry.event));
            query.before = page.next_before;
            let complete = page.next_before.is_none();
            if complete || read >= REPORT_ENTRIES_READ_MAX || work.elapsed() >= CONTEXT_WAIT {
                return Ok((usual, ReportedEntries { read, complete }));
            }
        }
    }
}

/// Earlier requests for some of the capabilities: first those that were denied, each part with the newest first.
fn previous_requests(
    world: &World,
    scope: &Scope,
    approval: &Approval,
    now: Timestamp,
) -> Vec<PreviousApprovalAnswer> {
    let is_wanted = |name: &CapabilityName| approval.opened.terms.request.names().any(|one| one == name);
    let is_alike = |one: &&Approval| {
        one.opened_seq < approval.opened_seq
            && one.opened.terms.request.names().any(is_wanted)
            && is_within(records(world), one, scope)
    };
    let answer = |one: &Approval| {
        let request = &one.opened.terms.request;
        PreviousApprovalAnswer {
            approval: one.opened.id,
            agent: one.opened.requester.name.clone(),
            state: one.state(now).as_str().into(),
            capabilities: request.names().cloned().collect(),
            opened_at: one.opened_at.to_string(),
            reason: request.reason.as_ref().map(ToString::to_string),
        }
    };
    // The agent can withdraw as many requests as it likes: they hide no denial.
    let is_denied = |one: &&Approval| one.state(now) == ApprovalState::Denied;
    let denied = world.approvals().newest().filter(is_alike).filter(is_denied);
    let others = world.approvals().newest().filter(is_alike).filter(|one| !is_denied(one));
    denied.chain(others).take(APPROVAL_PREVIOUS_MAX).map(answer).collect()
}

/// The tokens of an agent, by their fields: each value with its number of tokens.
#[derive(Debug, Default)]
struct UsualTokens {
    tokens: u64,
    capabilities: Counts,
    audiences: Counts,
    sources: Counts,
    parameters: UsualParameters,
    life_s: u64,
}

impl UsualTokens {
    /// Adds a token by the event of its entry.
    fn add(&mut self, event: &Value) {
        let text = |field: &str| event.get(field).and_then(Value::as_str);
        self.tokens = self.tokens.saturating_add(1);
        let capabilities = event.get("capabilities").and_then(Value::as_array).into_iter().flatten();
        capabilities.filter_map(Value::as_str).for_each(|name| count(&mut self.capabilities, name));
        text("audience").into_iter().for_each(|audience| count(&mut self.audiences, audience));
        text("source").into_iter().for_each(|source| count(&mut self.sources, source));
        self.parameters.add(event);
        let life_s = event.get("life_s").and_then(Value::as_u64).unwrap_or_default();
        self.life_s = self.life_s.max(life_s);
    }

    /// The fields of the request that no token had. Without tokens there is nothing to compare with.
    fn differences(&self, approval: &Approval) -> Vec<ApprovalDifferenceAnswer> {
        if self.tokens == 0 {
            return Vec::new();
        }
        let request = &approval.opened.terms.request;
        let mut differences = Vec::new();
        let mut compare = |field: &'static str, value: String, known: &Counts| {
            // An operator with an owner does not see every field of the tokens.
            if !known.is_empty() && !known.contains_key(&value) {
                differences.push(ApprovalDifferenceAnswer {
                    field: field.into(),
                    capability: None,
                    parameter: None,
                    value,
                    usual: most_common(known),
                });
            }
        };
        for capability in &request.capabilities {
            compare("capability", capability.name.to_string(), &self.capabilities);
        }
        compare("audience", request.audience.to_string(), &self.audiences);
        if let Some(source) = approval.opened.requester.source {
            compare("source", source.to_canonical().to_string(), &self.sources);
        }
        if u64::from(request.life_s) > self.life_s {
            let (value, usual) = (request.life_s.to_string(), vec![self.life_s.to_string()]);
            let (field, capability, parameter) = ("life".into(), None, None);
            differences.push(ApprovalDifferenceAnswer { field, capability, parameter, value, usual });
        }
        let none = RecordedParameters::default();
        for capability in &request.capabilities {
            let requested = request.parameters.get(&capability.name).unwrap_or(&none);
            differences.extend(self.parameters.differences(&capability.name, requested));
        }
        differences
    }

    /// The fields that are known of the tokens.
    fn compared(&self) -> Vec<FixedText> {
        [
            ("capability", !self.capabilities.is_empty()),
            ("audience", !self.audiences.is_empty()),
            ("source", !self.sources.is_empty()),
            ("life", self.tokens > 0),
            (usual_parameters::FIELD, self.parameters.is_known()),
        ]
        .into_iter()
        .filter(|(_, is_known)| *is_known)
        .map(|(field, _)| field.into())
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::base::limits::APPROVAL_USUAL_MAX;

    #[test]
    fn most_common_values_come_first_and_are_limited() {
        let mut usual = UsualTokens::default();
        for number in 0..=APPROVAL_USUAL_MAX {
            usual.add(&json!({ "capabilities": ["c", format!("c{number}")], "life_s": number }));
        }
        assert_eq!((usual.tokens, usual.life_s), (APPROVAL_USUAL_MAX as u64 + 1, APPROVAL_USUAL_MAX as u64));
        let common = most_common(&usual.capabilities);
        assert_eq!((common.len(), common[0].as_str()), (APPROVAL_USUAL_MAX, "c"));
        const { assert!(APPROVAL_PREVIOUS_MAX == 20) };
    }
}
