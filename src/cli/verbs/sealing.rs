use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::on_host::OnHostArgs;
use crate::base::{Sensitive, code};
use crate::cli::client::{Client, Received};
use crate::config::{Config, RootKey};
use crate::console::{CommandFailure, Console, SHARES_BYTES_MAX, TYPED_BYTES_MAX, given_shares, input};
use crate::keyring::{Share, SlotKind, opening_kinds};
use crate::wire::{
    GET_STATE, Nothing, SEAL, SecretText, SettledOrderAnswer, StateAnswer, UNSEAL, UnsealBody,
};

/// `keyward unseal`, by default with the key file that `[root_key]` names, else with a passphrase.
#[derive(Args, Debug)]
pub struct UnsealArgs {
    /// The configuration file, which names the host socket
    #[arg(long, default_value = "/etc/keyward/keyward.toml", value_name = "FILE")]
    pub config: PathBuf,
    #[command(flatten)]
    by: UnsealingArgs,
}

/// The unseal key.
#[derive(Args, Debug)]
#[group(multiple = false)]
struct UnsealingArgs {
    /// A passphrase, read from a prompt or standard input (the default, unless `[root_key]` names a key file that exists)
    #[arg(long)]
    passphrase: bool,
    /// A passphrase, read from this file (`-`: standard input)
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// A key, read from this file (`-`: standard input)
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Shares of a slot's key, read from prompts or standard input
    #[arg(long)]
    shares: bool,
    /// Shares, read from this file (`-`: standard input); repeat it for further files
    #[arg(long, value_name = "FILE")]
    share_file: Vec<PathBuf>,
}

impl UnsealingArgs {
    fn ask(&self, config: &Config, console: &Console) -> Result<UnsealBody, CommandFailure> {
        if self.shares || !self.share_file.is_empty() {
            return shares(&self.share_file, console);
        }
        if let Some(file) = &self.key_file {
            return key(file, console);
        }
        if self.passphrase || self.passphrase_file.is_some() {
            return passphrase(self.passphrase_file.as_deref(), console);
        }
        unnamed(config, console)
    }
}

fn key(file: &Path, console: &Console) -> Result<UnsealBody, CommandFailure> {
    Ok(UnsealBody::Key(as_text(input::secret(Some(file), "Key", KEY_BYTES_MAX, console)?)?))
}

fn passphrase(file: Option<&Path>, console: &Console) -> Result<UnsealBody, CommandFailure> {
    let typed = input::secret(file, "Passphrase", TYPED_BYTES_MAX, console)?;
    Ok(UnsealBody::Passphrase(as_text(typed)?))
}

fn shares(files: &[PathBuf], console: &Console) -> Result<UnsealBody, CommandFailure> {
    let shares = given_shares(files, console)?;
    let lines: Vec<_> = shares.iter().map(Share::text).collect();
    let mut text = Vec::with_capacity(SHARES_BYTES_MAX);
    for line in &lines {
        text.extend_from_slice(line.expose().as_bytes());
        text.push(b'\n');
    }
    Ok(UnsealBody::Shares(as_text(Sensitive::new(text))?))
}

/// The unseal key if no option names one: the key file of `[root_key]`, else a passphrase if a slot has one.
fn unnamed(config: &Config, console: &Console) -> Result<UnsealBody, CommandFailure> {
    if let RootKey::File(file) = &config.root_key
        && file.exists()
    {
        console.say(&format!("note: the key is the file `{}` of `[root_key]`", file.display()));
        return key(file, console);
    }
    // Without the keyring's slots the command asks for a passphrase, and the broker says what is wrong.
    let kinds = opening_kinds(&config.keyring()).unwrap_or_default();
    if kinds.is_empty() || kinds.contains(&SlotKind::Passphrase) {
        return passphrase(None, console);
    }
    let why = "no slot of the keyring has a passphrase, and the command names no other unseal key";
    let fix = match (kinds.contains(&SlotKind::KeyFile), kinds.contains(&SlotKind::Shares)) {
        (true, false) => UNSEAL_BY_FILE.to_owned(),
        (false, _) => UNSEAL_BY_SHARES.to_owned(),
        (true, true) => format!("{UNSEAL_BY_FILE}, or {UNSEAL_BY_SHARES}"),
    };
    Err(CommandFailure::usage(why, &fix))
}

