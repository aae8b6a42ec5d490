use std::io;

use super::address_origin::AddressOrigin;
use crate::base::{Timestamp, code};
use crate::console::CommandFailure;
use crate::pki::tls::{HandshakeFault, certified_names};

/// The failure of a TLS handshake in which the client does not trust the server at `address`; `now` is this machine's
/// clock. `None` if `error` is one of the connection, not of TLS.
pub(super) fn handshake_failure(
    address: &str,
    origin: &AddressOrigin,
    error: &io::Error,
    now: Timestamp,
) -> Option<CommandFailure> {
    let fault = HandshakeFault::of(error)?;
    let failed = |why: String| CommandFailure::new(code::TLS_FAILED).because(why);
    let clock = |problem: &str| {
        let why = format!(
            "by this machine's clock, which reads {}, the certificate of the broker at {address} {problem}",
            now.to_minute()
        );
        CommandFailure::new(code::CLOCK_MISMATCH).because(why)
    };
    Some(match fault {
        HandshakeFault::Expired => clock("has expired").mended_by(
            "compare `date -u` on this machine and on the broker's host, and correct the wrong clock; if both agree, \
             restart the broker: the start issues a new certificate",
        ),
        HandshakeFault::NotYetValid => clock("is not valid yet"),
        HandshakeFault::WrongName | HandshakeFault::NoNames => {
            wrong_name(address, origin, &certified_names(error).unwrap_or_default())
        }
        HandshakeFault::UnknownAuthority | HandshakeFault::BadSignature => failed(match origin {
            AddressOrigin::File(_) | AddressOrigin::Token => format!(
                "no authority that this identity trusts issued the certificate of the server at {address}: another \
                 server answers there, or the broker has a new authority; the address is {}",
                origin.place()
            ),
            AddressOrigin::EnrolmentCode => format!(
                "the server at {address} does not have the authority that the enrolment code names: another server \
                 answers there, or the code is from before the broker replaced its authority"
            ),
        }),
        HandshakeFault::NoTls => failed(format!("the server at {address} does not speak TLS: it is no broker"))
            .mended_by(origin.correction()),
        HandshakeFault::CaAsServer
        | HandshakeFault::WrongPurpose
        | HandshakeFault::Unsupported
        | HandshakeFault::Unreadable
        | HandshakeFault::Version
        | HandshakeFault::Alert => {
            failed(format!("the TLS handshake with the broker at {address} failed: {}", fault.meaning()))
        }
    })
}

fn wrong_name(address: &str, origin: &AddressOrigin, names: &[String]) -> CommandFailure {
    let host = host_of(address);
    let is_plain = |name: &&String| name.chars().all(|letter| letter.is_ascii_graphic());
    let shown: Vec<String> = names.iter().filter(is_plain).map(|name| format!("`{name}`")).collect();
    let named = if shown.is_empty() { "no host".to_owned() } else { shown.join(", ") };
    CommandFailure::new(code::SERVER_NAME_MISMATCH)
        .because(format!("the broker's certificate is for {named}, not for `{host}`"))
        .mended_by(format!(
            "add `{host}` to `[server] names` on the broker's host and restart the broker, or {}",
            origin.correction()
        ))
}

/// The host in `host:port`, without the brackets of an IPv6 address.
pub(super) fn host_of(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_name_lists_the_names_of_the_certificate() {
        let names = ["localhost".to_owned(), "a\u{1b}[31m".to_owned(), "127.0.0.1".to_owned()];
        let failure = wrong_name("broker.corp:8443", &AddressOrigin::EnrolmentCode, &names);
        assert_eq!(
            failure.why(),
            "the broker's certificate is for `localhost`, `127.0.0.1`, not for `broker.corp`"
        );
        assert_eq!(host_of("[::1]:8443"), "::1");
    }
}
