use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;
use zeroize::Zeroizing;

use super::args::SecretRef;
use crate::base::{SecretName, code};
use crate::cli::client::{Client, Received, RevealedSecret};
use crate::cli::session::agent_client;
use crate::cli::verbs::get::delivering;
use crate::cli::verbs::token::TokenRequest;
use crate::console::CommandFailure;
use crate::wire::{AGENT_WHOAMI, AgentWhoamiAnswer, Nothing};

/// The broker as the source of secrets: what this agent may read, and in which version.
pub(super) struct SecretSource {
    client: Client,
    me: Received<AgentWhoamiAnswer>,
}

/// The values of secrets.
#[derive(Default)]
pub(super) struct SecretValues(BTreeMap<SecretName, RevealedSecret>);

/// The versions of secrets.
pub(super) type Versions = BTreeMap<SecretName, u64>;

/// The secrets that the broker refused, with the reasons.
pub(super) type Refusals = BTreeMap<SecretName, CommandFailure>;

impl SecretSource {
    /// Asks the broker. Writes no entry of the ledger.
    pub(super) async fn open(home: &Path) -> Result<Self, CommandFailure> {
        let client = agent_client(home).await?;
        let me = client.call(AGENT_WHOAMI, &Nothing, &Nothing).await?;
        Ok(Self { client, me })
    }

    /// The current versions of those of `known` that the agent may read. A secret whose version an older broker does
    /// not tell has the known one.
    pub(super) fn versions(&self, known: &Versions) -> Versions {
        let current = |name: &SecretName, version: u64| {
            let secret = self.me.secrets.iter().find(|secret| secret.name == *name);
            secret.and_then(|secret| secret.version).map_or(version, u64::from)
        };
        let granted = known.iter().filter(|(name, _)| delivering(&self.me, name).is_ok());
        granted.map(|(name, version)| (name.clone(), current(name, *version))).collect()
    }

    /// The secrets of `known` that the agent may no longer read.
    pub(super) fn refusals(&self, known: &Versions) -> Refusals {
        let refused = |name: &SecretName| Some((name.clone(), delivering(&self.me, name).err()?));
        known.keys().filter_map(refused).collect()
    }

    /// Reads `names`. A refusal of one secret does not keep the others.
    ///
    /// # Errors
    /// [`CommandFailure`] if the broker does not answer, or cannot carry requests out now.
    pub(super) async fn read(
        &self,
        names: &BTreeSet<SecretName>,
    ) -> Result<(SecretValues, Refusals), CommandFailure> {
        let (mut values, mut refusals) = (SecretValues::default(), Refusals::new());
        for name in names {
            match self.read_one(name).await {
                Ok(revealed) => drop(values.0.insert(name.clone(), revealed)),
                Err(failure) if failure.is_outage() || failure.is_unavailable() => return Err(failure),
                Err(failure) => drop(refusals.insert(name.clone(), failure)),
            }
        }
        Ok((values, refusals))
    }

    async fn read_one(&self, name: &SecretName) -> Result<RevealedSecret, CommandFailure> {
        let request = TokenRequest::for_scope(delivering(&self.me, name)?, None);
        let token = request.fresh(&self.client).await?;
        self.client.reveal(name, token.access_token.value()).await
    }
}

impl SecretValues {
    /// Adds `more`.
    pub(super) fn extend(&mut self, more: Self) {
        self.0.extend(more.0);
    }

    pub(super) fn versions(&self) -> Versions {
        self.0.iter().map(|(name, revealed)| (name.clone(), revealed.version)).collect()
    }

    /// The value of `wanted`, or of its field; `None` if the secret was not read.
    ///
    /// # Errors
    /// [`CommandFailure`] if the value has no such field.
    pub(super) fn bytes(&self, wanted: &SecretRef) -> Result<Option<Zeroizing<Vec<u8>>>, CommandFailure> {
        let Some(revealed) = self.0.get(&wanted.name) else { return Ok(None) };
        let whole = revealed.value.expose();
        let Some(field) = &wanted.field else { return Ok(Some(Zeroizing::new(whole.clone()))) };
        let unfit = |problem: &str| {
            let why = format!("the value of secret `{}` {problem}", wanted.name);
            CommandFailure::new(code::VALUE_FORMAT_MISMATCH).because(why).mended_by(
                "correct the field: `--secret VARIABLE=NAME#FIELD`, or `{{ secret(\"NAME\", \"FIELD\") }}` in a template; \
                 without a field, the command gets the whole value",
            )
        };
        let object: Value = serde_json::from_slice(whole).map_err(|_| unfit("is not a JSON object"))?;
        let text = match object.get(field) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::Bool(is)) => is.to_string(),
            Some(Value::Null | Value::Array(_) | Value::Object(_)) => {
                return Err(unfit(&format!(
                    "has a field `{field}` that is not a text, a number, true or false"
                )));
            }
            None => return Err(unfit(&format!("has no field `{field}`"))),
        };
        Ok(Some(Zeroizing::new(text.into_bytes())))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::base::Sensitive;

    /// One secret `a/b` with this value.
    pub(in crate::cli::run) fn values(value: &str) -> SecretValues {
        let revealed = RevealedSecret {
            version: 3,
            next_rotation: None,
            value: Sensitive::new(value.as_bytes().to_vec()),
        };
        SecretValues(BTreeMap::from([("a/b".parse().unwrap(), revealed)]))
    }

    #[test]
    fn a_field_of_an_object_is_a_value_of_its_own() {
        let bytes = |value: &str, wanted: &str| {
            let found = values(value).bytes(&wanted.parse().unwrap());
            found.map(|found| found.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap()))
        };
        let object = r#"{"user":"u","port":5432,"on":true,"none":null}"#;
        assert_eq!(bytes(object, "a/b").unwrap().unwrap(), object);
        assert_eq!(bytes(object, "a/b#user").unwrap().unwrap(), "u");
        assert_eq!(bytes(object, "a/b#port").unwrap().unwrap(), "5432");
        assert_eq!(bytes(object, "a/b#on").unwrap().unwrap(), "true");
        assert_eq!(bytes(object, "c/d").unwrap(), None, "it was not read");
        for (value, wanted) in [(object, "a/b#none"), (object, "a/b#CNRY"), ("CNRY-value", "a/b#user")] {
            let failure = bytes(value, wanted).unwrap_err();
            assert_eq!(failure.code(), "value_format_mismatch");
            assert!(!failure.why().contains("CNRY-value"), "{}", failure.why());
        }
    }
}
