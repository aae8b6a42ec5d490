use serde::{Deserialize, Serialize};

use super::driver::Shape;
use super::http_target::HttpTarget;
use super::server::{Server, is_name, standard_port};
use crate::base::SecretName;
use crate::config::without_values;

/// What a rotation works on, as declared: the table `upstream`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "driver", rename_all = "lowercase")]
pub enum Target {
    /// Nothing upstream: a random value for whoever asks for it.
    Generate(GenerateTarget),
    /// A service that is told of new values by requests, or makes them.
    Http(Box<HttpTarget>),
    /// The password of a login role of a PostgreSQL server.
    Postgresql(PostgresqlTarget),
}

/// What is generated.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct GenerateTarget {
    /// A text of this many characters.
    pub(super) length: Option<usize>,
    /// Of these characters; letters and digits when there are none.
    pub(super) alphabet: Option<String>,
    /// Instead: a key pair, PKCS#8 in PEM.
    pub(super) key: Option<KeyKind>,
}

/// Kinds of key pairs.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) enum KeyKind {
    /// ECDSA on P-256.
    #[serde(rename = "p-256")]
    P256,
}

/// A PostgreSQL server, and whose password is rotated there by whom.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PostgresqlTarget {
    /// Its host: a name or an address.
    pub(super) host: String,
    /// Its port.
    #[serde(default = "standard_port")]
    pub(super) port: u16,
    /// The database to log in to.
    pub(super) database: String,
    /// The certificates that its certificate is verified against, PEM.
    pub(super) ca: Option<String>,
    /// Whether there is TLS at all.
    #[serde(default)]
    pub(super) tls: Tls,
    /// The login role whose password the secret is.
    pub(super) role: Option<String>,
    /// Instead: two login roles, used in turn. The secret is a JSON object then.
    pub(super) roles: Option<[String; 2]>,
    /// The role that sets passwords; the role itself when there is none.
    pub(super) admin_role: Option<String>,
    /// The secret that is the password of that one.
    pub(super) admin_secret: Option<SecretName>,
}

/// Whether a connection is encrypted.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Tls {
    /// By TLS, the server's certificate and name verified.
    #[default]
    Verify,
    /// Not at all: on this machine alone.
    Off,
}

/// Why something declared is no upstream. Never repeats a value.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{why}")]
pub struct TargetError {
    why: String,
    field: String,
}

impl TargetError {
    /// Of the whole declared upstream.
    pub(super) fn new(why: String) -> Self {
        Self::at("", why)
    }

    /// Of one of its fields: the names on the way to it, joined by dots.
    pub(super) fn at(field: &str, why: String) -> Self {
        Self { why, field: field.to_owned() }
    }

    /// The field, empty for the whole.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }
}

/// Shortest value that may be generated, in characters.
const LENGTH_MIN: usize = 8;
/// Longest.
const LENGTH_MAX: usize = 4096;
/// Fewest bits of chance in a generated value.
const BITS_MIN: f64 = 64.0;
pub(super) fn refuse<T>(why: &str) -> Result<T, TargetError> {
    Err(TargetError::new(why.to_owned()))
}

impl Target {
    /// Reads a declared upstream from its JSON.
    ///
    /// # Errors
    /// [`TargetError`], also when fields contradict each other.
    pub fn read(json: &str) -> Result<Self, TargetError> {
        let target: Self = serde_json::from_str(json)
            .map_err(|error| TargetError::new(without_values(&error.to_string())))?;
        match &target {
            Self::Generate(generate) => generate.check()?,
            Self::Http(service) => drop(service.judged()?),
            Self::Postgresql(server) => server.check()?,
        }
        Ok(target)
    }

    /// How many values this upstream holds at a time.
    #[must_use]
    pub const fn shape(&self) -> Shape {
        match self {
            Self::Generate(_) => Shape::Pulled,
            Self::Http(service) => service.shape(),
            Self::Postgresql(server) if server.roles.is_some() => Shape::TwoSlots,
            Self::Postgresql(_) => Shape::OneSlot,
        }
    }

    /// The secret that administers it, when one does.
    #[must_use]
    pub const fn administering(&self) -> Option<&SecretName> {
        match self {
            Self::Generate(_) => None,
            Self::Http(service) => service.admin_secret.as_ref(),
            Self::Postgresql(server) => server.admin_secret.as_ref(),
        }
    }

    /// Whether upstream makes new values.
    #[must_use]
    pub const fn creates(&self) -> bool {
        match self {
            Self::Generate(_) | Self::Postgresql(_) => false,
            Self::Http(service) => service.creates(),
        }
    }

    /// Whether an old value is ended by what upstream calls its place, and not without.
    #[must_use]
    pub fn retires_by_slot(&self) -> bool {
        match self {
            Self::Generate(_) | Self::Postgresql(_) => false,
            Self::Http(service) => service.retires_by_slot(),
        }
    }

    /// Whether a rotation needs a value to begin with.
    #[must_use]
    pub fn needs_current(&self) -> bool {
        match self {
            Self::Generate(_) => false,
            Self::Http(service) => service.needs_current(),
            Self::Postgresql(server) => server.admin_secret.is_none(),
        }
    }

    /// What is called, for people: the driver, and where.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Generate(_) => "generate".to_owned(),
            Self::Http(service) => format!("http at {}", service.authority()),
            Self::Postgresql(server) => server.server().describe(),
        }
    }

    /// What fails together: the same for all that is rotated on one machine.
    #[must_use]
    pub fn place(&self) -> Option<String> {
        match self {
            Self::Generate(_) => None,
            Self::Http(service) => Some(format!("http {}", service.authority())),
            Self::Postgresql(server) => Some(server.server().place()),
        }
    }
}

