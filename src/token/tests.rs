use serde_json::{Value, json};

use super::*;
use crate::base::encoding::{base64url, from_base64url};
use crate::base::limits::{LEEWAY_S, TOKEN_BYTES_MAX};
use crate::base::{
    Audience, ClockReading, DecisionId, Entropy, GrantedParameters, InstanceId, Sensitive, SystemEntropy,
    Timestamp, TokenId,
};
use crate::crypto::{EcdsaKey, SignatureForm};

const ISSUER: &str = "https://broker.test:8443";
const NOW: Timestamp = Timestamp::from_s(1_800_000_000);

struct Bench {
    key: Sensitive<Vec<u8>>,
    signer: Signer,
    verifier: Verifier,
}

fn bench() -> Bench {
    let key = EcdsaKey::generate().unwrap();
    let signer = Signer::new(EcdsaKey::from_pkcs8(&key, SignatureForm::Fixed).unwrap()).unwrap();
    let verifier = Verifier::new(ISSUER, &KeySet { keys: vec![signer.jwk().clone()] }).unwrap();
    Bench { key, signer, verifier }
}

fn audience() -> Audience {
    ISSUER.parse().unwrap()
}

pub(super) fn claims() -> Claims {
    let entropy: &dyn Entropy = &SystemEntropy;
    Claims {
        iss: ISSUER.into(),
        sub: "spiffe://keyward.test/agent/a".into(),
        client_id: "spiffe://keyward.test/agent/a".into(),
        aud: audience(),
        scope: "a.b".into(),
        authorization_details: vec![AuthorizationDetail {
            kind: DetailType::Capability,
            capability: "a.b".parse().unwrap(),
            access: "read".into(),
            parameters: GrantedParameters::default(),
        }],
        jti: TokenId::mint(NOW, entropy),
        iat: NOW.s(),
        nbf: NOW.s(),
        exp: NOW.plus_s(300).s(),
        cnf: Confirmation { x5t_s256: "x".repeat(43) },
        seq: 7,
        instance: InstanceId::mint(NOW, entropy),
        decision: DecisionId::mint(NOW, entropy),
    }
}

impl Bench {
    fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        self.verifier.verify(token, &audience(), ClockReading::at(NOW)).map(|claims| (*claims).clone())
    }

    /// Signs any header and any claims with the real key: what only a broken signer could make.
    fn forge(&self, header: &Value, claims: &str) -> String {
        let key = EcdsaKey::from_pkcs8(&self.key, SignatureForm::Fixed).unwrap();
        let input = format!("{}.{}", base64url(header.to_string().as_bytes()), base64url(claims.as_bytes()));
        let signature = key.sign(input.as_bytes()).unwrap();
        format!("{input}.{}", base64url(&signature))
    }

    fn header(&self) -> Value {
        json!({"alg": "ES256", "typ": "at+jwt", "kid": self.signer.jwk().kid})
    }
}

#[test]
fn a_signed_token_verifies_and_says_the_same() {
    let bench = bench();
    let claims = claims();
    let token = bench.signer.sign(&claims).unwrap();
    assert_eq!(bench.verify(token.expose()), Ok(claims.clone()));
    let forged = bench.forge(&bench.header(), &serde_json::to_string(&claims).unwrap());
    assert_eq!(bench.verify(&forged), Ok(claims), "the forge of the other tests is a working one");
}

/// Hazards JWT-01, JWT-02, JWT-04, JWT-05.
#[test]
fn headers_other_than_ours_are_refused() {
    let bench = bench();
    let claims = serde_json::to_string(&claims()).unwrap();
    let good = bench.header();
    for (field, value) in [
        ("alg", json!("none")),
        ("alg", json!("None")),
        ("alg", json!("HS256")),
        ("alg", json!("ES384")),
        ("typ", json!("JWT")),
        ("typ", json!("AT+JWT")),
        ("crit", json!(["x"])),
        ("b64", json!(false)),
        ("jwk", json!({})),
        ("jku", json!("https://attacker.test")),
        ("x5c", json!([])),
    ] {
        let mut header = good.clone();
        header[field] = value;
        assert_eq!(bench.verify(&bench.forge(&header, &claims)), Err(TokenError::Form), "{header}");
    }
    for field in ["alg", "typ", "kid"] {
        let mut header = good.clone();
        header.as_object_mut().unwrap().remove(field);
        assert_eq!(bench.verify(&bench.forge(&header, &claims)), Err(TokenError::Form), "no {field}");
    }
}

