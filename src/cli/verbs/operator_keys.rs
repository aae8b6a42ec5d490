use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use clap::Args;
use rustix::process::setsid;

use crate::base::limits::{KEY_AGENT_LIFE_MAX_S, KEY_AGENT_LIFE_MIN_S};
use crate::base::{Sensitive, SystemClock, SystemEntropy, Timestamp, code, io_reason};
use crate::cli::identity::{Identity, IdentityKind, files_with_key, identity_lock};
use crate::cli::sealed_key::{KeyAgent, KeyAgentServer, KeyAgentSocket, SealedKey, passphrase_key};
use crate::cli::session::VerbSession;
use crate::console::{
    CommandFailure, duration_s, known_key_passphrase, new_key_passphrase, typed_key_passphrase,
};
use crate::crypto::Digest;
use crate::files::remove;
use crate::keyring::{Passphrase, PassphraseKey};
use crate::wire::{KeyAgentOutput, SealedKeyOutput};

/// `keyward operator seal-key`
#[derive(Args, Debug)]
pub struct SealKeyArgs {
    /// Read the new passphrase from this file (`-`: standard input) instead of the terminal
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// If the key is sealed already: read its present passphrase from this file
    #[arg(long, value_name = "FILE")]
    present_passphrase_file: Option<PathBuf>,
}

/// `keyward operator key-agent`
#[derive(Args, Debug)]
pub struct KeyAgentArgs {
    /// Time for which the agent uses the key: one minute to 24 hours
    #[arg(long = "for", value_name = "DURATION", default_value = "8h", value_parser = duration_s)]
    life_s: u32,
    /// Read the passphrase from this file (`-`: standard input) instead of the terminal
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Do not run in the background, e.g. under systemd
    #[arg(long)]
    foreground: bool,
    /// End the key agent
    #[arg(long, conflicts_with_all = ["passphrase_file", "foreground"])]
    stop: bool,
    /// Leave the session of the terminal
    #[arg(long, hide = true)]
    detached: bool,
}

impl SealKeyArgs {
    /// Seals the operator's key with a new passphrase.
    pub(crate) fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        let VerbSession { home, console } = session;
        Identity::load(home, IdentityKind::Operator)?;
        let lock = identity_lock(home)?;
        lock.lock().map_err(|error| CommandFailure::of_file(home, &error))?;
        let mut identity = Identity::load(home, IdentityKind::Operator)?;
        let present = identity.sealed_key()?;
        let key_pem = match &present {
            None => identity.key_pem,
            Some(sealed) => {
                let file = self.present_passphrase_file.as_deref();
                let by = passphrase_key(sealed, &known_key_passphrase(file, console)?)?;
                sealed.open(&by).map_err(|_| CommandFailure::new(code::KEY_PASSPHRASE_WRONG))?
            }
        };
        let passphrase = new_key_passphrase(self.passphrase_file.as_deref(), console)?;
        let by = PassphraseKey::choose(&passphrase, &SystemEntropy);
        let by = by.map_err(|error| CommandFailure::internal(&error.to_string()))?;
        let sealed = SealedKey::seal(&key_pem, &by, &SystemEntropy)?;
        identity.key_pem = Sensitive::new(sealed.text()?);
        let spiffe = identity.certificate()?.spiffe().to_string();
        forget_pending(home, sealed.public())?;
        identity.save(home, IdentityKind::Operator)?;
        let output = SealedKeyOutput { spiffe_id: spiffe, key: "sealed".into() };
        console.record(&output, || format!("the private key of {} is sealed", output.spiffe_id));
        let agent = KeyAgent::of(home).state(Some(&sealed));
        if agent.is_ok_and(|state| state.is_some_and(|one| !one.opens)) && !console.is_json() {
            console.say(
                "the running key agent has another passphrase: `keyward operator key-agent` replaces it by one with the \
                 new passphrase",
            );
        }
        if present.is_none() && !console.is_json() {
            console.say(
                "copies of the key in clear may be on the disk or in backups: `keyward renew --operator` replaces the \
                 key with a new one",
            );
        }
        Ok(())
    }
}

