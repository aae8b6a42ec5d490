//@ error: E0308
//! A decision alone mints nothing: its record must be durable first.
use keyward::base::TokenId;
use keyward::issuance::{IssueError, Issued, Issuer, Token};
use keyward::ledger::Receipt;
use keyward::policy::{Grant, Mint};

pub fn mint(
    issuer: &Issuer,
    token: TokenId,
    grant: Grant<Mint>,
    receipt: Receipt<(TokenId, Grant<Mint>)>,
) -> Result<Issued<Token>, IssueError> {
    issuer.mint((token, grant)) //@ twin: drop((token, grant)); issuer.mint(receipt)
}
