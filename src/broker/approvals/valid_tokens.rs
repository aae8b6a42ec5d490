//! The tokens of an approval that are still valid: a denial does not revoke them.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::approvals::Approval;
use crate::authn::{Credential, live};
use crate::base::{ApprovalId, Cancellation, CapabilityName, InstanceId, Timestamp, TokenId};
use crate::broker::administration::entry_reads::TermSearch;
use crate::broker::failure::Failure;
use crate::broker::services::Services;
use crate::broker::world::records;
use crate::ledger::Entry;
use crate::postings::TimeSpan;
use crate::store::Event as _;
use crate::token::TokenMinted;
use crate::wire::{EntryField, ValidTokenAnswer};

/// Most entries that are read: no permit for heavy work limits these requests. The index leads to the entries of at most
/// `APPROVAL_USES_MAX` tokens, each with a short gap; a broker without the index reads the newest entries alone.
const ENTRIES_READ_MAX: u64 = 5000;

/// A token, as the entry of its issue says.
struct IssuedToken {
    seq: u64,
    instance: InstanceId,
    capabilities: Vec<(CapabilityName, String)>,
    expires_at: Timestamp,
}

impl Services {
    /// The tokens of the approval that have neither expired nor been revoked, the one that expires first at the beginning.
    /// If the entry of a token cannot be read, the token counts as valid until its latest possible end. Reads the ledger.
    pub(super) fn valid_tokens(&self, id: ApprovalId) -> Vec<ValidTokenAnswer> {
        let now = self.state.clock.now();
        let Some(approval) = self.state.store.read(|world, _| world.approvals().get(id).cloned()) else {
            return Vec::new();
        };
        let unexpired: Vec<(TokenId, Timestamp)> = approval
            .tokens
            .iter()
            .map(|token| (*token, latest_end(&approval, *token)))
            .filter(|(_, end)| now < *end)
            .collect();
        if unexpired.is_empty() {
            return Vec::new();
        }
        let issued = self.issued_with(&approval).unwrap_or_else(|failure| {
            tracing::warn!(approval = %id, code = %failure.code, "the entries of the tokens of an approval cannot be read");
            BTreeMap::new()
        });
        let mut valid: Vec<(Timestamp, TokenId)> = unexpired
            .into_iter()
            .filter_map(|(token, latest)| match issued.get(&token) {
                Some(one) => (now < one.expires_at && self.is_live(&approval, token, one))
                    .then_some((one.expires_at, token)),
                None => Some((latest, token)),
            })
            .collect();
        valid.sort_unstable();
        let answer =
            |(end, token): (Timestamp, TokenId)| ValidTokenAnswer { token, expires_at: end.to_string() };
        valid.into_iter().map(answer).collect()
    }

    /// The tokens that were issued with the approval.
    fn issued_with(&self, approval: &Approval) -> Result<BTreeMap<TokenId, IssuedToken>, Failure> {
        let id = approval.opened.id.to_string();
        let kind = (EntryField::Kind, TokenMinted::NAME.to_owned());
        let search = TermSearch {
            store: &self.state.store,
            any: vec![vec![vec![kind], vec![(EntryField::Approval, id)]]],
            from: approval.opened_seq,
            through: self.state.store.head().seq,
            times: TimeSpan { since: None, until: None },
            most: ENTRIES_READ_MAX,
        };
        let mut issued = BTreeMap::new();
        search.run(&Cancellation::new(), |entries| {
            let minted = entries.iter().filter(|entry| entry.kind == TokenMinted::KIND);
            issued
                .extend(minted.filter_map(issued_token).filter(|(token, _)| approval.tokens.contains(token)));
            Ok(())
        })?;
        Ok(issued)
    }

    fn is_live(&self, approval: &Approval, token: TokenId, issued: &IssuedToken) -> bool {
        let IssuedToken { seq, instance, capabilities, .. } = issued;
        self.state.store.read(|world, _| {
            let Some(agent) = world.registry.agent(approval.opened.requester.agent) else { return false };
            let Some(instance) = agent.instances.get(*instance) else { return false };
            let credential = Credential::MintedBefore { token, seq: *seq, agent, instance, capabilities };
            live(credential, records(world)).is_ok()
        })
    }
}

/// The latest possible end of a token of the approval.
fn latest_end(approval: &Approval, token: TokenId) -> Timestamp {
    token.minted_at().plus_s(i64::from(approval.opened.terms.request.life_s))
}

fn issued_token(entry: &Entry) -> Option<(TokenId, IssuedToken)> {
    let event: Value = serde_json::from_slice(&entry.event).ok()?;
    let text = |field: &str| event.get(field).and_then(Value::as_str);
    let names = event.get("capabilities")?.as_array()?.iter().filter_map(Value::as_str);
    let issued = IssuedToken {
        seq: entry.seq,
        instance: text("instance")?.parse().ok()?,
        capabilities: names.filter_map(|name| Some((name.parse().ok()?, String::new()))).collect(),
        expires_at: Timestamp::parse(text("expires_at")?)?,
    };
    Some((text("token")?.parse().ok()?, issued))
}