/// Hazard JWT-03.
#[test]
fn kid_is_looked_up_exactly() {
    let bench = bench();
    let claims = serde_json::to_string(&claims()).unwrap();
    for kid in ["", "../../dev/null", "' OR 1=1 --", &"k".repeat(1000)] {
        let mut header = bench.header();
        header["kid"] = json!(kid);
        assert_eq!(bench.verify(&bench.forge(&header, &claims)), Err(TokenError::UnknownKey));
    }
}

/// Hazards JWT-06, JWT-07.
#[test]
fn missing_or_mistyped_claims_are_refused() {
    let bench = bench();
    let good = serde_json::to_value(claims()).unwrap();
    for field in good.as_object().unwrap().keys() {
        let mut without = good.clone();
        without.as_object_mut().unwrap().remove(field);
        let token = bench.forge(&bench.header(), &without.to_string());
        assert_eq!(bench.verify(&token), Err(TokenError::Form), "no {field}");
    }
    for field in ["exp", "nbf", "iat", "seq"] {
        for value in [json!("1900000000"), json!(1.5), json!(null), json!([1])] {
            let mut mistyped = good.clone();
            mistyped[field] = value;
            let token = bench.forge(&bench.header(), &mistyped.to_string());
            assert_eq!(bench.verify(&token), Err(TokenError::Form), "{mistyped}");
        }
        let huge =
            good.to_string().replacen(&format!("\"{field}\":"), &format!("\"{field}\":1e400,\"z\":"), 1);
        assert_eq!(bench.verify(&bench.forge(&bench.header(), &huge)), Err(TokenError::Form));
    }
    let mut more = good.clone();
    more["admin"] = json!(true);
    assert_eq!(bench.verify(&bench.forge(&bench.header(), &more.to_string())), Err(TokenError::Form));
}

/// Hazard JWT-08.
#[test]
fn the_audience_is_compared_exactly() {
    let bench = bench();
    for aud in [json!("https://broker.test"), json!("https://broker.test:8443/")] {
        let mut claims = serde_json::to_value(claims()).unwrap();
        claims["aud"] = aud;
        let token = bench.forge(&bench.header(), &claims.to_string());
        assert_eq!(bench.verify(&token), Err(TokenError::Audience));
    }
    for aud in [json!([]), json!(["https://broker.test:8443"]), json!("*"), json!("")] {
        let mut claims = serde_json::to_value(claims()).unwrap();
        claims["aud"] = aud;
        assert_eq!(bench.verify(&bench.forge(&bench.header(), &claims.to_string())), Err(TokenError::Form));
    }
    let mut other = claims();
    other.iss = "https://other.test".into();
    let token = bench.signer.sign(&other).unwrap();
    assert_eq!(bench.verify(token.expose()), Err(TokenError::Audience));
}

/// Hazards JWT-10, JWT-11.
#[test]
fn signatures_and_their_spellings_are_exact() {
    let bench = bench();
    let token = bench.signer.sign(&claims()).unwrap();
    let (input, signature) = token.expose().rsplit_once('.').unwrap();
    for bad in [String::new(), base64url(&[0; 64]), base64url(&[0xff; 64]), base64url(&[0; 63])] {
        assert!(bench.verify(&format!("{input}.{bad}")).is_err());
    }
    for spelling in [format!("{signature}="), format!("{signature} "), format!(" {signature}"), {
        // 64 bytes leave four spare bits in the last character.
        let mut text = signature.to_owned();
        let last = text.pop().unwrap();
        text.push(if last == 'A' { 'B' } else { ((last as u8) + 1) as char });
        assert_ne!(from_base64url(&text), from_base64url(signature));
        text
    }] {
        assert!(bench.verify(&format!("{input}.{spelling}")).is_err(), "{spelling}");
    }
}

