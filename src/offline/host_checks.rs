use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs};
use std::path::Path;

use crate::app::data_dir::{is_running, keyring_path};
use crate::app::failures::keyring_lost;
use crate::app::public_documents::published;
use crate::app::runtime_dir::RuntimeDir;
use crate::app::trusted_files::{BrokerUser, TrustedFile};
use crate::app::webhook::{WebhookKeyState, check_webhook, key_file};
use crate::base::{TrustDomain, code, io_reason};
use crate::cli::DoctorFinding;
use crate::config::{Config, LedgerEngine, RootKey};
use crate::console::CommandFailure;
use crate::files::service_directory_above;
use crate::pki::{AuthorityCertificate, ServerCertificate, certificate_from_pem, certificates_from_pem};

/// The checks of a valid configuration against its host, which `config check` and `doctor` share: permissions, names,
/// and the server's certificate. `from` is the configuration file.
pub(super) fn host_checks(from: &Path, config: &Config) -> Vec<DoctorFinding> {
    let mut findings = permissions(from, config);
    findings.extend(database_files(config));
    findings.extend(webhook(config));
    findings.push(data(config));
    findings.extend(trust_domain(config));
    findings.push(addresses(config));
    findings.extend(listeners(config));
    findings.push(resolution(config));
    findings.extend(server_certificate(config));
    findings.push(runtime_dir(config));
    findings
}

/// Whether revocations that the ledger cannot record survive a restart.
fn runtime_dir(config: &Config) -> DoctorFinding {
    const WHAT: &str = "runtime directory";
    let dir = config.runtime_dir.display();
    let lost = "revocations that the ledger cannot record do not survive a restart of the broker";
    let user = BrokerUser::of_data(config);
    match RuntimeDir::of(config, user) {
        RuntimeDir::Usable => DoctorFinding::ok(WHAT, format!("only the broker's user can use `{dir}`")),
        RuntimeDir::Absent if is_running(&config.data_dir) => DoctorFinding::warn(
            WHAT,
            format!("`{dir}` does not exist: {lost}"),
            "under systemd, set `RuntimeDirectory=` as in config/systemd/keyward.service; otherwise make it for the \
             broker's user (mode 0700) in a tmpfs, and restart the broker",
        ),
        RuntimeDir::Absent => DoctorFinding::warn(
            WHAT,
            format!("`{dir}` does not exist: without it {lost}"),
            "under systemd with `RuntimeDirectory=`, as in config/systemd/keyward.service, the start of the service makes \
             it; otherwise make it for the broker's user (mode 0700) in a tmpfs",
        ),
        RuntimeDir::Unusable(why) => DoctorFinding::warn(
            WHAT,
            format!("`{dir}` is not used, because {why}: {lost}"),
            "set `runtime_dir` to a directory of the broker's user (mode 0700) in a tmpfs, e.g. `/run/keyward`",
        ),
    }
}

/// The permissions that `serve` checks, those of the directories of keys, and the owner of each file of the broker. The
/// data directory has a stricter check.
fn permissions(from: &Path, config: &Config) -> Vec<DoctorFinding> {
    let mut all = TrustedFile::all(from, config);
    all.retain(|one| one.path != config.data_dir);
    all.extend(TrustedFile::key_directories(config));
    let user = BrokerUser::of_data(config);
    let checked = all.iter().map(|one| match one.check(user) {
        Ok(()) => DoctorFinding::ok(one.what, format!("`{}` has safe permissions", one.path.display())),
        Err(failure) => DoctorFinding::fail(one.what, failure.why(), failure.fix()),
    });
    let mut findings: Vec<DoctorFinding> = checked.collect();
    if config.data_dir.exists() {
        let way = service_directory_above(&config.data_dir).map_or_else(String::new, |private| {
            format!("; the service passes `{}` through a mount of systemd", private.display())
        });
        let well = format!(
            "the broker's user can read the configuration and every file below `{}`{way}",
            config.data_dir.display()
        );
        let checked = user.check_ways_to(from, &config.data_dir);
        findings.push(match checked.and_then(|()| user.check_files_below(&config.data_dir)) {
            Ok(()) => DoctorFinding::ok("owner of the data", well),
            Err(failure) => DoctorFinding::fail("owner of the data", failure.why(), failure.fix()),
        });
    }
    findings
}

/// Whether the broker's user can read the files of the ledger's database; none with a ledger in files.
fn database_files(config: &Config) -> Option<DoctorFinding> {
    const WHAT: &str = "files of the database's settings";
    let LedgerEngine::Postgresql(database) = &config.ledger.engine else { return None };
    if !database.password_file.exists() || !database.ca_file.exists() {
        return None;
    }
    Some(match BrokerUser::of_data(config).check_database_files(config, database) {
        Ok(()) => DoctorFinding::ok(WHAT, "the broker's user can read the password and the CA certificates"),
        Err(failure) => DoctorFinding::fail(WHAT, failure.why(), failure.fix()),
    })
}

