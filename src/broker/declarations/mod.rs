//! What declaration files say, section by section. A new section is a file that implements [`Section`] and a line in
//! [`SECTIONS`].

mod records;
mod section;

use section::Registered;
pub(super) use section::{Drawn, Effects, Ground, Section, Sections, parse_tables};

/// The sections in the order in which they are planned: each finds the declarations of those before it.
const SECTIONS: &[Registered] = &[
    Registered::of::<records::Records>(),
    Registered::of::<super::rotation::Rotations>(),
    Registered::of::<super::leases::Offers>(),
];