/// Hazards JWT-12, JWT-13.
#[test]
fn odd_forms_are_refused() {
    let bench = bench();
    let claims = serde_json::to_string(&claims()).unwrap();
    let doubled = claims.replacen("{\"iss\"", "{\"sub\":\"spiffe://keyward.test/agent/b\",\"iss\"", 1);
    assert_eq!(bench.verify(&bench.forge(&bench.header(), &doubled)), Err(TokenError::Form));
    let token = bench.forge(&bench.header(), &claims);
    let two = token.rsplit_once('.').unwrap().0.to_owned();
    for odd in ["", ".", "..", "...", &two, &format!("{token}.x"), &"a".repeat(9_000), &format!("{token}\n")]
    {
        assert!(bench.verify(odd).is_err());
    }
}

/// Hazard JWT-17.
#[test]
fn times_are_judged_by_our_clock_with_five_seconds_leeway() {
    let bench = bench();
    let token = bench.signer.sign(&claims()).unwrap();
    let at = |s: i64| bench.verifier.verify(token.expose(), &audience(), ClockReading::at(NOW.plus_s(s)));
    assert!(at(300 + LEEWAY_S - 1).is_ok());
    assert_eq!(at(300 + LEEWAY_S), Err(TokenError::Expired));
    assert!(at(-LEEWAY_S).is_ok());
    assert_eq!(at(-LEEWAY_S - 1), Err(TokenError::NotYet));
}

#[test]
fn a_token_has_a_length() {
    let bench = bench();
    let usual = bench.signer.sign(&claims()).unwrap().expose().len();
    // Base64: four characters for three bytes.
    let about = (TOKEN_BYTES_MAX - usual) * 3 / 4;
    let mut lengths = Vec::new();
    for scope in about - 8..about + 16 {
        let token = bench.signer.sign(&Claims { scope: "s".repeat(scope).into(), ..claims() }).unwrap();
        let (token, length) = (token.expose(), token.expose().len());
        if length.abs_diff(TOKEN_BYTES_MAX) < 4 {
            assert_eq!(bench.verify(token).is_ok(), length <= TOKEN_BYTES_MAX, "{length}");
            lengths.push(length);
        }
    }
    assert!(lengths.iter().any(|length| *length <= TOKEN_BYTES_MAX), "{lengths:?}");
    assert!(lengths.iter().any(|length| *length > TOKEN_BYTES_MAX), "{lengths:?}");
}

#[test]
fn a_token_that_comes_again_is_judged_again_but_for_its_signature() {
    let bench = bench();
    let token = bench.signer.sign(&claims()).unwrap();
    let (token, good) = (token.expose(), bench.verify(token.expose()));
    assert!(good.is_ok());
    assert_eq!(bench.verify(token), good, "the same again");
    let later = bench.verifier.verify(token, &audience(), ClockReading::at(NOW.plus_s(305)));
    assert_eq!(later, Err(TokenError::Expired));
    let elsewhere =
        bench.verifier.verify(token, &"https://other.test".parse().unwrap(), ClockReading::at(NOW));
    assert_eq!(elsewhere, Err(TokenError::Audience));
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let other = if signature.starts_with('A') { "B" } else { "A" };
    let altered = format!("{signed}.{other}{}", &signature[1..]);
    assert_eq!(bench.verify(&altered), Err(TokenError::Signature), "what it says was good elsewhere");
    bench.verifier.accept(&KeySet { keys: Vec::new() }).unwrap();
    assert_eq!(bench.verify(token), Err(TokenError::UnknownKey));
    bench.verifier.accept(&KeySet { keys: vec![bench.signer.jwk().clone()] }).unwrap();
    assert_eq!(bench.verify(token), good, "its key counts again");
}

#[test]
fn a_token_of_another_key_is_refused() {
    let (ours, theirs) = (bench(), bench());
    let token = theirs.signer.sign(&claims()).unwrap();
    assert_eq!(ours.verify(token.expose()), Err(TokenError::UnknownKey));
    let header = ours.header();
    let forged = theirs.forge(&header, &serde_json::to_string(&claims()).unwrap());
    assert_eq!(ours.verify(&forged), Err(TokenError::Signature));
}
