use std::collections::HashSet;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, SerialNumber,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::oid_registry::{OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER, OID_X509_EXT_SUBJECT_KEY_IDENTIFIER};
use x509_parser::prelude::FromDer;

use super::*;
use crate::base::limits::BACKDATE_S;
use crate::base::{Entropy, SystemEntropy, Timestamp, TrustDomain};
use crate::crypto::{EcdsaKey, SignatureForm, sha256};

const NOW: Timestamp = Timestamp::from_s(1_800_000_000);
const DAY_S: i64 = 86_400;
const AGENT: &str = "spiffe://keyward.test/agent/research-bot";

fn entropy() -> &'static dyn Entropy {
    &SystemEntropy
}

fn trust_domain() -> TrustDomain {
    "keyward.test".parse().unwrap()
}

fn authority() -> Authority {
    let pkcs8 = EcdsaKey::generate().unwrap();
    let key = || EcdsaKey::from_pkcs8(&pkcs8, SignatureForm::Asn1).unwrap();
    let der = Authority::found(&trust_domain(), &key(), NOW, entropy()).unwrap();
    Authority::new(der, key()).unwrap()
}

fn public_key() -> PublicKey {
    read_request(&new_key_and_request().unwrap().1).unwrap()
}

fn plan_for(spiffe: &str, key: &PublicKey, issuer: &Authority) -> CertificatePlan {
    CertificatePlan::draw(spiffe.parse().unwrap(), key, NOW, DAY_S, issuer.public().not_after(), entropy())
}

fn read(der: &[u8]) -> X509Certificate<'_> {
    let (rest, certificate) = X509Certificate::from_der(der).unwrap();
    assert!(rest.is_empty());
    certificate
}

fn key_ids(certificate: &X509Certificate<'_>) -> (bool, bool) {
    let has = |oid| certificate.get_extension_unique(&oid).unwrap().is_some();
    (has(OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER), has(OID_X509_EXT_SUBJECT_KEY_IDENTIFIER))
}

#[test]
fn an_identity_is_its_own_only_spelling() {
    let operator = "spiffe://keyward.test/operator/alice";
    let server = "spiffe://keyward.test/resource/reports";
    for text in [AGENT, operator, server] {
        assert_eq!(text.parse::<SpiffeId>().unwrap().to_string(), text);
    }
    assert!(matches!(AGENT.parse(), Ok(SpiffeId::Agent { .. })));
    assert!(matches!(operator.parse(), Ok(SpiffeId::Operator { .. })));
    assert!(matches!(server.parse(), Ok(SpiffeId::ResourceServer { .. })));
    for text in [
        "",
        "spiffe://keyward.test",
        "spiffe://keyward.test/",
        "spiffe://keyward.test/agent",
        "spiffe://keyward.test/agent/",
        "spiffe://keyward.test/agent/a/",
        "spiffe://keyward.test/agent/a/b",
        "spiffe://keyward.test//agent/a",
        "spiffe://keyward.test/admin/a",
        "spiffe://keyward.test/Agent/a",
        "spiffe://keyward.test/agent/A",
        "spiffe://Keyward.test/agent/a",
        "SPIFFE://keyward.test/agent/a",
        "https://keyward.test/agent/a",
        "spiffe:keyward.test/agent/a",
        "spiffe:///agent/a",
        "spiffe://keyward.test:8443/agent/a",
        "spiffe://user@keyward.test/agent/a",
        "spiffe://keyward.test/agent/a?x=1",
        "spiffe://keyward.test/agent/a#x",
        "spiffe://keyward.test/agent/%61",
        "spiffe://keyward.test/agent/..",
        "spiffe://keyward.test/./agent/a",
        "spiffe://keyward.test/agent/a\0",
        "spiffe://keyward.test/agent/a\n",
        " spiffe://keyward.test/agent/a",
    ] {
        assert!(text.parse::<SpiffeId>().is_err(), "{text:?}");
    }
}

/// Hazard TLS-19.
#[test]
fn ten_thousand_serials_are_positive_long_and_all_different() {
    let mut seen = HashSet::new();
    for _ in 0..10_000 {
        let serial = Serial::draw(entropy());
        assert_eq!(serial.as_bytes()[0] & 0xc0, 0x40, "{serial}");
        assert!(seen.insert(serial), "{serial} twice");
    }
}

