use std::collections::BTreeMap;
use std::path::Path;

use clap::Args;

use crate::base::{CapabilityName, GivenParameters, GivenValue, ParameterValue};
use crate::cli::client::Client;
use crate::console::{CommandFailure, Console, input};
use crate::wire::{AGENT_WHOAMI, CapabilityAnswer, Nothing, ParameterAnswer};

/// Parameters of capabilities.
#[derive(Args, Debug, Default)]
pub(crate) struct ParameterArgs {
    /// A parameter of the capability: NAME=VALUE, NAME=@FILE for a value in a file, or NAME=- for standard input; NAME=@@TEXT is
    /// the text @TEXT. A sensitive one is refused as VALUE. With several capabilities: CAPABILITY:NAME=VALUE
    #[arg(long = "parameter", value_name = "NAME=VALUE", requires = "capabilities")]
    given: Vec<String>,
}

/// One parameter, as it is written.
struct Argument<'a> {
    capability: CapabilityName,
    name: &'a str,
    value: &'a str,
}

/// Longest value in a file, in bytes: more than any capability allows.
const VALUE_BYTES_MAX: usize = 4 * 1024;

impl ParameterArgs {
    pub(crate) const fn is_empty(&self) -> bool {
        self.given.is_empty()
    }

    /// The arguments again, for a command in a message. No value of a sensitive parameter is an argument.
    pub(super) fn arguments(&self) -> String {
        self.given.iter().map(|one| format!(" --parameter {}", shell_word(one))).collect()
    }

    /// The parameters, by the types that the broker names.
    ///
    /// # Errors
    /// [`CommandFailure`] if one is malformed or repeated, or a sensitive one is an argument.
    pub(crate) async fn read(
        &self,
        client: &Client,
        capabilities: &[String],
        console: &Console,
    ) -> Result<BTreeMap<CapabilityName, GivenParameters>, CommandFailure> {
        let mut parameters: BTreeMap<CapabilityName, GivenParameters> = BTreeMap::new();
        if self.is_empty() {
            return Ok(parameters);
        }
        let me = client.call(AGENT_WHOAMI, &Nothing, &Nothing).await?;
        for text in &self.given {
            let argument = Argument::parse(text, capabilities)?;
            let known = declared(&me.answer.capabilities, &argument);
            let value = argument.read(known, console)?;
            let of_capability = parameters.entry(argument.capability.clone()).or_default();
            if !of_capability.give(argument.name, GivenValue::Plain(value)) {
                let why = format!("the parameter `{}` is given twice", argument.name.escape_debug());
                return Err(CommandFailure::usage(&why, "give each parameter once"));
            }
        }
        Ok(parameters)
    }
}

/// The parameter of this name, if the agent holds the capability and it has one.
fn declared<'a>(held: &'a [CapabilityAnswer], argument: &Argument<'_>) -> Option<&'a ParameterAnswer> {
    let capability = held.iter().find(|one| one.name == argument.capability)?;
    capability.parameters.iter().find(|one| one.name.as_str() == argument.name)
}

impl<'a> Argument<'a> {
    fn parse(text: &'a str, capabilities: &[String]) -> Result<Self, CommandFailure> {
        const FORM: &str = "write `--parameter NAME=VALUE`, or `--parameter CAPABILITY:NAME=VALUE` with several capabilities";
        let malformed = |why: &str| CommandFailure::usage(why, FORM);
        let (name, value) =
            text.split_once('=').ok_or_else(|| malformed("an argument of `--parameter` has no `=`"))?;
        let (capability, name) = match (name.split_once(':'), capabilities) {
            (Some((capability, name)), _) => (capability, name),
            (None, [only]) => (only.as_str(), name),
            (None, _) => return Err(malformed("the parameter does not say to which capability it belongs")),
        };
        if !capabilities.iter().any(|one| one == capability) {
            return Err(malformed("a parameter belongs to a capability that the command does not name"));
        }
        Ok(Self { capability: capability.parse()?, name, value })
    }

