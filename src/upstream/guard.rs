use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::{TcpStream, lookup_host};

use super::connect_fault::ConnectFault;
use crate::base::Network;

/// The allowed addresses of upstreams that are declared by URL: all addresses of the public internet, those of other
/// networks only if the configuration names them, and some never.
///
/// An operator who declares a rotation makes the broker call a URL from the broker's network, and sees the status (SSRF).
/// Therefore all addresses of a name are checked first, and then one of the checked addresses is connected to, without a
/// second resolution.
#[derive(Clone, Debug, Default)]
pub struct AllowedNetworks(Arc<[Network]>);

/// The reason for a missing connection.
#[derive(Debug)]
pub(super) enum DialError {
    /// The name resolves to a forbidden address.
    Forbidden,
    /// The name does not resolve, or no address accepts the connection.
    Unreachable(Option<ConnectFault>),
}

/// Checked addresses: the only ones that are connected to.
#[derive(Debug, Eq, PartialEq)]
struct Checked(Vec<SocketAddr>);

/// Addresses of the machine itself, link-local and unspecific addresses, and metadata services of clouds, which hand out
/// credentials. No configuration allows them.
const NEVER: [&str; 15] = [
    "0.0.0.0/8",
    "169.254.0.0/16",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/128",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
    // Metadata services at other addresses: AWS, Google, Azure, Alibaba, Oracle.
    "fd00:ec2::/32",
    "fd20:ce::254/128",
    "168.63.129.16/32",
    "100.100.100.200/32",
    "192.0.0.192/32",
    // Local translation to IPv4 (RFC 8215), and Teredo: the real address is unknown.
    "64:ff9b:1::/48",
    "2001::/32",
];

/// Addresses outside of the public internet (IANA special-purpose registries).
const SPECIAL: [&str; 14] = [
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    // Inside the public range of IPv6.
    "2001::/23",
    "2001:db8::/32",
    "3fff::/20",
];

/// The public range of IPv6.
const GLOBAL_IPV6: [&str; 1] = ["2000::/3"];

impl AllowedNetworks {
    /// The public internet, and `allowed`.
    #[must_use]
    pub fn new(allowed: Vec<Network>) -> Self {
        Self(allowed.into())
    }

    /// A connection to `host` at an allowed address.
    pub(super) async fn dial(&self, host: &str, port: u16) -> Result<TcpStream, DialError> {
        let unresolved = |_| DialError::Unreachable(Some(ConnectFault::Unresolved));
        let found = lookup_host((host, port)).await.map_err(unresolved)?;
        let Checked(addresses) = self.checked(found.collect())?;
        let connected = TcpStream::connect(addresses.as_slice()).await;
        connected.map_err(|error| DialError::Unreachable(ConnectFault::of(&error)))
    }

    /// `found`, if all of them are allowed: a name with a forbidden address is refused, because its owner may mean that one.
    fn checked(&self, found: Vec<SocketAddr>) -> Result<Checked, DialError> {
        if found.iter().all(|address| self.permits(address.ip())) {
            Ok(Checked(found))
        } else {
            Err(DialError::Forbidden)
        }
    }

    fn permits(&self, address: IpAddr) -> bool {
        let address = leading_to(address);
        let is_public = !within(&SPECIAL, address) && (address.is_ipv4() || within(&GLOBAL_IPV6, address));
        let is_allowed = || self.0.iter().any(|network| network.contains(address));
        !within(&NEVER, address) && (is_public || is_allowed())
    }
}

/// Whether `address` is forbidden under any configuration.
pub(super) fn is_never_called(address: IpAddr) -> bool {
    within(&NEVER, leading_to(address))
}

/// The IPv4 address behind an IPv6 address: mapped (RFC 4291 §2.5.5.2), translated (NAT64, RFC 6052) or tunnelled (6to4,
/// RFC 3056).
fn leading_to(address: IpAddr) -> IpAddr {
    let address = address.to_canonical();
    let IpAddr::V6(six) = address else { return address };
    let of = |high: u16, low: u16| {
        let bits = u32::from(high).checked_shl(16).unwrap_or(0) | u32::from(low);
        IpAddr::V4(Ipv4Addr::from_bits(bits))
    };
    match Ipv6Addr::segments(&six) {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => of(high, low),
        _ => address,
    }
}

