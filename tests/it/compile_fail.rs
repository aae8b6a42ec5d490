//! What the compiler must refuse: nobody mints without a decision, delivers without a durable
//! record, spends a decision twice, or looks at a secret by accident.
//!
//! Each case is a file in `tests/compile_fail`:
//!
//! - The first line pins the error: `//@ error: E0451`. The case must fail with errors of this code
//!   and no other.
//! - One line ends with `//@ twin: CODE`. With that line replaced by `CODE` the file must compile:
//!   so the case fails for the reason it names, and not because of a typo or a renamed item.
//!
//! To add a case, add a file; nothing else needs to change. Write the twin first, as the way that is
//! meant to be taken, and let the marked line be the shortcut. A case may use `keyward` and `std`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// Compiles against the library that this very test run was built with.
struct Compiler {
    library: PathBuf,
    deps: PathBuf,
    out: tempfile::TempDir,
}

impl Compiler {
    fn find() -> Self {
        let binary = std::env::current_exe().unwrap();
        let deps = binary.parent().unwrap().to_owned();
        let mut out = tempfile::tempdir().unwrap();
        let newest = |path: &PathBuf| path.metadata().and_then(|it| it.modified()).ok();
        let mut libraries: Vec<PathBuf> =
            std::fs::read_dir(&deps).unwrap().map(|entry| entry.unwrap().path()).filter(is_library).collect();
        libraries.sort_by_key(|path| std::cmp::Reverse(newest(path).unwrap_or(SystemTime::UNIX_EPOCH)));
        // Other toolchains and profiles may have left theirs: the newest one that can be read.
        for library in libraries {
            let compiler = Self { library, deps: deps.clone(), out };
            if compiler.errors("pub use keyward::base::Sensitive;").is_empty() {
                return compiler;
            }
            out = compiler.out;
        }
        panic!("no readable libkeyward-*.rlib in {}: run scripts/test", deps.display());
    }

    /// The codes of the errors that `code` gives; `?` for an error without a code.
    fn errors(&self, code: &str) -> BTreeSet<String> {
        let case = tempfile::Builder::new().suffix(".rs").tempfile_in(self.out.path()).unwrap();
        std::fs::write(case.path(), code).unwrap();
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let output = Command::new(rustc)
            .args(["--edition=2024", "--crate-type=lib", "--crate-name=case", "--emit=metadata"])
            .args(["--error-format=json", "--cap-lints=allow"])
            .arg(format!("--extern=keyward={}", self.library.display()))
            .arg(format!("-Ldependency={}", self.deps.display()))
            .arg("-o")
            .arg(case.path().with_extension("rmeta"))
            .arg(case.path())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let messages = said.lines().filter_map(|line| serde_json::from_str(line).ok());
        let codes: BTreeSet<String> = messages
            .filter(|message: &serde_json::Value| message["level"] == "error")
            .filter(|message| !message["message"].as_str().unwrap_or_default().starts_with("aborting due to"))
            .map(|message| message["code"]["code"].as_str().unwrap_or("?").to_owned())
            .collect();
        assert_eq!(output.status.success(), codes.is_empty(), "{said}");
        codes
    }

    /// What is wrong with `case`, if anything.
    fn judge(&self, case: &str) -> Option<String> {
        let Some(pinned) = case.lines().next().and_then(|line| line.strip_prefix("//@ error: ")) else {
            return Some("the first line does not pin an error".to_owned());
        };
        if case.matches(TWIN).count() != 1 {
            return Some("not exactly one line has a twin".to_owned());
        }
        let twin: Vec<&str> =
            case.lines().map(|line| line.split_once(TWIN).map_or(line, |(_, twin)| twin)).collect();
        let errors = self.errors(&twin.join("\n"));
        if !errors.is_empty() {
            return Some(format!("the twin does not compile: {errors:?}"));
        }
        let errors = self.errors(case);
        if errors != BTreeSet::from([pinned.to_owned()]) {
            return Some(format!("{pinned} was pinned, the compiler says {errors:?}"));
        }
        None
    }
}

const TWIN: &str = "//@ twin: ";

fn is_library(path: &PathBuf) -> bool {
    let name = Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.starts_with("libkeyward-") && Path::new(name).extension().is_some_and(|it| it == "rlib")
}

#[test]
fn the_compiler_refuses_every_shortcut_and_takes_the_way_that_is_meant() {
    let compiler = Compiler::find();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compile_fail");
    let mut cases: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() >= 15, "cases have gone missing");
    // Two at a time: each is a compiler of its own.
    let judge = |cases: &[PathBuf]| -> Vec<String> {
        let judged = cases.iter().filter_map(|path| {
            let wrong = compiler.judge(&std::fs::read_to_string(path).unwrap())?;
            Some(format!("{}: {wrong}", path.file_name().unwrap().display()))
        });
        judged.collect()
    };
    let (some, others) = cases.split_at(cases.len() / 2);
    let findings = std::thread::scope(|scope| {
        let first = scope.spawn(|| judge(some));
        let mut findings = judge(others);
        findings.extend(first.join().unwrap());
        findings
    });
    assert!(findings.is_empty(), "\n{}", findings.join("\n"));
}

#[test]
fn a_case_that_compiles_or_fails_otherwise_is_found() {
    let compiler = Compiler::find();
    let case = |error: &str, bad: &str, twin: &str| {
        compiler.judge(&format!("//@ error: {error}\npub fn f(a: String) {{\n{bad} {TWIN}{twin}\n}}\n"))
    };
    assert_eq!(case("E0308", "let _: u8 = a;", "let _: String = a;"), None);
    let found =
        |wrong: Option<String>, say: &str| assert!(wrong.is_some_and(|said| said.contains(say)), "{say}");
    found(case("E0451", "let _: u8 = a;", "let _: String = a;"), "E0308");
    found(case("E0308", "let _ = a;", "let _: String = a;"), "the compiler says {}");
    found(case("E0308", "let _: u8 = a;", "let _: u8 = a;"), "the twin does not compile");
    found(compiler.judge("pub fn f() {}"), "does not pin");
    found(compiler.judge("//@ error: E0308\npub fn f() {}"), "has a twin");
}
