use crate::console::visible;

/// The note about the approval keys that ended with the certificate of an operator.
pub(crate) fn said_of_approval_keys(fingerprints: &[String]) -> String {
    let keys: Vec<String> = fingerprints.iter().map(|one| visible(one, FINGERPRINT_CHARS)).collect();
    format!(
        "note: the operator has no approval key any more: the key {} ended too, because it was proposed with this certificate; the \
         operator proposes a key again with `keyward approval key create`, and another admin, or root on the broker's host \
         (`--on-host`), accepts it",
        keys.join(", ")
    )
}

/// Characters of a fingerprint that are shown.
const FINGERPRINT_CHARS: usize = 64;
