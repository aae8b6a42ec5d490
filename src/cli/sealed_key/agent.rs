use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::SignalKind;
use tokio::time::timeout;

use super::protocol::{
    KeyAgentRequest, KeyAgentResponse, LINE_BYTES_MAX, check_private, directory, lock, socket,
};
use super::record::{KeyPurpose, SealedKey};
use crate::base::encoding::{base64url, from_base64url};
use crate::base::{Clock, SystemEntropy, Timestamp, code};
use crate::console::{CommandFailure, signals};
use crate::files::private_dir;
use crate::keyring::PassphraseKey;
use crate::pki::tls::is_client_handshake;

/// The process that uses an operator's sealed key for a stated time. It has the key of the passphrase. It opens a private
/// key for each signature, and gives none to another process.
#[derive(Debug)]
pub(crate) struct KeyAgentServer {
    key: Arc<PassphraseKey>,
    clock: Arc<dyn Clock>,
    /// The end by the clock since boot, which counts also while the machine sleeps.
    ends: Duration,
    until: Timestamp,
    uid: u32,
}

/// The socket of a key agent, which only this process uses. Removed on drop.
#[derive(Debug)]
pub(crate) struct KeyAgentSocket {
    path: PathBuf,
    listener: UnixListener,
    _lock: File,
}

/// How often the agent looks whether its time is over.
const LOOK: Duration = Duration::from_secs(1);
/// Longest time for the request of one connection.
const REQUEST_WAIT: Duration = Duration::from_secs(2);

impl KeyAgentSocket {
    /// Listens below `home`, in a directory of mode 0700 and on a socket of mode 0600.
    ///
    /// # Errors
    /// [`CommandFailure`] if an agent runs, or the directory cannot be used.
    pub(crate) fn bind(home: &Path) -> Result<Self, CommandFailure> {
        let (dir, path) = (directory(home), socket(home));
        let of = |path: &Path| {
            let path = path.to_owned();
            move |error: io::Error| CommandFailure::of_file(&path, &error)
        };
        private_dir(&dir).map_err(of(&dir))?;
        check_private(home)?;
        let lock = lock(home);
        let held = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&lock);
        let held = held.map_err(of(&lock))?;
        if held.try_lock().is_err() {
            return Err(CommandFailure::new(code::KEY_AGENT_RUNNING));
        }
        crate::files::remove(&path).map_err(of(&path))?;
        let listener = UnixListener::bind(&path).map_err(|error| {
            if error.kind() != io::ErrorKind::InvalidInput {
                return CommandFailure::of_file(&path, &error);
            }
            let why = format!("the path `{}` is too long for a socket", path.display());
            let fix = "use a home directory with a shorter path: `--home DIR`";
            CommandFailure::new(code::FILE_UNUSABLE).because(why).mended_by(fix)
        })?;
        fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(of(&path))?;
        Ok(Self { path, listener, _lock: held })
    }
}

impl Drop for KeyAgentSocket {
    fn drop(&mut self) {
        // A socket that stays leads to no process: clients notice, and the next agent removes it.
        drop(crate::files::remove(&self.path));
    }
}

impl KeyAgentServer {
    /// An agent that ends after `life_s` seconds.
    pub(crate) fn new(key: Arc<PassphraseKey>, life_s: u32, clock: Arc<dyn Clock>) -> Self {
        let ends = clock.elapsed().saturating_add(Duration::from_secs(life_s.into()));
        let until = clock.now().plus_s(life_s.into());
        let uid = rustix::process::geteuid().as_raw();
        Self { key, clock, ends, until, uid }
    }

    /// The end of the agent's time.
    pub(crate) const fn until(&self) -> Timestamp {
        self.until
    }

    fn is_over(&self) -> bool {
        self.clock.elapsed() >= self.ends
    }

