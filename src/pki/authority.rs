use std::fmt;
use std::net::IpAddr;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber, SignatureAlgorithm,
    SigningKey,
};
use rustls::pki_types::DnsName;
use time::OffsetDateTime;

use super::authority_certificate::{AuthorityCertificate, PkiError};
use super::peer::PeerCertificate;
use super::plan::CertificatePlan;
use super::request::PublicKey;
use crate::base::Serial;
use crate::base::limits::BACKDATE_S;
use crate::base::{Entropy, Timestamp, TrustDomain};
use crate::crypto::{EcdsaKey, sha256};

/// The life of the authority itself: 10 years. Its key rotates long before.
const AUTHORITY_LIFE_S: i64 = 10 * 365 * 86_400;

/// The certificate authority. The private key is a field of it and goes nowhere.
pub struct Authority {
    issuer: Issuer<'static, AuthorityKey>,
    public: AuthorityCertificate,
}

impl Authority {
    /// Makes the authority's own certificate for `key`, DER.
    ///
    /// # Errors
    /// [`PkiError`].
    pub fn found(
        trust_domain: &TrustDomain,
        key: &EcdsaKey,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>, PkiError> {
        let mut params = authority_params();
        params.serial_number = Some(SerialNumber::from_slice(Serial::draw(entropy).as_bytes()));
        params.not_before = moment(now.plus_s(BACKDATE_S.saturating_neg()))?;
        params.not_after = moment(now.plus_s(AUTHORITY_LIFE_S))?;
        params.subject_alt_names = vec![SanType::URI(format!("spiffe://{trust_domain}").try_into()?)];
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        // Strict verifiers want it even where the issuer is the subject.
        params.use_authority_key_identifier_extension = true;
        Ok(params.self_signed(&SelfKey(key))?.der().to_vec())
    }

    /// Takes `key`, whose certificate is `certificate`, into use.
    ///
    /// # Errors
    /// [`PkiError::OtherKey`] when they do not belong together.
    pub fn new(certificate: Vec<u8>, key: EcdsaKey) -> Result<Self, PkiError> {
        let public = AuthorityCertificate::parse(certificate)?;
        let spki = key.public_der().map_err(|_| PkiError::OtherKey)?;
        if sha256(&spki) != public.key_pin() {
            return Err(PkiError::OtherKey);
        }
        Ok(Self { issuer: Issuer::new(authority_params(), AuthorityKey(key)), public })
    }

    /// Wipes the private key in place: it signs nothing any more.
    pub fn forget(&self) {
        self.issuer.key().0.forget();
    }

    /// Its public half.
    #[must_use]
    pub const fn public(&self) -> &AuthorityCertificate {
        &self.public
    }

    /// Signs what was planned for `key`, and reads it back before it lets go of it.
    ///
    /// Profile: empty subject; critical SAN with one URI; CA:FALSE; critical keyUsage
    /// digitalSignature; EKU serverAuth and clientAuth, as X509-SVID §4.4 asks; AKI and SKI.
    ///
    /// # Errors
    /// [`PkiError`].
    pub fn sign(&self, plan: &CertificatePlan, key: &PublicKey) -> Result<Vec<u8>, PkiError> {
        if key.digest() != plan.key {
            return Err(PkiError::OtherKey);
        }
        let mut params = leaf_params(plan.serial, plan.not_before, plan.not_after)?;
        params.subject_alt_names = vec![SanType::URI(plan.spiffe.to_string().try_into()?)];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let der = params.signed_by(key, &self.issuer)?.der().to_vec();
        let read = PeerCertificate::parse(&der).map_err(|_| PkiError::Unlike)?;
        let as_planned = *read.spiffe() == plan.spiffe
            && read.serial() == plan.serial
            && read.key() == plan.key
            && read.not_before() == plan.not_before
            && read.not_after() == plan.not_after
            && read.not_before() < read.not_after()
            && read.not_after() <= self.public.not_after();
        if as_planned { Ok(der) } else { Err(PkiError::Unlike) }
    }

    /// Signs a certificate for the broker's own listeners: `names` are DNS names and IP addresses,
    /// and it names no identity, so that it authenticates no client.
    ///
    /// # Errors
    /// [`PkiError`].
    pub fn sign_server(
        &self,
        names: &[String],
        key: &PublicKey,
        now: Timestamp,
        life_s: i64,
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>, PkiError> {
        let not_before = now.plus_s(BACKDATE_S.saturating_neg());
        let not_after = now.plus_s(life_s).min(self.public.not_after());
        let mut params = leaf_params(Serial::draw(entropy), not_before, not_after)?;
        if names.is_empty() {
            return Err(PkiError::ServerName);
        }
        for name in names {
            params.subject_alt_names.push(match name.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => {
                    DnsName::try_from(name.as_str()).map_err(|_| PkiError::ServerName)?;
                    SanType::DnsName(name.as_str().try_into().map_err(|_| PkiError::ServerName)?)
                }
            });
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        Ok(params.signed_by(key, &self.issuer)?.der().to_vec())
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("pin", &self.public.key_pin()).finish_non_exhaustive()
    }
}

/// What the authority's certificate and those it signs agree on: its name, its usages and how key
/// identifiers are made. The same at every start, so that issuer and subject are the same bytes.
fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Keyward authority");
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn leaf_params(
    serial: Serial,
    not_before: Timestamp,
    not_after: Timestamp,
) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.serial_number = Some(SerialNumber::from_slice(serial.as_bytes()));
    params.not_before = moment(not_before)?;
    params.not_after = moment(not_after)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn moment(at: Timestamp) -> Result<OffsetDateTime, PkiError> {
    OffsetDateTime::from_unix_timestamp(at.s()).map_err(|_| PkiError::Time)
}

/// The authority's key in the certificate library's terms.
struct AuthorityKey(EcdsaKey);

/// The same while the authority is being founded and its key has another owner.
struct SelfKey<'a>(&'a EcdsaKey);

fn sign(key: &EcdsaKey, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
    key.sign(message).map_err(|_| rcgen::Error::RemoteKeyError)
}

impl PublicKeyData for AuthorityKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.public_point()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for AuthorityKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        sign(&self.0, message)
    }
}

impl PublicKeyData for SelfKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0.public_point()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for SelfKey<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        sign(self.0, message)
    }
}