/// Whether the broker can use the files of the webhook; none without a webhook.
fn webhook(config: &Config) -> Option<DoctorFinding> {
    const WHAT: &str = "webhook";
    let settings = config.approvals.webhook.as_ref()?;
    let key = key_file(config)?;
    let user = BrokerUser::of_data(config);
    let checked =
        user.check_webhook_files(config, &settings.ca, &key).and_then(|()| check_webhook(config, settings));
    let key = key.display();
    Some(match checked {
        Ok(WebhookKeyState::Usable) => {
            DoctorFinding::ok(WHAT, format!("`{key}` has the key that signs the messages"))
        }
        Ok(WebhookKeyState::Unmade) => DoctorFinding::ok(
            WHAT,
            format!("the next start makes the key `{key}`; give it to the service then"),
        ),
        // The check of the permissions has the same finding.
        Err(failure) if failure.code() == code::FILE_PERMISSIONS_TOO_OPEN.as_str() => return None,
        Err(failure) => DoctorFinding::fail(WHAT, failure.why(), failure.fix()),
    })
}

/// The files that only the broker's user may use. `init` makes those of the broker.
pub(super) fn private_files(config: &Config) -> Vec<(&'static str, &Path)> {
    let key = match &config.root_key {
        RootKey::File(file) => Some(("unseal key file", file.as_path())),
        RootKey::Credential(_) | RootKey::Attended => None,
    };
    let password = match &config.ledger.engine {
        LedgerEngine::Postgresql(database) => {
            Some(("file of the database's password", database.password_file.as_path()))
        }
        LedgerEngine::Files => None,
    };
    std::iter::once(("data directory", config.data_dir.as_path())).chain(key).chain(password).collect()
}

/// The trust domain of the example configuration. `init` fixes the trust domain for good.
const EXAMPLE_TRUST_DOMAIN: &str = "keyward.internal";

/// Before `init`: whether the trust domain is still the one of the example. Later: whether it is the one of the broker.
fn trust_domain(config: &Config) -> Option<DoctorFinding> {
    const WHAT: &str = "trust domain";
    if let Some(own) = own_trust_domain(config) {
        let set = &config.trust_domain;
        if own == *set {
            return Some(DoctorFinding::ok(WHAT, format!("`{own}`, as in the broker's certificates")));
        }
        let why = format!(
            "`trust_domain` is `{set}`, and the broker in `{}` has the trust domain `{own}`: it does not start",
            config.data_dir.display()
        );
        let fix = format!(
            "set `trust_domain = \"{own}\"`, because it cannot change after `init`; for a new broker choose another `data_dir`"
        );
        return Some(DoctorFinding::fail(WHAT, why, fix));
    }
    let is_example = config.trust_domain.as_str() == EXAMPLE_TRUST_DOMAIN;
    if !is_example || keyring_path(config).exists() {
        return None;
    }
    let why = format!(
        "`trust_domain` is `{EXAMPLE_TRUST_DOMAIN}`, as in the example, and cannot change after `init`"
    );
    Some(DoctorFinding::warn(
        WHAT,
        why,
        "set a name of your own before `keyward init`, e.g. `keyward.corp.example`",
    ))
}

/// The trust domain in the broker's published certificates of authorities; none before `init`.
fn own_trust_domain(config: &Config) -> Option<TrustDomain> {
    let published = published(config);
    let authorities = certificates_from_pem(published.authorities_pem()).ok()?;
    let newest = AuthorityCertificate::parse(authorities.into_iter().next()?).ok()?;
    Some(newest.trust_domain().clone())
}

/// Whether the data directory has a broker. A wrong `data_dir` looks like a new one.
fn data(config: &Config) -> DoctorFinding {
    const WHAT: &str = "broker's data";
    let dir = config.data_dir.display();
    if keyring_path(config).exists() {
        return DoctorFinding::ok(WHAT, format!("`{dir}` contains a broker"));
    }
    if let Some(lost) = keyring_lost(&config.data_dir) {
        return DoctorFinding::fail(WHAT, lost.why(), lost.fix());
    }
    let problem = if config.data_dir.exists() { "contains no broker" } else { "does not exist" };
    DoctorFinding::warn(
        WHAT,
        format!("`data_dir` is `{dir}`, which {problem}"),
        "`keyward init` makes a new broker there; for an existing broker set `data_dir` to its directory",
    )
}

