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
    let (_, policy) = files[0].split_once("[[policy]]").unwrap();
    let policies = format!("[[environment]]\nname = \"production\"\n\n[[policy]]{policy}");
    fs::write(process.path("policies.toml"), policies).unwrap();
    let home = process.path("home-operator").display().to_string();
    let run = |script: &str| {
        let output = shell(&process.path(""), script, &[("KEYWARD_HOME", &home)]);
        (output.status.success(), said(&output))
    };
    // When its commands run one after the other
    let commands = blocks(PAGE);
    let texts = fenced(PAGE, "text");
    let outputs: Vec<String> = commands[..6]
        .iter()
        .map(|script| {
            let (is_good, said) = run(script);
            assert!(is_good, "{script}: {said}");
            said
        })
        .collect();
    let [test, first, exported, change, simulated, applied] = &outputs[..] else { panic!("{commands:?}") };
    // Then the cases pass, and the first application needs no confirmation
    assert!(
        test.contains("2 passed, 0 failed") && first.contains("+ policy no-night-deploys"),
        "{test}{first}"
    );
    assert!(exported.contains("2 passed, 0 failed"), "{exported}");
    // And the plan is the one of the page
    assert!(change.contains(&texts[0]), "{change}");
    assert!(simulated.contains("0 requests were replayed"), "{simulated}");
    assert!(applied.contains("applied in ledger entry"), "{applied}");
    // The twin: without the option the broker refuses the change, and names it
    let back = "sed -i 's/hour < 18/hour < 19/' deploy.toml && keyward apply -f deploy.toml";
    let (is_good, said) = run(back);
    assert!(!is_good && said.contains("widening_not_confirmed") && said.contains("deploy-bot"), "{said}");
    // When the policy is removed by the page, then nothing else goes
    assert_eq!(commands.len(), 9);
    assert!(run(&commands[6]).0);
    let file = process.path("declarations.toml");
    let declared = format!("\n{}", fs::read_to_string(&file).unwrap());
    let kept: Vec<&str> = declared.split("\n[[").filter(|table| !table.starts_with("policy]]")).collect();
    fs::write(&file, kept.join("\n[[")).unwrap();
    let (is_good, said) = run(&commands[7]);
    assert!(is_good && said.contains("- policy no-night-deploys"), "{said}");
    assert_eq!(said.lines().filter(|line| line.starts_with("- ")).count(), 1, "{said}");
    let plan = process.json(&["plan", "-f", &file.display().to_string(), "--prune"])["plan"].clone();
    let (is_good, said) = run(&commands[8].replace("$PLAN", plan.as_str().unwrap()));
    assert!(is_good && said.contains("applied in ledger entry"), "{said}");
    let left = String::from_utf8(process.good(&["export"], b"")).unwrap();
    assert!(left.contains("deploy-bot") && !left.contains("no-night-deploys"), "{left}");
}

#[test]
fn the_schema_of_the_page_is_the_one_of_the_program() {
    let schema = fs::read_to_string(crate::readme::root().join("src/rules/schema.cedarschema")).unwrap();
    assert_eq!(fenced("reference/policy.md", "cedarschema"), [schema]);
}
