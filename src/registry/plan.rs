use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::declaration::Declaration;
use super::declared::{Capability, Delivery, Role};
use super::ground::{Ground, dangling, out_of_reach, turned};
use super::owners::Owned;
use crate::base::limits::HIGH_TOKEN_LIFE_MAX_S;
use crate::base::{AgentName, Audience, CapabilityName, OwnerName, RoleName, Sensitivity};
use crate::config::{FaultList, Faults, Place, SourceFile};

/// What is declared of an agent.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct AgentSpec {
    /// Its name.
    pub name: AgentName,
    /// The roles it holds.
    pub roles: BTreeSet<RoleName>,
    /// Most live instances at a time.
    pub max_instances: u32,
}

/// One line of a plan.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct PlannedChange {
    /// What happens to it.
    pub action: Action,
    /// What sort of thing it is.
    pub kind: Noun,
    /// Its name.
    pub name: String,
    /// The fields that change, for an update.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// What is to be known of it besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remark: Option<String>,
}

/// What happens to something declared.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It is new.
    Create,
    /// It changes.
    Update,
    /// It goes.
    Remove,
}

/// What can be declared.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Noun {
    /// Something that can be asked for.
    Capability,
    /// A set of capabilities.
    Role,
    /// Who asks.
    Agent,
    /// Who is asked, and asks the broker about it.
    #[serde(rename = "resource-server")]
    ResourceServer,
    /// When and how a secret is rotated.
    Rotation,
    /// Where logins of a capability are made.
    Lease,
}

/// The difference between what is declared and what there is.
#[derive(Debug, Default)]
pub struct Plan {
    /// Line by line, for people and for the ledger.
    pub changes: Vec<PlannedChange>,
    /// Capabilities to declare or replace.
    pub capabilities: Vec<Capability>,
    /// Capabilities to take away.
    pub removed_capabilities: Vec<CapabilityName>,
    /// Roles to declare or replace.
    pub roles: Vec<Role>,
    /// Roles to take away.
    pub removed_roles: Vec<RoleName>,
    /// Agents and resource servers to create or change, and what each serves.
    pub agents: Vec<(AgentSpec, Option<Audience>)>,
    /// Agents to take away.
    pub removed_agents: Vec<AgentName>,
    /// What belongs to somebody else from here on, or to nobody.
    pub owners: Vec<(Owned, Option<OwnerName>)>,
}

/// What an application does with things that its files do not name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unnamed {
    /// Leaves them alone.
    Keep,
    /// Takes them away.
    Prune,
}

/// Draws the plan that turns `ground` into what `declaration` says.
///
/// # Errors
/// A fault for every reference that would dangle afterwards, and for everything that is out of
/// reach.
pub fn draw(
    ground: &Ground<'_>,
    declaration: &Declaration,
    unnamed: Unnamed,
    files: &[SourceFile],
) -> Result<Plan, FaultList> {
    let mut faults = Faults::of(files);
    let mut report = |place: Place, message: String| faults.tell(place, message);
    out_of_reach(ground, declaration, &mut report);
    turned(ground, declaration, &mut report);
    dangling(ground, declaration, unnamed, &mut report);
    let mut plan = faults.or(Plan::default())?;
    plan.capabilities(ground, declaration, unnamed);
    plan.roles(ground, declaration, unnamed);
    plan.agents(ground, declaration, unnamed);
    Ok(plan)
}

