//! The panel: stock software in several languages takes what the broker gives, and each member refuses
//! an altered twin. `interop.rs` has those that came first.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use keyward::pki::{certificate_from_pem, certificate_pem};

use crate::interop::python;
use crate::support::openssl;
use crate::support::process::Process;

pub(crate) const AUDIENCE: &str = "https://reports.example.com";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Where `scripts/test` installs the packages of `tests/it/support/node/package.json`.
pub(crate) fn node_home() -> PathBuf {
    std::env::var_os("KEYWARD_TEST_NODE").map_or_else(|| root().join("target/test-node"), PathBuf::from)
}

/// A broker with the agents `a` and `b`, who hold `reports.read` with the parameter `report`, and the resource server `reports`.
pub(crate) fn set_up() -> Process {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    let file = process.path("servers.toml");
    let text = format!(
        "[[resource_server]]\nname = \"reports\"\naudience = \"{AUDIENCE}\"\n[[capability]]\nname = \"reports.read\"\n\
         access = \"read\"\ndelivery = \"mint\"\naudience = \"{AUDIENCE}\"\nmax_life_s = 600\n\
         [capability.parameters]\nreport = {{ type = \"text\" }}\n"
    );
    std::fs::write(&file, text).unwrap();
    process.good(&["apply", "-f", &file.display().to_string()], b"");
    for (name, roles) in
        [("reports", vec![]), ("p", vec!["--role", "publisher"]), ("q", vec!["--role", "publisher"])]
    {
        let code = process.good(&[vec!["agent", "invite", name], roles].concat(), b"");
        process.good_as(name, &["join"], &code);
    }
    process
}

pub(crate) fn issuer(process: &Process) -> String {
    let address = std::fs::read_to_string(process.path("home-p/agent/address")).unwrap();
    format!("https://{}", address.trim())
}

pub(crate) fn held(process: &Process, who: &str, name: &str) -> String {
    process.path(&format!("home-{who}/agent/{name}.pem")).display().to_string()
}

/// What the OAuth clients of the panel are told.
fn client_args(process: &Process) -> Vec<String> {
    let of = |who: &str, name: &str| held(process, who, name);
    vec![
        issuer(process),
        of("p", "authority"),
        of("p", "certificate"),
        of("p", "key"),
        of("reports", "certificate"),
        of("reports", "key"),
        "spiffe://keyward.test/agent/p".to_owned(),
        "reports.read".to_owned(),
        AUDIENCE.to_owned(),
    ]
}

