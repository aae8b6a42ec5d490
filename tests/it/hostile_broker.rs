//! A client does not believe what a server answers: what it stores is what it asked for, from an authority
//! that it trusted before.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use keyward::base::{CodeId, Sensitive, SystemEntropy, Timestamp};
use keyward::cli::{Identity, IdentityKind};
use keyward::pki::{Authority, PublicKey, new_key_and_request, read_request};
use keyward::pki::{EnrolmentCode, PeerCertificate};
use serde_json::Value;

use crate::support::impostor::{
    Impostor, authority, certificate, issued, operator_whoami, other_key, pem, requested_key,
};
use crate::support::process::{KEYWARD, Process};
use crate::support::waiting::wait_until;

const OPERATOR: &str = "spiffe://keyward.test/operator/ada";
const DAY_S: i64 = 86_400;

fn code(impostor: &Impostor, by: &Authority, spiffe: &str) -> Vec<u8> {
    let code = EnrolmentCode {
        spiffe: spiffe.parse().unwrap(),
        address: impostor.address.clone(),
        pin: by.public().key_pin(),
        id: CodeId::mint(Timestamp::from_s(1), &SystemEntropy),
        secret: Sensitive::new([7; 32]),
    };
    code.to_text().expose().clone().into_bytes()
}

fn run(home: &Path, args: &[&str], input: &[u8]) -> Output {
    use std::io::Write;
    let mut command = Command::new(KEYWARD);
    command.args(args).arg("--home").arg(home).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdin.take().unwrap().write_all(input));
    child.wait_with_output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn is_refused(output: &Output, exit: i32, code: &str, what: &str) {
    assert_eq!(output.status.code(), Some(exit), "{what}: {}", said(output));
    assert!(said(output).contains(code), "{what}: {}", said(output));
}

