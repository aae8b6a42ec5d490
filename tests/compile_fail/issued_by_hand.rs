//@ error: E0423
//! Only the issuer says that something may leave the house.
use keyward::issuance::{Issued, Token};

pub fn forge(issued: Issued<Token>, token: Token) -> Issued<Token> {
    let _ = &token;
    Issued(token) //@ twin: issued
}
