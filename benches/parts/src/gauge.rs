//! Measures parts, and prints a line for each: its name, a tab, and nanoseconds, the median of the rounds. A part that
//! is compared with the first of its kind has three more fields: the ratio of each round's two figures, as median,
//! least and most.

use std::time::Instant;

/// How much is measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Extent {
    /// What shows that it works.
    Small,
    Standard,
}

/// One of some parts of a kind.
pub(crate) struct Candidate<'a> {
    pub(crate) name: String,
    pub(crate) part: Box<dyn FnMut() + 'a>,
}

impl Extent {
    const fn rounds(self) -> usize {
        match self {
            Self::Small => 2,
            Self::Standard => 9,
        }
    }

    /// How often a part is done in a round.
    fn times(self, usual: usize) -> usize {
        match self {
            Self::Small => usual.div_ceil(100),
            Self::Standard => usual,
        }
    }

    /// Prints what doing it once costs.
    pub(crate) fn tell(self, name: &str, usual: usize, mut part: impl FnMut()) {
        let mut rounds: Vec<f64> = (0..self.rounds()).map(|_| round(self.times(usual), &mut part)).collect();
        println!("{name}\t{:.0}", median(&mut rounds));
    }

    /// The same for parts of a kind. They take turns in each round, so that what disturbs one of them disturbs all.
    pub(crate) fn compare(self, usual: usize, mut candidates: Vec<Candidate<'_>>) {
        let mut measured: Vec<Vec<f64>> = candidates.iter().map(|_| Vec::new()).collect();
        for _ in 0..self.rounds() {
            for (Candidate { part, .. }, rounds) in candidates.iter_mut().zip(&mut measured) {
                rounds.push(round(self.times(usual), part));
            }
        }
        let first = measured.first().cloned().unwrap_or_default();
        for (Candidate { name, .. }, rounds) in candidates.iter().zip(&mut measured) {
            let mut ratios: Vec<f64> = rounds.iter().zip(&first).map(|(one, first)| one / first).collect();
            let ratio = median(&mut ratios);
            let (least, most) = (ratios[0], ratios[ratios.len() - 1]);
            println!("{name}\t{:.0}\t{ratio:.3}\t{least:.3}\t{most:.3}", median(rounds));
        }
    }
}

/// Nanoseconds for one of `times` times.
fn round(times: usize, part: &mut dyn FnMut()) -> f64 {
    let start = Instant::now();
    (0..times).for_each(|_| part());
    start.elapsed().as_nanos() as f64 / times as f64
}

/// Sorts the figures, of which there is one at least, and gives the middle one.
fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
