use std::collections::BTreeMap;

use super::super::declaration::{TABLES, parse};
use super::super::effect::Effect;
use super::super::plan_context::{ForeignNames, SecretFacts};
use super::super::state::Registry;
use super::*;
use crate::base::limits::FAULTS_LISTED_MAX;
use crate::base::{Cancellation, Scope, Timestamp};
use crate::config::{Fault, Tables};
use crate::store::At;

const GOOD: &str = r#"
[[capability]]
name = "github.repo.read"
access = "read"
delivery = "reveal"
secret = "github/app"
max_life_s = 300

[[capability]]
name = "reports.publish"
access = "write"
delivery = "mint"
audience = "https://reports.example.com"
max_life_s = 120

[[role]]
name = "repo-reader"
capabilities = ["github.repo.read"]

[[agent]]
name = "research-bot"
roles = ["repo-reader"]
"#;

fn files(text: &str) -> Vec<SourceFile> {
    vec![SourceFile { name: "a.toml".to_owned(), text: text.to_owned() }]
}

fn parsed(files: &[SourceFile], scope: &Scope, work: &Cancellation) -> Result<Declaration, FaultList> {
    Ok(parse(&mut Tables::parse(files, TABLES, work)?, scope))
}

fn plan(text: &str, secret: bool) -> Result<Plan, Vec<Fault>> {
    plan_of(text, secret).map_err(|list| list.faults)
}

fn plan_of(text: &str, secret: bool) -> Result<Plan, FaultList> {
    let files = files(text);
    let (registry, scope) = (Registry::default(), Scope::Everything);
    let work = Cancellation::new();
    let declaration = parsed(&files, &scope, &work)?;
    let there = SecretFacts { owner: None, sensitivity: Sensitivity::Ordinary };
    let there = |_: &_| secret.then(|| there.clone());
    let broker = "https://broker.test".parse().unwrap();
    let ground = PlanContext {
        registry: &registry,
        scope: &scope,
        foreign_names: ForeignNames::Told,
        secret: &there,
        environments: &BTreeSet::new(),
        broker: &broker,
        work: &work,
    };
    draw(&ground, &declaration, Undeclared::Keep, &files)
}

/// Every fault is refused with its line, and no fault repeats the value that is wrong.
fn refuse(text: &str, line: usize, says: &str) {
    let faults = plan(text, true).unwrap_err();
    let fault = &faults[0];
    assert_eq!(fault.line, line, "{fault:?}");
    assert!(fault.message.contains(says), "{fault:?}");
    assert!(!format!("{faults:?}").contains("CNRY"), "{faults:?}");
}

#[test]
fn faults_of_form_and_of_meaning_are_told_at_once() {
    // Given a role with a wrong field, and an agent and a role that name nothing
    let text = "[[role]]\nname = \"r\"\ncapabilities = [\"x.y\"]\n\
                [[agent]]\nname = \"a\"\nroles = [\"r\"]\nmax_instances = 0\n";
    let faults = plan(text, true).unwrap_err();
    let lines: Vec<usize> = faults.iter().map(|fault| fault.line).collect();
    assert_eq!(lines, [1, 7], "{faults:?}");
    // Then a name of what could not be read is no fault
    let text = "[[role]]\nname = \"r\"\ncapabilitys = []\n[[agent]]\nname = \"a\"\nroles = [\"r\"]\n";
    let faults = plan(text, true).unwrap_err();
    assert_eq!((faults.len(), faults[0].line), (1, 3), "{faults:?}");
}

#[test]
fn a_good_file_creates_what_it_names() {
    let plan = plan(GOOD, true).unwrap();
    assert_eq!(plan.changes.len(), 4);
    assert!(plan.changes.iter().all(|change| change.action == Action::Create.as_str()));
}

#[test]
fn a_capability_whose_secret_is_not_there_dangles() {
    let faults = plan(GOOD, false).unwrap_err();
    assert_eq!((faults[0].line, faults.len()), (2, 1), "{faults:?}");
}

