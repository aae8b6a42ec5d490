//! Policies as operators see, try and explain them. `declarations` declares them, and `policy` decides by them.

pub(super) mod views;
