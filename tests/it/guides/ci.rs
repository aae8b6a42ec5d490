//! The page about CI.

use std::fs;

use super::{blocks, fenced, run_as, said, shell};
use crate::support::process::Process;

const PAGE: &str = "how-to/ci.md";

const DECLARED: &str = "[[capability]]\nname = \"pay.call\"\naccess = \"write\"\ndelivery = \"mint\"\n\
                        audience = \"https://pay.example.com\"\nmax_life_s = 120\n";

#[test]
fn ci_plans_with_one_identity_and_applies_with_another_by_the_page() {
    let mut process = Process::init("warn");
    process.serve();
    let home = |of: &str| process.path(&format!("ci-{of}")).display().to_string();
    let run = |who: &str, block: &str, home: (&str, &str)| {
        run_as(&process, who, block, &[home, ("RUNNERS", "127.0.0.0/8")])
    };
    // Each runner knows its own home only.
    let (of_plan, of_apply) = (home("plan"), home("apply"));
    let (plan, apply) = (("PLAN_HOME", of_plan.as_str()), ("APPLY_HOME", of_apply.as_str()));
    let blocks = blocks(PAGE);
    run("operator", &blocks[0], plan);
    assert!(run("runner", &blocks[1], plan).contains("auditor"));
    assert!(run("runner", &blocks[2], apply).contains("deployer"));
    fs::create_dir(process.path("declarations")).unwrap();
    fs::write(process.path("declarations/pay.toml"), DECLARED).unwrap();
    let planned = run("runner", &blocks[3], plan);
    assert!(planned.contains("+ capability pay.call"), "{planned}");
    let by_hand = |command: &str| shell(&process.path(""), command, &[plan]);
    // A secret without the owner does not exist for it, and the message names the option that sets the owner.
    process.good(&["secret", "put", "payments/stripe"], b"value");
    let reveal = DECLARED
        .replace("pay.call", "pay.stripe")
        .replace("\"mint\"", "\"reveal\"")
        .replace("audience = \"https://pay.example.com\"", "secret = \"payments/stripe\"");
    fs::write(process.path("stripe.toml"), reveal).unwrap();
    let file = process.path("stripe.toml").display().to_string();
    let told = said(&by_hand(&format!("keyward plan --home \"$PLAN_HOME\" -f {file}")));
    for part in
        ["among the objects that you may see (owner `payments`)", "put payments/stripe --owner payments"]
    {
        assert!(told.contains(part), "{part}: {told}");
    }
    // The identity of pull requests cannot apply.
    let refused = by_hand("keyward apply --home \"$PLAN_HOME\" -f declarations");
    assert!(
        !refused.status.success() && said(&refused).contains("operator_role_insufficient"),
        "{refused:?}"
    );
    run("runner", &blocks[4], apply);
    let applied = process.json(&["capability", "show", "pay.call"]);
    assert_eq!(applied["owner"], "payments");
    assert!(run("runner", &blocks[4], apply).to_lowercase().contains("no change"), "twice");
    for (block, home) in [(&blocks[5], plan), (&blocks[6], apply)] {
        assert!(run("runner", block, home).contains("renewed spiffe://"));
    }
    run("operator", &blocks[7], plan);
}

/// The keys and values below `key`, a key without indentation, of a workflow.
fn below<'a>(workflow: &'a str, key: &str) -> Vec<&'a str> {
    let head = format!("{key}:");
    let after = workflow.lines().skip_while(|line| *line != head).skip(1);
    after.take_while(|line| line.starts_with(' ')).map(str::trim).collect()
}

/// The values of `key` anywhere in a workflow.
fn values<'a>(workflow: &'a str, key: &str) -> Vec<&'a str> {
    let head = format!("{key}: ");
    let line = |line: &'a str| line.trim().trim_start_matches("- ").strip_prefix(head.as_str());
    workflow.lines().filter_map(line).collect()
}

#[test]
fn workflow_of_pull_requests_has_no_way_to_the_identity_that_applies() {
    let workflows = fenced(PAGE, "yaml");
    let [plan, apply] = workflows.as_slice() else { panic!("two workflows: {}", workflows.len()) };
    // Pull requests start only the plan, on a machine of its own, and name no home or verb of the other one.
    assert_eq!(values(plan, "runs-on"), ["[self-hosted, keyward-plan]"; 2]);
    for foreign in ["APPLY_HOME", "keyward-apply", "keyward-main", "keyward apply", "push:"] {
        assert!(!plan.contains(foreign), "{foreign}");
    }
    // The apply starts only from the main branch and by the clock, on a runner of the group that is bound to this file.
    let triggers = below(apply, "on");
    assert_eq!(triggers[..3], ["push:", "branches: [main]", "schedule:"]);
    assert!(triggers[3].starts_with("- cron: ") && triggers.len() == 4, "{triggers:?}");
    assert_eq!(values(apply, "group"), ["keyward-main"; 2]);
    for foreign in ["pull_request", "workflow_dispatch", "workflow_call", "PLAN_HOME", "keyward-plan"] {
        assert!(!apply.contains(foreign), "{foreign}");
    }
    let page = fs::read_to_string(crate::readme::root().join("docs").join(PAGE)).unwrap();
    assert!(page.contains("/.github/workflows/keyward-apply.yml@refs/heads/main`"));
    // Their commands are those of the page, which the other test runs.
    let tested = blocks(PAGE)[3..7].concat();
    let commands: Vec<&str> = workflows.iter().flat_map(|workflow| values(workflow, "run")).collect();
    assert_eq!(commands.len(), 4);
    assert!(commands.iter().all(|command| tested.lines().any(|line| line == *command)), "{commands:?}");
}