impl GenerateTarget {
    pub(super) fn check(&self) -> Result<(), TargetError> {
        if self.key.is_some() {
            return match (self.length, &self.alphabet) {
                (None, None) => Ok(()),
                _ => refuse("`key` contradicts `length` and `alphabet`: leave those out"),
            };
        }
        let length = self.length();
        if !(LENGTH_MIN..=LENGTH_MAX).contains(&length) {
            return refuse("`length` must be 8 to 4096");
        }
        let alphabet = self.alphabet().as_bytes();
        if !alphabet.iter().all(|byte| byte.is_ascii_graphic()) {
            return refuse("`alphabet` must be visible ASCII characters");
        }
        let mut distinct = alphabet.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        if distinct.len() != alphabet.len() {
            return refuse("`alphabet` has a character twice: it would come more often than the others");
        }
        #[expect(clippy::cast_precision_loss, reason = "both are below 5000")]
        let bits = (alphabet.len() as f64).log2() * length as f64;
        if bits < BITS_MIN {
            refuse("so few characters can be guessed: make `length` or `alphabet` larger")
        } else {
            Ok(())
        }
    }

    /// Characters of a generated text.
    pub(super) fn length(&self) -> usize {
        self.length.unwrap_or(32)
    }

    /// The characters that it is of.
    pub(super) fn alphabet(&self) -> &str {
        self.alphabet.as_deref().unwrap_or("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
    }
}

impl PostgresqlTarget {
    fn check(&self) -> Result<(), TargetError> {
        self.server().check()?;
        match (&self.role, &self.roles) {
            (Some(_), Some(_)) => return refuse("`role` contradicts `roles`: leave one of them out"),
            (None, None) => return refuse("`role` is missing: whose password is rotated"),
            (None, Some([one, other])) if one == other => return refuse("`roles` must be two"),
            _ => {}
        }
        match (&self.admin_role, &self.admin_secret) {
            (Some(_), None) => return refuse("`admin_secret` is missing: the password of `admin_role`"),
            (None, Some(_)) => return refuse("`admin_role` is missing: whose password `admin_secret` is"),
            (None, None) if self.roles.is_some() => {
                return refuse(
                    "`roles` needs an `admin_role`: neither of the two can set the other's password",
                );
            }
            _ => {}
        }
        let names = self.role.iter().chain(&self.admin_role).chain(self.roles.iter().flatten());
        names.into_iter().try_for_each(|name| is_name(name))
    }

    pub(super) fn server(&self) -> Server<'_> {
        let (tls, ca) = (self.tls, self.ca.as_deref());
        Server { host: &self.host, port: self.port, database: &self.database, tls, ca }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(json: &str, says: &str) {
        let error = Target::read(json).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
        assert!(!error.contains("CNRY"), "{error}");
    }

    #[test]
    fn what_is_no_upstream_is_refused_without_its_values() {
        refused(r#"{"driver":"CNRY"}"#, "unknown word");
        refused(r#"{"length":12}"#, "missing field `driver`");
        refused(r#"{"driver":"generate","length":"CNRY"}"#, "invalid type");
        refused(r#"{"driver":"generate","long":1}"#, "unknown field");
        refused(r#"{"driver":"generate","length":7}"#, "`length`");
        refused(r#"{"driver":"generate","length":4097}"#, "`length`");
        refused(r#"{"driver":"generate","length":20,"alphabet":"aab"}"#, "twice");
        refused(r#"{"driver":"generate","length":20,"alphabet":"ab"}"#, "guessed");
        refused(r#"{"driver":"generate","length":20,"alphabet":"äöü"}"#, "ASCII");
        refused(r#"{"driver":"generate","length":20,"key":"p-256"}"#, "contradicts");
        let server =
            |more: &str| format!(r#"{{"driver":"postgresql","host":"127.0.0.1","database":"d"{more}}}"#);
        refused(&server(r#","role":"a""#), "`ca` is missing");
        refused(&server(r#","role":"a","ca":"CNRY""#), "no certificate");
        refused(&server(r#","tls":"off""#), "`role` is missing");
        refused(&server(r#","tls":"off","role":"a","roles":["a","b"]"#), "contradicts");
        refused(&server(r#","tls":"off","roles":["a","a"]"#), "must be two");
        refused(&server(r#","tls":"off","roles":["a","b"]"#), "`admin_role`");
        refused(&server(r#","tls":"off","role":"a","admin_role":"x""#), "`admin_secret` is missing");
        refused(&server(r#","tls":"off","role":"""#), "1 to 63 bytes");
        for bad in [r#"a\""#, "a'", r"a\\", "a`", r"a\n", r"a\u0000", &"a".repeat(64)] {
            refused(&server(&format!(r#","tls":"off","role":"{bad}""#)), "without quotes");
        }
        for good in ["App-1", "größe", "two words", &"a".repeat(63)] {
            assert!(Target::read(&server(&format!(r#","tls":"off","role":"{good}""#))).is_ok(), "{good}");
        }
        refused(
            r#"{"driver":"postgresql","host":"db.internal","database":"d","tls":"off","role":"a"}"#,
            "this machine",
        );
    }

    #[test]
    fn what_is_left_out_has_its_usual_value() {
        let target = Target::read(r#"{"driver":"generate"}"#).unwrap();
        assert_eq!(target.shape(), Shape::Pulled);
        let json = r#"{"driver":"postgresql","host":"::1","database":"d","tls":"off","role":"it-is Me"}"#;
        let target = Target::read(json).unwrap();
        assert_eq!(
            (target.shape(), target.describe()),
            (Shape::OneSlot, "postgresql at ::1:5432/d".to_owned())
        );
        assert_eq!(Target::read(&serde_json::to_string(&target).unwrap()).unwrap(), target);
    }
}
