use super::grant::{Basis, Grant};
use crate::base::{DecisionId, OperatorName};
use crate::crypto::{Digest, MacKey};
use crate::keyring::Keyring;
use crate::registry::Declarations;

/// Certifying one operator.
#[derive(Debug)]
pub struct CertifyOperator {
    name: OperatorName,
}

impl CertifyOperator {
    /// The operator's name.
    #[must_use]
    pub const fn name(&self) -> &OperatorName {
        &self.name
    }
}

/// Decides on an operator's certificate asked for on the broker's host: whoever has opened the
/// keyring holds the root key, and there is nobody above. The ledger records it.
pub fn decide_host_operator(
    _opened: &Keyring,
    declarations: &Declarations,
    name: OperatorName,
    key: &Digest,
    (decision, digests): (DecisionId, &MacKey),
) -> Grant<CertifyOperator> {
    let canonical = [name.as_str().as_bytes(), key.as_bytes()].concat();
    let basis = Basis {
        decision,
        snapshot: declarations.snapshot(),
        rules: vec!["root key on the broker's host".to_owned()],
        request: digests.tag(&canonical),
    };
    Grant::assertion(basis, CertifyOperator { name })
}