/// Hazard TLS-19.
#[test]
fn a_certificate_says_the_profile_and_nothing_else() {
    let (issuer, key) = (authority(), public_key());
    let plan = plan_for(AGENT, &key, &issuer);
    let der = issuer.sign(&plan, &key).unwrap();
    let certificate = read(&der);
    let root = read(issuer.public().der());

    assert_eq!(certificate.subject().iter().count(), 0);
    assert_eq!(certificate.issuer().as_raw(), root.subject().as_raw());
    assert_eq!(certificate.raw_serial(), plan.serial.as_bytes());
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    assert!(names.critical);
    assert_eq!(names.value.general_names, [x509_parser::extensions::GeneralName::URI(AGENT)]);
    let constraints = certificate.basic_constraints().unwrap().unwrap();
    assert!(!constraints.value.ca && constraints.value.path_len_constraint.is_none());
    let usage = certificate.key_usage().unwrap().unwrap();
    assert!(usage.critical);
    assert_eq!(usage.value.flags, 1, "digitalSignature alone");
    let extended = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.server_auth && extended.client_auth && !extended.any && extended.other.is_empty());
    assert!(!extended.code_signing && !extended.email_protection && !extended.ocsp_signing);
    assert_eq!(key_ids(&certificate), (true, true));
    assert_eq!(certificate.extensions().len(), 6);
    assert!(certificate.verify_signature(Some(root.public_key())).is_ok());
    assert_eq!(sha256(certificate.public_key().raw), key.digest());
}

#[test]
fn the_authority_s_own_certificate_signs_and_authenticates_nobody() {
    let issuer = authority();
    let certificate = read(issuer.public().der());
    let constraints = certificate.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical && constraints.value.ca);
    assert_eq!(constraints.value.path_len_constraint, Some(0));
    let usage = certificate.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.key_cert_sign() && usage.value.crl_sign());
    assert!(!usage.value.digital_signature());
    let names = certificate.subject_alternative_name().unwrap().unwrap().value;
    assert_eq!(names.general_names, [x509_parser::extensions::GeneralName::URI("spiffe://keyward.test")]);
    assert_eq!(key_ids(&certificate), (true, true));
    assert!(certificate.name_constraints().unwrap().is_none());
    assert_eq!(issuer.public().key_pin(), key_pin(issuer.public().der()).unwrap());
    assert_eq!(issuer.public().key_pin(), sha256(certificate.public_key().raw));
    assert_eq!(PeerCertificate::parse(issuer.public().der()), Err(PeerError::Usage));
    let again = authority();
    assert_ne!(read(again.public().der()).raw_serial(), certificate.raw_serial());
}

#[test]
fn a_certificate_reads_back_as_it_was_planned() {
    let (issuer, key) = (authority(), public_key());
    for spiffe in [AGENT, "spiffe://keyward.test/operator/alice"] {
        let plan = plan_for(spiffe, &key, &issuer);
        let der = issuer.sign(&plan, &key).unwrap();
        let peer = PeerCertificate::parse(&der).unwrap();
        assert_eq!(peer.spiffe().to_string(), spiffe);
        assert_eq!((peer.serial(), peer.key()), (plan.serial, key.digest()));
        assert_eq!(peer.thumbprint(), sha256(&der));
        assert_eq!(peer.not_before(), NOW.plus_s(-BACKDATE_S));
        assert_eq!(peer.not_after(), NOW.plus_s(DAY_S));
    }
}