#[test]
fn bad_declarations_are_refused_with_their_place() {
    refuse("[[role]]\nname = \"r\"\ncapabilities = [\"x.y\"]\n", 1, "not declared");
    refuse("[[agent]]\nname = \"a\"\nroles = [\"r\"]\n", 1, "not declared");
    refuse("[[agent]]\nname = \"CNRY\"\nroles = []\n", 2, "not a canonical agent name");
    refuse("[[agent]]\nname = \"a\"\nrolls = []\n", 3, "unknown field");
    refuse("[[agent]]\nname = \"a\"\nname = \"a\"\nroles = []\n", 3, "duplicate");
    refuse("[[agent]]\nname = 7\nroles = []\n", 2, "expected a string");
    refuse("[[agent]]\nname = \"a\"\nroles = \"CNRY\"\n", 3, "expected a sequence");
    refuse("[[agent]]\nname = \"a\"\nroles = []\n\n[[agent]]\nname = \"a\"\nroles = []\n", 6, "twice");
    refuse("[[agent]]\nname = \"a\"\nroles = []\nmax_instances = 0\n", 4, "max_instances");
    refuse(&GOOD.replace("\"reveal\"", "\"mint\""), 5, "contradicts `secret`");
    refuse(&GOOD.replace("\"mint\"", "\"reveal\""), 12, "contradicts `audience`");
    refuse(&GOOD.replace("\"read\"", "\"CNRY\""), 4, "unknown word");
    refuse(&GOOD.replace("= 300", "= 3601"), 7, "max_life_s");
    refuse(&GOOD.replace("= 300", "= 9"), 7, "max_life_s");
    refuse("[[agent]\n", 1, "");
    refuse("[[resource_server]]\nname = \"a\"\n", 1, "missing");
    refuse("[[resource_server]]\nname = \"a\"\naudience = \"CNRY\"\n", 3, "not a canonical audience");
    let both =
        "[[agent]]\nname = \"a\"\nroles = []\n[[resource_server]]\nname = \"a\"\naudience = \"https://a\"\n";
    refuse(both, 5, "twice");
}

#[test]
fn a_file_with_32_000_faults_lists_the_first_and_counts_the_others() {
    let text = "[[agent]]\nname = \"A\"\nroles = []\n".repeat(32_000);
    let list = plan_of(&text, true).unwrap_err();
    assert_eq!(list.faults.len() + list.more, 32_000);
    assert_eq!(list.faults.len(), FAULTS_LISTED_MAX);
    assert_eq!(list.faults.last().map(|fault| fault.line), Some(49 * 3 + 2));
}

/// The steps of a plan of an operator who is bound to an owner and declares `count` capabilities, where there are
/// as many of another owner.
fn steps(count: usize) -> u64 {
    let declare = |word: &str, scope: &Scope, work: &Cancellation| {
        let one = |number: usize| {
            format!(
                "[[capability]]\nname = \"{word}.n{number}\"\naccess = \"read\"\ndelivery = \"mint\"\n\
                 audience = \"https://{word}{number}\"\nmax_life_s = 60\n"
            )
        };
        let files = files(&(0..count).map(one).collect::<String>());
        (parsed(&files, scope, work).unwrap(), files)
    };
    let draw_on = |registry: &Registry, scope: &Scope, word: &str| {
        let work = Cancellation::new();
        let (declaration, files) = declare(word, scope, &work);
        let broker = "https://broker.test".parse().unwrap();
        let ground = PlanContext {
            registry,
            scope,
            foreign_names: ForeignNames::Told,
            secret: &|_| None,
            environments: &BTreeSet::new(),
            broker: &broker,
            work: &work,
        };
        (draw(&ground, &declaration, Undeclared::Prune, &files).unwrap(), work.steps())
    };
    let mut registry = Registry::default();
    let (theirs, _) = draw_on(&registry, &Scope::Everything, "theirs");
    let effect = Effect::Declare {
        capabilities: theirs.capabilities,
        removed_capabilities: Vec::new(),
        roles: Vec::new(),
        removed_roles: Vec::new(),
    };
    registry.apply(At { seq: 1, time: Timestamp::from_s(0) }, &effect);
    draw_on(&registry, &Scope::Owner("payments".parse().unwrap()), "ours").1
}

