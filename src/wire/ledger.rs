use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::endpoint::{Nothing, Pem, Text, endpoints};
use super::page::PageQuery;
use super::status::FixedText;

endpoints! {
    /// List entries of the ledger
    LIST_ENTRIES: GET "/v1/ledger/entries", Nothing, PageQuery<u64> => EntriesAnswer;
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
    /// Where the next page begins; null on the last page. For an operator that is bound to an owner a page may be empty
    /// and have a next one.
    pub next_after: Option<u64>,
    /// The newest entry; for an operator that is bound to an owner the last entry of the page.
    pub head: u64,
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
    /// The operator's reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub leaf: String,
}
