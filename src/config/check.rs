use std::fs;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use toml::Spanned;

use super::fault::{setting_at, toml_message, toml_place};
use super::found::{Found, all_faults};
use super::raw::{ConfigError, Raw, RawApprovals, RawCertificates, RawClock, RawConnections};
use super::settings::{
    ApprovalSettings, Certificates, Checkpoints, ClockSettings, Config, Connections, LedgerSettings, Listen,
    LogFormat, LogLevel, LogSettings, PolicySettings, Quota, RootKey, Secrets, ServerSettings, Tokens,
    Upstream, WebhookSettings,
};
use crate::base::limits::{
    CERTIFICATE_LIFE_MAX_S, FORMER_VERSIONS, FORMER_VERSIONS_MAX, FORMER_VERSIONS_MIN, OPERATOR_LIFE_MAX_S,
    OPERATOR_LIFE_MIN_S, RENEWAL_GRACE_MAX_S, SERVICE_LIFE_MAX_S, TOKEN_LIFE_MAX_S, TOKEN_LIFE_MIN_S,
};
use crate::base::{Audience, Network, TrustDomain, io_reason};

impl Config {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// [`ConfigError`], with the place and without the value.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|error| ConfigError::Unreadable {
            path: path.to_owned(),
            why: io_reason(&error),
            denied: error.kind() == io::ErrorKind::PermissionDenied,
        })?;
        Self::parse(&text, path)
    }

    /// Checks `text`; `path` is for messages.
    ///
    /// # Errors
    /// [`ConfigError`] with every fault that can be found at once, with its place and without the value.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let parsed = Self::parse_once(text, path);
        parsed.map_err(|first| all_faults(text, path, first, |shorter| Self::parse_once(shorter, path).err()))
    }

    /// The first fault of `text`, if it has one.
    fn parse_once(text: &str, path: &Path) -> Result<Self, Found> {
        let check = Check { text, path };
        let raw: Raw = toml::from_str(text)
            .map_err(|error| check.fault(error.span().map_or(0, |span| span.start), &toml_message(&error)))?;
        check.config(raw)
    }
}

pub(super) struct Check<'a> {
    text: &'a str,
    path: &'a Path,
}

const AGENT_LIFE_S: RangeInclusive<i64> = 300..=CERTIFICATE_LIFE_MAX_S;
const OPERATOR_LIFE_S: RangeInclusive<i64> = OPERATOR_LIFE_MIN_S..=OPERATOR_LIFE_MAX_S;
const SERVICE_LIFE_S: RangeInclusive<i64> = OPERATOR_LIFE_MIN_S..=SERVICE_LIFE_MAX_S;
const AUTHORITY_LIFE_S: RangeInclusive<i64> = 2_592_000..=283_824_000;
const TOKEN_KEY_LIFE_S: RangeInclusive<i64> = 86_400..=31_536_000;
const VALUE_KEY_LIFE_S: RangeInclusive<i64> = 86_400..=31_536_000;
const SEALING_KEY_LIFE_S: RangeInclusive<i64> = 86_400..=63_072_000;
const CHECKPOINT_KEY_LIFE_S: RangeInclusive<i64> = 86_400..=315_360_000;
/// systemd-timesyncd writes this file at each synchronisation.
const TIMESYNC_FILE: &str = "/run/systemd/timesync/synchronized";
const CONNECTIONS: RangeInclusive<i64> = 1..=65_536;
const RATES: RangeInclusive<i64> = 1..=1_000_000;
/// The longest path of a Unix socket: `unix(7)` allows 108 bytes with the NUL at its end.
const SOCKET_PATH_BYTES_MAX: usize = 107;

