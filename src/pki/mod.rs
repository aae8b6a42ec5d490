//! Certificates: the profile that the broker signs, the requests that it takes, the peers that it
//! reads, and TLS configurations made of them. The only room that knows X.509.
//!
//! From a request only the public key is taken. What is signed is planned first, recorded by the
//! caller, signed, and read back with the same eyes as a peer's certificate.

mod authority;
mod authority_certificate;
mod client;
mod enrolment_code;
mod issued;
mod peer;
mod plan;
mod private_key;
mod request;
mod server;
mod spiffe;
mod state;
pub mod tls;

pub use crate::base::{Serial, SerialError};
pub use authority::Authority;
pub use authority_certificate::{AuthorityCertificate, AuthorityKeyId, PkiError};
pub use client::{
    authorities_pem, certificate_from_pem, certificate_pem, certificates_from_pem, is_certificate, key_pin,
    new_key_and_request, request_for_key,
};
pub use enrolment_code::{CodeError, EnrolmentCode};
pub use issued::{IssuedError, Requested, check_authorities};
pub use peer::{PeerCertificate, PeerError};
pub use plan::CertificatePlan;
pub use private_key::{bytes_with_label, pem_with_label, signing_key};
pub use request::{PublicKey, RequestError, read_request};
pub use server::ServerCertificate;
pub use spiffe::{SpiffeError, SpiffeId};
pub use state::{AuthorityFounded, AuthorityStaged, Effect, Record, ServerCertified, keys};

#[cfg(test)]
mod tests;
