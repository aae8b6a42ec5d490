use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, LazyLock};

use cedar_policy::{
    ActionConstraint, Authorizer, Effect, EntityUid, Policy, PolicySet, PrincipalConstraint,
    ResourceConstraint,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::annotations::{Obligation, annotations};
use super::closed_values::closed_value_faults;
use super::facts::{Action, Facts};
use super::fault::{RuleFault, parse_faults, validation_faults};
use super::model::{EntityKind, Question, action_of};
use super::nesting::nesting;
use super::tested_parameters::{alias_fault, tested_parameters};
use super::tested_sensitivity::spares_high;
use crate::base::limits::{POLICY_NESTING_MAX, POLICY_RULE_BYTES_MAX};
use crate::base::{AgentName, ApproverGroupName, CapabilityName, EnvironmentName, RoleName};
use crate::crypto::{Digest, sha256};

/// The rule of a policy: one Cedar `forbid` statement. It is parsed when it is read, so that no decision parses.
#[derive(Clone)]
pub struct Rule(Arc<RuleContent>);

struct RuleContent {
    text: String,
    digest: Digest,
    /// `None` if this version of the broker cannot read the text, which an earlier one accepted.
    compiled: Option<Compiled>,
}

/// The fact of the agent's last read of a sensitive secret.
const PAST_READS: &str = "since_sensitive_read_s";

/// A parsed rule.
struct Compiled {
    set: PolicySet,
    obligation: Obligation,
    reason: Option<String>,
    head: RuleHead,
    names: Vec<NamedEntity>,
    tests_past_reads: bool,
    spares_high: bool,
    /// The parameters that it tests; `None` if it does not look at parameters.
    parameters: Option<BTreeSet<String>>,
}

/// The requests that the head of a rule can match. A request that it excludes cannot match the rule.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct RuleHead {
    pub(super) principal: PrincipalScope,
    /// Empty for every action.
    pub(super) actions: Vec<Action>,
    pub(super) resource: ResourceScope,
}

#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(super) enum PrincipalScope {
    #[default]
    Any,
    Agent(AgentName),
    Role(RoleName),
}

#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(super) enum ResourceScope {
    #[default]
    Any,
    Capability(CapabilityName),
    Environment(EnvironmentName),
}

/// An object that a rule names.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum NamedEntity {
    /// An agent.
    Agent(String),
    /// A role.
    Role(String),
    /// A capability.
    Capability(String),
    /// An environment.
    Environment(String),
}

impl NamedEntity {
    fn of(uid: &EntityUid) -> Option<Self> {
        let id = || -> String { AsRef::<str>::as_ref(uid.id()).to_owned() };
        match EntityKind::of(uid)? {
            EntityKind::Agent => Some(Self::Agent(id())),
            EntityKind::Role => Some(Self::Role(id())),
            EntityKind::Capability => Some(Self::Capability(id())),
            EntityKind::Environment => Some(Self::Environment(id())),
            EntityKind::Action => None,
        }
    }
}

/// The result of a rule for one request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Match {
    No,
    Yes,
    /// The rule could not be evaluated.
    Failed,
}

impl Rule {
    /// Reads the rule of a declaration. A rule that tests parameters is checked with them later, by
    /// [`ParameterValidators`](super::ParameterValidators): they are those of capabilities.
    ///
    /// # Errors
    /// Everything that is wrong with it: at least one fault.
    pub fn declared(text: &str) -> Result<Self, Vec<RuleFault>> {
        if text.len() > POLICY_RULE_BYTES_MAX {
            let message = format!(
                "the rule has more than {POLICY_RULE_BYTES_MAX} bytes: divide it into several policies"
            );
            return Err(vec![RuleFault::whole(message)]);
        }
        if text.chars().any(|one| one.is_control() && !matches!(one, '\n' | '\r' | '\t')) {
            return Err(vec![RuleFault::whole("the rule has control characters: remove them")]);
        }
        if nesting(text) > POLICY_NESTING_MAX {
            let message = format!(
                "the brackets and operators of the rule nest more than {POLICY_NESTING_MAX} deep: use a set (`[…].contains(…)`), or divide it into several policies"
            );
            return Err(vec![RuleFault::whole(message)]);
        }
        let set: PolicySet = text.parse::<PolicySet>().map_err(|errors| parse_faults(&errors))?;
        let compiled = Compiled::of(set)?;
        let is_checked_later = compiled.parameters.is_some();
        let mut faults = if is_checked_later { Vec::new() } else { validation_faults(&compiled.set) };
        faults.extend(compiled.set.policies().flat_map(closed_value_faults));
        faults.extend(compiled.set.policies().filter_map(alias_fault));
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(Self::of(text.to_owned(), Some(compiled)))
    }

