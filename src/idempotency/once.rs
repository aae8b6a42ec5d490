use crate::crypto::{Digest, MacKey};

/// A request as it names itself.
#[derive(Debug)]
pub struct Request<'a> {
    /// The caller's own name for it.
    pub key: &'a str,
    /// Method and route.
    pub route: &'a str,
    /// What it is about, besides the body: path, and what a header says.
    pub target: &'a str,
    /// The body.
    pub body: &'a [u8],
}

/// By what a request is known again: keyed digests alone, so that nobody can guess a body by them.
#[derive(Clone, Copy, Debug)]
pub struct Once {
    pub(super) caller: Digest,
    pub(super) slot: Digest,
    pub(super) request: Digest,
}

impl Once {
    /// What `request` of `caller` is known again by.
    #[must_use]
    pub fn of(caller: &str, request: &Request<'_>, digests: &MacKey) -> Self {
        let Request { key, route, target, body } = *request;
        let tag = |what: &str, parts: &[&[u8]]| {
            let mut text = what.as_bytes().to_vec();
            for part in parts {
                text.extend_from_slice(&(part.len() as u64).to_be_bytes());
                text.extend_from_slice(part);
            }
            let text = zeroize::Zeroizing::new(text);
            digests.tag(&text)
        };
        Self {
            caller: tag("idempotency-caller", &[caller.as_bytes()]),
            slot: tag("idempotency-key", &[caller.as_bytes(), route.as_bytes(), key.as_bytes()]),
            request: tag("idempotency-request", &[route.as_bytes(), target.as_bytes(), body]),
        }
    }
}
