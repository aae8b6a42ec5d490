use clap::Args;

use crate::cli::identity::IdentityKind;
use crate::cli::session::{VerbSession, client_of, text};
use crate::console::CommandFailure;
use crate::rotation::spoken;
use crate::wire::{AGENT_WHOAMI, AgentWhoamiAnswer, Nothing, OPERATOR_WHOAMI, OperatorWhoamiAnswer};

/// `keyward whoami`
#[derive(Args, Debug)]
pub struct WhoamiArgs {
    /// Show the operator's identity instead of the agent's
    #[arg(long)]
    operator: bool,
}

impl WhoamiArgs {
    pub(crate) async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        let console = session.console;
        let kind = IdentityKind::named(self.operator);
        let client = client_of(session.home, kind).await;
        let client = client.map_err(|failure| kind.or_as_operator(session.home, failure))?;
        if self.operator {
            let me = client.call(OPERATOR_WHOAMI, &Nothing, &Nothing).await?;
            if console.is_json() {
                console.json(&me.sent);
            } else {
                tell_operator(&me.answer, session);
            }
        } else {
            let me = client.call(AGENT_WHOAMI, &Nothing, &Nothing).await?;
            if console.is_json() {
                console.json(&me.sent);
            } else {
                tell_agent(&me.answer, session);
            }
        }
        Ok(())
    }
}

fn tell_identity(spiffe_id: &str, not_after: &str, session: VerbSession<'_>) {
    session.console.line(&format!("{spiffe_id}  (certificate valid until {not_after})"));
    session.console.line(&format!("identity from {}", session.home.display()));
}

fn tell_operator(me: &OperatorWhoamiAnswer, session: VerbSession<'_>) {
    tell_identity(&me.spiffe_id, &me.certificate.not_after, session);
    let scope = me.owner.as_ref();
    let scope = scope.map_or_else(|| "all".to_owned(), |owner| format!("owner {owner}"));
    session.console.line(&format!("role {}, scope: {scope}", me.role));
}

fn tell_agent(me: &AgentWhoamiAnswer, session: VerbSession<'_>) {
    tell_identity(&me.spiffe_id, &me.certificate.not_after, session);
    if let Some(audience) = &me.audience {
        session.console.line(&format!("resource server for {audience}: it introspects tokens and gets none"));
        return;
    }
    let rows: Vec<Vec<String>> = me
        .capabilities
        .iter()
        .map(|one| {
            vec![
                one.name.to_string(),
                one.access.to_string(),
                one.delivery.to_string(),
                spoken(one.max_life_s),
                text(one.secret.as_ref()),
                one.audience.clone(),
            ]
        })
        .collect();
    let head = ["CAPABILITY", "ACCESS", "DELIVERY", "MAX LIFE", "SECRET", "AUDIENCE"];
    session.console.table("capabilities", &head, &rows);
}
