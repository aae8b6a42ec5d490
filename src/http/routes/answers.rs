use super::input::Part;
use crate::broker::{Ended, HolderRevoked, Page};
use crate::wire::EndedAnswer;

impl From<Part<String>> for Page {
    fn from(part: Part<String>) -> Self {
        Self { after: part.after, limit: part.limit }
    }
}

impl From<Ended> for EndedAnswer {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Recorded(seq) => Self { seq: Some(seq), durable: true, ..Self::default() },
            Ended::InMemory { kept } => Self { kept, ..Self::default() },
        }
    }
}

impl From<HolderRevoked> for EndedAnswer {
    fn from(HolderRevoked { ended, unused_uses }: HolderRevoked) -> Self {
        Self { unused_uses, ..ended.into() }
    }
}
