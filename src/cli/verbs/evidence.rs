use std::path::PathBuf;

use clap::Args;

use crate::base::Timestamp;
use crate::cli::session::VerbSession;
use crate::console::{CommandFailure, OutFile, duration_s};
use crate::crypto::sha256;
use crate::wire::{EvidenceBody, EvidenceOutput};

/// `keyward evidence`
#[derive(Args, Debug)]
pub struct EvidenceArgs {
    /// The subject: `agent/NAME` or `operator/NAME`
    #[arg(value_name = "SUBJECT")]
    subject: String,
    /// Entries from this time on: a duration before now, e.g. `6h`, or a time, e.g. `2026-11-28T03:00:00Z` [default: all]
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Entries up to this time, e.g. `2026-11-28T05:00:00Z` [default: now]
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// The new file for the bundle
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl EvidenceArgs {
    pub(crate) async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        let body = self.body()?;
        let file = OutFile::open(&self.out, "no bundle was made")?;
        let bytes = session.operator().await?.evidence(&body).await?;
        file.fill(&bytes)?;
        let output = EvidenceOutput {
            file: self.out.display().to_string(),
            bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            sha256: sha256(&bytes).hex(),
        };
        if session.console.is_json() {
            session.console.json(&output);
        } else {
            let EvidenceOutput { file, bytes, sha256 } = output;
            session.console.line(&format!("{file}: {bytes} bytes, SHA-256 {sha256}"));
            session.console.say("to verify it on any machine: keyward verify FILE --key KEY, with the key from GET /v1/checkpoint/key");
        }
        Ok(())
    }

    fn body(&self) -> Result<EvidenceBody, CommandFailure> {
        let subject = self.subject.split_once('/').filter(|(kind, _)| matches!(*kind, "agent" | "operator"));
        let (kind, name) = subject.ok_or_else(|| {
            CommandFailure::usage(
                &format!("`{}` names no agent and no operator", self.subject.escape_default()),
                "name `agent/NAME` or `operator/NAME`",
            )
        })?;
        let (since, last_s) = match self.since.as_deref() {
            None => (None, None),
            Some(text) if Timestamp::parse(text).is_some() => (Some(text.to_owned()), None),
            Some(text) => (
                None,
                Some(duration_s(text).map_err(|_| {
                    CommandFailure::usage(
                        &format!("`{}` is no duration and no time", text.escape_default()),
                        "name a duration, e.g. `--since 6h`, or a time, e.g. `--since 2026-11-28T03:00:00Z`",
                    )
                })?),
            ),
        };
        let until = self.until.clone();
        Ok(EvidenceBody { kind: kind.to_owned(), name: name.to_owned(), since, until, last_s })
    }
}
