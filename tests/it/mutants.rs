//! The faults that `scripts/mutants` puts into a copy of the sources: each still fits them, and names
//! tests that exist. That those fail is for the script to show.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::readme::root;
use crate::support::source::sources;

/// Fewer than there are: a fault may go with what it was in, not with all the rest.
const FAULTS_MIN: usize = 20;

fn faults() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join("tests/mutants")).unwrap();
    let mut faults: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    faults.sort();
    assert!(faults.len() >= FAULTS_MIN, "{} faults", faults.len());
    faults
}

/// The suite, and the part of the names of its tests, that a fault says it is caught by.
fn caught_by(fault: &Path) -> (String, String) {
    let text = std::fs::read_to_string(fault).unwrap();
    let mut lines = text.lines();
    let (what, by) = (lines.next().unwrap(), lines.next().unwrap());
    assert!(
        what.ends_with('.') && lines.next() == Some(""),
        "{}: one sentence, who, nothing",
        fault.display()
    );
    let by = by.strip_prefix("caught by: ").and_then(|by| by.split_once(' '));
    let (suite, filter) = by.unwrap_or_else(|| panic!("{}: caught by whom?", fault.display()));
    (suite.to_owned(), filter.to_owned())
}

#[test]
fn every_fault_still_fits_the_sources() {
    for fault in faults() {
        let output = Command::new("git").args(["apply", "--check"]).arg(&fault).current_dir(root()).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn every_fault_names_tests_that_exist() {
    let (outside, inside) = (sources("tests/it"), sources("src"));
    for fault in faults() {
        let (suite, filter) = caught_by(&fault);
        let (folder, sources) = match suite.as_str() {
            "it" => ("tests/it/", &outside),
            "lib" => ("src/", &inside),
            _ => panic!("{}: no suite is called {suite}", fault.display()),
        };
        let (module, name) = filter.rsplit_once("::").unwrap_or(("", &filter));
        let within = format!("{folder}{}", module.replace("::", "/"));
        let mut there = sources.iter().filter(|source| source.path.starts_with(&within));
        let found = there.any(|source| name.is_empty() || source.raw.contains(&format!("fn {name}")));
        let found = found || sources.iter().any(|source| source.raw.contains(&format!("fn {filter}")));
        assert!(found, "{}: no test is called {filter}", fault.display());
    }
}
