//@ error: E0451
//! What a grant allows is drawn up by `policy` alone.
use keyward::base::Audience;
use keyward::policy::Mint;

pub fn longer(decided: Mint, audience: Audience) -> Mint {
    let _ = audience;
    Mint { life_s: u32::MAX, ..decided } //@ twin: decided
}
