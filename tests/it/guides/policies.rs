//! `how-to/change-policies.md`.

use std::fs;

use super::{blocks, fenced, said, shell};
use crate::support::process::Process;

const PAGE: &str = "how-to/change-policies.md";

#[test]
fn policies_are_tested_planned_simulated_and_applied_by_the_page() {
    let mut process = Process::init("warn");
    process.serve();
    // Given the files of the page
    let files = fenced(PAGE, "toml");
    for (name, text) in ["deploy.toml", "cases.toml"].iter().zip(&files) {
        fs::write(process.path(name), text).unwrap();
    }
    let home = process.path("home-operator").display().to_string();
    let run = |script: &str| {
        let output = shell(&process.path(""), script, &[("KEYWARD_HOME", &home)]);
        (output.status.success(), said(&output))
    };
    // When its commands run one after the other
    let commands = blocks(PAGE);
    let texts = fenced(PAGE, "text");
    let outputs: Vec<String> = commands
        .iter()
        .map(|script| {
            let (is_good, said) = run(script);
            assert!(is_good, "{script}: {said}");
            said
        })
        .collect();
    let [test, first, change, simulated, applied] = &outputs[..] else { panic!("{commands:?}") };
    // Then the cases pass, and the first application needs no confirmation
    assert!(
        test.contains("2 passed, 0 failed") && first.contains("+ policy no-night-deploys"),
        "{test}{first}"
    );
    // And the plan is the one of the page
    assert!(change.contains(&texts[0]), "{change}");
    assert!(simulated.contains("0 requests were replayed"), "{simulated}");
    assert!(applied.contains("applied in ledger entry"), "{applied}");
    // The twin: without the option the broker refuses the change, and names it
    let back = "sed -i 's/hour < 18/hour < 19/' deploy.toml && keyward apply -f deploy.toml";
    let (is_good, said) = run(back);
    assert!(!is_good && said.contains("widening_not_confirmed") && said.contains("deploy-bot"), "{said}");
}
