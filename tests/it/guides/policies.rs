//! `how-to/change-policies.md`.

use std::fs;

use super::{blocks, fenced, run_as, said, shell};
use crate::approval_keys::commands::{WORDS, accept_on_host, accepted, created, persons, typed};
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
    assert_eq!(commands.len(), 14);
    assert!(run(&commands[8]).0);
    let file = process.path("declarations.toml");
    let declared = format!("\n{}", fs::read_to_string(&file).unwrap());
    let kept: Vec<&str> = declared.split("\n[[").filter(|table| !table.starts_with("policy]]")).collect();
    fs::write(&file, kept.join("\n[[")).unwrap();
    let (is_good, said) = run(&commands[9]);
    assert!(is_good && said.contains("- policy no-night-deploys"), "{said}");
    assert_eq!(said.lines().filter(|line| line.starts_with("- ")).count(), 1, "{said}");
    let plan = process.json(&["plan", "-f", &file.display().to_string(), "--prune"])["plan"].clone();
    let (is_good, said) = run(&commands[10].replace("$PLAN", plan.as_str().unwrap()));
    assert!(is_good && said.contains("applied in ledger entry"), "{said}");
    let left = String::from_utf8(process.good(&["export"], b"")).unwrap();
    assert!(left.contains("deploy-bot") && !left.contains("no-night-deploys"), "{left}");
    // When an earlier version is brought back by the page, then it is in force again
    let versions = process.json(&["policy", "history", "no-night-deploys"])["versions"].clone();
    let hash = versions[1]["hash"].as_str().unwrap();
    assert!(run(&commands[11]).1.contains(&hash[..16]));
    let (is_good, said) = run(&commands[12].replace("$HASH", hash));
    assert!(is_good && said.contains("hour < 16"), "{said}");
    let (is_good, said) = run(&commands[13].replace("$HASH", hash));
    assert!(is_good && said.contains("+ policy no-night-deploys"), "{said}");
    let shown = process.json(&["policy", "show", "no-night-deploys"]);
    assert_eq!(shown["hash"], hash);
    // And so is a set: here the one of the wider rule, which has to be confirmed
    let sets = process.json(&["policy", "history"])["sets"].clone();
    assert_eq!(sets.as_array().unwrap().len(), 4, "{sets}");
    let set = sets[2]["hash"].as_str().unwrap();
    let back = format!("keyward policy rollback --to {} --yes", &set[..16]);
    let (is_good, said) = run(&back);
    assert!(!is_good && said.contains("widening_not_confirmed"), "{said}");
    let (is_good, said) = run(&format!("{back} --widen"));
    assert!(is_good && said.contains("~ policy no-night-deploys"), "{said}");
    let (_, said) = run("keyward policy show no-night-deploys");
    assert!(said.contains("hour < 18"), "{said}");
}

#[test]
fn wider_change_is_approved_by_a_second_operator_by_the_page() {
    // Given the setting of the page, the admins `admin` and `bob`, and an approval key of each
    let files = fenced(PAGE, "toml");
    let mut process = persons();
    accepted(&process, "bob");
    accept_on_host(&process, "admin", &created(&process, "operator"));
    process.stop();
    process.configure(&files[2]);
    process.serve();
    let file = process.path("deploy.toml");
    fs::write(&file, &files[0]).unwrap();
    let commands = blocks(PAGE);
    run_as(&process, "operator", "keyward apply -f deploy.toml\n", &[]);
    // When a change gives more access, then `--widen` is not enough
    fs::write(&file, files[0].replace("hour < 16", "hour < 18")).unwrap();
    let home = process.path("home-operator").display().to_string();
    let refused = shell(&process.path(""), &commands[5], &[("KEYWARD_HOME", &home)]);
    assert!(!refused.status.success(), "{refused:?}");
    assert!(said(&refused).contains("widening_needs_second_operator"), "{}", said(&refused));
    // When bob approves the plan at a terminal, then it is applied
    let place = |command: &str| {
        let command = command.trim().strip_prefix("keyward ").unwrap();
        command.replace("deploy.toml", &file.display().to_string())
    };
    let approval = process.path("plan-approval.json").display().to_string();
    let approve = place(&commands[6]).replace("plan-approval.json", &approval);
    let (is_done, told) = typed(&process, "bob", &approve, "Passphrase of the approval key: ", &[WORDS]);
    assert!(is_done && told.contains("you approve these changes") && told.contains("deploy-bot"), "{told}");
    assert!(told.contains("hour < 16") && told.contains("hour < 18"), "both rules: {told}");
    let applied = run_as(&process, "operator", &commands[7], &[]);
    assert!(applied.contains("applied in ledger entry"), "{applied}");
    // And a plan without such a change is not signed
    let again: Vec<&str> = approve.split(' ').collect();
    let refused = process.run_as("bob", &again, b"");
    assert!(said(&refused).contains("plan_approval_not_needed"), "{}", said(&refused));
}

#[test]
fn the_schema_of_the_page_is_the_one_of_the_program() {
    let schema = fs::read_to_string(crate::readme::root().join("src/rules/schema.cedarschema")).unwrap();
    assert_eq!(fenced("reference/policy.md", "cedarschema"), [schema]);
}
