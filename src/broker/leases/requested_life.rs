use crate::base::code;
use crate::base::limits::LEASE_LIFE_MIN_S;
use crate::broker::failure::Failure;

/// Checks that the requested life is at least the minimum.
pub(super) fn is_long_enough(life_s: Option<u32>) -> Result<(), Failure> {
    if life_s.is_some_and(|life_s| life_s < LEASE_LIFE_MIN_S) {
        return Err(Failure::new(code::LEASE_LIFE_TOO_SHORT));
    }
    Ok(())
}