    /// A rule that was accepted before.
    fn stored(text: String) -> Self {
        let compiled = text.parse::<PolicySet>().ok().and_then(|set| Compiled::of(set).ok());
        Self::of(text, compiled)
    }

    fn of(text: String, compiled: Option<Compiled>) -> Self {
        Self(Arc::new(RuleContent { digest: sha256(text.as_bytes()), text, compiled }))
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// The parameters of requests that it tests; `None` if it does not look at parameters.
    #[must_use]
    pub fn parameters(&self) -> Option<&BTreeSet<String>> {
        self.0.compiled.as_ref()?.parameters.as_ref()
    }

    /// Whether it tests a parameter of a recorded request whose value is not known.
    pub(super) fn tests_hidden(&self, facts: &Facts<'_>) -> bool {
        let hidden = facts.parameters.hidden;
        let tested = || self.parameters().into_iter().flatten();
        !hidden.is_empty() && hidden.iter().any(|name| tested().any(|tested| tested == name.as_str()))
    }

    /// The capability that its head names.
    #[must_use]
    pub fn named_capability(&self) -> Option<&CapabilityName> {
        match &self.0.compiled.as_ref()?.head.resource {
            ResourceScope::Capability(name) => Some(name),
            ResourceScope::Any | ResourceScope::Environment(_) => None,
        }
    }

    pub(super) fn statements(&self) -> Option<&PolicySet> {
        self.0.compiled.as_ref().map(|compiled| &compiled.set)
    }

    /// Whether it tests when the agent last read a sensitive secret.
    pub(super) fn tests_past_reads(&self) -> bool {
        self.0.compiled.as_ref().is_some_and(|compiled| compiled.tests_past_reads)
    }

    /// Whether it can restrict requests for a secret of the sensitivity `high` less than those for an ordinary one. A rule that
    /// cannot be read denies both.
    #[must_use]
    pub fn spares_high(&self) -> bool {
        self.0.compiled.as_ref().is_some_and(|compiled| compiled.spares_high)
    }

    /// SHA-256 of the text: the hash of this version.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// The reason of the annotation `@reason`.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.0.compiled.as_ref()?.reason.as_deref()
    }

    /// The effect if it matches; `None` if it cannot be read.
    pub(super) fn obligation(&self) -> Option<&Obligation> {
        self.0.compiled.as_ref().map(|compiled| &compiled.obligation)
    }

    /// The statement; `None` if it cannot be read.
    pub(super) fn statement(&self) -> Option<&Policy> {
        self.0.compiled.as_ref()?.set.policies().next()
    }

    /// The group of approvers of its annotation `@approvers`.
    #[must_use]
    pub fn approvers(&self) -> Option<&ApproverGroupName> {
        match &self.0.compiled.as_ref()?.obligation {
            Obligation::Approve { demand, .. } => demand.group.as_ref(),
            Obligation::Deny | Obligation::LimitLife { .. } => None,
        }
    }

    /// The agents, roles, capabilities and environments that it names.
    #[must_use]
    pub fn names(&self) -> &[NamedEntity] {
        self.0.compiled.as_ref().map_or(&[], |compiled| &compiled.names)
    }

    /// The head. A rule that cannot be read concerns every request.
    pub(super) fn head(&self) -> RuleHead {
        self.0.compiled.as_ref().map_or_else(RuleHead::default, |compiled| compiled.head.clone())
    }

    pub(super) fn concerns(&self, action: Action) -> bool {
        let actions = self.0.compiled.as_ref().map_or(&[][..], |compiled| &compiled.head.actions);
        actions.is_empty() || actions.contains(&action)
    }

    /// Evaluates it. `None` stands for a request that Cedar does not accept.
    pub(super) fn evaluate(&self, question: Option<&Question>) -> Match {
        static AUTHORIZER: LazyLock<Authorizer> = LazyLock::new(Authorizer::new);
        let (Some(compiled), Some(question)) = (&self.0.compiled, question) else { return Match::Failed };
        let response = AUTHORIZER.is_authorized(&question.request, &compiled.set, &question.entities);
        // Cedar skips a statement that it cannot evaluate, as if it did not match.
        if response.diagnostics().errors().next().is_some() {
            Match::Failed
        } else if response.diagnostics().reason().next().is_some() {
            Match::Yes
        } else {
            Match::No
        }
    }
}

