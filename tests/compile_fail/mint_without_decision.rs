//@ error: E0308
//! A durable record alone mints nothing: it must be the record of a decision.
use keyward::base::TokenId;
use keyward::issuance::{IssueError, Issued, Issuer, Token};
use keyward::ledger::Receipt;
use keyward::policy::{Grant, Mint};

pub fn mint(
    issuer: &Issuer,
    receipt: Receipt<(TokenId, Grant<Mint>)>,
    undecided: Receipt<(TokenId, ())>,
) -> Result<Issued<Token>, IssueError> {
    issuer.mint(undecided) //@ twin: drop(undecided); issuer.mint(receipt)
}
