//! Rotations of a service's key that the service makes: two at a time, and none forgotten.
