//! The page about CI.

use std::fs;

use super::{blocks, fenced, run_as};
use crate::support::process::Process;

const PAGE: &str = "how-to/ci.md";

const DECLARED: &str = "[[capability]]\nname = \"pay.call\"\naccess = \"write\"\ndelivery = \"mint\"\n\
                        audience = \"https://pay.example.com\"\nmax_life_s = 120\n";

#[test]
fn ci_plans_with_one_identity_and_applies_with_another_by_the_page() {
    let mut process = Process::init("warn");
    process.serve();
    let home = process.path("ci").display().to_string();
    let run = |who: &str, block: &str| {
        run_as(&process, who, block, &[("CI_HOME", &home), ("RUNNERS", "127.0.0.0/8")])
    };
    let blocks = blocks(PAGE);
    run("operator", &blocks[0]);
    assert!(run("runner", &blocks[1]).contains("deployer"));
    fs::create_dir(process.path("declarations")).unwrap();
    fs::write(process.path("declarations/pay.toml"), DECLARED).unwrap();
    let planned = run("runner", &blocks[2]);
    assert!(planned.contains("+ capability pay.call"), "{planned}");
    // The identity of pull requests cannot apply.
    let home_of_plan = format!("{home}/plan");
    let refused = process.run_as("runner", &["apply", "--home", &home_of_plan, "-f", "declarations"], b"");
    assert!(!refused.status.success());
    run("runner", &blocks[3]);
    let applied = process.json(&["capability", "show", "pay.call"]);
    assert_eq!(applied["owner"], "payments");
    assert!(run("runner", &blocks[3]).to_lowercase().contains("no change"), "twice");
    assert_eq!(run("runner", &blocks[4]).matches("renewed spiffe://").count(), 2);
    run("operator", &blocks[5]);
    // The workflow runs the same commands.
    let workflow = &fenced(PAGE, "yaml")[0];
    let commands: Vec<&str> =
        workflow.lines().filter_map(|line| line.trim().strip_prefix("- run: ")).collect();
    assert_eq!(commands.len(), 4);
    let tested = blocks[2..5].concat();
    assert!(commands.iter().all(|command| tested.lines().any(|line| line == *command)), "{commands:?}");
}
