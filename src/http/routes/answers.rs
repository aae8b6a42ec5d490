use axum::http::{HeaderValue, header};

use super::answer::WithHeaders;
use super::input::Part;
use crate::broker::{Ended, HolderRevoked, Page};
use crate::wire::{EndedAnswer, OwnApprovalAnswer};

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
    fn from(revoked: HolderRevoked) -> Self {
        let HolderRevoked { ended, unused_uses, ended_approval_keys } = revoked;
        Self { unused_uses, ended_approval_keys, ..ended.into() }
    }
}

/// With the address of the approval.
pub(super) fn located(answer: OwnApprovalAnswer) -> WithHeaders<OwnApprovalAnswer> {
    let location = HeaderValue::try_from(answer.approval_uri.as_str()).ok();
    WithHeaders {
        answer,
        headers: location.map(|location| (header::LOCATION, location)).into_iter().collect(),
    }
}
