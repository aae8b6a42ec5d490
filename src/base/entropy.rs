use std::fmt;

/// Gives unpredictable bytes. Handed in wherever chance is needed, so that tests own it.
pub trait Entropy: Send + Sync + fmt::Debug {
    /// Fills `out` with bytes nobody can predict.
    fn fill(&self, out: &mut [u8]);
}

impl dyn Entropy + '_ {
    /// `N` unpredictable bytes.
    #[must_use]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut out = [0; N];
        self.fill(&mut out);
        out
    }
}

/// The operating system's generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    /// Ends the process when the operating system has no randomness to give: going on would mean
    /// keys and serials that somebody can guess, and no caller could do better.
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the operating system")]
    fn fill(&self, out: &mut [u8]) {
        if getrandom::fill(out).is_err() {
            std::process::abort();
        }
    }
}
