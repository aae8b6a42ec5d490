//! A service with keys behind TLS on loopback, in a thread of its own, that can be told to misbehave:
//! what an `http` upstream is at its best and at its worst.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;

use super::waiting::Patience;

/// The token of the service's administrator.
pub(crate) const ADMIN_TOKEN: &str = "CNRY-admin-0123456789";

pub(crate) struct Webhook {
    pub(crate) port: u16,
    /// What its certificate is verified against.
    pub(crate) ca_pem: String,
    state: Arc<Mutex<State>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What the service does with the next request of a method.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mood {
    /// Says this, and changes nothing.
    Says(u16),
    /// Changes nothing, and says this once it is let go.
    Waits(u16),
    /// Changes nothing, and answers never.
    Silent,
    /// Changes nothing, begins to answer, and goes on never.
    Drips,
    /// Changes nothing, and hangs up.
    HangsUp,
    /// Answers without an end.
    Endless,
    /// Sends the caller to another place of itself.
    Redirects,
    /// Does it, and hangs up in the middle of the connection.
    DoesAndResets,
    /// Does it, and says that it failed, with all that it was told.
    DoesAndEchoes,
}

#[derive(Default)]
struct State {
    /// The keys that work, by their slots.
    keys: BTreeMap<String, String>,
    made: u32,
    moods: BTreeMap<&'static str, VecDeque<Mood>>,
    let_go: bool,
    heard: Vec<Heard>,
}

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Heard {
    fn bearer(&self) -> Option<&str> {
        let line = self.head.lines().find(|line| line.starts_with("authorization: "))?;
        line.strip_prefix("authorization: Bearer ")
    }
}

impl Webhook {
    /// A service at 127.0.0.1, with one key.
    pub(crate) fn start(first: &str) -> Self {
        Self::start_as(first, &["127.0.0.1"])
    }

    /// The same with a certificate for these names.
    pub(crate) fn start_as(first: &str, names: &[&str]) -> Self {
        let (acceptor, ca_pem) = certified(names);
        Self::serving(first, Some(acceptor), ca_pem)
    }

    /// The same without TLS.
    pub(crate) fn start_in_clear(first: &str) -> Self {
        Self::serving(first, None, String::new())
    }