#[test]
fn authlib_discovers_gets_verifies_introspects_and_revokes() {
    let process = set_up();
    let args = client_args(&process);
    let said = python("authlib_client.py", &args.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(said.contains("ok: authlib"), "{said}");
}

#[test]
fn requests_oauthlib_gets_verifies_introspects_and_revokes() {
    let process = set_up();
    let args = client_args(&process);
    let said = python("requests_oauthlib_client.py", &args.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(said.contains("ok: requests-oauthlib"), "{said}");
}

#[test]
fn openid_client_and_jose_discover_get_verify_introspect_and_revoke() {
    let process = set_up();
    let output = Command::new("node")
        .arg(root().join("tests/it/support/node/openid_client.mjs"))
        .args(client_args(&process))
        .env("KEYWARD_TEST_NODE", node_home())
        .output()
        .expect("node is needed: run scripts/test");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.contains("ok: openid-client and jose"), "{said}");
}

/// A certificate for `key` that signs itself and says `extensions`.
fn twin(process: &Process, name: &str, extensions: &[&str]) -> String {
    let path = process.path(name).display().to_string();
    let key = held(process, "p", "key");
    let fixed = ["req", "-x509", "-new", "-key", &key, "-subj", "/", "-days", "1", "-out", &path];
    let added: Vec<&str> = extensions.iter().flat_map(|extension| ["-addext", extension]).collect();
    let made = openssl::run(&[&fixed[..], &added].concat());
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    path
}

#[test]
fn a_spiffe_library_takes_the_leaf_and_refuses_its_twins() {
    let process = set_up();
    let uri = "subjectAltName=critical,URI:spiffe://keyward.test/agent/p";
    let two = "subjectAltName=critical,URI:spiffe://keyward.test/agent/p,URI:spiffe://keyward.test/agent/q";
    let leaf = "basicConstraints=critical,CA:FALSE";
    let usage = "keyUsage=critical,digitalSignature";
    let twins = [
        twin(&process, "authority.pem", &[uri, "basicConstraints=critical,CA:TRUE", usage]),
        twin(&process, "signs.pem", &[uri, leaf, "keyUsage=critical,digitalSignature,keyCertSign"]),
        twin(&process, "two.pem", &[two, leaf, usage]),
        twin(&process, "no-path.pem", &["subjectAltName=critical,URI:spiffe://keyward.test", leaf, usage]),
    ];
    let (certificate, key) = (held(&process, "p", "certificate"), held(&process, "p", "key"));
    let mut args = vec![certificate.as_str(), &key, "spiffe://keyward.test/agent/p"];
    args.extend(twins.iter().map(String::as_str));
    let said = python("verify_spiffe.py", &args);
    assert!(said.contains("ok: spiffe") && said.matches("refused").count() == twins.len(), "{said}");
    let (certificate, key) = (held(&process, "reports", "certificate"), held(&process, "reports", "key"));
    let server = "spiffe://keyward.test/resource/reports";
    let said = python("verify_spiffe.py", &[&certificate, &key, server]);
    assert!(said.contains("ok: spiffe"), "{said}");
    let said = python("verify_x509.py", &[&held(&process, "reports", "authority"), &certificate, server]);
    assert!(said.contains("ok:"), "{said}");
}

fn gnutls(command: &str, args: &[&str], input: &str) -> (bool, String) {
    let mut child = Command::new(command)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("gnutls-bin is needed: run scripts/test");
    // Open until it has ended: at the end of its input it hangs up, answer or not.
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[test]
fn gnutls_accepts_the_chain_over_mutual_tls_and_refuses_an_altered_one() {
    let process = set_up();
    let (authority, certificate) = (held(&process, "p", "authority"), held(&process, "p", "certificate"));
    let verify = |certificate: &str| {
        gnutls("certtool", &["--verify", "--load-ca-certificate", &authority, "--infile", certificate], "")
    };
    let (good, said) = verify(&certificate);
    assert!(good, "{said}");
    let altered = altered(&process, Path::new(&certificate));
    let (taken, said) = verify(&altered);
    assert!(!taken, "{said}");

    let address = issuer(&process).replace("https://", "");
    let (host, port) = address.rsplit_once(':').unwrap();
    let key = held(&process, "p", "key");
    let talk = |certificate: &str| {
        let args = [
            "--x509cafile",
            &authority,
            "--x509certfile",
            certificate,
            "--x509keyfile",
            &key,
            "-p",
            port,
            host,
        ];
        let ask = "GET /v1/whoami HTTP/1.1\r\nHost: broker\r\nConnection: close\r\n\r\n";
        gnutls("gnutls-cli", &args, ask)
    };
    let (_, said) = talk(&certificate);
    assert!(said.contains("200 OK") && said.contains("spiffe://keyward.test/agent/p"), "{said}");
    let (_, said) = talk(&altered);
    assert!(!said.contains("200 OK"), "{said}");
}

/// The certificate with one bit of its signature flipped.
fn altered(process: &Process, certificate: &Path) -> String {
    let mut der = certificate_from_pem(&std::fs::read_to_string(certificate).unwrap()).unwrap();
    *der.last_mut().unwrap() ^= 1;
    let path = process.path("altered.pem");
    std::fs::write(&path, certificate_pem(&der)).unwrap();
    path.display().to_string()
}
