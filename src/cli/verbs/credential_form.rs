use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::base::{Sensitive, Timestamp, code};
use crate::console::{CommandFailure, input};
use crate::wire::SecretOutput;

/// The format in which another program reads a secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum HelperFormat {
    /// The value as it is
    Raw,
    /// A JSON object with the value as text, or in base64url
    Json,
    /// AWS `credential_process`; the value has to be a JSON object with `access_key_id` and `secret_access_key`
    Aws,
    /// Kubernetes `ExecCredential` (client.authentication.k8s.io/v1); the value is the token
    K8s,
    /// Git credential helper; the value is a password, or a JSON object with username and password
    Git,
    /// Docker credential helper; the value is a password, or a JSON object with username and password
    Docker,
}

/// The operations of a credential helper.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Operation {
    /// Print the credential
    Get,
    /// Ignored: Keyward stores no credential of another program
    Store,
    /// Ignored: Keyward erases no credential of another program
    Erase,
    /// Docker only: print the server of the credential and its user name
    List,
}

/// A secret from the broker.
pub(crate) struct Fetched<'a> {
    pub(crate) name: &'a str,
    pub(crate) version: u64,
    pub(crate) next_rotation: Option<&'a str>,
    pub(crate) value: &'a Sensitive<Vec<u8>>,
}

/// A user name and password.
#[derive(Deserialize)]
struct HelperLogin {
    #[serde(alias = "user")]
    username: String,
    #[serde(alias = "token")]
    password: zeroize::Zeroizing<String>,
}

/// The user name that git hosts and registries accept with a token.
const TOKEN_USER: &str = "x-access-token";

/// The text by which docker recognises that a helper has no credential for a server.
pub(crate) const DOCKER_HAS_NONE: &str = "credentials not found in native keychain";

/// The standard input of a program that uses this verb as its credential helper: for docker the server, for git
/// attributes.
///
/// # Errors
/// [`CommandFailure`].
pub(crate) fn said_by_program(
    format: HelperFormat,
    operation: Option<Operation>,
) -> Result<String, CommandFailure> {
    if operation != Some(Operation::Get) || !matches!(format, HelperFormat::Git | HelperFormat::Docker) {
        return Ok(String::new());
    }
    let bytes = input::all_of_stdin(HELPER_BYTES_MAX)?;
    Ok(String::from_utf8_lossy(bytes.expose()).into_owned())
}

/// Largest input of a credential helper, in bytes.
const HELPER_BYTES_MAX: usize = 16 * 1024;

/// The server that a program asks about: all of the input for docker, two attributes for git.
pub(crate) fn server_of(format: HelperFormat, input: &str) -> String {
    if format != HelperFormat::Git {
        return input.trim().to_owned();
    }
    let attribute = |name: &str| {
        let mut lines = input.lines().filter_map(|line| line.split_once('='));
        lines.find(|(key, _)| *key == name).map(|(_, value)| value).unwrap_or_default()
    };
    format!("{}://{}", attribute("protocol"), attribute("host"))
}

/// Whether both name the same server; `https://` and a slash at the end do not matter.
pub(crate) fn is_same_server(one: &str, other: &str) -> bool {
    let plain = |server: &str| {
        let server = server.trim().trim_end_matches('/').to_ascii_lowercase();
        server.strip_prefix("https://").map(str::to_owned).unwrap_or(server)
    };
    plain(one) == plain(other)
}

/// The output of docker's `list`: the server with the user name.
///
/// # Errors
/// [`CommandFailure`] if the value lacks a part that docker needs.
pub(crate) fn docker_list(value: &Sensitive<Vec<u8>>, server: &str) -> Result<String, CommandFailure> {
    Ok(format!("{}\n", json!({ server: login(value.expose())?.username })))
}