fn within(networks: &[&str], address: IpAddr) -> bool {
    networks.iter().any(|text| text.parse::<Network>().is_ok_and(|network| network.contains(address)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(allowed: &[&str]) -> AllowedNetworks {
        AllowedNetworks::new(allowed.iter().map(|text| text.parse().unwrap()).collect())
    }

    fn permits(reach: &AllowedNetworks, address: &str) -> bool {
        reach.permits(address.parse().unwrap())
    }

    #[test]
    fn every_network_of_the_lists_is_one() {
        for text in NEVER.iter().chain(&SPECIAL).chain(&GLOBAL_IPV6) {
            assert!(text.parse::<Network>().is_ok(), "{text}");
        }
    }

    /// Hazard EGR-01.
    #[test]
    fn what_is_not_the_public_internets_is_refused_in_every_spelling() {
        let nothing = reach(&[]);
        for address in [
            "127.0.0.1",
            "127.255.255.254",
            "::1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "::ffff:192.168.1.1",
            "100.64.0.1",
            "100.127.255.255",
            "fd12:3456::1",
            "fc00::1",
            "198.18.0.1",
            "192.0.2.1",
            "198.51.100.1",
            "203.0.113.1",
            "2001:db8::1",
            "3fff::1",
            "64:ff9b::10.0.0.1",
            "64:ff9b::127.0.0.1",
            "2002:a00:1::1",
            "2002:7f00:1::",
            "100::1",
            "5f00::1",
            "4000::1",
        ] {
            assert!(!permits(&nothing, address), "{address}");
        }
    }

    #[test]
    fn what_is_the_public_internets_is_called_up_to_the_edge_of_what_is_not() {
        let nothing = reach(&[]);
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "192.169.0.0",
            "223.255.255.255",
            "2606:4700::1111",
            "64:ff9b::1.1.1.1",
            "2002:101:101::1",
        ] {
            assert!(permits(&nothing, address), "{address}");
        }
    }

    #[test]
    fn what_is_allowed_is_called_and_nothing_beside_it() {
        let some = reach(&["10.1.0.0/16", "fd12:3456::/32", "127.0.0.1/32"]);
        for address in ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "fd12:3456::1", "127.0.0.1"] {
            assert!(permits(&some, address), "{address}");
        }
        for address in ["10.2.0.1", "fd12:3457::1", "127.0.0.2", "::1"] {
            assert!(!permits(&some, address), "{address}");
        }
    }

    /// Hazard EGR-01.
    #[test]
    fn metadata_services_of_clouds_are_never_called() {
        let all = reach(&["0.0.0.0/0", "::/0"]);
        assert!(permits(&all, "10.0.0.1") && permits(&all, "::1"));
        for address in [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "64:ff9b::169.254.169.254",
            "2002:a9fe:a9fe::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "168.63.129.16",
            "100.100.100.200",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "255.255.255.255",
            "ff02::1",
            "fe80::1",
            "2001:0:1::1",
            "64:ff9b:1::1",
        ] {
            assert!(!permits(&all, address), "{address}");
        }
    }

    #[test]
    fn a_name_that_stands_for_one_address_too_many_is_refused_whole() {
        let address = |text: &str| SocketAddr::new(text.parse().unwrap(), 443);
        let good = vec![address("1.1.1.1"), address("2606:4700::1111")];
        assert_eq!(reach(&[]).checked(good.clone()).unwrap(), Checked(good.clone()));
        let one_more = [good, vec![address("10.0.0.1")]].concat();
        assert!(matches!(reach(&[]).checked(one_more), Err(DialError::Forbidden)));
    }

    /// Hazard EGR-01.
    #[tokio::test]
    async fn spellings_are_judged_by_what_the_resolver_reads() {
        for host in ["localhost", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0"] {
            let refused = reach(&[]).dial(host, 9).await.unwrap_err();
            let is_so = match &refused {
                DialError::Forbidden => true,
                // What this resolver does not read leads nowhere.
                DialError::Unreachable(_) => host != "localhost",
            };
            assert!(is_so, "{host}: {refused:?}");
        }
    }
}
