use std::fs;
use std::path::PathBuf;

use clap::Args;

use super::incident_subject::resolve;
use crate::base::{Clock, IncidentId, Moment, SystemClock, code};
use crate::cli::named_key::named_verifier;
use crate::cli::session::VerbSession;
use crate::console::{CommandFailure, OutFile, moment};
use crate::crypto::sha256;
use crate::evidence::{VerifiedEvidence, verify};
use crate::ledger::NoteVerifier;
use crate::wire::{EvidenceBody, EvidenceOutput};

/// `keyward evidence`
#[derive(Args, Debug)]
pub struct EvidenceArgs {
    /// The subject: `agent/NAME`, `operator/NAME`, the name of an agent or operator, or the id of an incident
    #[arg(value_name = "SUBJECT")]
    subject: String,
    /// Entries from this time on: a length of time before now, e.g. `6h`, a time, e.g. `2026-11-28T03:00:00Z`, or a date [default: all]
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Moment>,
    /// Entries up to this time, in the same form; not for an incident [default: now]
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Moment>,
    /// The new file for the bundle
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Also verify the bundle with this checkpoint key, which you got from `GET /v1/checkpoint/key` before: the key, or a file (`-`: standard input) whose first line is the key
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
}

impl EvidenceArgs {
    pub(crate) async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        let subject = self.subject()?;
        if matches!(subject, Some(("incident", _))) && self.until.is_some() {
            let why =
                "the bundle of an incident has no `until`: it ends with the entry that records the bundle";
            return Err(CommandFailure::usage(why, "leave out `--until`"));
        }
        let key = self.key.as_deref().map(named_verifier).transpose()?;
        let client = session.operator().await?;
        let (kind, name) = match subject {
            Some((kind, name)) => (kind.to_owned(), name.to_owned()),
            None => {
                let found = resolve(&client, &self.subject, session.console).await?;
                (found.kind().to_owned(), found.name().unwrap_or_default())
            }
        };
        let (since, last_s) = match self.since {
            None => (None, None),
            Some(Moment::At(time)) => (Some(time.to_string()), None),
            // The broker counts back from its own clock.
            Some(Moment::Ago(seconds)) => (None, Some(seconds)),
        };
        let until = self.until.map(|until| until.seen_from(SystemClock::new().now()).to_string());
        let body = EvidenceBody { kind, name, since, until, last_s };
        let file = OutFile::open(&self.out, "no bundle was made")?;
        let bytes = client.evidence(&body).await?;
        file.fill(&bytes)?;
        let verified = key.map(|key| self.verified(&key)).transpose()?;
        let output = EvidenceOutput {
            file: self.out.display().to_string(),
            bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            sha256: sha256(&bytes).hex(),
            entries: verified.as_ref().map(|verified| verified.entries),
            complete: verified.as_ref().map(|verified| verified.is_complete),
        };
        if session.console.is_json() {
            session.console.json(&output);
        } else {
            let EvidenceOutput { file, bytes, sha256, entries, complete } = output;
            session.console.line(&format!("{file}: {bytes} bytes, SHA-256 {sha256}"));
            if let Some(entries) = entries {
                let missing = match complete {
                    Some(true) => "no entry about the subject is missing",
                    Some(false) | None => "it does not prove that no entry is missing",
                };
                session
                    .console
                    .line(&format!("verified with your key: {entries} entries are in the ledger; {missing}"));
            }
            session.console.say("to verify it on any machine: keyward verify FILE --key KEY, with the key from GET /v1/checkpoint/key");
        }
        Ok(())
    }

    /// Verifies the file that was written, as its receiver does.
    fn verified(&self, key: &NoteVerifier) -> Result<VerifiedEvidence, CommandFailure> {
        let bytes = fs::read(&self.out).map_err(|error| CommandFailure::of_file(&self.out, &error))?;
        verify(&bytes, key).map_err(|error| {
            let why = format!("`{}` was written, and your key does not verify it: {error}", self.out.display());
            let fix = "use the key of this broker, which you got before; if it is the right one, treat the broker's host as \
                       compromised: docs/runbooks/host-compromised.md";
            CommandFailure::new(code::EVIDENCE_INVALID).because(why).mended_by(fix)
        })
    }

    /// The kind and the name or id; none for a name without a kind.
    fn subject(&self) -> Result<Option<(&str, &str)>, CommandFailure> {
        if self.subject.parse::<IncidentId>().is_ok() {
            return Ok(Some(("incident", &self.subject)));
        }
        match self.subject.split_once('/') {
            Some(named @ ("agent" | "operator", _)) => Ok(Some(named)),
            None if self.subject != "everything" => Ok(None),
            Some(_) | None => Err(CommandFailure::usage(
                &format!("`{}` names no agent, no operator and no incident", self.subject.escape_default()),
                "name `agent/NAME`, `operator/NAME` or an incident (`inc_…`)",
            )),
        }
    }
}