/// What a hostile server answers in the place of a certificate for `spiffe`: what it is, and how it is made
/// of the key that was sent.
type Forgery = (&'static str, fn(&Authority, &PublicKey, &str) -> Value);

const FORGERIES: [Forgery; 9] = [
    ("another key's certificate", |by, _, spiffe| {
        issued(&certificate(by, spiffe, &other_key(), DAY_S), &[by])
    }),
    ("another name", |by, key, _| {
        issued(&certificate(by, "spiffe://keyward.test/operator/eve", key, DAY_S), &[by])
    }),
    ("another kind", |by, key, _| {
        issued(&certificate(by, "spiffe://keyward.test/agent/ada", key, DAY_S), &[by])
    }),
    ("another trust domain", |by, key, _| {
        issued(&certificate(by, "spiffe://other.test/operator/ada", key, DAY_S), &[by])
    }),
    ("a certificate that has ended", |by, key, spiffe| issued(&certificate(by, spiffe, key, -1), &[by])),
    ("an authority that is not listed", |by, key, spiffe| {
        issued(&certificate(&authority("keyward.test"), spiffe, key, DAY_S), &[by])
    }),
    ("unrelated authorities", |_, key, spiffe| {
        let other = authority("keyward.test");
        issued(&certificate(&other, spiffe, key, DAY_S), &[&other])
    }),
    ("an authority of another trust domain", |by, key, spiffe| {
        issued(&certificate(by, spiffe, key, DAY_S), &[by, &authority("other.test")])
    }),
    ("no authorities", |by, key, spiffe| issued(&certificate(by, spiffe, key, DAY_S), &[])),
];

/// A server that `by` vouches for and that answers like this.
fn forging(name: &'static str, forgery: fn(&Authority, &PublicKey, &str) -> Value) -> (Impostor, Authority) {
    let (serving, by) = twice("keyward.test");
    let inner = serving;
    let impostor = Impostor::start(&by, &[&by], move |_, body| {
        assert!(!name.is_empty());
        forgery(&inner, &requested_key(body), OPERATOR)
    });
    (impostor, by)
}

/// The same authority twice: for the server's thread, and for the test.
pub(crate) fn twice(trust_domain: &str) -> (Authority, Authority) {
    use keyward::base::{Clock, SystemClock};
    use keyward::crypto::{EcdsaKey, SignatureForm};
    let pkcs8 = EcdsaKey::generate().unwrap();
    let key = || EcdsaKey::from_pkcs8(&pkcs8, SignatureForm::Asn1).unwrap();
    let (domain, now) = (trust_domain.parse().unwrap(), SystemClock::new().now());
    let der = Authority::found(&domain, &key(), now, &SystemEntropy).unwrap();
    (Authority::new(der.clone(), key()).unwrap(), Authority::new(der, key()).unwrap())
}

#[test]
fn join_refuses_a_certificate_that_was_not_requested() {
    for (what, forgery) in FORGERIES {
        let (impostor, by) = forging(what, forgery);
        let home = tempfile::tempdir().unwrap();
        let joined = run(home.path(), &["join"], &code(&impostor, &by, OPERATOR));
        is_refused(&joined, 11, "certificate_mismatch", what);
        assert!(!home.path().join("operator").exists() && !home.path().join("agent").exists(), "{what}");
    }
}

#[test]
fn renew_refuses_a_certificate_that_was_not_requested() {
    for (what, forgery) in FORGERIES {
        let (impostor, by) = forging(what, forgery);
        let home = tempfile::tempdir().unwrap();
        let (key, request) = new_key_and_request().unwrap();
        let held = certificate(&by, OPERATOR, &read_request(&request).unwrap(), DAY_S);
        let identity = Identity {
            address: impostor.address.clone(),
            key_pem: key,
            certificate_pem: held.clone(),
            authority_pem: pem(&[&by]),
        };
        identity.save(home.path(), IdentityKind::Operator).unwrap();
        let renewed = run(home.path(), &["renew", "--operator"], b"");
        is_refused(&renewed, 11, "certificate_mismatch", what);
        let kept = Identity::load(home.path(), IdentityKind::Operator).unwrap();
        assert_eq!((kept.certificate_pem, kept.authority_pem), (held, pem(&[&by])), "{what}");
    }
}

#[test]
fn join_shows_address_kind_and_trust_domain_and_takes_what_was_requested() {
    let (impostor, by) =
        forging("good", |by, key, spiffe| issued(&certificate(by, spiffe, key, DAY_S), &[by]));
    let home = tempfile::tempdir().unwrap();
    let joined = run(home.path(), &["join"], &code(&impostor, &by, OPERATOR));
    assert!(joined.status.success(), "{}", said(&joined));
    let told = format!("joining {} as operator `ada` of trust domain keyward.test", impostor.address);
    assert!(said(&joined).contains(&told), "{}", said(&joined));
    assert_eq!(impostor.heard(), ["/v1/enrol"]);
}

#[test]
fn join_sends_nothing_to_an_authority_of_another_trust_domain() {
    let (inner, by) = twice("other.test");
    let impostor = Impostor::start(&by, &[&by], move |_, body| {
        issued(&certificate(&inner, OPERATOR, &requested_key(body), DAY_S), &[&inner])
    });
    let home = tempfile::tempdir().unwrap();
    let joined = run(home.path(), &["join"], &code(&impostor, &by, OPERATOR));
    is_refused(&joined, 11, "certificate_mismatch", "the trust domain");
    assert_eq!(impostor.heard(), Vec::<String>::new());
}

#[test]
fn join_replaces_no_identity_with_the_code_of_another_broker() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    let (impostor, by) =
        forging("good", |by, key, spiffe| issued(&certificate(by, spiffe, key, DAY_S), &[by]));
    let planted = code(&impostor, &by, OPERATOR);
    let home = process.path("home-operator");
    let before = fs::read(home.join("operator/certificate.pem")).unwrap();
    // Also a code for the same name: its address is another one.
    for planted in [planted, code(&impostor, &by, "spiffe://keyward.test/operator/admin")] {
        for args in [&["join"][..], &["join", "--replace"]] {
            let joined = run(&home, args, &planted);
            is_refused(&joined, 8, "identity_exists", "another broker's code");
            assert!(said(&joined).contains("spiffe://keyward.test/operator/admin"), "{}", said(&joined));
        }
    }
    assert_eq!(impostor.heard(), Vec::<String>::new(), "nothing was sent");
    assert_eq!(fs::read(home.join("operator/certificate.pem")).unwrap(), before);
    process.good(&["secret", "put", "github/other"], b"for the broker alone");

    let own = process.good(&["agent", "invite", "b", "--role", "repo-reader"], b"");
    let home_a = process.path("home-a");
    let refused = run(&home_a, &["join"], &own);
    is_refused(&refused, 8, "identity_exists", "without `--replace`");
    let present = described(&home_a, IdentityKind::Agent, "spiffe://keyward.test/agent/a");
    assert!(said(&refused).contains(&present), "{}", said(&refused));
    let replaced = run(&home_a, &["join", "--replace"], &own);
    assert!(replaced.status.success(), "{}", said(&replaced));
    assert!(said(&replaced).contains(&format!("replacing {present}")), "{}", said(&replaced));
    let me = String::from_utf8(process.good_as("a", &["whoami"], b"")).unwrap();
    assert!(me.contains("spiffe://keyward.test/agent/b"), "{me}");
    let operator = process.path("home-a/operator");
    assert!(!operator.exists(), "an agent's code makes no operator");
}

