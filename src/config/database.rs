use std::path::{Path, PathBuf};

use toml::Spanned;

use super::check::{Check, is_host, is_port};
use super::engine::{DatabaseHost, DatabaseSettings, LedgerEngine, Replication};
use super::found::Found;
use super::raw::RawLedger;
use crate::base::limits::DATABASE_HOSTS_MAX;

/// The longest name of a role or database, in bytes: PostgreSQL silently truncates longer ones.
const NAME_BYTES_MAX: usize = 63;
const STANDARD_PORT: u16 = 5432;

impl Check<'_> {
    /// The engine of the ledger.
    pub(super) fn engine(&self, raw: &RawLedger) -> Result<LedgerEngine, Found> {
        let engine = raw.engine.as_ref();
        match engine.map_or("files", |engine| engine.get_ref()) {
            "files" => match needless(raw) {
                Some(offset) => Err(self.relation(offset, "is only for `engine = \"postgresql\"`")),
                None => Ok(LedgerEngine::Files),
            },
            "postgresql" => {
                let offset = engine.map_or(0, |engine| engine.span().start);
                Ok(LedgerEngine::Postgresql(self.database(raw, offset)?))
            }
            _ => {
                let offset = engine.map_or(0, |engine| engine.span().start);
                Err(self.fault(offset, "must be `files` or `postgresql`"))
            }
        }
    }

    fn database(&self, raw: &RawLedger, engine: usize) -> Result<DatabaseSettings, Found> {
        let missing = |setting: &str| self.relation(engine, &format!("`postgresql` needs `{setting}`"));
        let hosts = raw.hosts.as_ref().ok_or_else(|| missing("hosts"))?;
        let (database, role) = (raw.database.as_ref(), raw.role.as_ref());
        let (password, ca) = (raw.password_file.as_ref(), raw.ca_file.as_ref());
        Ok(DatabaseSettings {
            hosts: self.hosts(hosts)?,
            database: self.database_name(database.ok_or_else(|| missing("database"))?)?,
            role: self.database_name(role.ok_or_else(|| missing("role"))?)?,
            password_file: self.absolute(password.ok_or_else(|| missing("password_file"))?)?,
            ca_file: self.absolute(ca.ok_or_else(|| missing("ca_file"))?)?,
            replication: self.replication(raw.replication.as_ref())?,
        })
    }

    fn hosts(&self, given: &Spanned<Vec<Spanned<String>>>) -> Result<Vec<DatabaseHost>, Found> {
        if !(1..=DATABASE_HOSTS_MAX).contains(&given.get_ref().len()) {
            let why = format!("must have 1 to {DATABASE_HOSTS_MAX} servers");
            return Err(self.fault(given.span().start, &why));
        }
        let host = |text: &Spanned<String>| {
            database_host(text.get_ref()).ok_or_else(|| {
                self.refuse(
                    text,
                    "must be a lower-case DNS name or an IP address, with `:port` unless that is 5432",
                )
            })
        };
        given.get_ref().iter().map(host).collect()
    }

    fn database_name(&self, given: &Spanned<String>) -> Result<String, Found> {
        let name = given.get_ref();
        let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        if is_plain && (1..=NAME_BYTES_MAX).contains(&name.len()) {
            return Ok(name.clone());
        }
        Err(self.refuse(given, "must have 1 to 63 letters, digits, `_` and `-`"))
    }

    fn absolute(&self, given: &Spanned<PathBuf>) -> Result<PathBuf, Found> {
        let path: &Path = given.get_ref();
        if path.is_absolute() {
            Ok(path.to_owned())
        } else {
            Err(self.refuse(given, "must be an absolute path"))
        }
    }

    fn replication(&self, given: Option<&Spanned<String>>) -> Result<Replication, Found> {
        let Some(given) = given else { return Ok(Replication::Required) };
        match given.get_ref().as_str() {
            "required" => Ok(Replication::Required),
            "optional" => Ok(Replication::Optional),
            _ => Err(self.refuse(given, "must be `required` or `optional`")),
        }
    }
}

/// Where a setting of the database stands.
fn needless(raw: &RawLedger) -> Option<usize> {
    let texts =
        [&raw.database, &raw.role, &raw.replication].into_iter().flatten().map(|one| one.span().start);
    let files = [&raw.password_file, &raw.ca_file].into_iter().flatten().map(|one| one.span().start);
    raw.hosts.iter().map(|hosts| hosts.span().start).chain(texts).chain(files).min()
}

/// `host`, `host:port`, or an IPv6 address, in brackets before a port.
fn database_host(text: &str) -> Option<DatabaseHost> {
    let of = |host: &str, port| is_host(host).then(|| DatabaseHost { host: host.to_owned(), port });
    if is_host(text) {
        return of(text, STANDARD_PORT);
    }
    let (host, port) = text.rsplit_once(':').filter(|(_, port)| is_port(port))?;
    let port = port.parse().ok()?;
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => of(address, port).filter(|_| address.contains(':')),
        None => of(host, port).filter(|_| !host.contains(':')),
    }
}
