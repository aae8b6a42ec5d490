use clap::Subcommand;
use serde_json::Value;

use super::policy_test::PolicyTestArgs;
use crate::base::PolicyName;
use crate::cli::listing::ListArgs;
use crate::cli::session::VerbSession;
use crate::cli::table::columns;
use crate::console::CommandFailure;
use crate::rotation::spoken;
use crate::wire::{GET_POLICY, LIST_POLICIES, Nothing, PolicyAnswer};

/// `keyward policy …`
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// List policies: their effect, and the requests that they concern
    List(ListArgs),
    /// Show a policy with its rule
    Show {
        /// The policy's name
        name: String,
    },
    /// Decide cases on declaration files, without a broker. The exit code is 11 if a case has another outcome than it expects
    Test(PolicyTestArgs),
}

impl PolicyCommand {
    pub(crate) async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        match self {
            Self::List(args) => session.list(LIST_POLICIES, &args.selection()?).await,
            Self::Show { name } => show(name.parse()?, session).await,
            Self::Test(args) => args.run(session.console),
        }
    }
}

/// The fields as tables, then the rule as it was declared.
async fn show(name: PolicyName, session: VerbSession<'_>) -> Result<(), CommandFailure> {
    let found = session.operator().await?.call(GET_POLICY, &name, &Nothing).await?;
    let is_text = !session.console.is_json() && !session.console.is_csv();
    session.print_object_as(&found.sent, || {
        let mut fields = found.sent.clone();
        if let Value::Object(fields) = &mut fields
            && is_text
        {
            fields.remove("rule");
        }
        fields
    });
    if is_text {
        session.console.line("");
        let rule = found.answer.rule.as_deref().unwrap_or_default();
        rule.trim().lines().for_each(|line| session.console.line(line));
    }
    Ok(())
}

columns!(PolicyAnswer "policies": name, owner, effect, ("MAX LIFE", max_life), actions, principal, resource, reason);

fn max_life(policy: &PolicyAnswer) -> String {
    policy.max_life_s.map(spoken).unwrap_or_default()
}
