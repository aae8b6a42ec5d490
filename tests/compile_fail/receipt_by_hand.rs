//@ error: E0451
//! A receipt comes out of a commit and from nowhere else.
use keyward::ledger::{AppendError, Draft, Ledger, Receipt};

pub async fn record(ledger: &Ledger, draft: Draft) -> Result<Receipt<u8>, AppendError> {
    Ok(Receipt { committed: ledger.append(draft).await?, value: 1 }) //@ twin: ledger.commit(draft, 1).await
}