    /// The value, from where the argument says. A parameter that the broker does not know is sent as a text: its refusal names
    /// the known ones.
    fn read(
        &self,
        known: Option<&ParameterAnswer>,
        console: &Console,
    ) -> Result<ParameterValue, CommandFailure> {
        // A text that begins with `@` has another one before it.
        let (file, text) = match (self.value, self.value.strip_prefix('@')) {
            ("-", _) => (Some("-"), ""),
            (_, Some(text)) if text.starts_with('@') => (None, text),
            (_, Some(file)) => (Some(file), ""),
            (text, None) => (None, text),
        };
        let Some(file) = file else {
            if known.is_some_and(|known| known.sensitive) {
                let why = format!(
                    "the parameter `{}` is sensitive and was given as an argument, and every user of the machine can read \
                     arguments",
                    self.name
                );
                let fix = format!(
                    "give it in a file or on standard input: `--parameter {0}=@FILE`, `--parameter {0}=-`",
                    self.name
                );
                return Err(CommandFailure::usage(&why, &fix));
            }
            return self.typed(known, text);
        };
        let bytes = input::secret(Some(Path::new(file)), "Value", VALUE_BYTES_MAX, console)?;
        let text = std::str::from_utf8(bytes.expose()).map_err(|_| {
            let why = format!("the value of the parameter `{}` is not UTF-8 text", self.name.escape_debug());
            CommandFailure::usage(&why, "write the value as text")
        })?;
        let text = text.strip_suffix('\n').unwrap_or(text);
        self.typed(known, text.strip_suffix('\r').unwrap_or(text))
    }

    /// The value by the type that is declared.
    fn typed(&self, known: Option<&ParameterAnswer>, text: &str) -> Result<ParameterValue, CommandFailure> {
        let wrong = |allowed: &str| {
            let why = format!("the value of the parameter `{}` is not {allowed}", self.name);
            CommandFailure::usage(&why, &format!("give {allowed}"))
        };
        match known.map(|known| &*known.kind) {
            Some("integer") => {
                text.parse().map(ParameterValue::Integer).map_err(|_| wrong("a whole number, e.g. 100"))
            }
            Some("boolean") => {
                text.parse().map(ParameterValue::Boolean).map_err(|_| wrong("`true` or `false`"))
            }
            Some(_) | None => Ok(ParameterValue::Text(text.to_owned())),
        }
    }
}

/// `text` as one word of a POSIX shell.
fn shell_word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-=:@./,+".contains(c);
    if text.chars().all(is_plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(kind: &str) -> ParameterAnswer {
        let answer = serde_json::json!({ "name": "x", "type": kind, "required": true, "sensitive": false });
        serde_json::from_value(answer).unwrap()
    }

    fn argument(text: &str) -> Argument<'_> {
        Argument::parse(text, &["payments.refund".to_owned()]).unwrap()
    }

    #[test]
    fn an_argument_names_the_parameter_and_its_capability() {
        let one = argument("amount=1=2");
        assert_eq!((one.name, one.value, one.capability.as_str()), ("amount", "1=2", "payments.refund"));
        let both = ["payments.refund".to_owned(), "payments.pay".to_owned()];
        let named = Argument::parse("payments.pay:amount=1", &both).unwrap();
        assert_eq!(named.capability.as_str(), "payments.pay");
        for wrong in ["amount", "amount=1", "web.read:amount=1"] {
            assert!(Argument::parse(wrong, &both).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_value_is_read_by_its_declared_type() {
        let typed = |kind: &str, text: &str| argument("x=1").typed(Some(&known(kind)), text).ok();
        assert_eq!(typed("integer", "-7"), Some(ParameterValue::Integer(-7)));
        assert_eq!(typed("integer", "1.0"), None);
        assert_eq!(typed("boolean", "true"), Some(ParameterValue::Boolean(true)));
        assert_eq!(typed("boolean", "1"), None);
        assert_eq!(typed("text", "100"), Some(ParameterValue::Text("100".to_owned())));
    }

    #[test]
    fn words_for_a_shell_are_quoted() {
        for (text, word) in [("amount=100", "amount=100"), ("note=it's due", "'note=it'\\''s due'")] {
            assert_eq!(shell_word(text), word);
        }
    }
}
