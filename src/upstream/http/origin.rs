use std::net::IpAddr;

use hyper::Uri;

use super::super::guard::is_never_called;
use crate::base::TrustDomain;

/// The origin of a URL: scheme, host and port (RFC 6454 §4).
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct HttpOrigin {
    pub(super) scheme: Scheme,
    /// A name or an address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// Host and port as written in the URL, for the header `Host`.
    pub(super) authority: String,
}

/// The scheme of a URL.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Scheme {
    /// Without TLS, only on this machine.
    Http,
    Https,
}

/// The origin of `url`, and the rest of it: a path, with a query or without.
///
/// # Errors
/// The problem, without repeating the text.
pub(super) fn split(url: &str) -> Result<(HttpOrigin, &str), &'static str> {
    let (scheme, rest) = match url.split_once("://") {
        Some(("https", rest)) => (Scheme::Https, rest),
        Some(("http", rest)) => (Scheme::Http, rest),
        _ => return Err("it must begin with https://"),
    };
    let at = rest.find('/').ok_or("a path is missing: at least /")?;
    let (authority, path) = rest.split_at_checked(at).ok_or("a path is missing: at least /")?;
    let (host, port) = host_and_port(authority, scheme)?;
    if host.parse::<IpAddr>().is_ok_and(is_never_called) {
        return Err("its host is an address that the broker never calls, and no setting allows it");
    }
    if scheme == Scheme::Http && !host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()) {
        return Err("http:// is only for addresses of this machine, e.g. 127.0.0.1");
    }
    let is_fine = |byte: u8| byte.is_ascii_graphic() && !b"\"#<>\\^`|".contains(&byte);
    let steps = path.split('?').next().unwrap_or_default().split('/');
    if !path.bytes().all(is_fine) || steps.into_iter().any(|step| matches!(step, "." | "..")) {
        return Err("its path has a character that paths cannot have, a fragment, or `..`");
    }
    if url.replace("{{", "").replace("}}", "").parse::<Uri>().is_err() {
        return Err("it is not a URL");
    }
    Ok((HttpOrigin { scheme, host: host.to_owned(), port, authority: authority.to_owned() }, path))
}

/// In canonical form: no user, no empty port, no trailing dot, no other spelling of an address.
fn host_and_port(authority: &str, scheme: Scheme) -> Result<(&str, u16), &'static str> {
    const NO_HOST: &str = "its host must be a lower-case DNS name or an IP address";
    const NO_PORT: &str = "its port must be 1 to 65535";
    let usual = match scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    };
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or(NO_HOST)?;
            (host, if port.is_empty() { None } else { Some(port.strip_prefix(':').ok_or(NO_HOST)?) })
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let is_address = host
        .parse::<IpAddr>()
        .is_ok_and(|address| address.to_string() == host && address.is_ipv6() == authority.starts_with('['));
    let last = host.rsplit('.').next().unwrap_or_default();
    let is_name = host.parse::<TrustDomain>().is_ok() && last.starts_with(|c: char| c.is_ascii_lowercase());
    if !is_address && !is_name {
        return Err(NO_HOST);
    }
    let Some(text) = port else { return Ok((host, usual)) };
    let port = text.parse::<u16>().ok().filter(|port| *port > 0 && port.to_string() == text);
    Ok((host, port.ok_or(NO_PORT)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_leads_where_it_says() {
        for (url, host, port, authority, path) in [
            ("https://api.example.com/v1/keys", "api.example.com", 443, "api.example.com", "/v1/keys"),
            ("https://api.example.com:8443/?a=b", "api.example.com", 8443, "api.example.com:8443", "/?a=b"),
            ("https://[2001:db8::1]:1/", "2001:db8::1", 1, "[2001:db8::1]:1", "/"),
            ("https://192.0.2.1/{{slot}}", "192.0.2.1", 443, "192.0.2.1", "/{{slot}}"),
            ("http://127.0.0.1/", "127.0.0.1", 80, "127.0.0.1", "/"),
            ("http://[::1]:65535/", "::1", 65535, "[::1]:65535", "/"),
        ] {
            let (origin, rest) = split(url).unwrap();
            assert_eq!((origin.host.as_str(), origin.port), (host, port), "{url}");
            assert_eq!((origin.authority.as_str(), rest), (authority, path), "{url}");
        }
    }

    /// Hazards EGR-01, EGR-04.
    #[test]
    fn hosts_and_urls_in_disguise_are_refused() {
        for url in [
            "",
            "/path",
            "ftp://a/",
            "HTTPS://a/",
            "https://",
            "https:///",
            "https://a",
            "https://a?x",
            "https://A/",
            "https://a./",
            "https://user@a/",
            "https://user:pw@a/",
            "https://a:/",
            "https://a:0/",
            "https://a:01/",
            "https://a:65536/",
            "https://a:443:1/",
            "https://a b/",
            "https://é/",
            "https://2130706433/",
            "https://0x7f000001/",
            "https://0x7f.1/",
            "https://0177.0.0.1/",
            "https://127.1/",
            "https://0/",
            "https://::1/",
            "https://[::1/",
            "https://[127.0.0.1]/",
            "https://[::1]x/",
            "https://[0:0::1]/",
            "https://[fe80::1%25eth0]/",
            "https://{{slot}}/",
            "https://a{{slot}}.b/",
            "https://a/#x",
            "https://a/\\b",
            "https://a/../b",
            "https://a/./b",
            "https://a/ b",
            "https://a/\r\nx: y",
            "https://169.254.169.254/",
            "https://[fd00:ec2::254]/",
            "https://0.0.0.0/",
            "http://a/",
            "http://192.0.2.1/",
            "http://localhost/",
        ] {
            assert!(split(url).is_err(), "{url}");
        }
    }
}
