//! The command of a rollback, and the fixes of a refused one: each is a command that the person can run as it is.

use std::path::Path;

use super::declarations::quoted;
use crate::base::PolicyName;
use crate::base::code::{self, Code};
use crate::console::CommandFailure;

/// `keyward policy rollback` with its name and its hash.
pub(super) struct RollbackCommand {
    history: String,
    bare: String,
    /// With the option that answers the question, if one was given.
    decided: String,
}

impl RollbackCommand {
    pub(super) fn of(policy: Option<&PolicyName>, to: &str, yes: bool, plan: Option<&str>) -> Self {
        let name = policy.map_or_else(String::new, |name| format!(" {name}"));
        let bare = format!("keyward policy rollback{name} --to {}", quoted(Path::new(to)));
        let decided = match (plan, yes) {
            (Some(id), _) => format!("{bare} --plan {}", quoted(Path::new(id))),
            (None, true) => format!("{bare} --yes"),
            (None, false) => bare.clone(),
        };
        Self { history: format!("keyward policy history{name}"), bare, decided }
    }

    /// The command that shows the changes.
    pub(super) fn dry_run(&self) -> String {
        format!("{} --dry-run", self.bare)
    }

    /// The command that makes exactly the changes of the plan with this id.
    pub(super) fn planned(&self, id: &str, is_wider: bool) -> String {
        let widen = if is_wider { " --widen" } else { "" };
        format!("{} --plan {id}{widen}", self.bare)
    }

    /// The command of a second operator.
    pub(super) fn approving(&self) -> String {
        format!("{} --approve --out plan-approval.json", self.bare)
    }

    /// The command that applies an approved rollback.
    pub(super) fn approved(&self, approval: &Path) -> String {
        format!("{} --widen --approved {}", self.decided, quoted(approval))
    }

    /// The failure with a fix for a rollback: the fixes of the codes are for `keyward plan` and `keyward apply`.
    pub(super) fn mended(&self, failure: CommandFailure) -> CommandFailure {
        let Some(fix) = failure.code().parse().ok().and_then(|code| self.fix(code, failure.fix())) else {
            return failure;
        };
        failure.mended_by(fix)
    }

    fn fix(&self, code: Code, told: &str) -> Option<String> {
        if code == code::POLICY_VERSION_UNKNOWN {
            // The broker may say more, e.g. that the hash is ambiguous.
            let fix = || format!("`{}` lists the versions with their hashes", self.history);
            return (told == code.fix()).then(fix);
        }
        let Self { bare, decided, .. } = self;
        let (dry_run, approving) = (self.dry_run(), self.approving());
        let again = format!("have a second operator approve the rollback again: `{approving}`");
        let approved = self.approved(Path::new("plan-approval.json"));
        let fixes: [(&[Code], String); 9] = [
            (
                &[code::DECLARATIONS_INVALID],
                format!(
                    "the earlier version does not fit the other present declarations: correct these with \
                     `keyward apply -f FILE`, then repeat `{bare}`"
                ),
            ),
            (
                &[code::ROLLBACK_DIFFERS],
                format!("another operator may have applied declarations meanwhile: repeat `{bare}`"),
            ),
            (
                &[code::PLAN_OUTDATED],
                format!(
                    "plan again: `{dry_run}`; the last line of its output is the command for the new plan"
                ),
            ),
            (
                &[code::WIDENING_NOT_CONFIRMED],
                format!("read what becomes reachable: `{dry_run}`; then confirm it: `{decided} --widen`"),
            ),
            (
                &[code::WIDENING_NEEDS_SECOND_OPERATOR],
                format!("another person with the right to apply runs `{approving}`; then: `{approved}`"),
            ),
            (&[code::PLAN_APPROVAL_OUTDATED], format!("{again}, with the same hash")),
            (
                &[
                    code::PLAN_APPROVAL_EXPIRED,
                    code::PLAN_APPROVAL_MALFORMED,
                    code::APPROVAL_SIGNATURE_INVALID,
                ],
                again,
            ),
            (
                &[code::APPROVER_INELIGIBLE, code::APPROVER_IS_REQUESTER],
                format!("have another operator approve the rollback: `{approving}`"),
            ),
            (
                &[code::PLAN_APPROVAL_NOT_NEEDED],
                format!("bring the version back without `--approve` and `--approved`: `{decided}`"),
            ),
        ];
        fixes.into_iter().find(|(codes, _)| codes.contains(&code)).map(|(_, fix)| fix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fix_of_a_refused_rollback_is_a_command() {
        let name: PolicyName = "no-nights".parse().unwrap();
        let of = |yes, plan| RollbackCommand::of(Some(&name), "2c26b46b68ff", yes, plan);
        let fix = |command: RollbackCommand, code| command.mended(CommandFailure::new(code)).fix().to_owned();
        let bare = "keyward policy rollback no-nights --to 2c26b46b68ff";
        assert_eq!(
            fix(of(true, None), code::WIDENING_NOT_CONFIRMED),
            format!(
                "read what becomes reachable: `{bare} --dry-run`; then confirm it: `{bare} --yes --widen`"
            )
        );
        let approved = fix(of(false, Some("0011")), code::WIDENING_NEEDS_SECOND_OPERATOR);
        assert!(approved.contains(&format!("`{bare} --approve --out plan-approval.json`")), "{approved}");
        let apply = format!("`{bare} --plan 0011 --widen --approved plan-approval.json`");
        assert!(approved.ends_with(&apply), "{approved}");
        // And no fix names another verb that plans or applies
        for code in [
            code::ROLLBACK_DIFFERS,
            code::PLAN_OUTDATED,
            code::WIDENING_NOT_CONFIRMED,
            code::WIDENING_NEEDS_SECOND_OPERATOR,
            code::PLAN_APPROVAL_OUTDATED,
            code::PLAN_APPROVAL_EXPIRED,
            code::PLAN_APPROVAL_MALFORMED,
            code::PLAN_APPROVAL_NOT_NEEDED,
            code::APPROVAL_SIGNATURE_INVALID,
            code::APPROVER_INELIGIBLE,
            code::APPROVER_IS_REQUESTER,
        ] {
            let fix = fix(of(false, None), code);
            assert!(fix.contains(bare) && !fix.contains("keyward plan"), "{code}: {fix}");
        }
        // And all policies have a history without a name
        let all = RollbackCommand::of(None, "2c26b46b", false, None);
        assert!(fix(all, code::POLICY_VERSION_UNKNOWN).starts_with("`keyward policy history` lists"));
    }

    #[test]
    fn fix_that_says_more_or_concerns_no_plan_is_kept() {
        let command = RollbackCommand::of(None, "a b", false, None);
        assert!(command.dry_run().contains("--to 'a b' --dry-run"), "a shell reads it as one argument");
        let ambiguous = CommandFailure::new(code::POLICY_VERSION_UNKNOWN).mended_by("name more characters");
        assert_eq!(command.mended(ambiguous).fix(), "name more characters");
        let sealed = command.mended(CommandFailure::new(code::SEALED));
        assert_eq!(sealed.fix(), code::SEALED.fix());
    }
}
