use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::role::OperatorRole;
use crate::base::{Network, Person};

/// The kind of an operator. It decides which roles it can have, how long its certificates are valid, and whether it is bound
/// to networks. It never changes.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum OperatorKind {
    /// A person.
    #[default]
    Human,
    /// A program that only reads, e.g. a scraper of metrics. It is bound to networks.
    Service,
    /// A program that declares within one owner, e.g. a CI job.
    Automation,
}

/// The text names no kind. Never carries the text.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not an operator's kind: the kinds are human, service and automation")]
pub struct UnknownKind;

impl OperatorKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Human, Self::Service, Self::Automation];

    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Service => "service",
            Self::Automation => "automation",
        }
    }

    /// The roles of operators of this kind. The first one of a program is its role if no other is named.
    #[must_use]
    pub const fn roles(self) -> &'static [OperatorRole] {
        match self {
            Self::Human => &OperatorRole::OF_HUMANS,
            Self::Service => &[OperatorRole::Metrics, OperatorRole::Auditor],
            Self::Automation => &[OperatorRole::Deployer, OperatorRole::Auditor],
        }
    }
}

impl FromStr for OperatorKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(UnknownKind)
    }
}

impl fmt::Display for OperatorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The properties of an operator besides its role and scope.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct OperatorProfile {
    /// Its kind.
    pub kind: OperatorKind,
    /// The networks from which its certificates can be used; all networks if there is none.
    pub networks: Vec<Network>,
    /// The life of its certificates in seconds, if it has one of its own.
    pub life_s: Option<u32>,
    /// The person.
    pub person: Option<Person>,
}

impl OperatorProfile {
    /// Whether the operator's certificates and codes can be used at `address`. A service without networks can be used
    /// nowhere.
    #[must_use]
    pub fn admits(&self, address: IpAddr) -> bool {
        let is_free = self.networks.is_empty() && self.kind != OperatorKind::Service;
        is_free || self.networks.iter().any(|network| network.contains(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_reads_back_from_its_name() {
        for kind in OperatorKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        for text in ["", "Service", "person", "service "] {
            assert!(text.parse::<OperatorKind>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_program_has_no_role_that_decides_alone() {
        for kind in [OperatorKind::Service, OperatorKind::Automation] {
            for role in [OperatorRole::Admin, OperatorRole::Security, OperatorRole::Approver] {
                assert!(!kind.roles().contains(&role), "{kind} {role}");
            }
        }
    }

    #[test]
    fn a_service_is_admitted_from_its_networks_alone() {
        let (inside, outside): (IpAddr, IpAddr) = ("10.1.2.3".parse().unwrap(), "192.0.2.1".parse().unwrap());
        let of = |kind, networks: &[&str]| OperatorProfile {
            kind,
            networks: networks.iter().map(|network| network.parse().unwrap()).collect(),
            ..OperatorProfile::default()
        };
        let bound = of(OperatorKind::Service, &["192.168.0.0/16", "10.0.0.0/8"]);
        assert!(bound.admits(inside) && bound.admits("::ffff:10.1.2.3".parse().unwrap()));
        assert!(!bound.admits(outside));
        assert!(!of(OperatorKind::Service, &[]).admits(inside));
        assert!(of(OperatorKind::Automation, &[]).admits(outside));
        assert!(!of(OperatorKind::Automation, &["10.0.0.0/8"]).admits(outside));
    }
}
