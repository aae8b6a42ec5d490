use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::data_dir::private_dir;
use crate::base::code;
use crate::base::{Sensitive, Timestamp, io_reason};
use crate::broker::{Services, certify_server};
use crate::config::Config;
use crate::console::CommandFailure;
use crate::files;
use crate::issuance::ServerPlan;
use crate::pki::tls::TlsIdentity;
use crate::pki::{
    ServerCertificate, authorities_pem, certificate_from_pem, certificate_pem, certificates_from_pem,
    new_key_and_request, read_request, request_for_key,
};

use super::environment::Environment;
use super::failures::start_failed;

/// Life of the broker's own certificate: a year, replaced in its second half.
const SERVER_LIFE_S: i64 = 365 * 86_400;

/// The broker's TLS identity. The key is in `tls/server.key`, outside the keyring, so that a sealed broker can answer; the
/// certificate beside it is reused while it is valid.
pub(crate) async fn server_identity(
    config: &Config,
    services: &Services,
    environment: &Environment,
) -> Result<TlsIdentity, CommandFailure> {
    let dir = config.data_dir.join("tls");
    private_dir(&dir)?;
    let (key_path, leaf_path) = (dir.join("server.key"), dir.join("server.pem"));
    let key_pem = if key_path.exists() { read(&key_path).map(Sensitive::new)? } else { new_key(&key_path)? };
    let request =
        request_for_key(&key_pem).map_err(|_| unusable(&key_path, &"it contains no private key"))?;
    let key = read_request(&request).map_err(|error| start_failed(&error))?;
    let authority = services.signing.issuer.authority();
    let now = environment.clock.now();
    let kept = kept(&leaf_path).filter(|der| {
        let wanted =
            ServerCertificate { names: &config.server.names, key: key.digest(), authority: &authority };
        // While the clocks disagree, the broker signs only what is necessary.
        wanted.is(der) && (!services.clocks_agree() || is_current(der, now))
    });
    let leaf = match kept {
        Some(leaf) => leaf,
        None => {
            let plan = ServerPlan { names: config.server.names.clone(), key, life_s: SERVER_LIFE_S };
            let leaf = certify_server(services, plan).await;
            let leaf = leaf?;
            replace(&leaf_path, certificate_pem(&leaf).as_bytes())?;
            leaf
        }
    };
    if let Some(end) = ServerCertificate::not_after(&leaf) {
        services.notifications.meters.certificate_ends("server", end.s());
    }
    // All trusted authorities, not only the signing one: clients learn of the next one.
    let authorities = services.signing.issuer.authorities();
    let chain = std::iter::once(leaf).chain(authorities.iter().map(|one| one.der().to_vec()));
    Ok(TlsIdentity { chain: chain.collect(), key_pem })
}

/// The identity in read-only mode, which signs no certificate: the stored one, with any names.
pub(crate) fn kept_identity(config: &Config, services: &Services) -> Result<TlsIdentity, CommandFailure> {
    let pem = authorities_pem(&services.signing.issuer.authorities());
    sealed_identity(config, &pem).ok_or_else(|| {
        let why = "the server certificate is missing, and read-only mode signs none";
        let fix = "copy `tls/server.key` and `tls/server.pem` from the original data directory";
        CommandFailure::new(code::SERVER_KEY_UNUSABLE).because(why).mended_by(fix)
    })
}

/// The TLS identity of a sealed broker: the stored one, with the authorities as last published; `None` before the first
/// start.
pub(crate) fn sealed_identity(config: &Config, authorities_pem: &str) -> Option<TlsIdentity> {
    let dir = config.data_dir.join("tls");
    let key_pem = read(&dir.join("server.key")).map(Sensitive::new).ok()?;
    let leaf = kept(&dir.join("server.pem"))?;
    let authorities = certificates_from_pem(authorities_pem).unwrap_or_default();
    Some(TlsIdentity { chain: std::iter::once(leaf).chain(authorities).collect(), key_pem })
}

fn kept(path: &Path) -> Option<Vec<u8>> {
    fs::read_to_string(path).ok().and_then(|pem| certificate_from_pem(&pem).ok())
}

/// Whether the certificate is valid with more than half of its life left. A wrong clock may have made one of the future.
fn is_current(der: &[u8], now: Timestamp) -> bool {
    let has_begun = ServerCertificate::not_before(der).is_some_and(|begin| begin <= now);
    let half_left = ServerCertificate::not_after(der)
        .is_some_and(|end| end.seconds_since(now).saturating_mul(2) > SERVER_LIFE_S);
    has_begun && half_left
}

fn read(path: &Path) -> Result<String, CommandFailure> {
    fs::read_to_string(path).map_err(|error| unusable(path, &io_reason(&error)))
}

fn new_key(path: &Path) -> Result<Sensitive<String>, CommandFailure> {
    let (key_pem, _) = new_key_and_request().map_err(|error| start_failed(&error))?;
    replace(path, key_pem.expose().as_bytes())?;
    Ok(key_pem)
}

pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), CommandFailure> {
    files::replace(path, bytes).map_err(|error| {
        let failure = unusable(path, &io_reason(&error));
        if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) {
            return failure.mended_by("free space on the data disk (docs/runbooks/full-disk.md)");
        }
        failure
    })
}

fn unusable(path: &Path, why: &dyn fmt::Display) -> CommandFailure {
    let why = format!("`{}` cannot be used: {why}", path.display());
    CommandFailure::new(code::SERVER_KEY_UNUSABLE).because(why)
}
