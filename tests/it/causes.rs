//! Each cause for which a broker refuses a client, or a client a broker, has its own code, text and fix, also when the
//! TLS handshake is what refuses.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::clock_of_the_machine::until_serving;
use crate::support::process::{Process, files};
use crate::support::waiting::wait_until;

const HOUR_S: i64 = 3600;
const DAY_S: i64 = 24 * HOUR_S;

/// The failure of a command.
#[derive(Debug)]
struct Told {
    code: String,
    why: String,
    fix: String,
}

fn told(process: &Process, who: &str, args: &[&str]) -> Told {
    let output = process.run_as(who, &[args, &["-o", "json"]].concat(), b"");
    assert!(!output.status.success(), "{who} {args:?} succeeded");
    let said = String::from_utf8(output.stderr).unwrap();
    let last = said.lines().last().unwrap_or_default();
    let failure: Value = serde_json::from_str(last).unwrap_or_else(|_| panic!("no JSON: {said}"));
    let field = |name: &str| failure[name].as_str().unwrap().to_owned();
    Told { code: field("code"), why: field("detail"), fix: field("fix") }
}

/// Asserts the code, and these parts of the problem and of the fix.
fn is_told(told: &Told, code: &str, why: &[&str], fix: &[&str]) {
    assert_eq!(told.code, code, "{told:?}");
    for part in why {
        assert!(told.why.contains(part), "{part}: {told:?}");
    }
    for part in fix {
        assert!(told.fix.contains(part), "{part}: {told:?}");
    }
}

fn served() -> Process {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    process
}

