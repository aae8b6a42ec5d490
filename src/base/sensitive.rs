use std::fmt;

use zeroize::{Zeroize, Zeroizing};

/// A secret value: wiped on drop, and without `Display`, `Serialize`, `Clone` or `==`.
///
/// The only access is [`Sensitive::expose`], so that a search lists every use; a test has the list of files that may
/// call it.
///
/// A move does not copy the value, so that no copy stays on a stack.
pub struct Sensitive<T: Zeroize>(Box<Zeroizing<T>>);

impl<T: Zeroize> Sensitive<T> {
    /// Wraps a value. The caller has to wipe earlier copies.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self(Box::new(Zeroizing::new(value)))
    }

    /// The value. A copy of it is no longer protected.
    #[must_use]
    pub fn expose(&self) -> &T {
        &self.0
    }
}

/// Fills a new sensitive array in place, so that no copy is left on the way.
impl<const N: usize> Sensitive<[u8; N]> {
    /// An array that `fill` has written to.
    #[must_use]
    pub fn filled(fill: impl FnOnce(&mut [u8; N])) -> Self {
        let mut value = Box::new(Zeroizing::new([0; N]));
        fill(&mut value);
        Self(value)
    }
}

impl<T: Zeroize> fmt::Debug for Sensitive<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_text_shows_nothing() {
        assert_eq!(format!("{:?}", Sensitive::new(b"CNRY".to_vec())), "[redacted]");
    }
}