#[test]
fn join_replaces_an_operator_only_when_asked() {
    // Given a machine with the identity of an operator
    let mut process = Process::init("warn");
    process.serve();
    let home = process.path("home-operator");
    let present = described(&home, IdentityKind::Operator, "spiffe://keyward.test/operator/admin");
    let invited = process.good(&["operator", "invite", "helper", "--role", "admin"], b"");
    // When another operator joins there, then it is refused, and told what is there
    let refused = run(&home, &["join"], &invited);
    is_refused(&refused, 8, "identity_exists", "without `--replace`");
    assert!(said(&refused).contains(&present), "{}", said(&refused));
    assert!(said(&refused).contains("--replace"), "{}", said(&refused));
    process.good(&["whoami", "--operator"], b"");
    // And with `--replace` it says what is replaced
    let replaced = run(&home, &["join", "--replace"], &invited);
    assert!(said(&replaced).contains(&format!("replacing {present}")), "{}", said(&replaced));
    let me = String::from_utf8(process.good(&["whoami", "--operator"], b"")).unwrap();
    assert!(me.contains("spiffe://keyward.test/operator/helper"), "{me}");
}

#[test]
fn join_replaces_an_operator_that_was_idle_during_an_authority_rotation() {
    // Given an admin who did nothing while another one rotated the authority
    let mut process = Process::init("warn");
    process.serve();
    let code = process.good(&["operator", "invite", "second", "--role", "admin"], b"");
    process.good_as("second", &["join"], &code);
    process.good(&["authority", "prepare"], b"");
    process.good(&["authority", "activate", "2", "--force"], b"");
    let home = process.path("home-second");
    wait_until(|| !process.run_as("second", &["whoami", "--operator"], b"").status.success());
    // When the admin joins again with a code for the same name, then the identity is replaced, and this is said
    let code = process.good(&["operator", "invite", "second"], b"");
    let refused = run(&home, &["join"], &code);
    is_refused(&refused, 8, "identity_exists", "without `--replace`");
    let other = process.good(&["operator", "invite", "third", "--role", "admin"], b"");
    let refused = run(&home, &["join", "--replace"], &other);
    is_refused(&refused, 8, "identity_exists", "another name");
    let replaced = run(&home, &["join", "--replace"], &code);
    assert!(replaced.status.success(), "{}", said(&replaced));
    assert!(said(&replaced).contains("the broker may have a new one"), "{}", said(&replaced));
    process.good_as("second", &["whoami", "--operator"], b"");
}

