//! What declaration files say, section by section. A new section is a file that implements
//! [`Section`](section::Section) and an element of the list in `sections.rs`.

mod records;
pub(in crate::broker) mod section;
pub(in crate::broker) mod sections;
