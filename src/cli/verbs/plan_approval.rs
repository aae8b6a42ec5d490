//! The approval of a plan by a second operator: the file that `plan --approve` writes and `apply --approved` reads.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::de::DeserializeOwned;

use super::plan_lines::lines;
use crate::base::code;
use crate::base::encoding::base64url;
use crate::base::{Cancellation, OperatorName, PolicyName, Scope};
use crate::cli::approval_key::{MachineKeys, sign_approval};
use crate::cli::client::Client;
use crate::cli::session::VerbSession;
use crate::config::{SourceFile, Tables};
use crate::console::{CommandFailure, OutFile, visible};
use crate::rules;
use crate::wire::{
    AppliedAnswer, DeclarationFileBody, DeclareBody, DeclaredKind, GET_POLICY, Nothing, OPERATOR_WHOAMI,
    PlanApprovalBody, PlanBallot, PlanToApproveAnswer, PlannedAction,
};

/// The options of a command that approves a plan.
#[derive(Args, Debug)]
pub(super) struct ApproveArgs {
    /// As a second operator: show the plan, ask for the passphrase of your approval key at the terminal, and sign the plan, so
    /// that another person applies it
    #[arg(long, requires = "out")]
    approve: bool,
    /// Write the approval to this new file, for `keyward apply --approved FILE`
    #[arg(long, value_name = "FILE", requires = "approve")]
    out: Option<PathBuf>,
}

impl ApproveArgs {
    /// The file, if the plan is to be approved.
    pub(super) fn out(&self) -> Option<&Path> {
        self.out.as_deref().filter(|_| self.approve)
    }
}

/// Signs the plan, and writes the approval to `out`. The plan is shown at the terminal above the question for the passphrase.
pub(super) async fn approve(
    session: VerbSession<'_>,
    client: &Client,
    declared: &DeclareBody,
    planned: &AppliedAnswer,
    out: &Path,
) -> Result<(), CommandFailure> {
    let Some(PlanToApproveAnswer { digest, seq, expires_at }) = &planned.to_approve else {
        return Err(CommandFailure::new(code::PLAN_APPROVAL_NOT_NEEDED));
    };
    let mut machine = MachineKeys::load(session.home)?;
    let key = machine.accepted_by(client).await?;
    let operator: OperatorName = client.call(OPERATOR_WHOAMI, &Nothing, &Nothing).await?.name.parse()?;
    let file = OutFile::open(out, "nothing was signed")?;
    let message = PlanBallot::approve(&operator, digest).canonical();
    let message = message.map_err(|_| CommandFailure::internal("the approval has no canonical form"))?;
    let rules = changed_rules(client, declared, planned).await?;
    let shown = lines(planned).chain(rules).map(|line| format!("{}\n", visible(&line, LINE_CHARS)));
    let shown: String = shown.collect();
    let shown = format!("{shown}plan: {digest}\nyou approve these changes, which give more access\n");
    let signature = base64url(&sign_approval(key, &message, &shown)?);
    let (digest, expires_at) = (digest.clone(), expires_at.clone());
    let approval = PlanApprovalBody {
        kind: PlanBallot::KIND.into(),
        operator,
        digest,
        seq: *seq,
        expires_at,
        signature,
    };
    let text = serde_json::to_vec_pretty(&approval);
    file.fill(&text.map_err(|error| CommandFailure::internal(&error.to_string()))?)
}

/// The present and the new rule of each policy that the plan changes, in lines.
async fn changed_rules(
    client: &Client,
    declared: &DeclareBody,
    planned: &AppliedAnswer,
) -> Result<Vec<String>, CommandFailure> {
    let file = |file: &DeclarationFileBody| SourceFile::new(file.name.clone(), file.text.clone());
    let (files, work) = (declared.files.iter().map(file).collect::<Vec<_>>(), Cancellation::new());
    let declared = {
        let (mut tables, _) = Tables::parse_all(&files, rules::TABLES, &work);
        rules::parse(&mut tables, &Scope::Everything).ok()
    };
    let mut lines = Vec::new();
    for change in planned.changes.iter().filter(|one| one.kind == DeclaredKind::Policy.as_str()) {
        let name: PolicyName = change.name.parse()?;
        if change.action != PlannedAction::Create.as_str() {
            let present = client.call(GET_POLICY, &name, &Nothing).await?;
            lines.extend(rule_lines("present", &name, present.rule.as_deref()));
        }
        let new = declared.as_ref().and_then(|declared| declared.policies.get(&name));
        lines.extend(rule_lines("new", &name, new.map(|(policy, _)| policy.rule.text())));
    }
    Ok(lines)
}

fn rule_lines(which: &str, name: &PolicyName, rule: Option<&str>) -> Vec<String> {
    let Some(rule) = rule else { return Vec::new() };
    let rule = rule.trim().lines().map(|line| format!("  {line}"));
    std::iter::once(format!("{which} rule of policy {name}:")).chain(rule).collect()
}

/// Characters of a line of a plan that are shown.
const LINE_CHARS: usize = 4000;

/// Longest file with an approval, in bytes.
const APPROVAL_BYTES_MAX: usize = 16 * 1024;

/// The approval in the file at `path`.
pub(super) fn read_approval(path: &Path) -> Result<PlanApprovalBody, CommandFailure> {
    read_signed(path, "the approval of a plan", "keyward plan -f FILE --approve --out FILE")
}

/// The approval in the file at `path`, which `command` wrote.
pub(super) fn read_signed<T: DeserializeOwned>(
    path: &Path,
    what: &str,
    command: &str,
) -> Result<T, CommandFailure> {
    let malformed = |problem: &str| {
        let why = format!("the file `{}` {problem} {what}", path.display());
        let fix = format!("use the file of `{command}` as it is");
        CommandFailure::new(code::PLAN_APPROVAL_MALFORMED).because(why).mended_by(fix)
    };
    let unreadable = |error: std::io::Error| CommandFailure::of_file(path, &error);
    let mut text = Vec::new();
    let most = u64::try_from(APPROVAL_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path).and_then(|file| file.take(most).read_to_end(&mut text)).map_err(unreadable)?;
    if text.len() > APPROVAL_BYTES_MAX {
        return Err(malformed(&format!("is longer than {APPROVAL_BYTES_MAX} bytes, so it is not")));
    }
    let parsed: serde_json::Value =
        serde_json::from_slice(&text).map_err(|_| malformed("is not JSON, so it is not"))?;
    serde_json::from_value(parsed).map_err(|_| malformed("is JSON, but not"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_that_is_no_approval_is_refused_with_its_problem() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("approval.json");
        assert_eq!(read_approval(&path).unwrap_err().code(), "file_unusable", "absent");
        let at_limit = format!("{{}}{}", " ".repeat(APPROVAL_BYTES_MAX - 2));
        let beyond = format!("{at_limit} ");
        let cases = [
            ("{}", "is JSON, but not"),
            ("[1]", "is JSON, but not"),
            ("plan", "is not JSON"),
            (at_limit.as_str(), "is JSON, but not"),
            (beyond.as_str(), "is longer than 16384 bytes"),
        ];
        for (text, problem) in cases {
            std::fs::write(&path, text).unwrap();
            let refused = read_approval(&path).unwrap_err();
            assert_eq!(refused.code(), "plan_approval_malformed", "{problem}");
            assert!(refused.why().contains(problem), "{}", refused.why());
        }
    }
}
