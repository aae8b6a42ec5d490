//! The stored formats as they were frozen: what is in `tests/golden` opens with every later build, to the same entries.
//! Also the help texts and the output of commands, as people read them.
//!
//! `KEYWARD_TEST_GOLDEN=write` writes the files anew: those of stored formats only before a release, when a format
//! changes on purpose; those of texts (`golden::help`, `golden::texts`) whenever a text changes on purpose.

use std::path::{Path, PathBuf};

mod bodies;
mod data;
mod effects;
mod entries;
mod help;
mod older;
mod outputs;
mod page;
mod texts;
mod verbs;
mod world;

pub(crate) use bodies::beyond;

pub(super) fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

pub(super) fn is_written_anew() -> bool {
    std::env::var_os("KEYWARD_TEST_GOLDEN").is_some_and(|wish| wish == "write")
}

/// Compares a golden file of text with what is printed now.
#[track_caller]
pub(super) fn compare(name: &str, printed: &str) {
    let path = golden(name);
    if is_written_anew() {
        std::fs::write(&path, printed).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = kept.lines().zip(printed.lines()).position(|(kept, printed)| kept != printed);
    let at = differs.unwrap_or_else(|| kept.lines().count().min(printed.lines().count()));
    let around = |text: &str| text.lines().skip(at.saturating_sub(2)).take(6).collect::<Vec<_>>().join("\n");
    assert!(
        kept == printed,
        "tests/golden/{name}, line {}, is\n{}\nand is printed as\n{}\nIf this is intended: KEYWARD_TEST_GOLDEN=write",
        at + 1,
        around(&kept),
        around(printed)
    );
}
