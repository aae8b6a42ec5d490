//! What the commands on a broker's host print with `-o json`: no endpoint sends it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::secret_text::SecretText;
use super::status::FixedText;
use crate::base::LedgerId;

/// `keyward init -o json`
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct InitOutput {
    pub data_dir: String,
    pub ledger: LedgerId,
    /// SPIFFE ID.
    pub operator: String,
    /// The end of the operator's certificate.
    pub operator_until: String,
    /// The directory of the operator's identity.
    pub operator_identity: String,
    /// The serial numbers of the operator's other certificates that are valid or can be renewed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_certificates: Vec<String>,
}

/// `keyward break-glass operator -o json`
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BreakGlassOutput {
    /// SPIFFE ID.
    pub operator: String,
    /// The end of the operator's certificate.
    pub operator_until: String,
    /// The directory of the operator's identity.
    pub operator_identity: String,
}

/// `keyward adopt -o json`
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AdoptOutput {
    pub data_dir: String,
    /// The mark of the lock file that the order is for.
    pub lock: u64,
}

/// `keyward ledger prepare -o json`
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerPreparedOutput {
    pub database: String,
    /// The broker's role.
    pub role: String,
}

/// `keyward ledger move -o json`
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerMovedOutput {
    /// `files` or `postgresql`.
    pub to: String,
    pub entries: u64,
    /// The entries that this command has copied; an earlier one had copied the others.
    pub copied: u64,
    /// The root of the Merkle tree over all entries.
    pub root: String,
    /// The directory with the files that the broker does not use any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<String>,
}

/// `keyward verify -o json`
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct VerifyOutput {
    pub ledger: Option<LedgerId>,
    pub entries: u64,
    /// The number of the last entry.
    pub head: u64,
    /// The time of the last entry.
    pub head_time: String,
    /// The root of the Merkle tree over all entries, hexadecimal.
    pub root: String,
    /// `closed` after an orderly stop, `open` while a broker writes, `unfinished` after a crash.
    pub end: FixedText,
    /// Whether state changes were decrypted and checked too.
    pub opened: bool,
    /// The number of entries of the checkpoint; null without one.
    pub checkpoint: Option<u64>,
    /// The last entry of each snapshot.
    pub snapshots: Vec<u64>,
    /// The bytes after the last valid entry, if no broker is running that may be writing them; entries may be missing then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfinished: Option<UnfinishedOutput>,
}

/// The bytes after the last valid entry of a ledger.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct UnfinishedOutput {
    /// The segment file in the ledger's directory.
    pub file: String,
    /// The offset of the first byte.
    pub offset: u64,
    /// The number of bytes.
    pub bytes: u64,
}

/// An item of `keyward doctor -o json` and `keyward config check -o json`.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FindingOutput {
    /// The object of the check.
    pub what: FixedText,
    /// `ok`, `warn` or `fail`.
    pub state: FixedText,
    pub why: String,
    /// Empty if the check passed.
    pub fix: String,
}

/// An item of `keyward slot list -o json`.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SlotOutput {
    pub id: String,
    /// `key-file`, `passphrase` or `shares`.
    pub kind: FixedText,
    pub made_at: String,
    pub age_s: i64,
    /// `opens` or `unconfirmed`.
    pub state: FixedText,
    /// The number of shares that open the keyring; null for other kinds.
    pub threshold: Option<u8>,
    /// The number of shares; null for other kinds.
    pub shares: Option<u8>,
}

/// `keyward slot add`, `rekey`, `confirm`, `check` and `remove` with `-o json`, unless shares are printed.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SlotDoneOutput {
    /// `added`, `rekeyed`, `confirmed`, `checked` or `removed`.
    pub done: FixedText,
    pub id: String,
    pub kind: FixedText,
}

/// `keyward slot add --shares N -o json` and `keyward slot rekey ID --shares N -o json`, which print the only copy of the
/// shares.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SharesOutput {
    /// `dealt`.
    pub done: FixedText,
    pub id: String,
    pub kind: FixedText,
    pub state: FixedText,
    /// The number of shares that open the keyring.
    pub threshold: Option<u8>,
    pub shares: Vec<SecretText>,
}
