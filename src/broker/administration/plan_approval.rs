//! The approval of a plan that gives more access, by a second operator.

use super::upload::{AskedApplication, PlanApproval, Upload};
use crate::base::encoding::base64url;
use crate::base::limits::PLAN_APPROVAL_S;
use crate::base::{Cancellation, Person, PolicyName, Timestamp, code};
use crate::broker::failure::Failure;
use crate::broker::identity::signer::{Approved, SecondPerson, SignedApproval};
use crate::broker::policies::declared_as_of::DeclaringEntries;
use crate::broker::policies::rolled_back::RollbackTarget;
use crate::broker::reading::Reading;
use crate::broker::services::Services;
use crate::crypto::{Digest, Sha256Stream};
use crate::operators::ApprovalKey;
use crate::policy::{Declare, Right as _};
use crate::registry::ApprovedPlanText;
use crate::wire::{PlanBallot, PlanToApproveAnswer};

/// The records about an approval, which the commit relies on.
pub(super) struct SecondOperator(SecondPerson);

/// What is approved, as messages name it.
const PLAN: Approved = Approved { what: "the plan", command: "`keyward plan -f FILE --approve --out FILE`" };

/// A plan that a second operator approved.
#[derive(Debug)]
pub(super) struct ApprovedPlan {
    approval: PlanApproval,
    /// The digest of the plan alone.
    plan: Digest,
    person: Person,
    key: ApprovalKey,
}

impl ApprovedPlan {
    /// The approval as the entry says it.
    pub(super) fn text(&self) -> ApprovedPlanText<'_> {
        ApprovedPlanText {
            operator: &self.approval.operator,
            person: &self.person,
            approval_key: self.key.fingerprint().hex(),
            public_key: base64url(&self.key.public_der()),
            key_seq: self.key.accepted_seq(),
            plan: self.plan.hex(),
            seq: self.approval.seq,
            expires_at: self.approval.expires_at.to_string(),
            digest: &self.approval.digest,
            signature: base64url(&self.approval.signature),
        }
    }
}

impl SecondOperator {
    /// The records about the approval of `upload`. The change relies on them.
    pub(super) fn of(reading: &Reading<'_>, upload: &Upload) -> Self {
        let signer = upload.asked.approval.as_ref().map(|one| &one.operator);
        Self(SecondPerson::of(reading, &upload.operator, signer, PLAN))
    }

    /// Checks `approval` of the plan of `upload` at `now`.
    ///
    /// # Errors
    /// [`Failure`] with the code that says why it does not count.
    pub(super) fn check(
        &self,
        upload: &Upload,
        approval: &PlanApproval,
        approved: &ApprovedDigests,
        now: Timestamp,
    ) -> Result<ApprovedPlan, Failure> {
        if now >= approval.expires_at || approval.expires_at > now.plus_s(PLAN_APPROVAL_S) {
            return Err(Failure::new(code::PLAN_APPROVAL_EXPIRED));
        }
        if approved.signed.hex() != approval.digest {
            return Err(Failure::new(code::PLAN_APPROVAL_OUTDATED));
        }
        let ballot = PlanBallot::approve(&approval.operator, &approval.digest).canonical();
        let message = &ballot.map_err(|error| Failure::internal(code::INTERNAL, &error))?;
        let PlanApproval { operator, signature, .. } = approval;
        let scope = upload.operator.scope();
        let key = self.0.verified(scope, &SignedApproval { operator, message, signature })?.clone();
        let person = self.0.eligible(scope, Declare::NEED.roles, operator, key.fingerprint())?.clone();
        let (approval, plan) = (approval.clone(), approved.plan);
        Ok(ApprovedPlan { approval, plan, person, key })
    }
}

/// The digest of a plan, and the one that approves it.
pub(super) struct ApprovedDigests {
    pub(super) plan: Digest,
    pub(super) signed: Digest,
}

/// Checks that the search for later applications, from the entry `searched_from` on, reached the entry `plan` of the plan: one
/// that stopped before says nothing about the entries between.
fn reaches_plan(searched_from: u64, plan: u64) -> Result<(), Failure> {
    if searched_from <= plan.saturating_add(1) {
        return Ok(());
    }
    let why =
        "too many ledger entries follow the plan to find out whether declarations were applied after it";
    Err(Failure::new(code::PLAN_APPROVAL_OUTDATED).because(why))
}

impl Services {
    /// What a second operator signs to approve the plan with this digest, which was drawn as of the entry `seq`, and which
    /// brings back `rollback`.
    pub(super) fn to_approve(
        &self,
        plan: Digest,
        seq: u64,
        rollback: Option<&RollbackTarget>,
    ) -> Result<PlanToApproveAnswer, Failure> {
        let expires_at = self.state.clock.now().plus_s(PLAN_APPROVAL_S);
        let digest = self.approval_digest(plan, seq, expires_at, rollback)?.hex();
        Ok(PlanToApproveAnswer { digest, seq, expires_at: expires_at.to_string() })
    }

    /// The digest that approves the plan with the digest `plan`. `seq` is an entry of this broker's ledger: the node of the entry
    /// is that of no other ledger.
    fn approval_digest(
        &self,
        plan: Digest,
        seq: u64,
        expires_at: Timestamp,
        rollback: Option<&RollbackTarget>,
    ) -> Result<Digest, Failure> {
        let entries = self.state.store.entries(seq, 1)?;
        let outdated = || Failure::new(code::PLAN_APPROVAL_OUTDATED);
        let node = entries.first().filter(|entry| entry.seq == seq).ok_or_else(outdated)?.node();
        let mut hasher = Sha256Stream::new();
        // The texts have a fixed length, or end with a line break.
        hasher.update(b"keyward plan approval 1\n");
        hasher.update(plan.as_bytes());
        hasher.update(node.as_bytes());
        hasher.update(&seq.to_be_bytes());
        hasher.update(format!("{expires_at}\n").as_bytes());
        if let Some(RollbackTarget { policy, to }) = rollback {
            let policy = policy.as_ref().map_or("", PolicyName::as_str);
            hasher.update(format!("{policy}\n{to}\n").as_bytes());
        }
        Ok(hasher.finish())
    }

    /// The digest of the plan of `upload`, drawn as of the entry `as_of`, as its approval names it.
    ///
    /// # Errors
    /// [`Failure`] if declarations were applied after the plan was made.
    pub(super) fn approved_digest(
        &self,
        asked: &AskedApplication,
        approval: &PlanApproval,
        plan: Digest,
        as_of: u64,
        work: &Cancellation,
    ) -> Result<Digest, Failure> {
        let rollback = asked.rollback.as_ref();
        let outdated = || Failure::new(code::PLAN_APPROVAL_OUTDATED);
        if approval.seq > as_of {
            return Err(outdated());
        }
        let later = DeclaringEntries { from: approval.seq.saturating_add(1), through: as_of, until: None };
        let searched_from = later.each(self, work, |_| Err(outdated()))?;
        reaches_plan(searched_from, approval.seq)?;
        self.approval_digest(plan, approval.seq, approval.expires_at, rollback)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn search_that_stops_before_the_plan_does_not_prove_one_use() {
        assert!(reaches_plan(8, 7).is_ok(), "the entry after the plan was searched");
        for searched_from in [9, u64::MAX] {
            let refused = reaches_plan(searched_from, 7).unwrap_err();
            assert_eq!(refused.code, code::PLAN_APPROVAL_OUTDATED, "{searched_from}");
        }
    }
}