/// Checks that the certificate, which has what `[server] names` lists, has the hosts that enrolment codes name.
///
/// # Errors
/// [`CommandFailure`].
pub(super) fn check_addresses(config: &Config) -> Result<(), CommandFailure> {
    let server = &config.server;
    for (setting, address) in [("address", &server.address), ("admin_address", &server.admin_address)] {
        let host = host_of(address);
        if !server.names.iter().any(|name| name == host) {
            return Err(CommandFailure::usage(
                &format!(
                    "`{setting}` has the host `{host}`, which `[server] names` does not list: clients refuse the broker"
                ),
                &format!("add `{host}` to `[server] names`; a running broker has to be restarted then"),
            ));
        }
    }
    Ok(())
}

fn addresses(config: &Config) -> DoctorFinding {
    const WHAT: &str = "addresses";
    let server = &config.server;
    match check_addresses(config) {
        Ok(()) => DoctorFinding::ok(
            WHAT,
            format!("{} for agents, {} for operators", server.address, server.admin_address),
        ),
        Err(failure) => DoctorFinding::fail(WHAT, failure.why(), failure.fix()),
    }
}

/// Whether the listeners can listen: their addresses are of this host, and no other program has their ports. While the
/// broker runs, it has them itself.
fn listeners(config: &Config) -> Vec<DoctorFinding> {
    if is_running(&config.data_dir) {
        return Vec::new();
    }
    let listen = &config.listen;
    let checked = [
        ("agents' listener", "listen.agents", listen.agents),
        ("operators' listener", "listen.admins", listen.admins),
    ];
    checked.into_iter().map(|(what, setting, address)| listener(what, setting, address)).collect()
}

fn listener(what: &'static str, setting: &str, address: SocketAddr) -> DoctorFinding {
    let Err(error) = TcpListener::bind(address) else {
        return DoctorFinding::ok(what, format!("the broker can listen on {address}"));
    };
    let kind = error.kind();
    let (why, fix) = if kind == ErrorKind::AddrNotAvailable {
        (
            format!("`{setting}` is {address}, and {} is no address of this host", address.ip()),
            format!(
                "set `{setting}` to an address of this host (`ip address`), or to `0.0.0.0:{}` for all",
                address.port()
            ),
        )
    } else if kind == ErrorKind::AddrInUse {
        (
            format!("`{setting}` is {address}, and another program has the port {}", address.port()),
            format!("stop that program (`ss -ltnp` as root shows it), or set another port as `{setting}`"),
        )
    } else if kind == ErrorKind::PermissionDenied {
        (
            format!("`{setting}` is {address}, and this user may not listen on the port {}", address.port()),
            "run the check as the broker's user; under systemd, `AmbientCapabilities=CAP_NET_BIND_SERVICE` allows ports \
             below 1024"
                .to_owned(),
        )
    } else {
        (
            format!("the broker cannot listen on {address} (`{setting}`): {}", io_reason(&error)),
            format!("correct `{setting}`"),
        )
    };
    DoctorFinding::warn(what, why, fix)
}

/// A name can resolve elsewhere although it does not resolve on this host, so that this is no failure.
fn resolution(config: &Config) -> DoctorFinding {
    const WHAT: &str = "names";
    let names = config.server.names.iter().filter(|name| name.parse::<IpAddr>().is_err());
    let unknown: Vec<String> = names
        .filter(|name| (name.as_str(), 0).to_socket_addrs().is_err())
        .map(|name| format!("`{name}`"))
        .collect();
    if unknown.is_empty() {
        return DoctorFinding::ok(WHAT, "every name in `[server] names` resolves");
    }
    DoctorFinding::warn(
        WHAT,
        format!("{} in `[server] names` does not resolve on this host", unknown.join(", ")),
        "correct the name, or add it to the name service; ignore this if only clients have to resolve it",
    )
}

/// The names in the present certificate; none before the first start.
fn server_certificate(config: &Config) -> Option<DoctorFinding> {
    const WHAT: &str = "server certificate";
    let path = config.data_dir.join("tls/server.pem");
    let der = certificate_from_pem(&fs::read_to_string(&path).ok()?).ok()?;
    let certified = ServerCertificate::names(&der);
    let missing: Vec<String> = config
        .server
        .names
        .iter()
        .filter(|name| !certified.contains(name))
        .map(|name| format!("`{name}`"))
        .collect();
    Some(if missing.is_empty() {
        DoctorFinding::ok(WHAT, "the broker's certificate has every name in `[server] names`")
    } else {
        DoctorFinding::warn(
            WHAT,
            format!("the certificate in `{}` does not name {}", path.display(), missing.join(", ")),
            "restart the broker: the start issues a certificate with every name",
        )
    })
}

/// The host in `host:port`, without the brackets of an IPv6 address.
fn host_of(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']'])
}