    /// Answers requests until the time is over, a client ends the agent, or a signal arrives.
    ///
    /// # Errors
    /// [`CommandFailure`] if the process cannot receive signals.
    pub(crate) async fn serve(&self, socket: KeyAgentSocket) -> Result<(), CommandFailure> {
        let of = |kind| {
            signals::listen(kind).map_err(|error| CommandFailure::of_file(Path::new("signals"), &error))
        };
        let (mut terminate, mut interrupt) = (of(SignalKind::terminate())?, of(SignalKind::interrupt())?);
        loop {
            tokio::select! {
                accepted = socket.listener.accept() => {
                    if let Ok((stream, _)) = accepted
                        && timeout(REQUEST_WAIT, self.converse(stream)).await.unwrap_or(false)
                    {
                        return Ok(());
                    }
                }
                () = tokio::time::sleep(LOOK) => {}
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
            }
            if self.is_over() {
                return Ok(());
            }
        }
    }

    /// Answers one request of a process of the same user. `true` if the request ends the agent.
    async fn converse(&self, mut stream: UnixStream) -> bool {
        if !stream.peer_cred().is_ok_and(|peer| peer.uid() == self.uid) {
            return false;
        }
        let mut line = Vec::new();
        let read = BufReader::new((&mut stream).take(LINE_BYTES_MAX)).read_until(b'\n', &mut line).await;
        if read.is_err() {
            return false;
        }
        let request = serde_json::from_slice::<KeyAgentRequest>(&line);
        let response = request.map_or_else(|_| refused("the request is malformed"), |one| self.answer(one));
        let is_end = matches!(response, KeyAgentResponse::Stopping);
        if let Ok(mut line) = serde_json::to_vec(&response) {
            line.push(b'\n');
            // A client that closed the connection needs no response.
            drop(stream.write_all(&line).await);
        }
        is_end
    }

    fn answer(&self, request: KeyAgentRequest) -> KeyAgentResponse {
        if self.is_over() {
            return refused("the time of the key agent is over");
        }
        match request {
            KeyAgentRequest::Status { key } => {
                let opens = key.and_then(|text| sealed(&text)).is_some_and(|key| key.open(&self.key).is_ok());
                KeyAgentResponse::Status { until: self.until.to_string(), opens }
            }
            KeyAgentRequest::Sign { key, message } => self.sign(&key, &message),
            KeyAgentRequest::NewKey => SealedKey::new(&self.key, &SystemEntropy)
                .and_then(|key| key.text())
                .map_or_else(|_| refused("the key cannot be made"), |key| KeyAgentResponse::Key { key }),
            KeyAgentRequest::Stop => KeyAgentResponse::Stopping,
        }
    }

    /// Signs nothing but client handshakes, so that no process gets a signature for another purpose.
    fn sign(&self, key: &str, message: &str) -> KeyAgentResponse {
        if KeyPurpose::Approval.is_of(key) {
            return refused("the key is an approval key, which no key agent uses");
        }
        let Some(message) = from_base64url(message).filter(|message| is_client_handshake(message)) else {
            return refused("the message is not of a TLS 1.3 client handshake");
        };
        let signature = sealed(key).and_then(|key| key.sign(&self.key, &message));
        signature.map_or_else(
            || refused("the passphrase of the key agent does not open this key"),
            |signature| KeyAgentResponse::Signature { signature: base64url(&signature) },
        )
    }
}

fn sealed(text: &str) -> Option<SealedKey> {
    SealedKey::read(text).ok().flatten()
}

