use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::agent_client::KeyAgent;
use super::record::SealedKey;
use crate::base::{Sensitive, SystemEntropy, code};
use crate::console::{CommandFailure, TYPED_BYTES_MAX, input};
use crate::keyring::{Passphrase, PassphraseKey, PassphraseKeyError};
use crate::pki::tls::HandshakeSigner;

/// Uses sealed keys: with a passphrase that was entered in this process, or by the key agent.
#[derive(Clone, Debug)]
pub(crate) enum KeyOpener {
    /// The key of a passphrase.
    Entered(Arc<PassphraseKey>),
    /// The agent of the home directory.
    Agent(KeyAgent),
}

/// The key of the passphrase that was entered in this process, so that a command asks once.
static ENTERED: Mutex<Option<Arc<PassphraseKey>>> = Mutex::new(None);
/// Whether this process may ask for a passphrase and keep its key.
static MAY_ASK: AtomicBool = AtomicBool::new(true);
/// Prompts for a passphrase before the command fails.
const TRIES: usize = 3;

impl KeyOpener {
    /// From now on this process uses sealed keys only by the key agent. For a process without an end: it would keep the
    /// key of a passphrase for ever, and a person does not wait for its prompt.
    pub(crate) fn use_only_the_agent() {
        MAY_ASK.store(false, Ordering::Relaxed);
    }

    /// The opener of `key`: a passphrase that was entered before, the key agent of `home`, or a passphrase from a prompt
    /// at the terminal.
    ///
    /// # Errors
    /// [`CommandFailure`] without any of them.
    pub(crate) fn find(home: &Path, key: &SealedKey) -> Result<Self, CommandFailure> {
        let entered = ENTERED.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(entered) = entered.filter(|entered| key.open(entered).is_ok()) {
            return Ok(Self::Entered(entered));
        }
        let agent = KeyAgent::of(home);
        let state = agent.state(Some(key))?;
        if state.as_ref().is_some_and(|state| state.opens) {
            return Ok(Self::Agent(agent));
        }
        if let Some(failure) = Self::unasked(state.is_some()) {
            return Err(failure);
        }
        let mut said = String::new();
        for left in (1..TRIES).rev() {
            match Self::prompted(key, &said) {
                Err(failure) if failure.code() == code::KEY_PASSPHRASE_WRONG.as_str() => {
                    let tries = if left == 1 { "1 try" } else { &format!("{left} tries") };
                    said = format!("wrong passphrase, {tries} left\n");
                }
                done => return done,
            }
        }
        Self::prompted(key, &said)
    }

    /// The failure if this process cannot ask for the passphrase.
    fn unasked(is_agent_running: bool) -> Option<CommandFailure> {
        let agent = if is_agent_running {
            "the key agent was started with another passphrase"
        } else {
            "no key agent runs"
        };
        let sealed = "the operator's private key is sealed";
        if !MAY_ASK.load(Ordering::Relaxed) {
            let why = format!(
                "{sealed}, {agent}, and a process that keeps running does not ask for the passphrase"
            );
            let fix = "start the key agent: `keyward operator key-agent`";
            return Some(CommandFailure::new(code::KEY_SEALED).because(why).mended_by(fix));
        }
        if input::has_terminal() {
            return None;
        }
        let why = format!("{sealed}, {agent}, and there is no terminal to ask for the passphrase");
        Some(CommandFailure::new(code::KEY_SEALED).because(why))
    }

    /// Asks at the terminal, below what is `said` about the last try.
    fn prompted(key: &SealedKey, said: &str) -> Result<Self, CommandFailure> {
        let prompt = format!("{said}Passphrase of the operator's key");
        let typed = input::at_terminal(&prompt, TYPED_BYTES_MAX)?;
        Self::enter(key, &Passphrase::entered(&typed)?)
    }

