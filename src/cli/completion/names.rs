use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap_complete::CompletionCandidate;

use super::cache::CachedNames;
use crate::base::SUBJECT_FORMS;
use crate::cli::client::Client;
use crate::cli::identity::{Identity, IdentityKind, default_home, directory_of};
use crate::cli::owners::may;
use crate::console::CommandFailure;
use crate::policy::{ReadDeclared, ReadOperators, ReadSecretNames, Right};
use crate::registry::Delivery;
use crate::wire::{
    AGENT_WHOAMI, CapabilityAnswer, Endpoint, LIST_AGENTS, LIST_CAPABILITIES, LIST_OPERATORS, LIST_POLICIES,
    LIST_ROLES, LIST_ROTATIONS, LIST_SECRETS, Nothing, OPERATOR_WHOAMI, PageAnswer, PageQuery,
};

/// Longest wait for names, from the connection to the answer. A shell does not react to keys meanwhile.
const WAIT: Duration = Duration::from_millis(250);
/// Most names that a shell is given.
const NAMES_MAX: usize = 1000;

/// Objects whose names complete an argument.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Named {
    Agents,
    Operators,
    Capabilities,
    Roles,
    Policies,
    Secrets,
    /// Secrets that have a rotation.
    Rotations,
    /// The capabilities of this machine's agent for which it gets tokens.
    OwnCapabilities,
    /// The capabilities of this machine's agent for which it gets leases.
    OwnLeases,
    /// The capabilities of this machine's agent that deliver a secret.
    OwnReveals,
    /// The secrets that this machine's agent can read.
    OwnSecrets,
}

impl Named {
    /// The objects that the argument `id` of a verb names.
    pub(super) fn of(verb: &str, id: &str) -> Option<Self> {
        let (noun, action) = verb.split_once(' ').unwrap_or((verb, ""));
        Some(match (noun, id) {
            ("agent", "name") | ("lease", "agent") => Self::Agents,
            ("agent", "roles") | ("role", "name") => Self::Roles,
            ("operator" | "approval", "name") => Self::Operators,
            ("approval", "agent") => Self::Agents,
            ("approval", "capability") => Self::Capabilities,
            ("capability", "name") => Self::Capabilities,
            ("lease", "capability") if ["list", "retry", "revoke"].contains(&action) => Self::Capabilities,
            ("policy", "name") => Self::Policies,
            ("secret", "name") => Self::Secrets,
            ("rotation", "name") => Self::Rotations,
            ("token" | "run" | "request", "capabilities") => Self::OwnCapabilities,
            ("lease", "capability") => Self::OwnLeases,
            ("get", "capability") => Self::OwnReveals,
            ("get", "secret") => Self::OwnSecrets,
            _ => return None,
        })
    }

