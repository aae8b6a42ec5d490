use std::cell::RefCell;
use std::fmt;

use zeroize::Zeroize;

/// A source of random bytes. It is a parameter everywhere, so that tests control it.
pub trait Entropy: Send + Sync + fmt::Debug {
    /// Fills `out` with unpredictable bytes, for keys, nonces and secrets.
    fn fill(&self, out: &mut [u8]);

    /// Fills `out` for ids and salts, which are public and which every request needs: the bytes may have been drawn
    /// in advance.
    fn fill_plain(&self, out: &mut [u8]) {
        self.fill(out);
    }
}

impl dyn Entropy + '_ {
    /// `N` unpredictable bytes.
    #[must_use]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut out = [0; N];
        self.fill(&mut out);
        out
    }

    /// `N` bytes for ids and salts.
    #[must_use]
    pub fn plain_bytes<const N: usize>(&self) -> [u8; N] {
        let mut out = [0; N];
        self.fill_plain(&mut out);
        out
    }
}

/// The operating system's generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    /// Aborts the process if the operating system has no randomness: keys and serials would be predictable, and no
    /// caller could do better.
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the operating system")]
    fn fill(&self, out: &mut [u8]) {
        if getrandom::fill(out).is_err() {
            std::process::abort();
        }
    }

    fn fill_plain(&self, out: &mut [u8]) {
        AHEAD.with_borrow_mut(|ahead| ahead.take(out, |bytes| self.fill(bytes)));
    }
}

thread_local! {
    static AHEAD: RefCell<RandomBuffer> = const { RefCell::new(RandomBuffer { bytes: [0; AHEAD_BYTES], left: 0 }) };
}

/// Enough for some ten requests.
const AHEAD_BYTES: usize = 1024;

/// Unused random bytes. Used ones are wiped.
struct RandomBuffer {
    bytes: [u8; AHEAD_BYTES],
    left: usize,
}

impl RandomBuffer {
    fn take(&mut self, out: &mut [u8], draw: impl Fn(&mut [u8])) {
        if out.len() > AHEAD_BYTES {
            return draw(out);
        }
        if out.len() > self.left {
            draw(&mut self.bytes);
            self.left = AHEAD_BYTES;
        }
        let end = self.left;
        self.left = end.saturating_sub(out.len());
        if let Some(given) = self.bytes.get_mut(self.left..end) {
            out.copy_from_slice(given);
            given.zeroize();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn bytes_drawn_in_advance_are_given_once() {
        let entropy: &dyn Entropy = &SystemEntropy;
        let names: BTreeSet<[u8; 10]> = (0..1000).map(|_| entropy.plain_bytes()).collect();
        assert_eq!(names.len(), 1000);
        let large: [u8; AHEAD_BYTES + 1] = entropy.plain_bytes();
        assert!(large.iter().any(|byte| *byte != 0));
    }

    #[test]
    fn given_bytes_are_wiped() {
        let mut ahead = RandomBuffer { bytes: [0; AHEAD_BYTES], left: 0 };
        let mut out = [0; 32];
        ahead.take(&mut out, |bytes| bytes.fill(7));
        assert_eq!(out, [7; 32]);
        assert_eq!(ahead.left, AHEAD_BYTES - 32);
        let (left, given) = ahead.bytes.split_at(ahead.left);
        assert!(left.iter().all(|byte| *byte == 7) && given.iter().all(|byte| *byte == 0));
    }
}
