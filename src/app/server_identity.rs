use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::base::Sensitive;
use crate::broker::{Core, Founding, certify_server};
use crate::cli::Failure;
use crate::config::Config;
use crate::pki::tls::Identity;
use crate::pki::{new_key_and_request, read_request, request_for_key};

use super::assemble::{Surroundings, broken, broker_failure, private_dir};

/// Life of the broker's own certificate: 90 days, and a new one at every start.
const SERVER_LIFE_S: i64 = 90 * 86_400;

/// The broker's own TLS identity: the key from `tls/server.key`, outside the keyring so that a
/// sealed broker can still answer, and a certificate made for this start.
pub(super) async fn server_identity(
    config: &Config,
    core: &Core,
    surroundings: &Surroundings,
) -> Result<Identity, Failure> {
    let dir = config.data_dir.join("tls");
    private_dir(&dir)?;
    let path = dir.join("server.key");
    let key_pem = if path.exists() { read_key(&path)? } else { new_key(&path)? };
    let request = request_for_key(&key_pem).map_err(|error| broken(&error))?;
    let key = read_request(&request).map_err(|error| broken(&error))?;
    let founding = Founding {
        trust_domain: &config.trust_domain,
        clock: &*surroundings.clock,
        entropy: &*surroundings.entropy,
    };
    let authority = core.issuer.authority();
    let leaf = certify_server(&core.store, authority, &founding, (&config.server.names, SERVER_LIFE_S), &key)
        .await
        .map_err(|failure| broker_failure(&failure))?;
    Ok(Identity { chain: vec![leaf, authority.certificate().to_vec()], key_pem })
}

fn read_key(path: &Path) -> Result<Sensitive<String>, Failure> {
    fs::read_to_string(path).map(Sensitive::new).map_err(|error| unusable(path, &error))
}

fn new_key(path: &Path) -> Result<Sensitive<String>, Failure> {
    let (key_pem, _) = new_key_and_request().map_err(|error| broken(&error))?;
    let write = || {
        let fresh = path.with_extension("new");
        if fresh.exists() {
            fs::remove_file(&fresh)?;
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
        file.write_all(key_pem.expose().as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, path)?;
        path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
    };
    write().map_err(|error| unusable(path, &error))?;
    Ok(key_pem)
}

fn unusable(path: &Path, error: &std::io::Error) -> Failure {
    let why = format!("`{}` cannot be used: {}", path.display(), error.kind());
    Failure::local("server_key_unusable", &why, "look at the data directory and its permissions")
}
