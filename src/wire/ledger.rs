use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::endpoint::{Nothing, Pem, Text, endpoints};
use super::entries_query::EntriesQuery;
use super::status::FixedText;

endpoints! {
    /// List entries of the ledger
    LIST_ENTRIES: GET "/v1/ledger/entries", Nothing, EntriesQuery => EntriesAnswer;
    /// An entry of the ledger, and the entries before it of the same agents and operators
    GET_ENTRY: GET "/v1/ledger/entries/{seq}", u64, Nothing => EntryDetailsAnswer;
    /// The certificates of the authorities
    GET_AUTHORITY_CERTIFICATES: GET "/v1/authority", Nothing, Nothing => Pem;
    /// A signed checkpoint of the ledger
    GET_CHECKPOINT: GET "/v1/checkpoint", Nothing, Nothing => Text;
    /// The key that verifies checkpoints
    GET_CHECKPOINT_KEY: GET "/v1/checkpoint/key", Nothing, Nothing => Text;
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct EntriesAnswer {
    pub items: Vec<EntryAnswer>,
    /// Where the next page begins; null on the last page, and with `order=newest`. A page may be empty and have a next
    /// one: with filters, and for an operator that is bound to an owner.
    pub next_after: Option<u64>,
    /// With `order=newest`: before which entry the next page begins; absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_before: Option<u64>,
    /// The newest entry; for an operator that is bound to an owner the last entry of the page.
    pub head: u64,
    /// The further entries; absent on the last page, and for an operator that is bound to an owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more: Option<MoreEntries>,
    /// The entry up to which the search index has every entry; the broker has read later entries itself. Absent for an
    /// operator that is bound to an owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub indexed_through: Option<u64>,
    /// The names in the filter that no object has, or had, within the operator's scope: they may be misspelt. Entries can
    /// name them nevertheless, e.g. refused requests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<UnknownNameAnswer>,
}

/// A name that no object has.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct UnknownNameAnswer {
    /// The field of the filter, e.g. `agent`.
    pub field: FixedText,
    pub name: String,
    /// Similar names of objects within the operator's scope, at most 3.
    pub near: Vec<String>,
}

/// Entries after a page that fit the request.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct MoreEntries {
    pub count: u64,
    /// Whether there are exactly so many; otherwise at least so many.
    pub exact: bool,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct EntryAnswer {
    pub seq: u64,
    pub time: String,
    pub kind: FixedText,
    pub event: serde_json::Value,
    /// Whether names of other owners' objects were removed from the event; then the leaf does not belong to what is shown.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub redacted: bool,
    /// Whether the actor is one of the removed names: an agent of another owner.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub actor_hidden: bool,
    /// The operator's reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub leaf: String,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct EntryDetailsAnswer {
    #[serde(flatten)]
    pub entry: EntryAnswer,
    /// `allowed`, `denied` or `failed`; null for an entry that reports a state.
    pub outcome: Option<FixedText>,
    /// The incident that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<String>,
    /// The agents and operators that it names.
    pub links: Vec<EntryLink>,
}

/// An agent or operator, and the entry before that names it.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct EntryLink {
    /// `agent` or `operator`.
    pub kind: FixedText,
    pub name: String,
    /// Null if this entry is the first one.
    pub previous: Option<u64>,
}
