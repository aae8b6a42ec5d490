use clap::Args;

use crate::base::{DecisionId, IdError};
use crate::cli::identity::IdentityKind;
use crate::cli::session::VerbSession;
use crate::console::{CommandFailure, escaped_line};
use crate::rotation::spoken;
use crate::wire::{
    AllowingChangeAnswer, DecidedAnswer, DecidedNowAnswer, EXPLAIN_DECISION, EXPLAIN_OWN_DECISION,
    ExplainedCapabilityAnswer, ExplainedPolicyAnswer, ExplainedThenAnswer, ExplanationAnswer, Nothing,
    OwnExplanationAnswer, PolicyDemandAnswer,
};

/// `keyward explain`
#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// The id of the decision, which each answer and each refusal has
    #[arg(value_name = "DECISION")]
    decision: String,
    /// Explain a decision on a request of this machine's agent, as the agent
    #[arg(long)]
    own: bool,
}

impl ExplainArgs {
    pub(crate) async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        let decision: DecisionId = self.decision.parse().map_err(|error: IdError| {
            let fix = "copy the id from the answer to the request, or from `keyward audit list`";
            CommandFailure::usage(&error.to_string(), fix)
        })?;
        if self.own {
            let found = session.agent().await?.call(EXPLAIN_OWN_DECISION, &decision, &Nothing).await?;
            session.console.record_lines(&found.sent, || own_lines(&found.answer));
            return Ok(());
        }
        let client = session.operator().await;
        let client = client
            .map_err(|failure| IdentityKind::Operator.or_other(session.home, "add `--own`", failure))?;
        let found = client.call(EXPLAIN_DECISION, &decision, &Nothing).await?;
        session.console.record_lines(&found.sent, || lines(&found.answer));
        Ok(())
    }
}

/// The heading of the capabilities and policies: those above are as the entry says.
const PRESENT: &str = "by the present declarations:";

fn lines(explained: &ExplanationAnswer) -> Vec<String> {
    let ExplanationAnswer { decided, seq, agent, rules, now, then, then_left_out, capabilities, change } =
        explained;
    let of = format!(" of agent `{agent}`, ledger entry {seq}");
    let mut lines = vec![headline(decided, &of), request(decided)];
    lines.extend(parameters(decided));
    lines.extend(approval(decided));
    if !rules.is_empty() {
        lines.push(format!("  decided by: {}", rules.join(", ")));
    }
    if let Some(ExplainedThenAnswer { seq, capabilities }) = then {
        lines.push(format!("by the declarations that decided, of ledger entry {seq}:"));
        lines.extend(capabilities.iter().flat_map(capability));
    }
    let left_out = then_left_out.iter();
    lines.extend(left_out.map(|why| format!("the declarations that decided cannot be shown: {why}")));
    lines.push(present(now));
    if !capabilities.is_empty() {
        lines.push(PRESENT.to_owned());
    }
    lines.extend(capabilities.iter().flat_map(capability));
    lines.extend(change.iter().map(allowing));
    lines
}

fn own_lines(explained: &OwnExplanationAnswer) -> Vec<String> {
    let OwnExplanationAnswer { decided, now, capabilities, change } = explained;
    let mut lines = vec![headline(decided, ""), request(decided)];
    lines.extend(parameters(decided));
    lines.extend(approval(decided));
    lines.push(present(now));
    if !capabilities.is_empty() {
        lines.push(PRESENT.to_owned());
    }
    for one in capabilities {
        let held = match one.held_by.as_slice() {
            [] => "none of your roles holds it".to_owned(),
            roles => format!("held by {}", named("role", roles)),
        };
        lines.push(format!("capability {}: {held}", one.capability));
        lines.extend(one.policies.iter().map(policy));
    }
    lines.extend(change.iter().map(allowing));
    lines
}

fn headline(decided: &DecidedAnswer, of: &str) -> String {
    let code = decided.code.as_ref().map_or_else(String::new, |code| format!(" ({code})"));
    format!("decision {}{of}: {}{code}", decided.decision, decided.outcome)
}

