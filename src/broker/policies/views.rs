use crate::base::{ApprovalDemand, PolicyName, code};
use crate::broker::administration::near_names::{NamedKind, PresentNames, unknown_among};
use crate::broker::caller_services::AdminServices;
use crate::broker::failure::Failure;
use crate::broker::page::Page;
use crate::broker::world::World;
use crate::policy::{Authorised, ReadDeclared};
use crate::rules::{Action, HeadDescription, Policy, PolicyOutcome};
use crate::wire::{FixedText, PageAnswer, PolicyAnswer, PolicyDemandAnswer};

impl AdminServices {
    /// The policies within the operator's scope, by name, without their rules.
    #[must_use]
    pub fn policies(&self, by: &Authorised<ReadDeclared>, page: &Page) -> PageAnswer<PolicyAnswer> {
        let scope = by.operator().scope();
        self.0.state.store.read(|world, _| {
            let within = world.rules().policies().filter(|policy| scope.covers(policy.owner.as_ref()));
            page.of(within, |policy| policy.name.as_str(), policy_view)
        })
    }

    /// The policy called `name`, with its rule.
    ///
    /// # Errors
    /// [`Failure`] if it does not exist within the operator's scope.
    pub fn policy(&self, by: &Authorised<ReadDeclared>, name: &PolicyName) -> Result<PolicyAnswer, Failure> {
        let scope = by.operator().scope();
        let found = self.0.state.store.read(|world, _| {
            let policy = world.rules().policy(name).filter(|policy| scope.covers(policy.owner.as_ref()))?;
            Some(policy_with_rule(policy))
        });
        found.ok_or_else(|| {
            let of = |world: &World| PresentNames { world, scope }.of(NamedKind::Policy);
            let present = self.0.state.store.read(|world, _| of(world));
            let fix = format!(
                "check the name: `keyward policy list` shows the policies; if the policy was removed, `keyward policy history \
                 {name}` lists its versions"
            );
            unknown_among(Failure::new(code::POLICY_UNKNOWN).mended_by(fix), &present, name.as_str())
        })
    }
}

/// A policy with its rule.
pub(super) fn policy_with_rule(policy: &Policy) -> PolicyAnswer {
    let (rule, hash) = (policy.rule.text().to_owned(), policy.rule.digest().hex());
    PolicyAnswer { rule: Some(rule), hash: Some(hash), ..policy_view(policy) }
}

/// The approval that a policy demands.
pub(super) fn demanded(demand: &ApprovalDemand) -> PolicyDemandAnswer {
    PolicyDemandAnswer {
        kind: demand.kind.as_str().into(),
        approvers: demand.group.as_ref().map(ToString::to_string),
        quorum: demand.quorum,
    }
}

fn policy_view(policy: &Policy) -> PolicyAnswer {
    let HeadDescription { actions, principal, resource } = policy.rule.described_head();
    let (effect, max_life_s, approval) = match policy.rule.outcome() {
        PolicyOutcome::Denied => ("deny", None, None),
        PolicyOutcome::Limited { max_s } => ("limit-life", Some(max_s), None),
        PolicyOutcome::NeedsApproval { demand, max_s } => ("need-approval", max_s, Some(demanded(&demand))),
        PolicyOutcome::Failed => ("unreadable", None, None),
    };
    PolicyAnswer {
        name: policy.name.clone(),
        owner: policy.owner.clone(),
        effect: effect.into(),
        max_life_s,
        approval,
        actions: actions.into_iter().map(|action| FixedText::from(Action::as_str(action))).collect(),
        principal: principal.map(|one| one.to_string()),
        resource: resource.map(|one| one.to_string()),
        reason: policy.rule.reason().map(str::to_owned),
        rule: None,
        hash: None,
    }
}
