use std::ops::RangeInclusive;

use argon2::{Algorithm, Argon2, Params, Version};
use serde::{Deserialize, Serialize};

use crate::base::Sensitive;

/// What one guess at a passphrase costs: the parameters of Argon2id (RFC 9106).
///
/// They are stored beside the data that they protect, and an attacker may change both: so they are checked
/// before they are used.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StretchCost {
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

/// Why a passphrase was not stretched.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StretchError {
    /// The cost is beyond what this version ever asks for, or almost nothing.
    #[error("the cost of the passphrase stretching is out of range")]
    Cost,
    /// The machine does not have the memory that it takes.
    #[error("the process has not enough memory to stretch a passphrase")]
    Memory,
}

/// From OWASP's smallest recommendation (Password Storage Cheat Sheet: 19 MiB, 2 passes) to 1 GiB.
const MEMORY_KIB: RangeInclusive<u32> = 19 * 1024..=1024 * 1024;
/// The same source's 2; more than 16 over the largest memory would be minutes.
const PASSES: RangeInclusive<u32> = 2..=16;
const LANES: RangeInclusive<u32> = 1..=16;

impl StretchCost {
    /// What new passphrases cost: the second recommended option of RFC 9106 §4, for machines that
    /// cannot spare 2 GiB: 64 MiB, 3 passes, 4 lanes.
    pub const RECOMMENDED: Self = Self { memory_kib: 64 * 1024, passes: 3, lanes: 4 };

    /// Whether it is neither ruinous nor almost nothing.
    ///
    /// # Errors
    /// [`StretchError::Cost`].
    pub fn check(&self) -> Result<(), StretchError> {
        let within = MEMORY_KIB.contains(&self.memory_kib)
            && PASSES.contains(&self.passes)
            && LANES.contains(&self.lanes);
        if within { Ok(()) } else { Err(StretchError::Cost) }
    }
}

/// A 256-bit key from something that a person can remember.
///
/// # Errors
/// [`StretchError`].
pub fn stretch(
    passphrase: &[u8],
    salt: &[u8; 16],
    cost: StretchCost,
) -> Result<Sensitive<[u8; 32]>, StretchError> {
    cost.check()?;
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32));
    let params = params.map_err(|_| StretchError::Cost)?;
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut done = Ok(());
    let key = Sensitive::<[u8; 32]>::filled(|key| done = argon.hash_password_into(passphrase, salt, key));
    // Cost and lengths have been checked: memory is all that can be missing.
    done.map(|()| key).map_err(|_| StretchError::Memory)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: StretchCost = StretchCost { memory_kib: 19 * 1024, passes: 2, lanes: 1 };

    #[test]
    fn passphrase_salt_and_cost_each_make_another_key() {
        let key = |passphrase: &[u8], salt: u8, cost| stretch(passphrase, &[salt; 16], cost).unwrap();
        let one = key(b"correct horse", 1, CHEAP);
        assert_eq!(one.expose(), key(b"correct horse", 1, CHEAP).expose());
        assert_ne!(one.expose(), key(b"correct horsf", 1, CHEAP).expose());
        assert_ne!(one.expose(), key(b"correct horse", 2, CHEAP).expose());
        assert_ne!(one.expose(), key(b"correct horse", 1, StretchCost { passes: 3, ..CHEAP }).expose());
    }

    /// Made by argon2-cffi, which is the reference implementation, with these very arguments.
    #[test]
    fn the_primitive_agrees_with_the_reference_implementation() {
        let key = stretch(b"correct horse battery staple", b"sixteen bytes :)", StretchCost::RECOMMENDED);
        assert_eq!(
            crate::base::encoding::hex(key.unwrap().expose()),
            "f5d7bae197af1ebf812d576b970348ec45faaaab67a759fe68344a1bf17dbcbb"
        );
    }

    /// Hazard KEY-10.
    #[test]
    fn a_cost_is_taken_to_its_bounds_and_not_beyond() {
        let recommended = StretchCost::RECOMMENDED;
        for (good, bad) in [
            (CHEAP, StretchCost { memory_kib: CHEAP.memory_kib - 1, ..CHEAP }),
            (CHEAP, StretchCost { passes: 1, ..CHEAP }),
            (CHEAP, StretchCost { lanes: 0, ..CHEAP }),
            (
                StretchCost { memory_kib: 1024 * 1024, ..recommended },
                StretchCost { memory_kib: 1024 * 1024 + 1, ..recommended },
            ),
            (StretchCost { passes: 16, ..recommended }, StretchCost { passes: 17, ..recommended }),
            (StretchCost { lanes: 16, ..recommended }, StretchCost { lanes: 17, ..recommended }),
            (recommended, StretchCost { memory_kib: u32::MAX, ..recommended }),
        ] {
            assert_eq!(good.check(), Ok(()), "{good:?}");
            assert_eq!(bad.check(), Err(StretchError::Cost), "{bad:?}");
            assert!(stretch(b"x", &[0; 16], bad).is_err(), "{bad:?}");
        }
    }
}
