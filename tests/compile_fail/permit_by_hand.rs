//@ error: E0423
//! A permit is given for a request that the limiter admitted, and by nothing else.
use keyward::quota::{Admitted, Permit};

pub fn forge(admitted: &mut Admitted) -> Permit {
    let _ = &admitted;
    Permit(()) //@ twin: admitted.permit()
}
