//@ error: E0308
//! A receipt owns what it was written for: it cannot be paired with another grant.
use keyward::issuance::{IssueError, Issued, Issuer, Token};
use keyward::base::TokenId;
use keyward::ledger::Receipt;
use keyward::policy::{Grant, Mint};

pub fn mint(
    issuer: &Issuer,
    receipt: Receipt<(TokenId, Grant<Mint>)>,
    other: Receipt<Grant<Mint>>,
) -> Result<Issued<Token>, IssueError> {
    let _unused = &other;
    issuer.mint(other) //@ twin: issuer.mint(receipt)
}
