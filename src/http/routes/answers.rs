use super::input::Part;
use crate::base::code::Code;
use crate::broker::{Ended, Page, Paged};
use crate::upstream::Explained;
use crate::wire::{EndedAnswer, PageAnswer};

impl From<Part<String>> for Page {
    fn from(part: Part<String>) -> Self {
        Self { after: part.after, limit: part.limit }
    }
}

/// A page of answers made of what the broker lists.
pub(crate) fn page_of<V, T: From<V>>(page: Paged<V>) -> PageAnswer<T> {
    let Paged { items, next_after } = page.map(T::from);
    PageAnswer { items, next_after }
}

impl From<Ended> for EndedAnswer {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Recorded(seq) => Self { seq: Some(seq), durable: true, kept: false },
            Ended::InMemory { kept } => Self { seq: None, durable: false, kept },
        }
    }
}

/// What a failure that is kept by its code and detail was, in a sentence.
pub(crate) fn explained(code: &str, detail: Option<&str>) -> Option<String> {
    let code = code.parse::<Code>().ok()?;
    Some(Explained::of(code, detail).why.into_owned())
}
