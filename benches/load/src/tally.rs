//! Latencies and medians.

use std::time::Duration;

/// Latencies, exact to a tenth of a microsecond.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latencies(Vec<u32>);

impl Latencies {
    pub(crate) fn add(&mut self, latency: Duration) {
        self.0.push(u32::try_from(latency.as_nanos() / 100).unwrap_or(u32::MAX));
    }

    pub(crate) fn extend(&mut self, others: &Self) {
        self.0.extend_from_slice(&others.0);
    }

    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }

    /// The latencies, in microseconds, that so many of a thousand stay within, `0..=1000`.
    pub(crate) fn within<const N: usize>(&self, per_mille: [usize; N]) -> [f64; N] {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let last = sorted.len().saturating_sub(1);
        per_mille
            .map(|share| sorted.get(last * share / 1000).map_or(f64::NAN, |tenths| f64::from(*tenths) / 10.0))
    }
}

/// The middle one of some numbers, and the least and the most of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// Of nothing, all three are NaN.
    pub(crate) fn of(numbers: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = numbers.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        let (low, high) = (at(sorted.len().saturating_sub(1) / 2), at(sorted.len() / 2));
        Self {
            median: f64::midpoint(low, high),
            least: at(0),
            most: sorted.last().copied().unwrap_or(f64::NAN),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_latencies() {
        let mut latencies = Latencies::default();
        for us in (1..=100).rev() {
            latencies.add(Duration::from_micros(us));
        }
        assert_eq!(latencies.within([0, 500, 990, 1000]), [1.0, 50.0, 99.0, 100.0]);
        assert!(Latencies::default().within([500])[0].is_nan());
    }

    #[test]
    fn a_spread_has_its_median_between_its_ends() {
        let spread = Spread::of([3.0, 1.0, 2.0, 10.0]);
        assert_eq!((spread.median, spread.least, spread.most), (2.5, 1.0, 10.0));
        assert!(Spread::of([]).median.is_nan());
    }
}
