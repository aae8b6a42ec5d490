use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use hyper::Method;
use serde_json::{Value, json};

use crate::base::{Sensitive, code};
use crate::cli::client::ask;
use crate::console::{Console, Failure, SHARES_BYTES_MAX, TYPED_BYTES_MAX, given_shares, input};
use crate::keyring::Share;

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
    /// What it is, in the broker's words, and what was given.
    fn ask(&self, console: &Console) -> Result<(&'static str, Sensitive<Vec<u8>>), Failure> {
        if self.shares || !self.share_file.is_empty() {
            let shares = given_shares(&self.share_file, console)?;
            let lines: Vec<_> = shares.iter().map(Share::text).collect();
            let mut text = Vec::with_capacity(SHARES_BYTES_MAX);
            for line in &lines {
                text.extend_from_slice(line.expose().as_bytes());
                text.push(b'\n');
            }
            return Ok(("shares", Sensitive::new(text)));
        }
        if let Some(file) = &self.key_file {
            return Ok(("key", input::secret(Some(file), "Key", KEY_BYTES_MAX, console)?));
        }
        let file = self.passphrase_file.as_deref();
        Ok(("passphrase", input::secret(file, "Passphrase", TYPED_BYTES_MAX, console)?))
    }
}

/// Longer than any key file.
const KEY_BYTES_MAX: usize = 256;

/// `keyward unseal`
///
/// # Errors
/// [`Failure`].
pub(in crate::cli) async fn unseal(
    socket: &Path,
    args: &UnsealArgs,
    console: &Console,
) -> Result<(), Failure> {
    let (what, given) = args.by.ask(console)?;
    let body = body(what, &given)?;
    tell(&ask(socket, Method::POST, "/v1/unseal", Some(body)).await?, console);
    Ok(())
}

fn body(what: &str, given: &Sensitive<Vec<u8>>) -> Result<Bytes, Failure> {
    let text = std::str::from_utf8(given.expose());
    let text = text.map_err(|_| Failure::new(code::UNSEAL_MALFORMED).because("it is not text"))?;
    Ok(serde_json::to_vec(&json!({ what: text })).unwrap_or_default().into())
}

/// How long the broker is asked whether it is sealed by now, and how long apart.
const SEALED_WAIT: Duration = Duration::from_secs(15);
const SEALED_PAUSE: Duration = Duration::from_millis(100);

/// `keyward seal`: returns when no key is in the broker's memory any more.
///
/// # Errors
/// [`Failure`].
pub(in crate::cli) async fn seal(socket: &Path, console: &Console) -> Result<(), Failure> {
    let mut state = ask(socket, Method::POST, "/v1/seal", None).await?;
    let sealed = async {
        while state_of(&state) != "sealed" {
            tokio::time::sleep(SEALED_PAUSE).await;
            // While the process is replaced nobody answers.
            state = ask(socket, Method::GET, "/v1/state", None).await.unwrap_or_default();
        }
        state
    };
    let sealed = tokio::time::timeout(SEALED_WAIT, sealed).await;
    tell(&sealed.map_err(|_| Failure::new(code::SEALING_UNFINISHED))?, console);
    Ok(())
}

fn state_of(answer: &Value) -> &str {
    answer.get("state").and_then(Value::as_str).unwrap_or_default()
}

fn tell(answer: &Value, console: &Console) {
    if console.is_json() {
        console.json(answer);
    } else {
        console.line(&format!("the broker is {}", state_of(answer)));
    }
}