impl Check<'_> {
    /// Names the setting whose value begins at `offset`, beside its place.
    pub(super) fn fault(&self, offset: usize, problem: &str) -> Found {
        let (line, column) = toml_place(self.text, offset);
        let setting = setting_at(self.text, offset);
        let message = match &setting {
            Some(setting) => format!("`{setting}`: {problem}"),
            None => problem.to_owned(),
        };
        let error = ConfigError::Invalid { path: self.path.to_owned(), line, column, message };
        Found { offset, setting, is_relation: false, error }
    }

    /// A fault of a setting beside others, also of those that have their defaults.
    pub(super) fn relation(&self, offset: usize, problem: &str) -> Found {
        Found { is_relation: true, ..self.fault(offset, problem) }
    }

    pub(super) fn refuse<T>(&self, at: &Spanned<T>, message: &str) -> Found {
        self.fault(at.span().start, message)
    }

    fn config(&self, raw: Raw) -> Result<Config, Found> {
        let trust_domain: TrustDomain =
            raw.trust_domain.get_ref().parse().map_err(|error: crate::base::NameError| {
                self.refuse(&raw.trust_domain, &error.to_string())
            })?;
        let data_dir = self.directory(raw.data_dir.as_ref(), "/var/lib/keyward")?;
        let runtime_dir = self.directory(raw.runtime_dir.as_ref(), "/run/keyward")?;
        let listen = Listen {
            agents: self.socket(raw.listen.agents.as_ref(), "0.0.0.0:8443")?,
            admins: self.socket(raw.listen.admins.as_ref(), "127.0.0.1:8444")?,
            host: self.host_socket(raw.listen.host.as_ref(), &data_dir)?,
        };
        let server = self.server(&raw, &listen)?;
        let connections = self.connections(&raw.connections)?;
        // Checks of several settings together come last: their faults may follow from a wrong setting.
        let config = Config {
            trust_domain,
            data_dir,
            runtime_dir,
            listen,
            certificates: self.certificates(&raw.certificates)?,
            tokens: Tokens {
                life_s: self.count(raw.tokens.life_s.as_ref(), 300, TOKEN_LIFE_MIN_S..=TOKEN_LIFE_MAX_S)?,
                key_life_s: self.number(raw.tokens.key_life_s.as_ref(), 2_592_000, TOKEN_KEY_LIFE_S)?,
                issuer: self.issuer(raw.tokens.issuer.as_ref(), &server.address)?,
            },
            secrets: Secrets {
                key_life_s: self.number(raw.secrets.key_life_s.as_ref(), 7_776_000, VALUE_KEY_LIFE_S)?,
                keep_versions: self.keep_versions(raw.secrets.keep_versions.as_ref())?,
            },
            ledger: LedgerSettings {
                key_life_s: self.number(raw.ledger.key_life_s.as_ref(), 31_536_000, SEALING_KEY_LIFE_S)?,
                engine: self.engine(&raw.ledger)?,
            },
            checkpoints: Checkpoints {
                key_life_s: self.number(
                    raw.checkpoints.key_life_s.as_ref(),
                    31_536_000,
                    CHECKPOINT_KEY_LIFE_S,
                )?,
            },
            server,
            connections,
            quota: Quota {
                mints_per_s: self.count(raw.quota.mints_per_s.as_ref(), 100, RATES)?,
                mints_burst: self.count(raw.quota.mints_burst.as_ref(), 1000, RATES)?,
                introspections_per_s: self.count(raw.quota.introspections_per_s.as_ref(), 1000, RATES)?,
                introspections_burst: self.count(raw.quota.introspections_burst.as_ref(), 2000, RATES)?,
                enrolments_per_s: self.count(raw.quota.enrolments_per_s.as_ref(), 5, RATES)?,
                enrolments_burst: self.count(raw.quota.enrolments_burst.as_ref(), 200, RATES)?,
                operations_per_s: self.count(raw.quota.operations_per_s.as_ref(), 100, RATES)?,
                operations_burst: self.count(raw.quota.operations_burst.as_ref(), 2000, RATES)?,
            },
            upstream: Upstream { allow_networks: self.networks(&raw.upstream.allow_networks)? },
            approvals: ApprovalSettings { webhook: self.webhook(&raw.approvals)? },
            policies: PolicySettings {
                widening_second_operator: raw.policies.widening_second_operator.unwrap_or(false),
            },
            clock: self.clock(&raw.clock)?,
            log: LogSettings {
                level: raw.log.level.unwrap_or(LogLevel::Info),
                format: raw.log.format.unwrap_or(LogFormat::Json),
            },
            root_key: self.root_key(&raw)?,
        };
        self.check_ports(&raw, &config.listen)?;
        self.check_addresses(&raw, &config.server)?;
        Ok(config)
    }

    fn clock(&self, raw: &RawClock) -> Result<ClockSettings, Found> {
        let synchronised_by = match &raw.synchronised_by {
            None => Some(PathBuf::from(TIMESYNC_FILE)),
            Some(file) if file.get_ref().is_absolute() => Some(file.get_ref().clone()),
            Some(file) if file.get_ref().as_os_str() == "none" => None,
            Some(file) => {
                return Err(self.refuse(file, "must be an absolute path, or `none`"));
            }
        };
        Ok(ClockSettings { synchronised_by })
    }

    fn webhook(&self, raw: &RawApprovals) -> Result<Option<WebhookSettings>, Found> {
        let absolute = |file: &Spanned<PathBuf>| {
            let path = file.get_ref().clone();
            if path.is_absolute() { Ok(path) } else { Err(self.refuse(file, "must be an absolute path")) }
        };
        let Some(url) = &raw.webhook else {
            return match raw.webhook_ca.as_ref().or(raw.webhook_key.as_ref()) {
                Some(needless) => {
                    Err(self.relation(needless.span().start, "is only for a `webhook`, and none is set"))
                }
                None => Ok(None),
            };
        };
        let is_https = url.get_ref().strip_prefix("https://").is_some_and(|rest| rest.contains('/'));
        if !is_https {
            return Err(self.refuse(url, "must be https://, a host and a path"));
        }
        let Some(ca) = &raw.webhook_ca else {
            let needs = "needs `webhook_ca`: the file with the CA certificates of its server in PEM";
            return Err(self.relation(url.span().start, needs));
        };
        let (ca, key) = (absolute(ca)?, raw.webhook_key.as_ref().map(absolute).transpose()?);
        Ok(Some(WebhookSettings { url: url.get_ref().clone(), ca, key }))
    }

    fn directory(&self, given: Option<&Spanned<PathBuf>>, default: &str) -> Result<PathBuf, Found> {
        match given {
            Some(dir) if dir.get_ref().is_absolute() => Ok(dir.get_ref().clone()),
            Some(dir) => Err(self.refuse(dir, "must be an absolute path")),
            None => Ok(PathBuf::from(default)),
        }
    }

    fn certificates(&self, raw: &RawCertificates) -> Result<Certificates, Found> {
        let number = |given: &Option<_>, usual, range| self.number(given.as_ref(), usual, range);
        Ok(Certificates {
            agent_life_s: number(&raw.agent_life_s, 86_400, AGENT_LIFE_S)?,
            renewal_grace_s: number(&raw.renewal_grace_s, 86_400, 0..=RENEWAL_GRACE_MAX_S)?,
            operator_life_s: number(&raw.operator_life_s, 43_200, OPERATOR_LIFE_S)?,
            operator_renewal_grace_s: number(
                &raw.operator_renewal_grace_s,
                RENEWAL_GRACE_MAX_S,
                0..=RENEWAL_GRACE_MAX_S,
            )?,
            service_life_s: number(&raw.service_life_s, SERVICE_LIFE_MAX_S, SERVICE_LIFE_S)?,
            authority_life_s: number(&raw.authority_life_s, 157_680_000, AUTHORITY_LIFE_S)?,
        })
    }

    fn connections(&self, raw: &RawConnections) -> Result<Connections, Found> {
        let max = self.count(raw.max.as_ref(), 4096, CONNECTIONS)?;
        let Some(given) = &raw.max_per_peer else {
            return Ok(Connections { max, max_per_peer: max.min(256) });
        };
        let max_per_peer = self.count(Some(given), 256, CONNECTIONS)?;
        if max_per_peer > max {
            return Err(self.relation(given.span().start, "must not be more than `max`"));
        }
        Ok(Connections { max, max_per_peer })
    }

    fn networks(&self, given: &[Spanned<String>]) -> Result<Vec<Network>, Found> {
        let network = |text: &Spanned<String>| {
            text.get_ref().parse::<Network>().map_err(|error| self.refuse(text, &error.to_string()))
        };
        given.iter().map(network).collect()
    }

    fn keep_versions(&self, given: Option<&Spanned<i64>>) -> Result<u32, Found> {
        let (least, most) = (i64::from(FORMER_VERSIONS_MIN), i64::from(FORMER_VERSIONS_MAX));
        let kept = self.number(given, i64::from(FORMER_VERSIONS), least..=most)?;
        Ok(u32::try_from(kept).unwrap_or(FORMER_VERSIONS))
    }

    fn number(
        &self,
        given: Option<&Spanned<i64>>,
        default: i64,
        range: RangeInclusive<i64>,
    ) -> Result<i64, Found> {
        match given {
            None => Ok(default),
            Some(number) if range.contains(number.get_ref()) => Ok(*number.get_ref()),
            Some(number) => {
                Err(self.refuse(number, &format!("must be {} to {}", range.start(), range.end())))
            }
        }
    }

    /// A number in a narrower type, which holds the whole range.
    fn count<N: TryFrom<u32>>(
        &self,
        given: Option<&Spanned<i64>>,
        default: i64,
        range: RangeInclusive<i64>,
    ) -> Result<N, Found> {
        let offset = given.map_or(0, |number| number.span().start);
        let number = u32::try_from(self.number(given, default, range)?).ok();
        number
            .and_then(|number| N::try_from(number).ok())
            .ok_or_else(|| self.fault(offset, "is out of range"))
    }

    fn socket(&self, given: Option<&Spanned<String>>, default: &str) -> Result<SocketAddr, Found> {
        let text = given.map_or(default, |text| text.get_ref());
        let offset = given.map_or(0, |text| text.span().start);
        text.parse().map_err(|_| self.fault(offset, "must be an IP address and a port, e.g. `0.0.0.0:8443`"))
    }

    /// Two listeners at one address and port cannot both listen.
    fn check_ports(&self, raw: &Raw, listen: &Listen) -> Result<(), Found> {
        let (agents, admins) = (listen.agents, listen.admins);
        let is_one_host =
            agents.ip() == admins.ip() || agents.ip().is_unspecified() || admins.ip().is_unspecified();
        // The system gives each listener with the port 0 a port of its own.
        if agents.port() != admins.port() || agents.port() == 0 || !is_one_host {
            return Ok(());
        }
        let given = raw.listen.admins.as_ref().or(raw.listen.agents.as_ref());
        let offset = given.map_or(0, |text| text.span().start);
        Err(self.relation(offset, "agents and admins have the same port: each listener needs its own"))
    }

    fn host_socket(&self, given: Option<&Spanned<PathBuf>>, data_dir: &Path) -> Result<PathBuf, Found> {
        let path = given.map_or_else(|| data_dir.join("host.sock"), |path| path.get_ref().clone());
        let offset = given.map_or(0, |path| path.span().start);
        if !path.is_absolute() {
            return Err(self.fault(offset, "must be an absolute path"));
        }
        if path.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
            let why = format!(
                "the path of the host socket is longer than {SOCKET_PATH_BYTES_MAX} bytes: set a shorter path as `host` in `[listen]`"
            );
            return Err(if given.is_some() { self.fault(offset, &why) } else { self.relation(offset, &why) });
        }
        Ok(path)
    }

    fn server(&self, raw: &Raw, listen: &Listen) -> Result<ServerSettings, Found> {
        let mut names = Vec::new();
        match &raw.server.names {
            None => names.extend(["localhost".to_owned(), "127.0.0.1".to_owned()]),
            Some(given) if given.get_ref().is_empty() => {
                return Err(self.relation(given.span().start, "needs at least one name or address"));
            }
            Some(given) => {
                for name in given.get_ref() {
                    if !is_host(name.get_ref()) {
                        return Err(self.refuse(name, "must be a lower-case DNS name or an IP address"));
                    }
                    names.push(name.get_ref().clone());
                }
            }
        }
        let first = names.first().map_or("localhost", String::as_str);
        let host = if first.contains(':') { format!("[{first}]") } else { first.to_owned() };
        let address = self.address(raw.server.address.as_ref(), &host, listen.agents.port())?;
        let admin_address = self.address(raw.server.admin_address.as_ref(), &host, listen.admins.port())?;
        Ok(ServerSettings { names, address, admin_address })
    }

    /// Clients tell the listeners apart by their addresses.
    fn check_addresses(&self, raw: &Raw, server: &ServerSettings) -> Result<(), Found> {
        if server.address != server.admin_address {
            return Ok(());
        }
        let given = raw.server.admin_address.as_ref().or(raw.server.address.as_ref());
        let offset = given.or(raw.listen.admins.as_ref()).map_or(0, |text| text.span().start);
        let problem = "agents and operators get the same address: their listeners differ in host or port";
        Err(self.relation(offset, problem))
    }

    fn address(&self, given: Option<&Spanned<String>>, host: &str, port: u16) -> Result<String, Found> {
        let Some(text) = given else { return Ok(format!("{host}:{port}")) };
        let parts = text.get_ref().rsplit_once(':');
        let good = parts.is_some_and(|(host, port)| is_url_host(host) && is_port(port));
        if good {
            Ok(text.get_ref().clone())
        } else {
            Err(self.refuse(text, "must be `host:port`, e.g. `broker.example:8443`"))
        }
    }

    fn issuer(&self, given: Option<&Spanned<String>>, address: &str) -> Result<Audience, Found> {
        let text = given.map_or_else(|| format!("https://{address}"), |text| text.get_ref().clone());
        let offset = given.map_or(0, |text| text.span().start);
        // Clients look for the issuer's documents at fixed paths (RFC 8414 §3). No proxy could rewrite the paths,
        // because TLS ends at the broker.
        let is_origin = |one: &Audience| {
            one.as_str().strip_prefix("https://").is_some_and(|host| !host.contains(['/', '?']))
        };
        let issuer = text.parse::<Audience>().ok().filter(is_origin);
        let problem = "must be https:// and a host, without a path";
        issuer.ok_or_else(|| {
            if given.is_some() { self.fault(offset, problem) } else { self.relation(offset, problem) }
        })
    }

    fn root_key(&self, raw: &Raw) -> Result<RootKey, Found> {
        let given = raw.root_key.get_ref();
        let attended = given.attended.as_ref().is_some_and(|attended| *attended.get_ref());
        match (&given.file, &given.credential, attended) {
            (Some(file), None, false) if file.get_ref().is_absolute() => {
                Ok(RootKey::File(file.get_ref().clone()))
            }
            (Some(file), None, false) => Err(self.refuse(file, "must be an absolute path")),
            (None, Some(name), false) if is_plain(name.get_ref()) => {
                Ok(RootKey::Credential(name.get_ref().clone()))
            }
            (None, Some(name), false) => {
                Err(self.refuse(name, "must be a plain credential name of letters, digits, `-` and `_`"))
            }
            (None, None, true) => Ok(RootKey::Attended),
            (Some(_), _, _) | (_, Some(_), _) | (None, None, false) => {
                let offset = raw.root_key.span().start;
                Err(self.relation(offset, "needs exactly one of `file`, `credential` and `attended = true`"))
            }
        }
    }
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// A host before a port: an IPv6 address is in brackets.
fn is_url_host(text: &str) -> bool {
    match text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => is_host(text) && !text.contains(':'),
    }
}

/// 1 to 65535, without sign and leading zeros.
pub(super) fn is_port(text: &str) -> bool {
    text.parse::<NonZeroU16>().is_ok_and(|port| port.to_string() == text)
}

pub(super) fn is_host(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok() || text.parse::<TrustDomain>().is_ok()
}
