//! The stored formats as they were frozen: what is in `tests/golden` opens with every later build, to the same entries.
//!
//! `KEYWARD_TEST_GOLDEN=write` writes the files anew: only before a release, when a format changes on purpose.

use std::path::{Path, PathBuf};

mod bodies;
mod data;
mod entries;
mod older;
mod outputs;
mod page;
mod verbs;
mod world;

pub(crate) use bodies::beyond;

pub(super) fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

pub(super) fn is_written_anew() -> bool {
    std::env::var_os("KEYWARD_TEST_GOLDEN").is_some_and(|wish| wish == "write")
}