const UNSEAL_BY_FILE: &str =
    "name the key file (under systemd the file of `LoadCredential=`): `keyward unseal --key-file FILE`";
const UNSEAL_BY_SHARES: &str = "enter the shares: `keyward unseal --shares`";

/// More than a key file has.
const KEY_BYTES_MAX: usize = 256;

fn as_text(given: Sensitive<Vec<u8>>) -> Result<SecretText, CommandFailure> {
    let text = std::str::from_utf8(given.expose());
    let text = text.map_err(|_| {
        CommandFailure::new(code::UNSEAL_MALFORMED).because("the passphrase, key or share is not text")
    })?;
    if text.trim().is_empty() {
        let why = "the passphrase, key or share is empty";
        return Err(CommandFailure::usage(why, "type it at the prompt, or send it to standard input"));
    }
    Ok(Sensitive::new(text.to_owned()).into())
}

impl UnsealArgs {
    pub(crate) async fn run(&self, console: &Console) -> Result<(), CommandFailure> {
        let config = Config::load(&self.config)?;
        let body = self.by.ask(&config, console)?;
        let state = Client::on_host(&config.listen.host).call(UNSEAL, &Nothing, &body).await?;
        tell(&state, console);
        Ok(())
    }
}

/// Longest wait for the sealed state, and the pause between two requests.
const SEALED_WAIT: Duration = Duration::from_secs(15);
const SEALED_PAUSE: Duration = Duration::from_millis(100);

/// `keyward seal`: returns when the broker's memory contains no keys.
pub(crate) async fn seal(args: &OnHostArgs, console: &Console) -> Result<(), CommandFailure> {
    let client = args.client()?;
    let mut state = client.call(SEAL, &Nothing, &Nothing).await?;
    let sealed = async {
        while state.state != "sealed" {
            tokio::time::sleep(SEALED_PAUSE).await;
            // No process answers while the broker's process is replaced.
            if let Ok(now) = client.call(GET_STATE, &Nothing, &Nothing).await {
                state = now;
            }
        }
        state
    };
    let progress = console.progress("waiting until the broker is sealed");
    let sealed = tokio::time::timeout(SEALED_WAIT, sealed).await;
    drop(progress);
    tell(&sealed.map_err(|_| CommandFailure::new(code::SEALING_UNFINISHED))?, console);
    Ok(())
}

fn tell(state: &Received<StateAnswer>, console: &Console) {
    console.record_lines(&state.sent, || {
        let settled = state.settled.iter().map(settled_order);
        std::iter::once(said(state)).chain(settled).collect()
    });
}

/// A line about a pending order that was settled.
fn settled_order(settled: &SettledOrderAnswer) -> String {
    let SettledOrderAnswer { order, by, at, outcome, code, detail } = settled;
    let ordered = format!("pending order `{order}` (by {by}, {at})");
    match (outcome.as_ref(), code, detail) {
        (_, Some(code), Some(detail)) => format!(
            "{ordered}: NOT carried out: {detail} ({code}); if it is still needed, repeat it with the right name"
        ),
        ("in-memory", ..) => format!("{ordered}: in force in memory, until the ledger records it"),
        _ => format!("{ordered}: carried out"),
    }
}

/// The state; an open broker may still serve no requests, e.g. in read-only mode.
fn said(state: &StateAnswer) -> String {
    match &state.not_ready {
        Some(not_ready) => {
            format!("the broker is {}, and not ready: {} ({})", state.state, not_ready.detail, not_ready.code)
        }
        None => format!("the broker is {}", state.state),
    }
}
