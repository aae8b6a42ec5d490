use std::convert::Infallible;

use blahaj::{Share, Sharks};
use rand_core::{TryCryptoRng, TryRng};
use zeroize::Zeroizing;

use crate::base::{Entropy, Sensitive};

/// Points of Shamir's scheme over GF(256): any `threshold` of the `of` give `secret` back, fewer say
/// nothing of it. A point's number is its place among them, from 1.
#[must_use]
pub fn split(
    secret: &Sensitive<[u8; 32]>,
    threshold: u8,
    of: u8,
    entropy: &dyn Entropy,
) -> Vec<Sensitive<[u8; 32]>> {
    let mut chance = EntropyRng(entropy);
    let dealer = Sharks(threshold).dealer_rng(secret.expose(), &mut chance);
    dealer.take(usize::from(of)).filter_map(|share| point(&Zeroizing::new(Vec::from(&share)))).collect()
}

/// The secret that these points, each with its number, were split from, when they are enough of them and
/// no point is another one: nothing here could tell. `None` when a number is 0 or comes twice, which
/// would make something else of them without a word.
#[must_use]
pub fn combine(points: &[(u8, &Sensitive<[u8; 32]>)]) -> Option<Sensitive<[u8; 32]>> {
    let mut seen = [false; 256];
    let mut shares = Vec::with_capacity(points.len());
    for (number, point) in points {
        let seen = seen.get_mut(usize::from(*number)).filter(|seen| *number != 0 && !**seen)?;
        *seen = true;
        let mut bytes = Zeroizing::new(Vec::with_capacity(33));
        bytes.push(*number);
        bytes.extend_from_slice(point.expose());
        shares.push(Share::try_from(bytes.as_slice()).ok()?);
    }
    let threshold = u8::try_from(points.len()).ok()?;
    let secret = Zeroizing::new(Sharks(threshold).recover(&shares).ok()?);
    let secret: &[u8; 32] = secret.as_slice().try_into().ok()?;
    Some(Sensitive::filled(|to| to.copy_from_slice(secret)))
}

/// A share as the library writes it, less its number.
fn point(share: &[u8]) -> Option<Sensitive<[u8; 32]>> {
    let (_, point) = share.split_first()?;
    let point: &[u8; 32] = point.try_into().ok()?;
    Some(Sensitive::filled(|to| to.copy_from_slice(point)))
}

/// Our chance, as the library asks for it.
struct EntropyRng<'a>(&'a dyn Entropy);

impl TryRng for EntropyRng<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_le_bytes(self.0.bytes()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_le_bytes(self.0.bytes()))
    }

    fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(to);
        Ok(())
    }
}

impl TryCryptoRng for EntropyRng<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SystemEntropy;

    fn key(byte: u8) -> Sensitive<[u8; 32]> {
        Sensitive::new([byte; 32])
    }

    /// Every subset of `points` that has `count` of them, with their numbers.
    fn subsets(
        points: &[Sensitive<[u8; 32]>],
        count: u32,
    ) -> impl Iterator<Item = Vec<(u8, &Sensitive<[u8; 32]>)>> {
        (0_u32..1 << points.len()).filter(move |set| set.count_ones() == count).map(move |set| {
            let chosen = (1_u8..).zip(points).filter(|(number, _)| (set << 1) >> number & 1 == 1);
            chosen.collect()
        })
    }

    #[test]
    fn any_threshold_of_shares_restores_the_secret_and_fewer_do_not() {
        for (threshold, of) in [(2, 2), (2, 3), (3, 5), (5, 8), (2, 16), (16, 16)] {
            let secret = Sensitive::filled(|secret| SystemEntropy.fill(secret));
            let points = split(&secret, threshold, of, &SystemEntropy);
            assert_eq!(points.len(), usize::from(of));
            for chosen in subsets(&points, u32::from(threshold)) {
                assert_eq!(combine(&chosen).unwrap().expose(), secret.expose());
            }
            for chosen in subsets(&points, u32::from(threshold) - 1) {
                assert_ne!(combine(&chosen).unwrap().expose(), secret.expose());
            }
            let all: Vec<_> = (1..).zip(&points).collect();
            assert_eq!(combine(&all).unwrap().expose(), secret.expose(), "more than enough");
        }
    }

    #[test]
    fn a_number_twice_or_zero_and_no_points_at_all_give_nothing() {
        let (one, two) = (key(1), key(2));
        assert!(combine(&[(1, &one), (2, &two)]).is_some());
        assert!(combine(&[(1, &one), (1, &two)]).is_none());
        assert!(combine(&[(1, &one), (2, &two), (1, &one)]).is_none());
        assert!(combine(&[(0, &one), (2, &two)]).is_none());
        assert!(combine(&[]).is_none());
    }

    /// Computed apart from the library, by long division in GF(256) modulo x^8+x^4+x^3+x^2+1: shares that
    /// were handed out open for as long as this holds.
    #[test]
    fn the_field_is_the_one_that_shares_were_handed_out_in() {
        let points = [VECTOR_1, VECTOR_2, VECTOR_3].map(|point| {
            let bytes = crate::base::encoding::from_hex(point).unwrap();
            Sensitive::<[u8; 32]>::new(bytes.try_into().unwrap())
        });
        let secret: [u8; 32] = std::array::from_fn(|at| u8::try_from(at).unwrap());
        let [first, second, third] = &points;
        let combined = combine(&[(2, first), (7, second), (16, third)]).unwrap();
        assert_eq!(combined.expose(), &secret);
    }

    const VECTOR_1: &str = "100f8e9ba3f8b0b5574e5aa626fd6e8bae3be50cad2eb19ef541a7e3ddc6d333";
    const VECTOR_2: &str = "4bf7f61d2514fe6bc78ce7462fe1fb62edd484fd095f5c54c5e3fba53ef84235";
    const VECTOR_3: &str = "c29507d85e472067da24eac812983d9a808b26f843fd138b839274dd37a9a131";
}
