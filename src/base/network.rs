use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::limits::{OPERATOR_NETWORK_V4_PREFIX_MIN, OPERATOR_NETWORK_V6_PREFIX_MIN};
use super::name::NameError;

/// A range of addresses, e.g. `10.1.0.0/16`. Canonical: no bit is set beyond the prefix.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(try_from = "(IpAddr, u8)", into = "(IpAddr, u8)")]
pub struct Network(IpNet);

impl Network {
    /// The network that a text means which sets bits beyond its prefix, e.g. `10.3.0.0/24` for `10.3.0.7/24`.
    #[must_use]
    pub fn around(text: &str) -> Option<Self> {
        let network: IpNet = text.parse().ok()?;
        let around = network_of(network.addr(), network.prefix_len())?;
        (around.0 != network).then_some(around)
    }

    /// Whether the network contains `address`. An IPv4 address in its IPv6 spelling counts as the IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }

    /// The network of this address alone.
    #[must_use]
    pub fn of_host(address: IpAddr) -> Option<Self> {
        let address = address.to_canonical();
        network_of(address, if address.is_ipv4() { 32 } else { 128 })
    }

    /// Its address, if it has only one.
    #[must_use]
    pub fn host(&self) -> Option<IpAddr> {
        (self.0.prefix_len() == self.0.max_prefix_len()).then(|| self.0.addr())
    }

    /// The networks by which an address is indexed: few, so that any network lies within one of them.
    pub fn indexed(address: IpAddr) -> impl Iterator<Item = Self> {
        let address = address.to_canonical();
        indexed_prefixes(address).filter_map(move |prefix| network_of(address, prefix))
    }

    /// The smallest network of [`Network::indexed`] that contains this network.
    #[must_use]
    pub fn indexed_around(&self) -> Option<Self> {
        let (address, own) = (self.0.addr(), self.0.prefix_len());
        indexed_prefixes(address)
            .filter(|prefix| *prefix <= own)
            .last()
            .and_then(|prefix| network_of(address, prefix))
    }
}

/// In ascending order; an address itself is indexed too.
fn indexed_prefixes(address: IpAddr) -> impl Iterator<Item = u8> {
    match address {
        IpAddr::V4(_) => [0, 8, 16, 24],
        IpAddr::V6(_) => [0, 32, 48, 64],
    }
    .into_iter()
}

fn network_of(address: IpAddr, prefix: u8) -> Option<Network> {
    IpNet::new(address, prefix).ok().map(|network| Network(network.trunc()))
}

/// A network that an operator can be bound to: not wider than a /8 of IPv4 or a /16 of IPv6. A binding to all addresses, or
/// to a large part of them, would be none.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct BindingNetwork(Network);

/// The network is too wide to bind an operator to it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "the network `{0}` is too wide for an operator: an IPv4 network has a prefix of at least /{OPERATOR_NETWORK_V4_PREFIX_MIN}, \
     an IPv6 network of at least /{OPERATOR_NETWORK_V6_PREFIX_MIN}"
)]
pub struct NetworkTooWide(Network);

impl BindingNetwork {
    /// The network.
    #[must_use]
    pub const fn network(self) -> Network {
        self.0
    }
}

impl TryFrom<Network> for BindingNetwork {
    type Error = NetworkTooWide;

    fn try_from(network: Network) -> Result<Self, NetworkTooWide> {
        let least = match network.0 {
            IpNet::V4(_) => OPERATOR_NETWORK_V4_PREFIX_MIN,
            IpNet::V6(_) => OPERATOR_NETWORK_V6_PREFIX_MIN,
        };
        if network.0.prefix_len() >= least { Ok(Self(network)) } else { Err(NetworkTooWide(network)) }
    }
}

/// The address that counts as one peer: an IPv4 address in either spelling, or the /64 of an IPv6 address, because
/// one customer usually has the whole /64 (RFC 6177).
#[must_use]
pub fn peer_of(address: IpAddr) -> IpAddr {
    const SUBNET: u128 = !0 << 64;
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & SUBNET).into(),
    }
}

const ERROR: NameError = NameError::of("network", "an address and a prefix length such as `10.1.0.0/16`");

impl TryFrom<(IpAddr, u8)> for Network {
    type Error = NameError;

    fn try_from((address, prefix): (IpAddr, u8)) -> Result<Self, NameError> {
        // A range of IPv4 addresses in their IPv6 spelling is that range: addresses are compared as IPv4.
        let (address, prefix) = match (address.to_canonical(), prefix.checked_sub(96)) {
            (canonical @ IpAddr::V4(_), Some(prefix)) if address.is_ipv6() => (canonical, prefix),
            _ => (address, prefix),
        };
        let network = IpNet::new(address, prefix).map_err(|_| ERROR)?;
        if network.trunc() == network { Ok(Self(network)) } else { Err(ERROR) }
    }
}