    /// The word for the cache.
    const fn word(self) -> &'static str {
        match self {
            Self::Agents => "agents",
            Self::Operators => "operators",
            Self::Capabilities => "capabilities",
            Self::Roles => "roles",
            Self::Policies => "policies",
            Self::Secrets => "secrets",
            Self::Rotations => "rotations",
            Self::OwnCapabilities => "own-capabilities",
            Self::OwnLeases => "own-leases",
            Self::OwnReveals => "own-reveals",
            Self::OwnSecrets => "own-secrets",
        }
    }

    const fn identity(self) -> IdentityKind {
        match self {
            Self::OwnCapabilities | Self::OwnLeases | Self::OwnReveals | Self::OwnSecrets => {
                IdentityKind::Agent
            }
            Self::Agents
            | Self::Operators
            | Self::Capabilities
            | Self::Roles
            | Self::Policies
            | Self::Secrets
            | Self::Rotations => IdentityKind::Operator,
        }
    }

    /// The names; none without an identity, and none while the broker does not answer.
    pub(super) fn candidates(self) -> Vec<CompletionCandidate> {
        self.all().into_iter().map(CompletionCandidate::new).collect()
    }

    /// The same for a value `VARIABLE=NAME`, once its `=` is typed.
    pub(super) fn candidates_of_variable(self, current: &OsStr) -> Vec<CompletionCandidate> {
        let Some((variable, typed)) = current.to_str().and_then(|text| text.split_once('=')) else {
            return Vec::new();
        };
        let names = self.all().into_iter().filter(|name| name.starts_with(typed));
        names.map(|name| CompletionCandidate::new(format!("{variable}={name}"))).collect()
    }

    /// Subjects of containments for what is typed: the kinds, and the names of a kind once its `/` is typed.
    pub(super) fn subject_candidates(current: &OsStr) -> Vec<CompletionCandidate> {
        let Some(typed) = current.to_str() else { return Vec::new() };
        let Some((kind, name)) = typed.split_once('/') else {
            let kinds = SUBJECT_FORMS.split(", ").map(|form| match form.split_once('/') {
                Some((kind, _)) => format!("{kind}/"),
                None => form.to_owned(),
            });
            return kinds.filter(|kind| kind.starts_with(typed)).map(CompletionCandidate::new).collect();
        };
        let named = match kind {
            "agent" => Self::Agents,
            "operator" => Self::Operators,
            "role" => Self::Roles,
            "capability" => Self::Capabilities,
            "secret" => Self::Secrets,
            _ => return Vec::new(),
        };
        let names = named.all().into_iter().filter(|one| one.starts_with(name));
        names.map(|name| CompletionCandidate::new(format!("{kind}/{name}"))).collect()
    }

    fn all(self) -> Vec<String> {
        let Some(home) = home() else { return Vec::new() };
        let cache = CachedNames::in_home(&home);
        cache.find(self.word()).unwrap_or_else(|| {
            let names = self.known_to_broker(&home).unwrap_or_default();
            // Also that there are none: the next key must not wait for a broker that does not answer.
            cache.keep(self.word(), &names);
            names
        })
    }

    fn known_to_broker(self, home: &Path) -> Option<Vec<String>> {
        let kind = self.identity();
        // A sealed key would need a passphrase.
        let key = std::fs::read_to_string(home.join(kind.directory()).join("key.pem")).ok()?;
        let is_open = key.starts_with("-----BEGIN PRIVATE KEY-----");
        let identity = is_open.then(|| Identity::load(home, kind).ok()).flatten()?;
        let client = Client::with(&identity, home, kind).ok()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        let names = runtime.block_on(async { tokio::time::timeout(WAIT, self.names(&client)).await });
        // A name that is still being resolved does not hold the shell up.
        runtime.shutdown_background();
        names.ok()?.ok()
    }

    async fn names(self, client: &Client) -> Result<Vec<String>, CommandFailure> {
        match self {
            Self::Agents => {
                listed::<ReadDeclared, _, _>(client, LIST_AGENTS, |one| one.name.to_string()).await
            }
            Self::Operators => {
                listed::<ReadOperators, _, _>(client, LIST_OPERATORS, |one| one.name.to_string()).await
            }
            Self::Capabilities => {
                listed::<ReadDeclared, _, _>(client, LIST_CAPABILITIES, |one| one.name.to_string()).await
            }
            Self::Roles => listed::<ReadDeclared, _, _>(client, LIST_ROLES, |one| one.name.to_string()).await,
            Self::Policies => {
                listed::<ReadDeclared, _, _>(client, LIST_POLICIES, |one| one.name.to_string()).await
            }
            Self::Secrets => {
                listed::<ReadSecretNames, _, _>(client, LIST_SECRETS, |one| one.name.to_string()).await
            }
            Self::Rotations => {
                listed::<ReadSecretNames, _, _>(client, LIST_ROTATIONS, |one| one.secret.to_string()).await
            }
            Self::OwnCapabilities | Self::OwnLeases | Self::OwnReveals | Self::OwnSecrets => {
                let me = client.call(AGENT_WHOAMI, &Nothing, &Nothing).await?;
                Ok(me.capabilities.iter().filter_map(|one| self.of_own(one)).collect())
            }
        }
    }
}

impl Named {
    /// What `capability` adds to the names of the agent's own objects.
    fn of_own(self, capability: &CapabilityAnswer) -> Option<String> {
        let is_lease = capability.delivery == Delivery::Lease.as_str();
        if self == Self::OwnSecrets {
            return capability.secret.as_ref().map(ToString::to_string);
        }
        let is_wanted = if self == Self::OwnReveals {
            capability.secret.is_some()
        } else {
            is_lease == (self == Self::OwnLeases)
        };
        is_wanted.then(|| capability.name.to_string())
    }
}

/// The names of a listing; none if the operator may not read it: the broker records refused requests.
async fn listed<R: Right, C, T: serde::de::DeserializeOwned>(
    client: &Client,
    endpoint: Endpoint<Nothing, PageQuery<C>, PageAnswer<T>>,
    name: impl Fn(&T) -> String,
) -> Result<Vec<String>, CommandFailure> {
    let operator = client.call(OPERATOR_WHOAMI, &Nothing, &Nothing).await?;
    if !may::<R>(&operator) {
        return Ok(Vec::new());
    }
    let (items, _) = client.list_some(endpoint, NAMES_MAX, |_| true).await?;
    Ok(items.iter().map(|item| name(&item.answer)).collect())
}

