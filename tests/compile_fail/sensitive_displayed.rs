//@ error: E0277
//! A sensitive value has no text; its debug text says only that it is there.
use keyward::base::Sensitive;

pub fn tell(secret: &Sensitive<String>) -> String {
    format!("{secret}") //@ twin: format!("{secret:?}")
}