impl From<Network> for (IpAddr, u8) {
    fn from(network: Network) -> Self {
        (network.0.addr(), network.0.prefix_len())
    }
}

impl FromStr for Network {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let network: IpNet = text.parse().map_err(|_| ERROR)?;
        let network = Self::try_from((network.addr(), network.prefix_len()))?;
        if network.to_string() == text { Ok(network) } else { Err(ERROR) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_its_own_addresses_in_every_spelling() {
        let network: Network = "10.1.0.0/16".parse().unwrap();
        assert!(network.contains("10.1.2.3".parse().unwrap()));
        assert!(network.contains("::ffff:10.1.2.3".parse().unwrap()));
        assert!(!network.contains("10.2.0.1".parse().unwrap()));
        let network: Network = "2001:db8::/32".parse().unwrap();
        assert!(network.contains("2001:db8::1".parse().unwrap()));
        assert!(!network.contains("10.1.2.3".parse().unwrap()));
    }

    #[test]
    fn a_network_lies_within_an_indexed_network_of_its_addresses() {
        for (network, around, address) in [
            ("10.1.2.128/25", "10.1.2.0/24", "10.1.2.130"),
            ("10.1.0.0/16", "10.1.0.0/16", "::ffff:10.1.9.9"),
            ("10.0.0.0/7", "0.0.0.0/0", "11.0.0.1"),
            ("2001:db8:1::/50", "2001:db8:1::/48", "2001:db8:1::9"),
            ("::/0", "::/0", "2001:db8::1"),
        ] {
            let (network, address): (Network, IpAddr) = (network.parse().unwrap(), address.parse().unwrap());
            let found = network.indexed_around().unwrap();
            assert_eq!(found.to_string(), around);
            assert!(network.contains(address) && Network::indexed(address).any(|indexed| indexed == found));
        }
    }

    #[test]
    fn an_ipv4_mapped_network_is_the_ipv4_network() {
        let mapped = ("::ffff:10.1.0.0".parse().unwrap(), 112);
        let network = Network::try_from(mapped).unwrap();
        assert_eq!(network, "10.1.0.0/16".parse().unwrap());
        assert!(network.contains("10.1.2.3".parse().unwrap()));
        assert!("::ffff:10.1.0.0/112".parse::<Network>().is_err(), "declared, it has one spelling");
        assert!("::ffff:0.0.0.0/96".parse::<Network>().is_err());
    }

    #[test]
    fn an_operator_is_bound_to_no_wide_network() {
        let of = |text: &str, prefix: u8| Network::try_from((text.parse().unwrap(), prefix)).unwrap();
        let (v4, v6) = (OPERATOR_NETWORK_V4_PREFIX_MIN, OPERATOR_NETWORK_V6_PREFIX_MIN);
        for narrow in [of("10.0.0.0", v4), of("10.1.2.3", 32), of("2001::", v6), of("::1", 128)] {
            assert_eq!(BindingNetwork::try_from(narrow).map(BindingNetwork::network), Ok(narrow));
        }
        let mapped = of("::ffff:0.0.0.0", 96);
        let wide = [of("10.0.0.0", v4 - 1), of("0.0.0.0", 0), of("2000::", v6 - 1), of("::", 0), mapped];
        for wide in wide {
            assert_eq!(BindingNetwork::try_from(wide), Err(NetworkTooWide(wide)));
        }
    }

    #[test]
    fn a_peer_is_an_ipv4_address_or_a_subnet_of_ipv6() {
        let peer = |text: &str| peer_of(text.parse().unwrap()).to_string();
        assert_eq!(peer("10.1.2.3"), "10.1.2.3");
        assert_eq!(peer("::ffff:10.1.2.3"), "10.1.2.3");
        assert_eq!(peer("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(peer("2001:db8:1:2:ffff::"), peer("2001:db8:1:2::1"));
        assert_ne!(peer("2001:db8:1:3::1"), peer("2001:db8:1:2::1"));
    }

    #[test]
    fn bits_beyond_the_prefix_lead_to_the_network_around_them() {
        let around = |text: &str| Network::around(text).map(|network| network.to_string());
        assert_eq!(around("10.3.0.7/24").as_deref(), Some("10.3.0.0/24"));
        assert_eq!(around("2001:db8::1/32").as_deref(), Some("2001:db8::/32"));
        for exact in ["10.3.0.0/24", "10.3.0.7", "10.3.0.0/33", "network"] {
            assert_eq!(around(exact), None, "{exact}");
        }
    }

    #[test]
    fn only_the_canonical_spelling_is_taken() {
        for bad in
            ["", "10.1.0.0", "10.1.0.1/16", "10.1.0.0/33", "10.1.0.0/016", "10.01.0.0/16", "2001:DB8::/32"]
        {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }
}
