use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::on_host::OnHostArgs;
use crate::base::{Sensitive, code};
use crate::cli::client::{Client, Received};
use crate::config::Config;
use crate::console::{Console, Failure, SHARES_BYTES_MAX, TYPED_BYTES_MAX, given_shares, input};
use crate::keyring::Share;
use crate::wire::{GET_STATE, Nothing, SEAL, SecretText, StateAnswer, UNSEAL, UnsealBody};

/// `keyward unseal`: by a passphrase from a prompt or standard input, unless something else is said.
#[derive(Args, Debug)]
pub struct UnsealArgs {
    /// The configuration: names the socket on the host
    #[arg(long, default_value = "/etc/keyward/keyward.toml", value_name = "FILE")]
    pub config: PathBuf,
    #[command(flatten)]
    by: UnsealingArgs,
}

/// What opens the keyring.
#[derive(Args, Debug)]
#[group(multiple = false)]
struct UnsealingArgs {
    /// A passphrase, from a prompt or standard input
    #[arg(long)]
    passphrase: bool,
    /// The passphrase in this file (`-`: standard input)
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// The key in this file (`-`: standard input)
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Shares of a slot's key, from prompts or standard input
    #[arg(long)]
    shares: bool,
    /// The shares in this file (`-`: standard input); once for each file
    #[arg(long, value_name = "FILE")]
    share_file: Vec<PathBuf>,
}

impl UnsealingArgs {
    fn ask(&self, console: &Console) -> Result<UnsealBody, Failure> {
        if self.shares || !self.share_file.is_empty() {
            let shares = given_shares(&self.share_file, console)?;
            let lines: Vec<_> = shares.iter().map(Share::text).collect();
            let mut text = Vec::with_capacity(SHARES_BYTES_MAX);
            for line in &lines {
                text.extend_from_slice(line.expose().as_bytes());
                text.push(b'\n');
            }
            return Ok(UnsealBody::Shares(as_text(Sensitive::new(text))?));
        }
        if let Some(file) = &self.key_file {
            return Ok(UnsealBody::Key(as_text(input::secret(Some(file), "Key", KEY_BYTES_MAX, console)?)?));
        }
        let file = self.passphrase_file.as_deref();
        let typed = input::secret(file, "Passphrase", TYPED_BYTES_MAX, console)?;
        Ok(UnsealBody::Passphrase(as_text(typed)?))
    }
}

/// Longer than any key file.
const KEY_BYTES_MAX: usize = 256;

fn as_text(given: Sensitive<Vec<u8>>) -> Result<SecretText, Failure> {
    let text = std::str::from_utf8(given.expose());
    let text = text.map_err(|_| Failure::new(code::UNSEAL_MALFORMED).because("it is not text"))?;
    Ok(Sensitive::new(text.to_owned()).into())
}

impl UnsealArgs {
    pub(crate) async fn run(&self, console: &Console) -> Result<(), Failure> {
        let config = Config::load(&self.config)?;
        let body = self.by.ask(console)?;
        let state = Client::on_host(&config.listen.host).call(UNSEAL, &Nothing, &body).await?;
        tell(&state, console);
        Ok(())
    }
}

/// How long the broker is asked whether it is sealed by now, and how long apart.
const SEALED_WAIT: Duration = Duration::from_secs(15);
const SEALED_PAUSE: Duration = Duration::from_millis(100);

/// `keyward seal`: returns when no key is in the broker's memory any more.
pub(crate) async fn seal(args: &OnHostArgs, console: &Console) -> Result<(), Failure> {
    let client = args.client()?;
    let mut state = client.call(SEAL, &Nothing, &Nothing).await?;
    let sealed = async {
        while state.state != "sealed" {
            tokio::time::sleep(SEALED_PAUSE).await;
            // While the process is replaced nobody answers.
            if let Ok(now) = client.call(GET_STATE, &Nothing, &Nothing).await {
                state = now;
            }
        }
        state
    };
    let sealed = tokio::time::timeout(SEALED_WAIT, sealed).await;
    tell(&sealed.map_err(|_| Failure::new(code::SEALING_UNFINISHED))?, console);
    Ok(())
}

fn tell(state: &Received<StateAnswer>, console: &Console) {
    console.record(&state.sent, || format!("the broker is {}", state.state));
}