#[test]
fn a_plan_of_twice_as_much_takes_twice_the_steps() {
    let (once, twice) = (steps(100), steps(200));
    assert!(once >= 300, "every loop counts: {once}");
    assert!(twice <= once * 2, "{once} steps, then {twice}");
}

#[test]
fn a_plan_that_is_cancelled_at_any_step_has_no_result() {
    let files = files(GOOD);
    let (registry, scope) = (Registry::default(), Scope::Everything);
    let there = SecretFacts { owner: None, sensitivity: Sensitivity::Ordinary };
    let plan_within = |steps_max: u64| {
        let work = Cancellation::after_steps(steps_max);
        let declaration = parsed(&files, &scope, &work)?;
        let secret = |_: &_| Some(there.clone());
        let broker = "https://broker.test".parse().unwrap();
        let ground = PlanContext {
            registry: &registry,
            scope: &scope,
            foreign_names: ForeignNames::Told,
            secret: &secret,
            environments: &BTreeSet::new(),
            broker: &broker,
            work: &work,
        };
        draw(&ground, &declaration, Undeclared::Prune, &files).map(|_| work.steps())
    };
    let steps = plan_within(u64::MAX).unwrap();
    for steps_max in 0..steps {
        assert!(plan_within(steps_max).unwrap_err().cancelled, "{steps_max} of {steps}");
    }
    assert!(plan_within(steps).is_ok());
}

#[test]
fn limits_hold_at_the_edge() {
    assert!(plan(&GOOD.replace("= 300", "= 3600"), true).is_ok());
    assert!(plan(&GOOD.replace("= 300", "= 10"), true).is_ok());
    let roles: BTreeMap<usize, String> = (0..33).map(|i| (i, format!("\"r{i}\""))).collect();
    let list = |n: usize| roles.values().take(n).cloned().collect::<Vec<_>>().join(",");
    let text = |n: usize| format!("[[agent]]\nname = \"a\"\nroles = [{}]\n", list(n));
    let at_limit = plan(&text(32), true).unwrap_err();
    assert!(at_limit.iter().all(|fault| fault.message.contains("not declared")), "{at_limit:?}");
    refuse(&text(33), 3, "more than 32");
}

#[test]
fn a_reference_ends_with_what_it_means() {
    let at = |seq| At { seq, time: Timestamp::from_s(1) };
    let mut registry = Registry::default();
    let declared = plan(GOOD, true).unwrap();
    let declare =
        |capabilities: &[Capability], gone: &[&str], roles: &[Role], lost: &[&str]| Effect::Declare {
            capabilities: capabilities.to_vec(),
            removed_capabilities: gone.iter().map(|name| name.parse().unwrap()).collect(),
            roles: roles.to_vec(),
            removed_roles: lost.iter().map(|name| name.parse().unwrap()).collect(),
        };
    registry.apply(at(1), &declare(&declared.capabilities, &[], &declared.roles, &[]));
    let (spec, _) = declared.agents[0].clone();
    let id = crate::base::AgentId::mint(Timestamp::from_s(1), &crate::base::SystemEntropy);
    registry.apply(at(2), &Effect::PutAgent { id, spec });
    // As builds before this one let happen: what is named goes, and another one of its name comes.
    registry.apply(at(3), &declare(&[], &["github.repo.read"], &[], &[]));
    registry.apply(at(4), &declare(&declared.capabilities, &[], &[], &[]));
    let role = registry.declarations().role(&"repo-reader".parse().unwrap()).unwrap();
    assert!(role.capabilities.is_empty(), "{role:?}");
    registry.apply(at(5), &declare(&[], &[], &[], &["repo-reader"]));
    registry.apply(at(6), &declare(&[], &[], &declared.roles, &[]));
    assert!(registry.agent(id).unwrap().roles.is_empty());
}
