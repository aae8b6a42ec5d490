use crate::authn::AgentPrincipal;
use crate::base::DecisionId;

/// The canonical bytes of a request: length-prefixed fields, so that no two requests have the same bytes.
pub(super) struct Canonical(Vec<u8>);

impl Canonical {
    pub(super) fn new(action: &str, caller: &AgentPrincipal, decision: DecisionId) -> Self {
        let canonical = Self(Vec::with_capacity(256)).field(action).bytes(decision.as_bytes());
        canonical.bytes(caller.agent().as_bytes()).bytes(caller.instance().as_bytes())
    }

    pub(super) fn field(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    pub(super) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
        self.0.extend_from_slice(bytes);
        self
    }

    /// An optional number, empty where there is none.
    pub(super) fn number(self, number: Option<u32>) -> Self {
        self.field(&number.map_or_else(String::new, |number| number.to_string()))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}
