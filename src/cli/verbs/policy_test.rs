use std::path::PathBuf;

use clap::Args;

use super::declarations::read_files;
use crate::base::code;
use crate::broker::{Failure, PolicyCaseResult, PolicyTest, run_policy_test};
use crate::config::SourceFile;
use crate::console::{CommandFailure, Console};
use crate::rotation::spoken;
use crate::wire::{DeclarationFileBody, PolicyCaseOutput, PolicyTestOutput};

/// `keyward policy test`
#[derive(Args, Debug)]
pub struct PolicyTestArgs {
    /// Files with the cases, or directories of *.toml files
    #[arg(required = true, value_name = "CASES")]
    cases: Vec<PathBuf>,
    /// A file with declarations, a directory of *.toml files, or `-` for standard input
    #[arg(short = 'f', long = "file", required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl PolicyTestArgs {
    pub(crate) fn run(&self, console: &Console) -> Result<(), CommandFailure> {
        let streams = self.cases.iter().chain(&self.files).filter(|path| path.as_os_str() == "-");
        if streams.count() > 1 {
            // The second reading would find nothing, and a test without policies can pass.
            let why = "standard input (`-`) is named twice, and can be read only once";
            return Err(CommandFailure::usage(
                why,
                "store the cases or the declarations in a file, and name it",
            ));
        }
        let test = PolicyTest { declarations: sources(&self.files)?, cases: sources(&self.cases)? };
        let results = run_policy_test(&test).map_err(|failure| invalid(&failure))?;
        let cases: Vec<PolicyCaseOutput> = results.iter().map(output).collect();
        let failed = cases.iter().filter(|case| !case.passed).count();
        let output = PolicyTestOutput { failed, cases };
        console.record_lines(&output, || lines(&output));
        if failed == 0 {
            return Ok(());
        }
        let why = format!("{failed} of {} cases failed", output.cases.len());
        Err(CommandFailure::new(code::POLICY_TEST_FAILED).because(why))
    }
}

fn sources(paths: &[PathBuf]) -> Result<Vec<SourceFile>, CommandFailure> {
    let files = read_files(paths)?.into_iter();
    Ok(files.map(|DeclarationFileBody { name, text }| SourceFile::new(name, text)).collect())
}

fn invalid(failure: &Failure) -> CommandFailure {
    let Failure { code, why, faults, .. } = failure;
    let invalid = CommandFailure::new(*code).because(why.clone()).at(faults);
    if faults.is_empty() { invalid } else { invalid.mended_by("correct each place that is listed") }
}

fn output(result: &PolicyCaseResult) -> PolicyCaseOutput {
    PolicyCaseOutput {
        name: result.name.clone(),
        passed: result.has_passed(),
        expected: result.expected.into(),
        outcome: result.outcome.into(),
        why: result.why.clone(),
        life_s: result.life_s,
        expected_life_s: result.expected_life_s,
        policies: result.policies.iter().cloned().collect(),
        expected_policy: result.expected_policy.clone(),
    }
}

/// The failed cases, with what decided them, and the counts.
fn lines(output: &PolicyTestOutput) -> Vec<String> {
    let failed = output.cases.iter().filter(|case| !case.passed).map(line);
    let passed = output.cases.len().saturating_sub(output.failed);
    failed.chain([format!("{passed} passed, {} failed", output.failed)]).collect()
}

fn line(case: &PolicyCaseOutput) -> String {
    let PolicyCaseOutput { name, expected, outcome, why, life_s, expected_life_s, expected_policy, .. } =
        case;
    let life = life_s.map_or_else(String::new, |life_s| format!(" for {}", spoken(life_s)));
    let has_life = expected_life_s.is_none_or(|expected| *life_s == Some(expected));
    let problem = match (expected_policy, expected_life_s) {
        _ if expected != outcome => format!("expected {expected}, is {outcome}{life}: {why}"),
        (_, Some(expected_s)) if !has_life => {
            format!("expected {expected} for {}, is {outcome}{life}: {why}", spoken(*expected_s))
        }
        (Some(policy), _) => {
            format!("expected policy `{policy}` to match, which it does not; is {outcome}{life}: {why}")
        }
        (None, _) => format!("{outcome}{life}: {why}"),
    };
    format!("failed: {name}: {problem}")
}
