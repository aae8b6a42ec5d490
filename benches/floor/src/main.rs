//! The floor: the least that a server has to do to give out a signed token whose record is durable.
//!
//! TLS 1.3 with a client certificate that a trusted authority has signed; HTTP/1.1; one record of 600
//! bytes, written and synced (`fdatasync`) together with the others that wait; then one ES256
//! signature with a key that was parsed once; an answer as large as Keyward's. A `GET` is the same
//! without the signature. No identity is looked up, nothing is decided, parsed, sealed, hashed, limited or
//! counted. So this is what Keyward's speed is measured against, and it shares no code with it.
//!
//! `floor DIR MINT_BYTES READ_BYTES`: DIR holds `server.pem`, `server.key` and `agents.pem`, the authorities
//! of client certificates; the records go to `DIR/records`. Prints the port that it listens on.

use std::convert::Infallible;
use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

/// What Keyward's own record of a mint comes to, about.
const RECORD_BYTES: usize = 600;
/// What is signed is as long as a token is before its signature.
const SIGNED_BYTES: usize = 900;
/// As Keyward's: space is allocated ahead, and a group commit takes no more than so many.
const ALLOCATED_BYTES: u64 = 64 * 1024 * 1024;
const GROUP_MAX: usize = 1024;
const WAITING_MAX: usize = 8 * 1024;
const BACKLOG: u32 = 4096;

type Failed = Box<dyn Error + Send + Sync>;

struct Floor {
    key: EcdsaKeyPair,
    random: SystemRandom,
    records: SyncSender<oneshot::Sender<u64>>,
    answered: AtomicU64,
    mint_bytes: usize,
    read_bytes: usize,
}

fn main() -> Result<(), Failed> {
    let mut arguments = std::env::args().skip(1);
    let mut argument = || arguments.next().ok_or("usage: floor DIR MINT_BYTES READ_BYTES");
    let dir = PathBuf::from(argument()?);
    let (mint_bytes, read_bytes) = (argument()?.parse()?, argument()?.parse()?);
    let tls = TlsAcceptor::from(tls(&dir)?);
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
        .map_err(|_| "no key")?;
    let key =
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).map_err(|_| "no key")?;
    let file = File::options().write(true).create_new(true).open(dir.join("records"))?;
    let (records, waiting) = sync_channel(WAITING_MAX);
    std::thread::spawn(move || {
        eprintln!("the floor cannot write: {:?}", write(&file, &waiting));
        std::process::exit(1);
    });
    let answered = AtomicU64::new(0);
    let floor =
        Arc::new(Floor { key, random: SystemRandom::new(), records, answered, mint_bytes, read_bytes });
    tokio::runtime::Builder::new_multi_thread().enable_io().build()?.block_on(async move {
        let socket = TcpSocket::new_v4()?;
        socket.bind("127.0.0.1:0".parse()?)?;
        let listener = socket.listen(BACKLOG)?;
        println!("{}", listener.local_addr()?.port());
        std::io::stdout().flush()?;
        loop {
            let (stream, _) = listener.accept().await?;
            // Whoever breaks a connection off has broken it off.
            tokio::spawn(serve(stream, tls.clone(), Arc::clone(&floor)));
        }
    })
}

/// As Keyward's: 1.3 only, the same suites and groups, a client certificate, no resumption.
fn tls(dir: &Path) -> Result<Arc<ServerConfig>, Failed> {
    let mut agents = RootCertStore::empty();
    for authority in CertificateDer::pem_file_iter(dir.join("agents.pem"))? {
        agents.add(authority?)?;
    }
    let chain = CertificateDer::pem_file_iter(dir.join("server.pem"))?.collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_file(dir.join("server.key"))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(agents), Arc::clone(&provider)).build()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

async fn serve(stream: TcpStream, tls: TlsAcceptor, floor: Arc<Floor>) -> Result<(), Failed> {
    stream.set_nodelay(true)?;
    let stream = TokioIo::new(tls.accept(stream).await?);
    let service = service_fn(move |request| answer(Arc::clone(&floor), request));
    hyper::server::conn::http1::Builder::new().serve_connection(stream, service).await?;
    Ok(())
}

/// Record, then sign, then answer.
async fn answer(floor: Arc<Floor>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Failed> {
    let is_mint = request.method() == Method::POST;
    request.into_body().collect().await?;
    let (recorded, durable) = oneshot::channel();
    floor.records.send(recorded)?;
    let seq = durable.await?;
    let body = if is_mint {
        let mut signed = vec![b'x'; SIGNED_BYTES];
        signed[..8].copy_from_slice(&seq.to_be_bytes());
        let signature = floor.key.sign(&floor.random, &signed).map_err(|_| "no signature")?;
        let mut body = format!("{{\"token_id\":\"tok_{seq:032}\",\"signature\":\"").into_bytes();
        body.extend(signature.as_ref().iter().map(|byte| b'a' + byte % 26));
        padded(body, floor.mint_bytes)
    } else {
        padded(Vec::new(), floor.read_bytes)
    };
    let named = floor.answered.fetch_add(1, Ordering::Relaxed);
    let mut response = Response::new(Full::new(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert("x-request-id", HeaderValue::from_str(&format!("req_{named:032}"))?);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}

fn padded(mut body: Vec<u8>, bytes: usize) -> Bytes {
    body.resize(bytes, b' ');
    body.into()
}

/// Collects what waits, writes it at once, syncs once, tells all; returns only when that fails.
fn write(file: &File, waiting: &Receiver<oneshot::Sender<u64>>) -> Result<Infallible, Failed> {
    let (mut seq, mut offset, mut allocated) = (0, 0, 0);
    let (mut buffer, mut group) = (Vec::new(), Vec::new());
    loop {
        group.push(waiting.recv()?);
        // As Keyward's: whoever is about to append does so first.
        std::thread::yield_now();
        group.extend(waiting.try_iter().take(GROUP_MAX - 1));
        buffer.clear();
        buffer.resize(group.len() * RECORD_BYTES, b'r');
        if offset + buffer.len() as u64 > allocated {
            let flags = rustix::fs::FallocateFlags::empty();
            rustix::fs::fallocate(file, flags, allocated, ALLOCATED_BYTES)?;
            file.sync_all()?;
            allocated += ALLOCATED_BYTES;
        }
        for record in buffer.chunks_exact_mut(RECORD_BYTES) {
            seq += 1;
            record[..8].copy_from_slice(&u64::to_be_bytes(seq));
        }
        file.write_all_at(&buffer, offset)?;
        file.sync_data()?;
        offset += buffer.len() as u64;
        for (told, seq) in group.drain(..).zip(seq + 1 - (buffer.len() / RECORD_BYTES) as u64..) {
            // Whoever no longer waits is not told.
            let _ = told.send(seq);
        }
    }
}