/// The key of a renewal in progress may be in clear, or sealed with the former passphrase: the next renewal makes another.
/// A killed process leaves a file with the present key too, after it has stored the certificate.
fn forget_pending(home: &Path, public: Digest) -> Result<(), CommandFailure> {
    Identity::forget_renewal(home, IdentityKind::Operator)?;
    for path in files_with_key(home, public) {
        remove(&path).map_err(|error| CommandFailure::of_file(&path, &error))?;
    }
    Ok(())
}

impl KeyAgentArgs {
    /// Starts the key agent, or ends it.
    pub(crate) async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        let VerbSession { home, console } = session;
        let agent = KeyAgent::of(home);
        if self.stop {
            let stopped = agent.stop()?;
            let said = if stopped { "the key agent has ended" } else { "no key agent runs" };
            console.record(&KeyAgentOutput { running: false, until: None }, || said.to_owned());
            return Ok(());
        }
        if !(KEY_AGENT_LIFE_MIN_S..=KEY_AGENT_LIFE_MAX_S).contains(&self.life_s) {
            return Err(CommandFailure::usage(
                "`--for` is out of range: a key agent runs for one minute to 24 hours",
                "name a time in this range, e.g. `--for 8h`",
            ));
        }
        let identity = Identity::load(home, IdentityKind::Operator)?;
        let sealed = identity.sealed_key()?.ok_or_else(|| CommandFailure::new(code::KEY_NOT_SEALED))?;
        let running = agent.state(Some(&sealed))?;
        if running.as_ref().is_some_and(|state| state.opens) {
            return Err(CommandFailure::new(code::KEY_AGENT_RUNNING));
        }
        let typed = typed_key_passphrase(self.passphrase_file.as_deref(), console)?;
        let key = passphrase_key(&sealed, &Passphrase::entered(&typed)?)?;
        if running.is_some() {
            agent.stop()?;
            console.say("note: the key agent of the former passphrase has ended");
        }
        if self.foreground {
            // The agent keeps the key of the passphrase, and not the passphrase.
            drop(typed);
            return self.serve(session, key).await;
        }
        let until = self.start(home, &typed)?;
        console.record(&KeyAgentOutput { running: true, until: Some(until.clone()) }, || {
            format!(
                "the key agent uses the operator's key until {until}; to end it earlier: `keyward operator key-agent \
                 --stop`"
            )
        });
        Ok(())
    }

    async fn serve(&self, session: VerbSession<'_>, key: PassphraseKey) -> Result<(), CommandFailure> {
        let console = session.console;
        let socket = KeyAgentSocket::bind(session.home)?;
        let server = KeyAgentServer::new(Arc::new(key), self.life_s, Arc::new(SystemClock::new()));
        let until = server.until().to_string();
        if self.detached {
            // The end of the terminal's session must not end this process.
            let _its_own = setsid();
            console.line(&until);
        } else {
            let said = format!("the key agent uses the operator's key until {until}");
            console.record(&KeyAgentOutput { running: true, until: Some(until) }, || said);
        }
        console.delivered()?;
        server.serve(socket).await
    }

    /// Starts the agent in the background, gives it the passphrase over a pipe, and waits until it listens. Returns the
    /// end of its time.
    fn start(&self, home: &Path, typed: &Sensitive<Vec<u8>>) -> Result<String, CommandFailure> {
        let failed = |error: &std::io::Error| {
            let why = format!("the key agent cannot be started: {}", io_reason(error));
            CommandFailure::new(code::KEY_AGENT_FAILED).because(why)
        };
        let own = std::env::current_exe().map_err(|error| failed(&error))?;
        let mut command = Command::new(own);
        command.args(["operator", "key-agent", "--foreground", "--detached", "--passphrase-file", "-"]);
        command.args(["--for", &format!("{}s", self.life_s)]).arg("--home").arg(home);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| failed(&error))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A child that ended says why.
            drop(stdin.write_all(typed.expose()));
        }
        let mut said = String::new();
        if let Some(stdout) = child.stdout.take() {
            drop(BufReader::new(stdout).read_line(&mut said));
        }
        if Timestamp::parse(said.trim()).is_some() {
            return Ok(said.trim().to_owned());
        }
        let mut why = String::new();
        if let Some(mut stderr) = child.stderr.take() {
            drop(stderr.read_to_string(&mut why));
        }
        let why = format!("the key agent ended before it was ready: {}", why.trim());
        Err(CommandFailure::new(code::KEY_AGENT_FAILED).because(why))
    }
}
