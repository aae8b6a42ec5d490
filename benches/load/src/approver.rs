//! A person who approves what agents ask for.

use data_encoding::BASE64URL_NOPAD;
use rcgen::{KeyPair, SigningKey as _};
use serde_json::json;

use crate::Failed;
use crate::bed::Bed;
use crate::client::{Connection, request};
use crate::fleet::{JSON, Operator, answered, new_key, text};

/// The operator that `keyward init` made.
const NAME: &str = "admin";

/// An operator with an approval key.
pub(crate) struct Approver {
    connection: Connection,
    key: KeyPair,
}

impl Approver {
    /// The operator, as another person than the one behind the agents, with a key that the broker's host has accepted.
    pub(crate) async fn of(bed: &Bed, operator: &Operator) -> Result<Self, Failed> {
        bed.run(&["operator", "update", NAME, "--person", "approver@bench.internal"], b"")?;
        let mut connection = operator.connect().await?;
        let (key, csr) = new_key()?;
        let body = json!({ "csr": csr }).to_string();
        let proposed = answered(&mut connection, &request("POST", "/v1/approval-key", JSON, &body)).await?;
        let fingerprint = text(&proposed["keys"][0], "fingerprint")?;
        let config = bed.config();
        let verb = ["approval", "key", "accept", NAME, "--on-host"];
        let accept = [&verb[..], &["--fingerprint", fingerprint, "--config", &config][..]].concat();
        bed.run(&accept, b"")?;
        Ok(Self { connection, key })
    }

    /// Approves the request `approval`, which needs no other vote.
    pub(crate) async fn approve(&mut self, approval: &str) -> Result<(), Failed> {
        let path = format!("/v1/approvals/{approval}");
        let shown = answered(&mut self.connection, &request("GET", &path, "", "")).await?;
        let (digest, rules) = (text(&shown, "digest")?, text(&shown, "rules")?);
        // In the form of RFC 8785: no value has a character that JSON escapes.
        let ballot = format!(
            "{{\"approval\":\"{approval}\",\"digest\":\"{digest}\",\"rules\":\"{rules}\",\
             \"type\":\"keyward-approval-vote-1\",\"verdict\":\"approve\"}}"
        );
        let signature = BASE64URL_NOPAD.encode(&self.key.sign(ballot.as_bytes())?);
        let vote = json!({ "verdict": "approve", "digest": digest, "rules": rules, "signature": signature });
        let voting = request("POST", &format!("{path}/votes"), JSON, &vote.to_string());
        let voted = answered(&mut self.connection, &voting).await?;
        match text(&voted, "state")? {
            "approved" => Ok(()),
            state => Err(format!("{approval} is {state} after the vote").into()),
        }
    }
}
