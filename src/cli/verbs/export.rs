use clap::Args;

use crate::base::OwnerName;
use crate::cli::owners::note_new_owner;
use crate::cli::session::{VerbSession, optional};
use crate::console::CommandFailure;
use crate::wire::{DeclaredKind, EXPORT_DECLARATIONS, ExportBody, Nothing, Optional};

/// `keyward export`
#[derive(Args, Debug)]
pub struct ExportArgs {
    /// Only objects of this kind: capability, role, agent, resource-server, rotation, lease, environment or policy; repeat it for further kinds
    #[arg(long = "kind", value_name = "KIND")]
    kinds: Vec<String>,
    /// Only objects of this owner
    #[arg(long, value_name = "OWNER")]
    owner: Option<String>,
}

impl ExportArgs {
    pub(crate) async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        let kinds = self.kinds.iter().map(|word| kind(word)).collect::<Result<_, _>>()?;
        let owner: Option<OwnerName> = optional(self.owner.as_deref())?;
        let body = Optional(Some(ExportBody { kinds, owner: owner.as_ref().map(ToString::to_string) }));
        let client = session.operator().await?;
        let exported = client.call(EXPORT_DECLARATIONS, &Nothing, &body).await?;
        if session.console.is_json() {
            session.console.json(&exported.sent);
        } else {
            session.console.bytes(exported.text.as_bytes());
        }
        session.console.delivered()?;
        if exported.objects == 0 && exported.left_out == 0 {
            note_new_owner(&client, owner.as_ref(), session.console).await;
        }
        if exported.left_out > 0 {
            session.console.say(&format!(
                "{} objects are left out because they name objects of other owners; comments in the text name them",
                exported.left_out
            ));
        }
        Ok(())
    }
}

fn kind(word: &str) -> Result<DeclaredKind, CommandFailure> {
    let known = DeclaredKind::ALL.into_iter().find(|kind| kind.as_str() == word);
    known.ok_or_else(|| {
        let words = DeclaredKind::ALL.map(DeclaredKind::as_str).join(", ");
        CommandFailure::usage(
            &format!("`{word}` is no kind of declared object"),
            &format!("name one of {words}"),
        )
    })
}