/// The identity below `home`, in the words of `join`.
fn described(home: &Path, kind: IdentityKind, spiffe: &str) -> String {
    let identity = Identity::load(home, kind).unwrap();
    let der = pem::parse(&identity.certificate_pem).unwrap();
    let until = PeerCertificate::parse(der.contents()).unwrap().not_after();
    format!("{spiffe} of the broker at {}, valid until {until}", identity.address)
}

#[test]
fn an_unreadable_identity_is_not_replaced() {
    let (impostor, by) =
        forging("good", |by, key, spiffe| issued(&certificate(by, spiffe, key, DAY_S), &[by]));
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("operator")).unwrap();
    for args in [&["join"][..], &["join", "--replace"]] {
        let joined = run(home.path(), args, &code(&impostor, &by, OPERATOR));
        is_refused(&joined, 8, "identity_exists", "no telling whose it was");
    }
    assert_eq!(impostor.heard(), Vec::<String>::new());
}

#[test]
fn a_client_learns_no_authority_without_one_that_it_knows() {
    let (inner, by) = twice("keyward.test");
    let (planted, next) = (authority("keyward.test"), authority("keyward.test"));
    for (what, shown, is_learnt) in [
        ("an unrelated one", vec![&planted], false),
        ("one of another trust domain", vec![&inner, &planted], true),
        ("the next one", vec![&inner, &next], true),
    ] {
        let foreign = authority("other.test");
        let shown = if what.contains("another") { vec![&inner, &foreign] } else { shown };
        let is_learnt = is_learnt && !what.contains("another");
        let impostor = Impostor::start(&by, &shown, |_, _| operator_whoami("x"));
        let home = tempfile::tempdir().unwrap();
        let (key, request) = new_key_and_request().unwrap();
        let held = certificate(&by, OPERATOR, &read_request(&request).unwrap(), DAY_S);
        let (address, authority_pem) = (impostor.address.clone(), pem(&[&by]));
        let identity = Identity { address, key_pem: key, certificate_pem: held, authority_pem };
        identity.save(home.path(), IdentityKind::Operator).unwrap();
        let asked = run(home.path(), &["whoami", "--operator"], b"");
        assert!(asked.status.success(), "{what}: {}", said(&asked));
        let kept = Identity::load(home.path(), IdentityKind::Operator).unwrap().authority_pem;
        assert_eq!(kept, if is_learnt { pem(&shown) } else { pem(&[&by]) }, "{what}");
    }
}

#[test]
fn init_and_break_glass_replace_no_identity_of_another_broker() {
    let other = Process::init("warn");
    let mut process = Process::init("warn");
    let held = other.path("home-operator");
    let kept = || fs::read(held.join("operator/certificate.pem")).unwrap();
    let before = kept();
    let config = process.config();
    let reissued = run(&held, &["init", "--reissue-operator", "--config", &config], b"");
    is_refused(&reissued, 8, "identity_exists", "a new certificate at another broker");
    fs::rename(process.path("data"), process.path("data-before")).unwrap();
    is_refused(&run(&held, &["init", "--config", &config], b""), 8, "identity_exists", "a new broker");
    assert!(!process.path("data").exists(), "no broker was made");
    fs::rename(process.path("data-before"), process.path("data")).unwrap();
    process.serve();
    let out = held.display().to_string();
    let taken =
        process.run_as("operator", &["break-glass", "operator", "--out", &out, "--config", &config], b"");
    is_refused(&taken, 8, "identity_exists", "break-glass");
    assert_eq!(kept(), before);
    let out = process.path("glass").display().to_string();
    for _ in 0..2 {
        process.good(&["break-glass", "operator", "--out", &out, "--config", &config], b"");
    }
}
