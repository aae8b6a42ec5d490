use super::input::Part;
use crate::broker::{Ended, Page};
use crate::wire::EndedAnswer;

impl From<Part<String>> for Page {
    fn from(part: Part<String>) -> Self {
        Self { after: part.after, limit: part.limit }
    }
}

impl From<Ended> for EndedAnswer {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Recorded(seq) => {
                Self { seq: Some(seq), durable: true, kept: false, unchanged: false, state: None }
            }
            Ended::InMemory { kept } => {
                Self { seq: None, durable: false, kept, unchanged: false, state: None }
            }
        }
    }
}