fn refused(why: &str) -> KeyAgentResponse {
    KeyAgentResponse::Refused { why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{ManualClock, Sensitive};
    use crate::cli::sealed_key::agent_client::KeyAgent;
    use crate::keyring::Passphrase;

    fn key(words: &str) -> PassphraseKey {
        let words = Passphrase::entered(&Sensitive::new(words.as_bytes().to_vec())).unwrap();
        PassphraseKey::choose(&words, &SystemEntropy).unwrap()
    }

    fn handshake() -> Vec<u8> {
        [&[b' '; 64][..], b"TLS 1.3, client CertificateVerify\0", &[7; 32]].concat()
    }

    /// An agent for an hour and its clock.
    fn server() -> (KeyAgentServer, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::new(Timestamp::from_s(1_800_000_000)));
        let by = Arc::new(key("correct horse battery"));
        (KeyAgentServer::new(by, 3600, Arc::clone(&clock) as Arc<dyn Clock>), clock)
    }

    fn why(response: KeyAgentResponse) -> String {
        let KeyAgentResponse::Refused { why } = response else { panic!("{response:?}") };
        why
    }

    #[test]
    fn key_agent_signs_only_client_handshakes() {
        let (server, _) = server();
        let KeyAgentResponse::Key { key: text } = server.answer(KeyAgentRequest::NewKey) else { panic!() };
        let ask = |message: &[u8]| server.sign(&text, &base64url(message));
        assert!(matches!(ask(&handshake()), KeyAgentResponse::Signature { .. }));
        assert!(why(ask(b"a certificate request")).contains("client handshake"));
        assert!(why(server.sign(&text, "!")).contains("client handshake"));
        let other = SealedKey::new(&key("another horse battery"), &SystemEntropy).unwrap().text().unwrap();
        assert!(why(server.sign(&other, &base64url(&handshake()))).contains("does not open this key"));
        let approval = SealedKey::new_for(KeyPurpose::Approval, &server.key, &SystemEntropy).unwrap();
        for message in [&handshake()[..], b"a vote"] {
            let refused = why(server.sign(&approval.text().unwrap(), &base64url(message)));
            assert!(refused.contains("no key agent uses"), "{refused}");
        }
    }

    #[test]
    fn key_agent_refuses_every_request_after_its_time() {
        let (server, clock) = server();
        clock.advance_s(3599);
        assert!(matches!(server.answer(KeyAgentRequest::NewKey), KeyAgentResponse::Key { .. }));
        clock.advance_s(1);
        for request in [
            KeyAgentRequest::NewKey,
            KeyAgentRequest::Status { key: None },
            KeyAgentRequest::Sign { key: String::new(), message: base64url(&handshake()) },
        ] {
            assert!(why(server.answer(request)).contains("is over"));
        }
    }

    #[tokio::test]
    async fn key_agent_ends_at_its_time_without_a_request() {
        let home = tempfile::tempdir().unwrap();
        let (server, clock) = server();
        let bound = KeyAgentSocket::bind(home.path()).unwrap();
        let serving = tokio::spawn(async move { server.serve(bound).await });
        clock.advance_s(3600);
        timeout(Duration::from_secs(20), serving).await.unwrap().unwrap().unwrap();
        assert!(!socket(home.path()).exists());
    }

    #[tokio::test]
    async fn key_agent_serves_its_socket_until_it_is_stopped() {
        // Given an agent with a socket
        let home = tempfile::tempdir().unwrap();
        let (server, _) = server();
        let bound = KeyAgentSocket::bind(home.path()).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&directory(home.path())), mode(&socket(home.path()))), (0o700, 0o600));
        assert_eq!(KeyAgentSocket::bind(home.path()).unwrap_err().code(), "key_agent_running");
        let serving = tokio::spawn(async move { server.serve(bound).await });
        // When clients ask it
        let agent = KeyAgent::of(home.path());
        let asking = tokio::task::spawn_blocking(move || {
            let key = agent.new_key().unwrap();
            let state = agent.state(Some(&key)).unwrap().unwrap();
            assert!(state.opens && state.until.starts_with("20"));
            assert!(agent.sign(&key, &handshake()).is_ok());
            assert_eq!(agent.sign(&key, b"other").unwrap_err().code(), "key_agent_failed");
            assert!(agent.stop().unwrap());
            agent
        });
        let agent = asking.await.unwrap();
        // Then it ends, and its socket is gone
        serving.await.unwrap().unwrap();
        assert!(!socket(home.path()).exists() && agent.state(None).unwrap().is_none());
        // When other users can enter the directory, then it is not used
        fs::set_permissions(directory(home.path()), Permissions::from_mode(0o750)).unwrap();
        assert_eq!(KeyAgentSocket::bind(home.path()).unwrap_err().code(), "file_unusable");
    }
}