fn copy(process: &Process, from: &str, to: &str) {
    let from = process.path(from);
    for file in files(&from) {
        let target = process.path(to).join(file.strip_prefix(&from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(&file, target).unwrap();
    }
}

/// The lines that `renew --watch` prints on standard error at first.
fn reported_by_a_watch(process: &Process, who: &str, renew: &[&str]) -> String {
    let file = process.path("watch.err");
    let mut watch = process.command(who, &[renew, &["--watch"]].concat());
    watch.stdout(Stdio::null()).stderr(fs::File::create(&file).unwrap());
    let mut watch = watch.spawn().unwrap();
    wait_until(|| fs::read_to_string(&file).unwrap().contains('\n'));
    watch.kill().unwrap();
    watch.wait().unwrap();
    fs::read_to_string(file).unwrap()
}

#[test]
fn suspended_revoked_and_unknown_certificates_have_their_own_codes() {
    let process = served();
    let code = process.good(&["operator", "invite", "eve", "--role", "auditor"], b"");
    process.good_as("eve", &["join"], &code);
    for (who, noun, name, args) in
        [("a", "agent", "a", &["whoami"][..]), ("eve", "operator", "eve", &["whoami", "--operator"])]
    {
        let subject = format!("your {noun} certificate ({name}, serial ");
        let invite = format!("`keyward {noun} invite {name}`");
        // When it is suspended
        process.good(&[noun, "suspend", name], b"");
        let suspended = told(&process, who, args);
        let resume = format!("`keyward {noun} resume {name}`");
        is_told(&suspended, "certificate_suspended", &[&subject, "…) is suspended"], &[&resume]);
        process.good(&[noun, "resume", name], b"");
        process.good_as(who, args, b"");
        // When a copy of it is used after its renewal
        copy(&process, &format!("home-{who}"), &format!("home-copy-of-{who}"));
        let renew: &[&str] = if noun == "agent" { &["renew"] } else { &["renew", "--operator"] };
        process.good_as(who, renew, b"");
        let unknown = told(&process, &format!("copy-of-{who}"), args);
        let show = format!("`keyward {noun} show {name}`");
        let fix =
            ["--home", "may have a copy of the key", &show, &invite, "`name_deleted`", "for another name"];
        is_told(&unknown, "certificate_unknown", &["no record of", &subject], &fix);
        let watched = reported_by_a_watch(&process, &format!("copy-of-{who}"), renew);
        assert!(watched.contains("certificate_unknown"), "{watched}");
        // When it is revoked
        process.good(&[noun, "revoke", name], b"");
        let revoked = told(&process, who, args);
        is_told(&revoked, "certificate_revoked", &[&subject, "was revoked"], &[&invite, "--replace"]);
    }
}

#[test]
fn certificate_at_the_other_listener_names_the_address_to_correct() {
    let process = served();
    let agents = process.path("home-a/agent/address");
    let admins = process.path("home-operator/operator/address");
    let (to_agents, to_admins) = (fs::read(&agents).unwrap(), fs::read(&admins).unwrap());
    fs::write(&agents, &to_admins).unwrap();
    fs::write(&admins, &to_agents).unwrap();
    let agent = told(&process, "a", &["whoami"]);
    let place = agents.display().to_string();
    is_told(
        &agent,
        "certificate_wrong_kind",
        &["your agent certificate (a, ", "the operators' listener"],
        &["the agents', port 8443", &place],
    );
    let operator = told(&process, "operator", &["whoami", "--operator"]);
    let place = admins.display().to_string();
    is_told(
        &operator,
        "certificate_wrong_kind",
        &["your operator certificate (admin, ", "the agents' listener"],
        &["the operators', port 8444", &place],
    );
    fs::write(&agents, &to_agents).unwrap();
    process.good_as("a", &["whoami"], b"");
}

#[test]
fn expired_certificates_and_wrong_clocks_are_told_apart() {
    // Given a broker and clients whose clocks a test sets
    let mut process = Process::init("warn");
    process.broker_environment = process.clock_in("broker-clock");
    process.environment = process.clock_in("client-clock");
    process.serve();
    process.set_up(b"value");
    process.stop();
    // When an agent's certificate has expired within its grace period, then it can be renewed
    process.set_clock("broker-clock", 30 * HOUR_S);
    process.set_clock("client-clock", 30 * HOUR_S);
    process.spawn();
    until_serving(&process);
    let checks = process.run_as("a", &["doctor", "-o", "json"], b"");
    let checks: Value = serde_json::from_slice(&checks.stdout).unwrap();
    let broker = checks["items"].as_array().unwrap().iter().find(|item| item["what"] == "broker").unwrap();
    assert!(broker["why"].as_str().unwrap().contains("it can be renewed until "), "{broker}");
    assert!(broker["fix"].as_str().unwrap().contains("`keyward renew`"), "{broker}");
    copy(&process, "home-a", "home-late");
    let renewed = process.run_as("a", &["whoami"], b"");
    assert!(renewed.status.success());
    is_said_late(&renewed, "`late_renewal`");
    // When an operator's has, then it is named with the deadline and the command, which renews it
    let checks = process.run_as("operator", &["doctor", "--operator", "-o", "json"], b"");
    let checks: Value = serde_json::from_slice(&checks.stdout).unwrap();
    let broker = checks["items"].as_array().unwrap().iter().find(|item| item["what"] == "broker").unwrap();
    let why = broker["why"].as_str().unwrap();
    assert!(
        why.starts_with("your operator certificate (admin, serial ") && why.contains(") expired at "),
        "{why}"
    );
    let fix = broker["fix"].as_str().unwrap();
    assert!(fix.contains("`keyward renew --operator` (within the grace period, until "), "{fix}");
    assert!(fix.contains("`keyward operator invite admin`"), "{fix}");
    copy(&process, "home-operator", "home-before");
    let renewed = process.run_as("operator", &["renew", "--operator"], b"");
    assert!(renewed.status.success());
    is_said_late(&renewed, "`operator_late_renewal`");
    let again = process.run_as("operator", &["renew", "--operator"], b"");
    assert!(!String::from_utf8_lossy(&again.stderr).contains("late_renewal"), "in time");
    process.good(&["agent", "list"], b"");
    assert!(process.log().contains("operator_late_renewal"), "{}", process.log());
    // When it has expired beyond, then only a new code helps
    process.stop();
    process.set_clock("broker-clock", 10 * DAY_S);
    process.set_clock("client-clock", 10 * DAY_S);
    process.spawn();
    until_serving(&process);
    let agent = told(&process, "a", &["whoami"]);
    is_told(
        &agent,
        "certificate_expired",
        &["your agent certificate (a, serial ", "expired at ", " UTC"],
        &["`keyward agent invite a`"],
    );
    let operator = told(&process, "operator", &["whoami", "--operator"]);
    is_told(
        &operator,
        "certificate_expired",
        &["your operator certificate (admin, serial "],
        &["`keyward operator invite admin`", "`keyward init --reissue-operator`"],
    );
    // When only this machine's clock is behind, then its certificate is of the future, or seems valid
    process.set_clock("client-clock", 0);
    let behind = told(&process, "a", &["whoami"]);
    is_told(&behind, "clock_mismatch", &["your agent certificate", "is valid from"], &["`date -u`"]);
    let valid = told(&process, "before", &["whoami", "--operator"]);
    is_told(&valid, "clock_mismatch", &["by the clock of the broker", "valid until"], &["`date -u`"]);
    // When it is far behind or ahead, then the broker's certificate is not valid by it
    for (by_s, problem) in [(-10 * DAY_S, "is not valid yet"), (800 * DAY_S, "has expired")] {
        process.set_clock("client-clock", by_s);
        let far = told(&process, "late", &["whoami"]);
        is_told(&far, "clock_mismatch", &["the certificate of the broker", problem], &["`date -u`"]);
    }
}

/// A late renewal is said, with its alarm, to the person who caused it.
fn is_said_late(renewed: &std::process::Output, alarm: &str) {
    let said = String::from_utf8_lossy(&renewed.stderr);
    for part in ["note: the certificate had expired at ", "in its grace period", alarm] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn insufficient_role_and_scope_are_named() {
    let process = served();
    for (name, args) in
        [("eve", &["--role", "auditor"][..]), ("bob", &["--role", "admin", "--owner", "payments"])]
    {
        let code = process.good(&[&["operator", "invite", name], args].concat(), b"");
        process.good_as(name, &["join"], &code);
    }
    let role = told(&process, "eve", &["agent", "suspend", "a"]);
    is_told(
        &role,
        "operator_role_insufficient",
        &["`eve` has the role auditor", "needs admin or security"],
        &["the role admin or security to do it", "replaces auditor: `keyward operator role eve security`"],
    );
    let scope = told(&process, "bob", &["operator", "list"]);
    is_told(
        &scope,
        "operator_scope_insufficient",
        &["`bob` is limited to the owner `payments`"],
        &["`keyward operator role bob admin --no-owner`"],
    );
}

#[test]
fn address_that_leads_nowhere_is_named_with_its_source() {
    let mut process = served();
    let file = process.path("home-a/agent/address");
    let address = fs::read_to_string(&file).unwrap();
    let place = file.display().to_string();
    // When the host name does not resolve
    fs::write(&file, "broker.invalid:8443\n").unwrap();
    let unresolved = told(&process, "a", &["whoami"]);
    let why = ["the host name `broker.invalid` does not resolve", place.as_str()];
    is_told(&unresolved, "broker_unreachable", &why, &["getent hosts broker.invalid", &place]);
    // When it is no address
    fs::write(&file, "localhost:port\n").unwrap();
    is_told(&told(&process, "a", &["whoami"]), "address_invalid", &["`localhost:port`"], &[&place]);
    // When no process listens
    fs::write(&file, &address).unwrap();
    process.stop();
    let refused = told(&process, "a", &["whoami"]);
    is_told(&refused, "broker_unreachable", &[address.trim(), "the connection was refused"], &[&place]);
    // When a file is missing
    let certificate = process.path("home-a/agent/certificate.pem");
    fs::remove_file(&certificate).unwrap();
    let missing = format!("`{}` is missing", certificate.display());
    is_told(&told(&process, "a", &["whoami"]), "identity_damaged", &[&missing], &["enrolment code"]);
}

#[test]
fn host_that_the_brokers_certificate_lacks_is_named() {
    let mut process = served();
    process.stop();
    let text = fs::read_to_string(process.config()).unwrap();
    fs::write(process.config(), text.replace("[\"127.0.0.1\", \"localhost\"]", "[\"localhost\"]")).unwrap();
    process.spawn();
    until_serving(&process);
    let lacking = told(&process, "a", &["whoami"]);
    let why = "the broker's certificate is for `localhost`, not for `127.0.0.1`";
    is_told(
        &lacking,
        "server_name_mismatch",
        &[why],
        &["add `127.0.0.1` to `[server] names`", "agent/address"],
    );
}

/// The broker's own gate, not a client that reads its certificate: no request of a revoked agent reaches a route.
#[test]
fn revoked_certificate_is_refused_at_the_handshake() {
    let process = served();
    let address = fs::read_to_string(process.path("home-a/agent/address")).unwrap();
    let held = |name: &str| process.path(&format!("home-a/agent/{name}.pem")).display().to_string();
    let status = || {
        let output = Command::new("curl")
            .args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", &held("authority")])
            .args(["--cert", &held("certificate"), "--key", &held("key")])
            .arg(format!("https://{}/v1/whoami", address.trim()))
            .output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    assert_eq!(status(), "200");
    process.good(&["agent", "revoke", "a"], b"");
    assert_eq!(status(), "000", "no HTTP response");
}
