use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::protocol::{KeyAgentRequest, KeyAgentResponse, LINE_BYTES_MAX, check_private, lock, socket};
use super::record::SealedKey;
use crate::base::encoding::{base64url, from_base64url};
use crate::base::{code, io_reason};
use crate::console::CommandFailure;

/// The key agent of a home directory.
#[derive(Clone, Debug)]
pub(crate) struct KeyAgent {
    home: PathBuf,
}

/// The state of a key agent.
#[derive(Clone, Debug)]
pub(crate) struct KeyAgentState {
    /// The end of its time, RFC 3339.
    pub(crate) until: String,
    /// Whether it opens the key that was asked about.
    pub(crate) opens: bool,
}

/// Longest wait for a response: the agent answers within milliseconds.
const WAIT: Duration = Duration::from_secs(5);
/// How often the client looks whether a stopped agent has ended, and the pause in between.
const LOOKS: u32 = 500;
const PAUSE: Duration = Duration::from_millis(10);

impl KeyAgent {
    /// The agent of `home`, which may not run.
    pub(crate) fn of(home: &Path) -> Self {
        Self { home: home.to_owned() }
    }

    /// The state of the agent, with respect to `key`; `None` if none runs.
    ///
    /// # Errors
    /// [`CommandFailure`] if other users can use the socket, or the agent does not answer.
    pub(crate) fn state(&self, key: Option<&SealedKey>) -> Result<Option<KeyAgentState>, CommandFailure> {
        if !socket(&self.home).exists() {
            return Ok(None);
        }
        let key = key.map(SealedKey::text).transpose()?;
        match self.ask(&KeyAgentRequest::Status { key })? {
            // An agent whose time is over refuses every request until its process ends.
            None | Some(KeyAgentResponse::Refused { .. }) => Ok(None),
            Some(KeyAgentResponse::Status { until, opens }) => Ok(Some(KeyAgentState { until, opens })),
            Some(other) => Err(unexpected(&other)),
        }
    }

    /// The signature of the handshake `message` by `key`.
    pub(super) fn sign(&self, key: &SealedKey, message: &[u8]) -> Result<Vec<u8>, CommandFailure> {
        let request = KeyAgentRequest::Sign { key: key.text()?, message: base64url(message) };
        let response = self.ask(&request)?.ok_or_else(ended)?;
        let KeyAgentResponse::Signature { signature } = &response else { return Err(unexpected(&response)) };
        from_base64url(signature).ok_or_else(malformed)
    }

    /// A new key, sealed with the passphrase that the agent was started with.
    pub(super) fn new_key(&self) -> Result<SealedKey, CommandFailure> {
        let response = self.ask(&KeyAgentRequest::NewKey)?.ok_or_else(ended)?;
        let KeyAgentResponse::Key { key } = &response else { return Err(unexpected(&response)) };
        SealedKey::read(key)?.ok_or_else(malformed)
    }

    /// Ends the agent. `false` if none runs.
    ///
    /// # Errors
    /// [`CommandFailure`].
    pub(crate) fn stop(&self) -> Result<bool, CommandFailure> {
        if !socket(&self.home).exists() {
            return Ok(false);
        }
        match self.ask(&KeyAgentRequest::Stop)? {
            None => Ok(false),
            Some(KeyAgentResponse::Stopping) => {
                self.wait_for_the_end()?;
                Ok(true)
            }
            Some(other) => Err(unexpected(&other)),
        }
    }

    /// Waits until the stopped agent has released its lock, so that another one can start.
    fn wait_for_the_end(&self) -> Result<(), CommandFailure> {
        let lock = File::open(lock(&self.home)).map_err(|error| failed(&io_reason(&error)))?;
        for _ in 0..LOOKS {
            if lock.try_lock().is_ok() {
                return Ok(());
            }
            std::thread::sleep(PAUSE);
        }
        Err(failed("it was told to end, and has not ended"))
    }

    /// The response; `None` if no agent listens.
    fn ask(&self, request: &KeyAgentRequest) -> Result<Option<KeyAgentResponse>, CommandFailure> {
        check_private(&self.home)?;
        let mut stream = match UnixStream::connect(socket(&self.home)) {
            Ok(stream) => stream,
            Err(error)
                if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(failed(&io_reason(&error))),
        };
        let answer = exchange(&mut stream, request).map_err(|error| failed(&io_reason(&error)))?;
        let response = serde_json::from_slice(&answer).map_err(|_| malformed())?;
        Ok(Some(response))
    }
}

fn exchange(stream: &mut UnixStream, request: &KeyAgentRequest) -> io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(WAIT))?;
    stream.set_write_timeout(Some(WAIT))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = Vec::new();
    BufReader::new(stream.take(LINE_BYTES_MAX)).read_until(b'\n', &mut answer)?;
    Ok(answer)
}

fn failed(why: &str) -> CommandFailure {
    CommandFailure::new(code::KEY_AGENT_FAILED).because(format!("the request to the key agent failed: {why}"))
}

fn malformed() -> CommandFailure {
    failed("its response is malformed")
}

fn ended() -> CommandFailure {
    CommandFailure::new(code::KEY_AGENT_FAILED).because("the key agent has ended")
}

fn unexpected(response: &KeyAgentResponse) -> CommandFailure {
    match response {
        KeyAgentResponse::Refused { why } => failed(why),
        KeyAgentResponse::Status { .. }
        | KeyAgentResponse::Signature { .. }
        | KeyAgentResponse::Key { .. }
        | KeyAgentResponse::Stopping => failed("its response is for another request"),
    }
}