/// Hazard TLS-18.
#[test]
fn a_certificate_never_outlives_its_issuer() {
    let (issuer, key) = (authority(), public_key());
    let spiffe: SpiffeId = AGENT.parse().unwrap();
    let draw = |now, life_s| {
        CertificatePlan::draw(spiffe.clone(), &key, now, life_s, issuer.public().not_after(), entropy())
    };
    let greedy = draw(NOW, i64::MAX);
    assert_eq!(greedy.not_after, issuer.public().not_after());
    assert!(issuer.sign(&greedy, &key).is_ok());
    let beyond = CertificatePlan { not_after: issuer.public().not_after().plus_s(1), ..greedy };
    assert!(matches!(issuer.sign(&beyond, &key), Err(PkiError::Unlike)));
    let too_late = draw(issuer.public().not_after().plus_s(BACKDATE_S), DAY_S);
    assert!(matches!(issuer.sign(&too_late, &key), Err(PkiError::Unlike)), "no life is left");
    let fraction = draw(Timestamp::from_ms(NOW.ms() + 999), DAY_S);
    assert_eq!(fraction.not_after, NOW.plus_s(DAY_S), "whole seconds");
    let unsayable = CertificatePlan { not_after: Timestamp::from_s(i64::MAX), ..too_late };
    assert!(matches!(issuer.sign(&unsayable, &key), Err(PkiError::Time)));
}

#[test]
fn only_the_planned_key_and_the_certified_key_are_taken() {
    let (issuer, key) = (authority(), public_key());
    let plan = plan_for(AGENT, &key, &issuer);
    assert!(matches!(issuer.sign(&plan, &public_key()), Err(PkiError::OtherKey)));
    let other = EcdsaKey::from_pkcs8(&EcdsaKey::generate().unwrap(), SignatureForm::Asn1).unwrap();
    assert!(matches!(Authority::new(issuer.public().der().to_vec(), other), Err(PkiError::OtherKey)));
    let other = EcdsaKey::from_pkcs8(&EcdsaKey::generate().unwrap(), SignatureForm::Asn1).unwrap();
    assert!(matches!(Authority::new(vec![0x30], other), Err(PkiError::Malformed)));
}

/// Hazard TLS-07.
#[test]
fn the_server_s_certificate_has_names_and_no_identity() {
    let (issuer, key) = (authority(), public_key());
    let sign = |names: &[&str], life_s| {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        issuer.sign_server(&names, &key, NOW, life_s, entropy())
    };
    let der = sign(&["broker.example", "127.0.0.1", "::1"], i64::MAX).unwrap();
    let certificate = read(&der);
    let extended = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.server_auth && !extended.client_auth && !extended.any);
    let names = &certificate.subject_alternative_name().unwrap().unwrap().value.general_names;
    assert_eq!(names.len(), 3);
    assert!(!names.iter().any(|name| matches!(name, x509_parser::extensions::GeneralName::URI(_))));
    assert_eq!(Timestamp::from_s(certificate.validity().not_after.timestamp()), issuer.public().not_after());
    assert_eq!(PeerCertificate::parse(&der), Err(PeerError::Usage));
    for wrong in ["", "a b", "https://broker.example", "broker.example:8443", "bröker.example"] {
        assert!(matches!(sign(&[wrong], DAY_S), Err(PkiError::ServerName)), "{wrong:?}");
    }
    assert!(matches!(sign(&[], DAY_S), Err(PkiError::ServerName)));
}

