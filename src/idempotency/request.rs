use crate::crypto::{Digest, MacKey};

/// A request as it names itself.
#[derive(Debug)]
pub struct IdempotentRequest<'a> {
    /// The caller's own name for it.
    pub key: &'a str,
    /// Method and route.
    pub route: &'a str,
    /// What it is about, besides the body: path, and what a header says.
    pub target: &'a str,
    /// The body.
    pub body: &'a [u8],
}

/// The caller of a request.
#[derive(Clone, Copy, Debug)]
pub struct IdempotencyCaller<'a> {
    /// The pool of its outcomes.
    pub identity: &'a str,
    /// What its idempotency keys count for: another credential of the same identity has its own.
    pub credential: &'a str,
}

impl<'a> IdempotencyCaller<'a> {
    /// A caller whose keys count for all of its credentials.
    #[must_use]
    pub const fn named(identity: &'a str) -> Self {
        Self { identity, credential: identity }
    }
}

/// The identity of a repeated request: keyed digests, so that nobody can test guesses of a body.
#[derive(Clone, Debug)]
pub struct IdempotencyKey {
    pub(super) caller: Digest,
    pub(super) slot: Digest,
    pub(super) request: Digest,
    /// The same under the digest keys before this one, newest first: an outcome of then is still known.
    earlier: Vec<Self>,
}

impl IdempotencyKey {
    /// The identity of `request` of `caller`.
    #[must_use]
    pub fn of(
        caller: IdempotencyCaller<'_>,
        request: &IdempotentRequest<'_>,
        digests: &MacKey,
        earlier: &[MacKey],
    ) -> Self {
        let earlier = earlier.iter().map(|digests| Self::of(caller, request, digests, &[])).collect();
        let IdempotentRequest { key, route, target, body } = *request;
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
            caller: tag("idempotency-caller", &[caller.identity.as_bytes()]),
            slot: tag("idempotency-key", &[caller.credential.as_bytes(), route.as_bytes(), key.as_bytes()]),
            request: tag("idempotency-request", &[route.as_bytes(), target.as_bytes(), body]),
            earlier,
        }
    }

    /// The caller's key, on its route.
    #[must_use]
    pub const fn slot(&self) -> &Digest {
        &self.slot
    }

    /// What the request was known by under this digest key and the ones before it.
    pub fn under_each_key(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(&self.earlier)
    }
}