impl Compiled {
    fn of(set: PolicySet) -> Result<Self, Vec<RuleFault>> {
        let policy = only_policy(&set).map_err(|fault| vec![fault])?;
        let (obligation, reason) = annotations(policy)?;
        let mut names: Vec<_> = policy.entity_literals().iter().filter_map(NamedEntity::of).collect();
        names.sort_unstable();
        names.dedup();
        let head = RuleHead::of(policy);
        if matches!(obligation, Obligation::Approve { .. }) && head.actions != [Action::Token] {
            return Err(vec![RuleFault::whole(ONLY_TOKENS)]);
        }
        // The parsed form: a text can spell the name of the fact with escapes.
        let form = policy.to_json().map(|form| form.to_string());
        let tests_past_reads = form.map_or(true, |form| form.contains(PAST_READS));
        let (spares_high, parameters) = (spares_high(policy), tested_parameters(policy));
        Ok(Self { obligation, reason, head, names, tests_past_reads, spares_high, parameters, set })
    }
}

const ONLY_TOKENS: &str = "only requests for tokens can be approved: write `action == Keyward::Action::\"token\"` in the head of a rule \
     with `@decision`, and a rule of its own for the other actions";

/// The statement of a rule.
fn only_policy(set: &PolicySet) -> Result<&Policy, RuleFault> {
    if set.templates().next().is_some() {
        return Err(RuleFault::whole(
            "the rule has a slot (`?principal` or `?resource`): name the agent, role or capability",
        ));
    }
    let mut policies = set.policies();
    let (Some(policy), None) = (policies.next(), policies.next()) else {
        return Err(RuleFault::whole(
            "the rule is not exactly one statement: write one `forbid (…) …;` in each policy",
        ));
    };
    match policy.effect() {
        Effect::Forbid => Ok(policy),
        Effect::Permit => Err(RuleFault::whole(
            "the rule is a `permit`: roles grant, and a policy restricts; write `forbid (…) unless { … };`",
        )),
    }
}

impl RuleHead {
    fn of(policy: &Policy) -> Self {
        Self {
            principal: PrincipalScope::of(policy.principal_constraint()),
            actions: match policy.action_constraint() {
                ActionConstraint::Any => Vec::new(),
                // An action that this model does not have matches no request; the head then says nothing.
                ActionConstraint::In(actions) => known_actions(&actions),
                ActionConstraint::Eq(action) => known_actions(&[action]),
            },
            resource: ResourceScope::of(policy.resource_constraint()),
        }
    }
}

fn known_actions(actions: &[EntityUid]) -> Vec<Action> {
    let known: Option<Vec<Action>> = actions.iter().map(action_of).collect();
    known.unwrap_or_default()
}

impl PrincipalScope {
    fn of(constraint: PrincipalConstraint) -> Self {
        match constraint {
            // An entity is `in` itself.
            PrincipalConstraint::In(uid)
            | PrincipalConstraint::Eq(uid)
            | PrincipalConstraint::IsIn(_, uid) => match NamedEntity::of(&uid) {
                Some(NamedEntity::Agent(id)) => id.parse().map_or(Self::Any, Self::Agent),
                Some(NamedEntity::Role(id)) => id.parse().map_or(Self::Any, Self::Role),
                Some(NamedEntity::Capability(_) | NamedEntity::Environment(_)) | None => Self::Any,
            },
            PrincipalConstraint::Any | PrincipalConstraint::Is(_) => Self::Any,
        }
    }
}

impl ResourceScope {
    fn of(constraint: ResourceConstraint) -> Self {
        match constraint {
            ResourceConstraint::In(uid) | ResourceConstraint::Eq(uid) | ResourceConstraint::IsIn(_, uid) => {
                match NamedEntity::of(&uid) {
                    Some(NamedEntity::Capability(id)) => id.parse().map_or(Self::Any, Self::Capability),
                    Some(NamedEntity::Environment(id)) => id.parse().map_or(Self::Any, Self::Environment),
                    Some(NamedEntity::Agent(_) | NamedEntity::Role(_)) | None => Self::Any,
                }
            }
            ResourceConstraint::Any | ResourceConstraint::Is(_) => Self::Any,
        }
    }
}

impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text
    }
}

impl Eq for Rule {}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0.text)
    }
}

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(Self::stored)
    }
}