    /// The opener with `passphrase`, if it opens `key`. This process remembers it.
    ///
    /// # Errors
    /// [`CommandFailure`].
    pub(crate) fn enter(key: &SealedKey, passphrase: &Passphrase) -> Result<Self, CommandFailure> {
        passphrase_key(key, passphrase).map(Self::remembered)
    }

    /// The opener with a passphrase that is chosen now. This process remembers it.
    ///
    /// # Errors
    /// [`CommandFailure`].
    pub(crate) fn choose(passphrase: &Passphrase) -> Result<Self, CommandFailure> {
        PassphraseKey::choose(passphrase, &SystemEntropy).map(Self::remembered).map_err(refused)
    }

    fn remembered(key: PassphraseKey) -> Self {
        let key = Arc::new(key);
        *ENTERED.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&key));
        Self::Entered(key)
    }

    /// Whether it opens `key`.
    pub(crate) fn opens(&self, key: &SealedKey) -> bool {
        match self {
            Self::Entered(entered) => key.open(entered).is_ok(),
            Self::Agent(agent) => {
                agent.state(Some(key)).is_ok_and(|state| state.is_some_and(|one| one.opens))
            }
        }
    }

    /// A new sealed key.
    ///
    /// # Errors
    /// [`CommandFailure`].
    pub(crate) fn new_key(&self) -> Result<SealedKey, CommandFailure> {
        match self {
            Self::Entered(entered) => SealedKey::new(entered, &SystemEntropy),
            Self::Agent(agent) => agent.new_key(),
        }
    }

    /// The key `key_pem`, sealed; `None` with an agent, which seals only keys of its own.
    ///
    /// # Errors
    /// [`CommandFailure`].
    pub(crate) fn seal(&self, key_pem: &Sensitive<String>) -> Result<Option<SealedKey>, CommandFailure> {
        match self {
            Self::Entered(entered) => SealedKey::seal(key_pem, entered, &SystemEntropy).map(Some),
            Self::Agent(_) => Ok(None),
        }
    }
}

/// The key of `passphrase`, if it opens `key`.
///
/// # Errors
/// [`CommandFailure`].
pub(crate) fn passphrase_key(
    key: &SealedKey,
    passphrase: &Passphrase,
) -> Result<PassphraseKey, CommandFailure> {
    let entered = PassphraseKey::enter(passphrase, key.sealed()).map_err(refused)?;
    key.open(&entered).map_err(refused)?;
    Ok(entered)
}

/// Signs the TLS handshakes of an identity whose key is sealed.
#[derive(Debug)]
pub(crate) struct SealedKeySigner {
    key: SealedKey,
    opener: KeyOpener,
    failed: OnceLock<CommandFailure>,
}

impl SealedKeySigner {
    /// Signs with `key`.
    pub(crate) const fn new(key: SealedKey, opener: KeyOpener) -> Self {
        Self { key, opener, failed: OnceLock::new() }
    }

    /// The reason why a handshake was not signed.
    pub(crate) fn failure(&self) -> Option<&CommandFailure> {
        self.failed.get()
    }
}

impl HandshakeSigner for SealedKeySigner {
    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let signed = match &self.opener {
            KeyOpener::Entered(entered) => {
                let lost = || CommandFailure::internal("the sealed key does not open any more");
                self.key.sign(entered, message).ok_or_else(lost)
            }
            KeyOpener::Agent(agent) => agent.sign(&self.key, message),
        };
        // The first failure is the one of this handshake: a client connects once after it.
        signed.inspect_err(|failure| drop(self.failed.set(failure.clone()))).ok()
    }
}

fn refused(error: PassphraseKeyError) -> CommandFailure {
    match error {
        PassphraseKeyError::Passphrase(error) => error.into(),
        PassphraseKeyError::Wrong => CommandFailure::new(code::KEY_PASSPHRASE_WRONG),
        error @ (PassphraseKeyError::Malformed | PassphraseKeyError::Stretch(_)) => {
            let why = format!("the private key of this identity cannot be opened: {error}");
            CommandFailure::new(code::IDENTITY_DAMAGED).because(why)
        }
    }
}