/// What a certificate that is signed by anybody says; `alter` takes it off the profile.
fn certificate(alter: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.serial_number = Some(SerialNumber::from_slice(Serial::draw(entropy()).as_bytes()));
    params.subject_alt_names = vec![SanType::URI(AGENT.try_into().unwrap())];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    alter(&mut params);
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let issuer = Issuer::new(CertificateParams::default(), KeyPair::generate().unwrap());
    params.signed_by(&key, &issuer).unwrap().der().to_vec()
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

/// Hazards TLS-09, TLS-11.
#[test]
fn a_peer_is_one_canonical_uri_and_nothing_beside_it() {
    assert_eq!(PeerCertificate::parse(&certificate(|_| ())).unwrap().spiffe().to_string(), AGENT);
    let common_name = |to: &mut CertificateParams| {
        to.distinguished_name.push(DnType::CommonName, "spiffe://keyward.test/operator/admin");
    };
    let named = PeerCertificate::parse(&certificate(common_name)).unwrap();
    assert_eq!(named.spiffe().to_string(), AGENT, "the common name is not consulted");

    let check = |what: &str, names: Vec<SanType>| {
        let der = certificate(|to| to.subject_alt_names = names);
        assert_eq!(PeerCertificate::parse(&der), Err(PeerError::Identity), "{what}");
    };
    check("no name", vec![]);
    check("two identities", vec![uri(AGENT), uri("spiffe://keyward.test/operator/admin")]);
    check("the same twice", vec![uri(AGENT), uri(AGENT)]);
    check("a DNS name too", vec![uri(AGENT), SanType::DnsName("broker.example".try_into().unwrap())]);
    check("an address too", vec![uri(AGENT), SanType::IpAddress([127, 0, 0, 1].into())]);
    check("an e-mail address too", vec![SanType::Rfc822Name("a@b".try_into().unwrap()), uri(AGENT)]);
    check("only a DNS name", vec![SanType::DnsName("broker.example".try_into().unwrap())]);
    check("the trust domain alone", vec![uri("spiffe://keyward.test")]);
    check("upper case", vec![uri("spiffe://Keyward.test/agent/research-bot")]);
    check("NUL", vec![uri("spiffe://keyward.test/agent/research-bot\0")]);
    check("a newline", vec![uri("spiffe://keyward.test/agent/research-bot\n")]);
    check("an over-long label", vec![uri(&format!("spiffe://{}.test/agent/a", "a".repeat(64)))]);
    check("another scheme", vec![uri("https://keyward.test/agent/research-bot")]);
    let only_common_name = certificate(|to| {
        common_name(to);
        to.subject_alt_names.clear();
    });
    assert_eq!(PeerCertificate::parse(&only_common_name), Err(PeerError::Identity));
}

#[test]
fn a_peer_s_certificate_is_for_a_client_and_signs_nothing() {
    let check = |what: &str, alter: fn(&mut CertificateParams)| {
        assert_eq!(PeerCertificate::parse(&certificate(alter)), Err(PeerError::Usage), "{what}");
    };
    check("CA:TRUE", |to| to.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    check("no constraints", |to| to.is_ca = IsCa::NoCa);
    check("no usage", |to| to.key_usages.clear());
    check("no digitalSignature", |to| to.key_usages = vec![KeyUsagePurpose::KeyAgreement]);
    check("keyCertSign", |to| to.key_usages.push(KeyUsagePurpose::KeyCertSign));
    check("cRLSign", |to| to.key_usages.push(KeyUsagePurpose::CrlSign));
    check("no extended usage", |to| to.extended_key_usages.clear());
    check("a server's", |to| to.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
}

#[test]
fn what_is_no_certificate_of_ours_is_no_peer() {
    for serial in [&[1_u8][..], &[0x41; 15], &[0x41; 17]] {
        let der = certificate(|to| to.serial_number = Some(SerialNumber::from_slice(serial)));
        assert_eq!(PeerCertificate::parse(&der), Err(PeerError::Serial));
    }
    let good = certificate(|_| ());
    for len in 0..good.len() {
        assert_eq!(PeerCertificate::parse(&good[..len]), Err(PeerError::Malformed), "{len} bytes of it");
    }
    assert_eq!(PeerCertificate::parse(&[good, vec![0]].concat()), Err(PeerError::Malformed));
}

#[test]
fn a_certificate_reads_back_from_pem_and_only_one_does() {
    let der = authority().public().der().to_vec();
    let pem = certificate_pem(&der);
    assert!(pem.starts_with("-----BEGIN CERTIFICATE-----\n") && pem.ends_with("-----END CERTIFICATE-----\n"));
    assert_eq!(certificate_from_pem(&pem).unwrap(), der);
    for wrong in [String::new(), format!("{pem}{pem}"), pem.replace("CERTIFICATE", "PUBLIC KEY"), "x".into()]
    {
        assert!(matches!(certificate_from_pem(&wrong), Err(PkiError::Malformed)), "{wrong}");
    }
}

#[test]
fn a_kept_key_asks_again_for_the_same_key() {
    let (key, first) = new_key_and_request().unwrap();
    let again = request_for_key(&key).unwrap();
    assert_eq!(read_request(&first), read_request(&again));
    assert_ne!(read_request(&first), read_request(&new_key_and_request().unwrap().1));
    assert!(request_for_key(&crate::base::Sensitive::new("no key".to_owned())).is_err());
}
