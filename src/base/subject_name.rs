use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::id::{IdError, InstanceId, OperatorId, TokenId};
use super::name::{AgentName, CapabilityName, NameError, OperatorName, OwnerName, RoleName, SecretName};
use super::network::Network;
use super::serial::{Serial, SerialError};

/// A subject that can be contained, as people name it: `agent/NAME`, `certificate/SERIAL`, `everything`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SubjectName {
    /// An agent or resource server.
    Agent(AgentName),
    /// One instance of an agent.
    Instance(InstanceId),
    /// An operator.
    Operator(OperatorName),
    /// A role.
    Role(RoleName),
    /// A capability.
    Capability(CapabilityName),
    /// An owner, with its agents, capabilities, roles and secrets, and the operators that are bound to it.
    Owner(OwnerName),
    /// A secret.
    Secret(SecretName),
    /// One certificate of an agent, resource server or operator.
    Certificate(Serial),
    /// One access token.
    Token(TokenId),
    /// A source network.
    Network(Network),
    /// All agents and resource servers.
    Everything,
}

/// The forms of [`SubjectName`], for messages.
pub const SUBJECT_FORMS: &str = "agent/NAME, instance/ID, operator/NAME, role/NAME, capability/NAME, owner/NAME, secret/NAME, \
     certificate/SERIAL, token/ID, network/CIDR, everything";

/// The text is not a subject. Never contains the text.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SubjectNameError {
    /// The kind is none of those.
    #[error("the subject has none of these forms: {SUBJECT_FORMS}")]
    Form,
    /// The name after the kind is not canonical.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The id after the kind is not one.
    #[error(transparent)]
    Id(#[from] IdError),
    /// The serial number after the kind is not one.
    #[error(transparent)]
    Serial(#[from] SerialError),
}

impl SubjectName {
    /// The subject of this kind with this name, id, serial number or network; `everything` has none.
    ///
    /// # Errors
    /// [`SubjectNameError`].
    pub fn of(kind: &str, which: Option<&str>) -> Result<Self, SubjectNameError> {
        let Some(which) = which else {
            return if kind == "everything" { Ok(Self::Everything) } else { Err(SubjectNameError::Form) };
        };
        Ok(match kind {
            "agent" => Self::Agent(which.parse()?),
            "instance" => Self::Instance(which.parse()?),
            "operator" => Self::Operator(which.parse()?),
            "role" => Self::Role(which.parse()?),
            "capability" => Self::Capability(which.parse()?),
            "owner" => Self::Owner(which.parse()?),
            "secret" => Self::Secret(which.parse()?),
            "certificate" => Self::Certificate(which.parse()?),
            "token" => Self::Token(which.parse()?),
            "network" => Self::Network(which.parse()?),
            _ => return Err(SubjectNameError::Form),
        })
    }

    /// The word for its kind.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Agent(_) => "agent",
            Self::Instance(_) => "instance",
            Self::Operator(_) => "operator",
            Self::Role(_) => "role",
            Self::Capability(_) => "capability",
            Self::Owner(_) => "owner",
            Self::Secret(_) => "secret",
            Self::Certificate(_) => "certificate",
            Self::Token(_) => "token",
            Self::Network(_) => "network",
            Self::Everything => "everything",
        }
    }

    /// Its name, or the network.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        match self {
            Self::Agent(name) => Some(name.to_string()),
            Self::Operator(name) => Some(name.to_string()),
            Self::Role(name) => Some(name.to_string()),
            Self::Capability(name) => Some(name.to_string()),
            Self::Owner(name) => Some(name.to_string()),
            Self::Secret(name) => Some(name.to_string()),
            Self::Network(network) => Some(network.to_string()),
            Self::Instance(_) | Self::Certificate(_) | Self::Token(_) | Self::Everything => None,
        }
    }

    /// Its id or serial number, if it is called by that.
    #[must_use]
    pub fn id(&self) -> Option<String> {
        match self {
            Self::Instance(id) => Some(id.to_string()),
            Self::Certificate(serial) => Some(serial.to_string()),
            Self::Token(id) => Some(id.to_string()),
            Self::Agent(_)
            | Self::Operator(_)
            | Self::Role(_)
            | Self::Capability(_)
            | Self::Owner(_)
            | Self::Secret(_)
            | Self::Network(_)
            | Self::Everything => None,
        }
    }
}

impl fmt::Display for SubjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name().or_else(|| self.id()) {
            Some(which) => write!(f, "{}/{which}", self.kind()),
            None => f.write_str(self.kind()),
        }
    }
}

impl FromStr for SubjectName {
    type Err = SubjectNameError;

    fn from_str(text: &str) -> Result<Self, SubjectNameError> {
        match text.split_once('/') {
            Some((kind, which)) => Self::of(kind, Some(which)),
            None => Self::of(text, None),
        }
    }
}

impl Serialize for SubjectName {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SubjectName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

/// An enrolment of an operator: its certificate of then, and those that it renewed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct OperatorEnrolment {
    /// The operator.
    pub operator: OperatorId,
    /// The entry by which it enrolled.
    pub enrolled_seq: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_subject_reads_back_from_its_text() {
        let zeros = "0".repeat(26);
        for text in [
            "agent/orders-bot",
            &format!("instance/inst_{zeros}"),
            "operator/alice",
            "role/reader",
            "capability/reports.read",
            "owner/payments",
            "secret/github/app",
            &format!("certificate/{}", "4f".repeat(16)),
            &format!("token/tok_{zeros}"),
            "network/10.1.0.0/16",
            "everything",
        ] {
            let subject: SubjectName = text.parse().unwrap();
            assert_eq!(subject.to_string(), text);
            let kept = serde_json::to_string(&subject).unwrap();
            assert_eq!(serde_json::from_str::<SubjectName>(&kept).unwrap(), subject);
        }
    }

    #[test]
    fn other_texts_are_no_subjects() {
        for text in [
            "",
            "orders-bot",
            "agent",
            "agent/",
            "agent/A",
            "lineage/x",
            "everything/x",
            "network/10.1.0.1/16",
        ] {
            assert!(text.parse::<SubjectName>().is_err(), "{text}");
        }
    }
}
