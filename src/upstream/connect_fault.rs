use std::io::{Error, ErrorKind};

/// Why a server cannot be connected to, in stable terms.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ConnectFault {
    /// The host name does not resolve.
    Unresolved,
    /// Nothing listens at the port, or a firewall rejects the connection.
    Refused,
    /// No route leads to the address.
    NoRoute,
}

impl ConnectFault {
    const ALL: [Self; 3] = [Self::Unresolved, Self::Refused, Self::NoRoute];

    /// The fault of a failed connection, if the system names one of these.
    pub(super) fn of(error: &Error) -> Option<Self> {
        let kind = error.kind();
        if kind == ErrorKind::ConnectionRefused {
            return Some(Self::Refused);
        }
        matches!(kind, ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable).then_some(Self::NoRoute)
    }

    /// Its stable name.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Unresolved => "host_unresolved",
            Self::Refused => "connection_refused",
            Self::NoRoute => "no_route",
        }
    }

    /// The fault of this stable name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| fault.as_str() == name)
    }

    /// The problem.
    pub(super) const fn meaning(self) -> &'static str {
        match self {
            Self::Unresolved => {
                "the broker cannot connect to the upstream: its host name does not resolve on the broker's host"
            }
            Self::Refused => {
                "the broker cannot connect to the upstream: the connection was refused, because nothing listens at this port or \
                 a firewall rejects it"
            }
            Self::NoRoute => {
                "the broker cannot connect to the upstream: the network of the broker's host has no route to its address"
            }
        }
    }

    /// The fix.
    pub(super) const fn fix(self) -> &'static str {
        match self {
            Self::Unresolved => {
                "correct the declared `host`, or the name service of the broker's host (`getent hosts NAME` there); the broker \
                 tries again by itself"
            }
            Self::Refused => {
                "check that the upstream runs and listens at the declared address and port, and that no firewall rejects the \
                 broker's host; the broker tries again by itself"
            }
            Self::NoRoute => {
                "check the declared address and the routes of the broker's host (`ip route get ADDRESS` there); the broker \
                 tries again by itself"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_reads_back_and_says_what_the_broker_cannot_do() {
        for fault in ConnectFault::ALL {
            assert_eq!(ConnectFault::named(fault.as_str()), Some(fault));
            assert!(fault.meaning().starts_with("the broker cannot connect to the upstream: "));
            assert!(fault.fix().contains("tries again by itself"));
        }
        assert_eq!(ConnectFault::named("08006"), None);
        assert_eq!(ConnectFault::of(&ErrorKind::ConnectionRefused.into()), Some(ConnectFault::Refused));
        assert_eq!(ConnectFault::of(&ErrorKind::BrokenPipe.into()), None);
    }
}
