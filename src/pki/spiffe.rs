use std::fmt;
use std::str::FromStr;

use crate::base::encoding::ShortText;
use crate::base::{AgentName, OperatorName, TrustDomain};

/// The identity in a certificate, e.g. `spiffe://keyward.internal/agent/research-bot`.
///
/// Canonical by construction (SPIFFE-ID §2, narrowed): equal identities are equal text.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum SpiffeId {
    /// An agent.
    Agent {
        /// The trust domain.
        trust_domain: TrustDomain,
        /// The name.
        name: AgentName,
    },
    /// A resource server.
    ResourceServer {
        /// The trust domain.
        trust_domain: TrustDomain,
        /// The name.
        name: AgentName,
    },
    /// An operator.
    Operator {
        /// The trust domain.
        trust_domain: TrustDomain,
        /// The name.
        name: OperatorName,
    },
}

/// The text is not an identity that this broker gives.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "not a canonical identity: `spiffe://TRUST-DOMAIN/` and `agent`, `resource` or `operator`, and `/NAME`"
)]
pub struct SpiffeError;

impl SpiffeId {
    /// The trust domain.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        match self {
            Self::Agent { trust_domain, .. }
            | Self::ResourceServer { trust_domain, .. }
            | Self::Operator { trust_domain, .. } => trust_domain,
        }
    }
}

impl SpiffeId {
    /// Its text, to be written somewhere at once.
    #[must_use]
    pub fn text(&self) -> ShortText<BYTES_MAX> {
        let mut text = ShortText::new("");
        text.write(format_args!("{self}"));
        text
    }
}

/// A trust domain of 255 bytes, a name of 63, and what stands around them.
const BYTES_MAX: usize = 352;

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent { trust_domain, name } => write!(f, "spiffe://{trust_domain}/agent/{name}"),
            Self::ResourceServer { trust_domain, name } => {
                write!(f, "spiffe://{trust_domain}/resource/{name}")
            }
            Self::Operator { trust_domain, name } => write!(f, "spiffe://{trust_domain}/operator/{name}"),
        }
    }
}

impl FromStr for SpiffeId {
    type Err = SpiffeError;

    fn from_str(text: &str) -> Result<Self, SpiffeError> {
        let rest = text.strip_prefix("spiffe://").ok_or(SpiffeError)?;
        let mut parts = rest.split('/');
        let (Some(domain), Some(kind), Some(name), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(SpiffeError);
        };
        let trust_domain = domain.parse().map_err(|_| SpiffeError)?;
        match kind {
            "agent" => Ok(Self::Agent { trust_domain, name: name.parse().map_err(|_| SpiffeError)? }),
            "resource" => {
                Ok(Self::ResourceServer { trust_domain, name: name.parse().map_err(|_| SpiffeError)? })
            }
            "operator" => Ok(Self::Operator { trust_domain, name: name.parse().map_err(|_| SpiffeError)? }),
            _ => Err(SpiffeError),
        }
    }
}