/// The secret in `format`.
///
/// # Errors
/// [`CommandFailure`] if the value lacks a part that the format needs, or has an expiry time less than `min_ttl_s` ahead.
pub(crate) fn written(
    fetched: &Fetched<'_>,
    format: HelperFormat,
    input: &str,
    min_ttl_s: i64,
    now: Timestamp,
) -> Result<Sensitive<Vec<u8>>, CommandFailure> {
    let bytes = fetched.value.expose();
    let value = match format {
        HelperFormat::Raw => return Ok(Sensitive::new(bytes.clone())),
        HelperFormat::Json => json!(as_json(fetched)),
        HelperFormat::Aws => aws(bytes, min_ttl_s, now)?,
        HelperFormat::K8s => {
            let status = json!({ "token": text(bytes)?.trim_end() });
            json!({ "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status })
        }
        HelperFormat::Git => {
            let login = login(bytes)?;
            let (name, password) = (one_line(&login.username)?, one_line(&login.password)?);
            return Ok(Sensitive::new(format!("username={name}\npassword={password}\n").into_bytes()));
        }
        HelperFormat::Docker => {
            let login = login(bytes)?;
            json!({ "ServerURL": input.trim(), "Username": login.username, "Secret": *login.password })
        }
    };
    let mut written = serde_json::to_vec(&value).unwrap_or_default();
    written.push(b'\n');
    Ok(Sensitive::new(written))
}

fn as_json(fetched: &Fetched<'_>) -> SecretOutput {
    let bytes = fetched.value.expose();
    let (encoding, value) = match std::str::from_utf8(bytes) {
        Ok(text) => ("text", text.to_owned()),
        Err(_) => ("base64url", crate::base::encoding::base64url(bytes)),
    };
    SecretOutput {
        name: fetched.name.to_owned(),
        version: fetched.version,
        encoding: encoding.into(),
        value: Sensitive::new(value).into(),
        next_rotation: fetched.next_rotation.map(str::to_owned),
    }
}

/// The JSON object of `credential_process`, from fields with the same names or in snake case.
fn aws(bytes: &[u8], min_ttl_s: i64, now: Timestamp) -> Result<Value, CommandFailure> {
    let held: Map<String, Value> =
        serde_json::from_slice(bytes).map_err(|_| unfit("is not a JSON object with AWS credentials"))?;
    let field = |names: [&str; 2]| names.iter().find_map(|name| held.get(*name)).and_then(Value::as_str);
    let (id, key) =
        (field(["AccessKeyId", "access_key_id"]), field(["SecretAccessKey", "secret_access_key"]));
    let (Some(id), Some(key)) = (id, key) else {
        return Err(unfit("has no `access_key_id` and `secret_access_key`"));
    };
    let mut written = json!({ "Version": 1, "AccessKeyId": id, "SecretAccessKey": key });
    if let Value::Object(written) = &mut written {
        if let Some(token) = field(["SessionToken", "session_token"]) {
            written.insert("SessionToken".to_owned(), Value::from(token));
        }
        if let Some(end) = field(["Expiration", "expiration"]) {
            let at = Timestamp::parse(end)
                .ok_or_else(|| unfit("has an `expiration` that is not an RFC 3339 time"))?;
            if at.seconds_since(now) < min_ttl_s {
                return Err(CommandFailure::new(code::LIFETIME_TOO_SHORT));
            }
            written.insert("Expiration".to_owned(), Value::from(end));
        }
    }
    Ok(written)
}

fn login(bytes: &[u8]) -> Result<HelperLogin, CommandFailure> {
    match serde_json::from_slice::<HelperLogin>(bytes) {
        Ok(login) => Ok(login),
        Err(_) => {
            let password = zeroize::Zeroizing::new(text(bytes)?.trim_end().to_owned());
            Ok(HelperLogin { username: TOKEN_USER.to_owned(), password })
        }
    }
}

fn text(bytes: &[u8]) -> Result<&str, CommandFailure> {
    std::str::from_utf8(bytes).map_err(|_| unfit("is not text"))
}

/// A line break would begin a new attribute.
fn one_line(text: &str) -> Result<&str, CommandFailure> {
    if text.contains(['\n', '\r', '\0']) { Err(unfit("has more than one line")) } else { Ok(text) }
}

fn unfit(why: &str) -> CommandFailure {
    CommandFailure::new(code::VALUE_FORMAT_MISMATCH).because(format!("the value {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(value: &str, format: HelperFormat) -> Result<String, CommandFailure> {
        let value = Sensitive::new(value.as_bytes().to_vec());
        let fetched = Fetched { name: "a/b", version: 3, next_rotation: None, value: &value };
        let now = Timestamp::parse("2026-01-01T00:00:00Z").unwrap();
        let written = written(&fetched, format, "https://index.docker.io/v1/\n", 60, now)?;
        Ok(String::from_utf8(written.expose().clone()).unwrap())
    }

    #[test]
    fn each_program_gets_its_own_form() {
        assert_eq!(given("p\n", HelperFormat::Raw).unwrap(), "p\n");
        assert_eq!(
            given("p", HelperFormat::Json).unwrap(),
            "{\"name\":\"a/b\",\"version\":3,\"encoding\":\"text\",\"value\":\"p\"}\n"
        );
        assert_eq!(given("p\n", HelperFormat::Git).unwrap(), "username=x-access-token\npassword=p\n");
        let login = "{\"username\":\"u\",\"password\":\"p\"}";
        assert_eq!(given(login, HelperFormat::Git).unwrap(), "username=u\npassword=p\n");
        let docker = "{\"ServerURL\":\"https://index.docker.io/v1/\",\"Username\":\"u\",\"Secret\":\"p\"}\n";
        assert_eq!(given(login, HelperFormat::Docker).unwrap(), docker);
        let k8s: Value = serde_json::from_str(&given("t\n", HelperFormat::K8s).unwrap()).unwrap();
        assert_eq!((&k8s["kind"], &k8s["status"]["token"]), (&"ExecCredential".into(), &"t".into()));
        let keys =
            "{\"access_key_id\":\"i\",\"secret_access_key\":\"k\",\"expiration\":\"2026-01-01T00:01:00Z\"}";
        let aws: Value = serde_json::from_str(&given(keys, HelperFormat::Aws).unwrap()).unwrap();
        assert_eq!((&aws["Version"], &aws["AccessKeyId"]), (&1.into(), &"i".into()));
    }

    #[test]
    fn docker_lists_the_server_with_its_user_and_no_password() {
        let listed = |value: &str| docker_list(&Sensitive::new(value.as_bytes().to_vec()), "r.example:5000");
        let login = "{\"username\":\"u\",\"password\":\"CNRY\"}";
        assert_eq!(listed(login).unwrap(), "{\"r.example:5000\":\"u\"}\n");
        assert_eq!(listed("CNRY").unwrap(), "{\"r.example:5000\":\"x-access-token\"}\n");
    }

    #[test]
    fn a_server_is_the_same_with_https_and_a_slash_and_no_other() {
        for same in ["r.example", "https://r.example", "https://R.example/", " r.example/\n"] {
            assert!(is_same_server("r.example", same), "{same}");
        }
        for other in
            ["", "r.example.evil", "evil/r.example", "http://r.example", "r.example:5000", "r.example/v1"]
        {
            assert!(!is_same_server("https://r.example/", other), "{other}");
        }
        let git = server_of(HelperFormat::Git, "protocol=https\nhost=github.com\npath=a\n\n");
        assert!(is_same_server("https://github.com", &git) && !is_same_server("https://github.co", &git));
        assert_eq!(server_of(HelperFormat::Git, "host=x\nprotocol=http"), "http://x");
    }

    #[test]
    fn an_unfit_or_expiring_value_is_refused_and_not_repeated() {
        let refused = |value: &str, format| {
            let failure = given(value, format).unwrap_err();
            assert!(!failure.why().contains("CNRY"), "{}", failure.why());
            failure.code().to_owned()
        };
        assert_eq!(refused("CNRY", HelperFormat::Aws), code::VALUE_FORMAT_MISMATCH.as_str());
        assert_eq!(
            refused("{\"access_key_id\":\"CNRY\"}", HelperFormat::Aws),
            code::VALUE_FORMAT_MISMATCH.as_str()
        );
        let ending = "{\"access_key_id\":\"i\",\"secret_access_key\":\"CNRY\",\"expiration\":\"2026-01-01T00:00:59Z\"}";
        assert_eq!(refused(ending, HelperFormat::Aws), code::LIFETIME_TOO_SHORT.as_str());
        assert_eq!(refused("CNRY\npassword=other", HelperFormat::Git), code::VALUE_FORMAT_MISMATCH.as_str());
        assert_eq!(refused("CNRY\npath=x", HelperFormat::Git), code::VALUE_FORMAT_MISMATCH.as_str());
    }
}