impl Plan {
    /// Whether there is nothing to do.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    fn note(&mut self, action: Action, kind: Noun, name: &str, fields: &[(&str, Difference)]) {
        let fields = fields.iter().filter(|(_, difference)| *difference == Difference::Changed);
        let fields = fields.map(|(field, _)| (*field).to_owned()).collect();
        self.changes.push(PlannedChange { action, kind, name: name.to_owned(), fields, remark: None });
    }

    /// Whether `thing` gets another owner, which is noted then.
    fn owner(&mut self, ground: &Ground<'_>, declaration: &Declaration, thing: Owned) -> Difference {
        let (old, new) = (ground.registry.owners().of(&thing), declaration.owners.get(&thing));
        let difference = Difference::between(&old, &new);
        if difference == Difference::Changed {
            self.owners.push((thing, new.cloned()));
        }
        difference
    }

    fn capabilities(&mut self, ground: &Ground<'_>, declaration: &Declaration, unnamed: Unnamed) {
        for (name, (new, _)) in &declaration.capabilities {
            let owner = self.owner(ground, declaration, Owned::Capability(name.clone()));
            match ground.capability(name) {
                Some(old) if old == new && owner == Difference::Same => continue,
                Some(old) => self.note(
                    Action::Update,
                    Noun::Capability,
                    name.as_str(),
                    &[
                        ("access", Difference::between(&old.access, &new.access)),
                        ("delivery", Difference::between(&old.delivery, &new.delivery)),
                        ("max_life_s", Difference::between(&old.max_life_s, &new.max_life_s)),
                        ("owner", owner),
                    ],
                ),
                None => self.note(Action::Create, Noun::Capability, name.as_str(), &[]),
            }
            self.remark(ground, new);
            self.capabilities.push(new.clone());
        }
        if unnamed == Unnamed::Prune {
            for old in ground.registry.declarations().capabilities() {
                let unnamed = !declaration.capabilities.contains_key(&old.name);
                if unnamed && ground.capability(&old.name).is_some() {
                    self.note(Action::Remove, Noun::Capability, old.name.as_str(), &[]);
                    self.removed_capabilities.push(old.name.clone());
                }
            }
        }
    }

    /// Adds to the line about `capability` what its secret asks of it.
    fn remark(&mut self, ground: &Ground<'_>, capability: &Capability) {
        let Delivery::Reveal { secret } = &capability.delivery else { return };
        let is_high = (ground.secret)(secret).is_some_and(|secret| secret.sensitivity == Sensitivity::High);
        if let Some(line) = self.changes.last_mut().filter(|_| is_high) {
            let text = format!(
                "its secret is of sensitivity `high`: a token lives {HIGH_TOKEN_LIFE_MAX_S} s at most"
            );
            line.remark = Some(text);
        }
    }

    fn roles(&mut self, ground: &Ground<'_>, declaration: &Declaration, unnamed: Unnamed) {
        for (name, (new, _)) in &declaration.roles {
            let owner = self.owner(ground, declaration, Owned::Role(name.clone()));
            match ground.role(name) {
                Some(old) if old == new && owner == Difference::Same => continue,
                Some(old) => {
                    let capabilities = Difference::between(&old.capabilities, &new.capabilities);
                    let fields = [("capabilities", capabilities), ("owner", owner)];
                    self.note(Action::Update, Noun::Role, name.as_str(), &fields);
                }
                None => self.note(Action::Create, Noun::Role, name.as_str(), &[]),
            }
            self.roles.push(new.clone());
        }
        if unnamed == Unnamed::Prune {
            for old in ground.registry.declarations().roles() {
                if !declaration.roles.contains_key(&old.name) && ground.role(&old.name).is_some() {
                    self.note(Action::Remove, Noun::Role, old.name.as_str(), &[]);
                    self.removed_roles.push(old.name.clone());
                }
            }
        }
    }

    fn agents(&mut self, ground: &Ground<'_>, declaration: &Declaration, unnamed: Unnamed) {
        for (name, (new, _)) in &declaration.agents {
            let serves = declaration.serving.get(name);
            let noun = noun_of(serves);
            let owner = self.owner(ground, declaration, Owned::Agent(name.clone()));
            match ground.agent(name) {
                Some(old) => {
                    let fields = [
                        ("roles", Difference::between(&*old.roles, &new.roles)),
                        ("max_instances", Difference::between(&old.max_instances, &new.max_instances)),
                        ("audience", Difference::between(&old.serves.as_ref(), &serves)),
                        ("owner", owner),
                    ];
                    if fields.iter().all(|(_, difference)| *difference == Difference::Same) {
                        continue;
                    }
                    self.note(Action::Update, noun, name.as_str(), &fields);
                }
                None => self.note(Action::Create, noun, name.as_str(), &[]),
            }
            self.agents.push((new.clone(), serves.cloned()));
        }
        if unnamed == Unnamed::Prune {
            for old in ground.registry.agents() {
                if !declaration.agents.contains_key(&old.name) && ground.agent(&old.name).is_some() {
                    self.note(Action::Remove, noun_of(old.serves.as_ref()), old.name.as_str(), &[]);
                    self.removed_agents.push(old.name.clone());
                }
            }
        }
    }
}

const fn noun_of(serves: Option<&Audience>) -> Noun {
    if serves.is_some() { Noun::ResourceServer } else { Noun::Agent }
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Difference {
    Same,
    Changed,
}

impl Difference {
    fn between<T: PartialEq>(old: &T, new: &T) -> Self {
        if old == new { Self::Same } else { Self::Changed }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::declaration::parse;
    use super::super::ground::SecretGround;
    use super::super::state::Registry;
    use super::*;
    use crate::base::Scope;
    use crate::base::limits::FAULTS_LISTED_MAX;
    use crate::config::Fault;

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

    fn plan(text: &str, secret: bool) -> Result<Plan, Vec<Fault>> {
        plan_of(text, secret).map_err(|list| list.faults)
    }

    fn plan_of(text: &str, secret: bool) -> Result<Plan, FaultList> {
        let files = files(text);
        let (registry, scope) = (Registry::default(), Scope::Everything);
        let declaration = parse(&files, &scope)?;
        let there = SecretGround { owner: None, sensitivity: Sensitivity::Ordinary };
        let there = |_: &_| secret.then(|| there.clone());
        let ground = Ground { registry: &registry, scope: &scope, secret: &there };
        draw(&ground, &declaration, Unnamed::Keep, &files)
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
    fn a_good_file_creates_what_it_names() {
        let plan = plan(GOOD, true).unwrap();
        assert_eq!(plan.changes.len(), 4);
        assert!(plan.changes.iter().all(|change| change.action == Action::Create));
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
        let both = "[[agent]]\nname = \"a\"\nroles = []\n[[resource_server]]\nname = \"a\"\naudience = \"https://a\"\n";
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
}
