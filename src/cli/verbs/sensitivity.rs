//! `keyward secret classify`, and the approval of a lower sensitivity by a second operator.

use std::path::{Path, PathBuf};

use clap::Args;

use super::approval_view::{Line, text_of};
use super::declarations::quoted;
use super::plan_approval::read_signed;
use crate::base::code;
use crate::base::encoding::base64url;
use crate::base::limits::PLAN_APPROVAL_S;
use crate::base::{Clock, OperatorName, SecretName, Sensitivity, SystemClock};
use crate::cli::approval_key::{MachineKeys, sign_approval};
use crate::cli::session::{VerbSession, joined};
use crate::console::{CommandFailure, OutFile, visible};
use crate::wire::{
    CLASSIFY_SECRET, GET_SECRET, Nothing, OPERATOR_WHOAMI, SensitivityApprovalBody, SensitivityBallot,
    SensitivityBody,
};

/// `keyward secret classify`
#[derive(Args, Debug)]
pub struct ClassifyArgs {
    /// The secret's name
    name: String,
    /// `ordinary` or `high`
    sensitivity: Sensitivity,
    /// Confirm that capabilities deliver the secret under fewer restrictions: needed for a lower sensitivity
    #[arg(long)]
    widen: bool,
    /// The approval of a second operator, from the same command with `--approve`; needed for each lower sensitivity where the
    /// broker demands a second operator
    #[arg(long, value_name = "FILE")]
    approved: Option<PathBuf>,
    /// As a second operator: show the change, ask for the passphrase of your approval key at the terminal, and sign the change,
    /// so that another person makes it
    #[arg(long, requires = "out", conflicts_with_all = ["approved", "widen"])]
    approve: bool,
    /// Write the approval to this new file, for `--approved FILE`
    #[arg(long, value_name = "FILE", requires = "approve")]
    out: Option<PathBuf>,
}

impl ClassifyArgs {
    pub(super) async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        let name: SecretName = self.name.parse()?;
        if let Some(out) = self.out.as_deref().filter(|_| self.approve) {
            return approve(session, &name, self.sensitivity, out).await;
        }
        let approval = self.approved.as_deref().map(read_approval).transpose()?;
        let body = SensitivityBody { sensitivity: self.sensitivity, widen: self.widen, approval };
        let client = session.operator().await?;
        let classified = client.call(CLASSIFY_SECRET, &name, &body).await?;
        session.print(&classified, |_| format!("{name}: {}", body.sensitivity.as_str()));
        if !session.console.is_json() && !classified.cut_off.is_empty() {
            let cut_off = joined(&classified.cut_off);
            session
                .console
                .say(&format!("capabilities of other owners, which no longer deliver the secret: {cut_off}"));
        }
        Ok(())
    }
}

/// Signs the lower sensitivity, and writes the approval to `out`. The change is shown at the terminal above the question for the
/// passphrase.
async fn approve(
    session: VerbSession<'_>,
    name: &SecretName,
    to: Sensitivity,
    out: &Path,
) -> Result<(), CommandFailure> {
    let client = session.operator().await?;
    let secret = client.call(GET_SECRET, name, &Nothing).await?;
    let present = secret.sensitivity.parse::<Sensitivity>().unwrap_or_default();
    let Some(classified_seq) = secret.classified_seq.filter(|_| to < present) else {
        let why = format!(
            "the secret `{name}` has the sensitivity {}, so {} is not lower",
            secret.sensitivity,
            to.as_str()
        );
        return Err(CommandFailure::new(code::PLAN_APPROVAL_NOT_NEEDED).because(why).mended_by(format!(
            "set it without an approval: `keyward secret classify {name} {}`",
            to.as_str()
        )));
    };
    let mut machine = MachineKeys::load(session.home)?;
    let key = machine.accepted_by(&client).await?;
    let operator: OperatorName = client.call(OPERATOR_WHOAMI, &Nothing, &Nothing).await?.name.parse()?;
    let file = OutFile::open(out, "nothing was signed")?;
    let expires_at =
        SystemClock::new().now().plus_s(PLAN_APPROVAL_S.saturating_sub(CLOCKS_DIFFER_S)).to_string();
    let message = SensitivityBallot::approve(&operator, name, to, classified_seq, &expires_at).canonical();
    let message = message.map_err(|_| CommandFailure::internal("the approval has no canonical form"))?;
    let capabilities: Vec<String> = secret.consumers.iter().map(|one| one.capability.to_string()).collect();
    let capabilities =
        if capabilities.is_empty() { "none that you can see".to_owned() } else { capabilities.join(", ") };
    let lines: [Line; 4] = [
        ("secret", name.to_string()),
        ("sensitivity", format!("{} (present: {})", to.as_str(), present.as_str())),
        ("capabilities", visible(&capabilities, CAPABILITIES_CHARS)),
        (
            "you approve",
            "this change: these and later capabilities deliver the secret under fewer restrictions"
                .to_owned(),
        ),
    ];
    let signature = base64url(&sign_approval(key, &message, &text_of(&lines))?);
    let approval = SensitivityApprovalBody {
        kind: SensitivityBallot::KIND.into(),
        operator,
        secret: name.clone(),
        sensitivity: to,
        classified_seq,
        expires_at,
        signature,
    };
    let text = serde_json::to_vec_pretty(&approval);
    file.fill(&text.map_err(|error| CommandFailure::internal(&error.to_string()))?)?;
    session.console.say(&format!(
        "approved; another person makes the change: `keyward secret classify {name} {} --widen --approved {}`",
        to.as_str(),
        quoted(out)
    ));
    Ok(())
}

/// Seconds that the clock of this machine may be ahead of the broker's: an approval for longer than 24 hours is refused.
const CLOCKS_DIFFER_S: i64 = 300;

/// Characters of the names of capabilities that are shown.
const CAPABILITIES_CHARS: usize = 4000;

/// The approval in the file at `path`.
fn read_approval(path: &Path) -> Result<SensitivityApprovalBody, CommandFailure> {
    let command = "keyward secret classify NAME ordinary --approve --out FILE";
    read_signed(path, "the approval of a lower sensitivity", command)
}