fn request(decided: &DecidedAnswer) -> String {
    let source = decided.source.as_ref().map_or_else(String::new, |source| format!(", from {source}"));
    let life = decided.life_s.map_or_else(String::new, |life_s| format!(", for {}", spoken(life_s)));
    format!("  request: {} at {}{source}{life}", decided.action, decided.at)
}

/// The parameters of the request; of sensitive ones a digest.
fn parameters(decided: &DecidedAnswer) -> impl Iterator<Item = String> {
    decided.parameters.iter().map(|(capability, parameters)| {
        let values: Vec<String> = parameters
            .0
            .iter()
            .map(|(name, value)| format!("{name}={}", escaped_line(&value.to_string())))
            .collect();
        format!("  parameters of {capability}: {}", values.join(", "))
    })
}

fn approval(decided: &DecidedAnswer) -> Option<String> {
    decided.approval.map(|approval| format!("  approval {approval}"))
}

fn present(now: &DecidedNowAnswer) -> String {
    let changed = if now.same_declarations { "" } else { " (the declarations have changed since)" };
    let code = now.code.as_ref().map_or_else(String::new, |code| format!(" ({code})"));
    let reasons =
        if now.reasons.is_empty() { String::new() } else { format!(": {}", now.reasons.join("; ")) };
    format!("  now: {}{code}{changed}{reasons}", now.outcome)
}

fn capability(one: &ExplainedCapabilityAnswer) -> Vec<String> {
    let held = match (one.declared, one.held_by.as_slice(), one.other_roles.as_slice()) {
        (false, ..) => "it is not declared".to_owned(),
        (true, [], []) => "no role holds it".to_owned(),
        (true, [], others) => format!("no role of the agent holds it; {} would", named("role", others)),
        (true, roles, _) => format!("held by {}", named("role", roles)),
    };
    let mut lines = vec![format!("capability {}: {held}", one.capability)];
    lines.extend(one.policies.iter().map(policy));
    if one.further_policies > 0 {
        lines.push(format!("  {} further policies are not listed", one.further_policies));
    }
    lines
}

fn policy(one: &ExplainedPolicyAnswer) -> String {
    let said = match one.result.as_ref() {
        "denies" => "denies the request".to_owned(),
        "needs-approval" => {
            let approvers = one.approval.iter().map(approvers).collect::<String>();
            format!("demands an approval{approvers}")
        }
        "fails" => "cannot be evaluated, and denies the request".to_owned(),
        "limits-life" => format!("limits the life to {}", one.max_life_s.map(spoken).unwrap_or_default()),
        "condition" => "does not match: its conditions (`when`, `unless`) are not met".to_owned(),
        "sensitive-parameter" => {
            "was not tested: it tests a sensitive parameter, whose value is not recorded".to_owned()
        }
        "parameters-not-recorded" => {
            "was not tested: it tests a parameter, and those of a refused request are not recorded".to_owned()
        }
        "other-owner" => "does not match: it belongs to another owner than the capability".to_owned(),
        "other-principal" => "does not match: its head names another agent or role".to_owned(),
        "other-action" => "does not match: its head names other actions".to_owned(),
        "other-resource" => "does not match: its head names another capability or environment".to_owned(),
        // Of a newer broker.
        other => other.to_owned(),
    };
    let reason = one.reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"));
    format!("  policy {}: {said}{reason}", one.policy)
}

/// Who could approve.
fn approvers(demand: &PolicyDemandAnswer) -> String {
    let PolicyDemandAnswer { kind, approvers, quorum } = demand;
    if kind == "confirmation" {
        return " by the person for whom the agent acts".to_owned();
    }
    let persons = if *quorum == 1 { "a second person".to_owned() } else { format!("{quorum} persons") };
    let group = approvers.as_ref().map_or_else(String::new, |group| format!(" of the group `{group}`"));
    format!(" by {persons}{group}")
}

fn allowing(change: &AllowingChangeAnswer) -> String {
    format!("it would be allowed if: {}", change.text)
}

fn named<T: ToString>(noun: &str, names: &[T]) -> String {
    let plural = if names.len() == 1 { "" } else { "s" };
    let names: Vec<String> = names.iter().map(|name| format!("`{}`", name.to_string())).collect();
    format!("{noun}{plural} {}", names.join(", "))
}