    fn serving(first: &str, acceptor: Option<TlsAcceptor>, ca_pem: String) -> Self {
        let mut state = State::default();
        state.keys.insert("key_0".to_owned(), first.to_owned());
        let state = Arc::new(Mutex::new(state));
        let (stop, stopped) = oneshot::channel();
        let (ready, port) = std::sync::mpsc::channel();
        let serving = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                ready.send(listener.local_addr().unwrap().port()).unwrap();
                tokio::select! {
                    () = serve(listener, acceptor, serving) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { port: port.recv().unwrap(), ca_pem, state, stop: Some(stop), thread: Some(thread) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Has it say what it waits to say.
    pub(crate) fn let_go(&self) {
        self.state().let_go = true;
    }

    /// What it does with the next requests of `method`, in turn; after them it is well again.
    pub(crate) fn next(&self, method: &'static str, moods: &[Mood]) {
        self.state().moods.entry(method).or_default().extend(moods);
    }

    /// Whether `value` is one of its keys.
    pub(crate) fn lets_in(&self, value: &str) -> bool {
        self.state().keys.values().any(|key| key == value)
    }

    /// Its keys, by slot.
    pub(crate) fn keys(&self) -> BTreeMap<String, String> {
        self.state().keys.clone()
    }

    /// Has it know this key and no other, as if it had come back from a backup.
    pub(crate) fn knows_only(&self, value: &str) {
        self.state().keys = BTreeMap::from([("key_0".to_owned(), value.to_owned())]);
    }

    /// Has it forget every key but this one.
    pub(crate) fn keeps_only(&self, value: &str) {
        self.state().keys.retain(|_, key| key == value);
    }

    /// All that it was asked by this method.
    pub(crate) fn heard(&self, method: &str) -> Vec<Heard> {
        self.state().heard.iter().filter(|heard| heard.method == method).cloned().collect()
    }

    /// The fields of a declared upstream that every form of it has, TOML.
    pub(crate) fn declared(&self) -> String {
        let Self { port, ca_pem, .. } = self;
        format!(
            "driver = \"http\"\nca = \"\"\"\n{ca_pem}\"\"\"\nadmin_secret = \"billing/admin\"\n\
             [rotation.upstream.verify]\nurl = \"https://127.0.0.1:{port}/me\"\nbearer = \"value\"\n"
        )
    }

    /// Those of one that is told of a value of ours.
    pub(crate) fn applying(&self) -> String {
        let apply = format!(
            "[rotation.upstream.apply]\nmethod = \"PUT\"\nurl = \"https://127.0.0.1:{}/key\"\nbearer = \"admin\"\n\
             body = '{{\"key\":\"{{{{value}}}}\"}}'\n",
            self.port
        );
        self.declared() + &apply
    }

    /// Those of one that makes values.
    pub(crate) fn creating(&self) -> String {
        let port = self.port;
        let create = format!(
            "[rotation.upstream.create]\nurl = \"https://127.0.0.1:{port}/keys\"\nbearer = \"admin\"\n\
             body = '{{\"label\":\"{{{{rotation}}}}\"}}'\n\
             [rotation.upstream.retire]\nurl = \"https://127.0.0.1:{port}/keys/{{{{slot}}}}\"\nbearer = \"admin\"\n"
        );
        let own =
            "slots = 2\nanswer = { value = \"/data/key\", slot = \"/data/id\" }\n[rotation.upstream.verify]";
        self.declared().replace("[rotation.upstream.verify]", own) + &create
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        drop(self.stop.take());
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// Takes connections with a certificate for `names` by an authority that nobody else knows.
pub(crate) fn certified(names: &[&str]) -> (TlsAcceptor, String) {
    let (authority_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_pem = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::new(authority, authority_key);
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let leaf = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    let chain = vec![CertificateDer::from(leaf.der().to_vec())];
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    (TlsAcceptor::from(Arc::new(config)), ca_pem)
}

/// A connection, in clear or not.
trait Line: AsyncRead + AsyncWrite + Send + Unpin {
    /// Ends it without a word.
    fn reset(&self);
}

impl Line for TcpStream {
    fn reset(&self) {
        self.set_zero_linger().unwrap();
    }
}

impl Line for TlsStream<TcpStream> {
    fn reset(&self) {
        self.get_ref().0.reset();
    }
}

async fn serve(listener: TcpListener, acceptor: Option<TlsAcceptor>, state: Arc<Mutex<State>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (acceptor, state) = (acceptor.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            let mut line: Box<dyn Line> = match acceptor {
                None => Box::new(stream),
                Some(acceptor) => match acceptor.accept(stream).await {
                    Ok(stream) => Box::new(stream),
                    // A client that does not trust the certificate disconnects.
                    Err(_) => return,
                },
            };
            if let Some(heard) = read(&mut line).await {
                answer(line, heard, &state).await;
            }
        });
    }
}

async fn read(stream: &mut Box<dyn Line>) -> Option<Heard> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                let mut words = head.split(' ').map(ToOwned::to_owned);
                let (method, path) = (words.next()?, words.next()?);
                return Some(Heard { method, path, head: head.to_owned(), body: body.to_owned() });
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

async fn answer(mut stream: Box<dyn Line>, heard: Heard, state: &Mutex<State>) {
    let (mood, answered) = {
        let mut state = state.lock().unwrap();
        state.heard.push(heard.clone());
        let moods = state.moods.iter_mut().find(|(method, _)| **method == heard.method);
        let mood = moods.and_then(|(_, moods)| moods.pop_front());
        let does = matches!(mood, None | Some(Mood::DoesAndResets | Mood::DoesAndEchoes));
        (mood, if does { state.done(&heard) } else { (200, json!({})) })
    };
    let reply = match mood {
        None => with_body(answered.0, &answered.1.to_string()),
        Some(Mood::Says(status)) => with_body(status, "{}"),
        Some(Mood::Waits(status)) => {
            let patience = Patience::new();
            while !state.lock().unwrap().let_go {
                patience.try_again();
                tokio::task::yield_now().await;
            }
            with_body(status, "{}")
        }
        Some(Mood::Silent) => std::future::pending().await,
        Some(Mood::Drips) => {
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{").await);
            drop(stream.flush().await);
            std::future::pending().await
        }
        Some(Mood::HangsUp) => return,
        Some(Mood::Endless) => {
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await);
            let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
            while stream.write_all(chunk.as_bytes()).await.is_ok() {}
            return;
        }
        Some(Mood::Redirects) => {
            "HTTP/1.1 307 Temporary Redirect\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n".to_owned()
        }
        Some(Mood::DoesAndResets) => {
            stream.reset();
            return;
        }
        Some(Mood::DoesAndEchoes) => with_body(500, &format!("{}\n{}", heard.head, heard.body)),
    };
    drop(stream.write_all(reply.as_bytes()).await);
    drop(stream.shutdown().await);
}

fn with_body(status: u16, body: &str) -> String {
    format!("HTTP/1.1 {status} Said\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

impl State {
    /// What a service that is well does.
    fn done(&mut self, heard: &Heard) -> (u16, Value) {
        let is_admin = heard.bearer() == Some(ADMIN_TOKEN);
        let told = || serde_json::from_str::<Value>(&heard.body).unwrap_or_default();
        match (heard.method.as_str(), heard.path.as_str()) {
            ("GET", "/me") => {
                let known = self.keys.values().any(|key| Some(key.as_str()) == heard.bearer());
                (if known { 200 } else { 401 }, json!({}))
            }
            _ if !is_admin => (403, json!({})),
            ("PUT", "/key") => {
                let Some(key) = told()["key"].as_str().map(ToOwned::to_owned) else {
                    return (400, json!({}));
                };
                self.keys = BTreeMap::from([("key_0".to_owned(), key)]);
                (204, json!({}))
            }
            ("POST", "/keys") => {
                self.made += 1;
                let (id, key) =
                    (format!("key_{}", self.made), format!("CNRY-made-by-the-service-{:08}", self.made));
                self.keys.insert(id.clone(), key.clone());
                (201, json!({ "data": { "id": id, "key": key, "label": told()["label"] } }))
            }
            ("DELETE", path) => {
                let gone = path.strip_prefix("/keys/").and_then(|id| self.keys.remove(id));
                (if gone.is_some() { 204 } else { 404 }, json!({}))
            }
            _ => (404, json!({})),
        }
    }
}