/// The home directory that the typed command line names, else the one of every verb.
fn home() -> Option<PathBuf> {
    let words: Vec<_> = std::env::args_os().skip_while(|word| word != "--").skip(1).collect();
    let typed = typed_home(&words, directory_of("HOME"));
    typed.or_else(|| directory_of("KEYWARD_HOME")).or_else(|| default_home().ok())
}

/// The directory after `--home` among the words of a line, which the shell has not expanded. In `--home=~` a shell does
/// not expand `~` either.
fn typed_home(words: &[OsString], of_user: Option<PathBuf>) -> Option<PathBuf> {
    let is_option = |word: &&OsString| *word == "--home" || word.as_bytes().starts_with(b"--home=");
    let mut words = words.iter().skip_while(|word| !is_option(word));
    let option = words.next()?;
    if let Some(joined) = option.as_bytes().strip_prefix(b"--home=") {
        return Some(PathBuf::from(OsStr::from_bytes(joined))).filter(|home| !home.as_os_str().is_empty());
    }
    let home = words.next().filter(|home| !home.is_empty()).map(PathBuf::from)?;
    match (home.strip_prefix("~"), of_user) {
        (Ok(rest), Some(of_user)) => Some(of_user.join(rest)),
        _ => Some(home),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn home_is_found_in_each_form_of_the_option() {
        for (words, home) in [
            (&["keyward", "--home", "/h", "token", ""][..], Some("/h")),
            (&["keyward", "token", "--home=/h=1", ""], Some("/h=1")),
            (&["keyward", "--home", "~/k", "token"], Some("/home/ann/k")),
            (&["keyward", "--home", "~", "token"], Some("/home/ann")),
            (&["keyward", "--home", "~bob/k", "token"], Some("~bob/k")),
            (&["keyward", "--home=~/k", "token"], Some("~/k")),
            (&["keyward", "--home=", "token"], None),
            (&["keyward", "token", "--home"], None),
            (&["keyward", "token", "--homeless", "x", "--home", "/h"], Some("/h")),
        ] {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            let found = typed_home(&words, Some(PathBuf::from("/home/ann")));
            assert_eq!(found.as_deref(), home.map(Path::new), "{words:?}");
        }
    }

    #[test]
    fn capabilities_are_offered_to_the_verbs_that_can_use_them() {
        let offered = |named: Named, delivery: &str, secret: Option<&str>| {
            let capability = serde_json::json!({
                "name": "a.b", "access": "read", "delivery": delivery, "audience": "x", "secret": secret,
                "max_life_s": 60, "owner": null,
            });
            named.of_own(&serde_json::from_value(capability).unwrap())
        };
        for (delivery, secret, token, lease, reveal) in [
            ("mint", None, Some("a.b"), None, None),
            ("reveal", Some("s/t"), Some("a.b"), None, Some("a.b")),
            ("lease", None, None, Some("a.b"), None),
        ] {
            let by = |named| offered(named, delivery, secret);
            let found = [Named::OwnCapabilities, Named::OwnLeases, Named::OwnReveals].map(by);
            assert_eq!(found.each_ref().map(Option::as_deref), [token, lease, reveal], "{delivery}");
            assert_eq!(by(Named::OwnSecrets).as_deref(), secret, "{delivery}");
        }
    }

    #[test]
    fn kinds_of_subjects_are_offered_before_their_names() {
        let offered = |typed: &str| -> Vec<String> {
            let candidates = Named::subject_candidates(OsStr::new(typed));
            candidates.iter().map(|one| one.get_value().to_string_lossy().into_owned()).collect()
        };
        assert_eq!(offered("o"), ["operator/", "owner/"]);
        assert_eq!(offered("ev"), ["everything"]);
        assert_eq!((offered("").len(), offered("token/")), (11, Vec::new()));
    }

    #[test]
    fn arguments_are_completed_with_the_objects_that_they_name() {
        for (verb, id, named) in [
            ("agent show", "name", Some(Named::Agents)),
            ("agent invite", "roles", Some(Named::Roles)),
            ("lease revoke", "capability", Some(Named::Capabilities)),
            ("lease get", "capability", Some(Named::OwnLeases)),
            ("lease run", "capability", Some(Named::OwnLeases)),
            ("get", "capability", Some(Named::OwnReveals)),
            ("token", "capabilities", Some(Named::OwnCapabilities)),
            ("rotation retry", "name", Some(Named::Rotations)),
            ("operator invite", "role", None),
            ("secret rollback", "number", None),
        ] {
            assert_eq!(Named::of(verb, id), named, "{verb} {id}");
        }
    }
}
