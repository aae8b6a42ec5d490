//! The client's half of a renewal, cut short at every step: it never locks an agent out.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use keyward::base::encoding::base64url;
use keyward::base::{Clock, Sensitive, SystemClock};
use keyward::cli::{Identity, IdentityKind};
use keyward::pki::new_key_and_request;
use serde_json::json;

use crate::support::broker::{Agent, TestBroker};
use crate::support::process::{KEYWARD, Process};

/// A broker, and an agent's home whose certificate is due by this machine's clock.
struct Bed {
    broker: TestBroker,
    home: tempfile::TempDir,
}

impl Bed {
    async fn due() -> Self {
        Self::enrolled_ago(20 * 3600, "").await
    }

    /// The same with a certificate that has ended, within the time that renewal is let after it.
    async fn ended() -> Self {
        let settings = "[certificates]\nagent_life_s = 3600\nrenewal_grace_s = 7200\n";
        let bed = Self::enrolled_ago(5400, settings).await;
        bed.broker.clock.advance_s(5400);
        bed
    }

    async fn enrolled_ago(seconds: i64, settings: &str) -> Self {
        let behind = SystemClock::new().now().plus_s(-seconds);
        let broker = TestBroker::start_at(behind, settings).await;
        broker.declare().await;
        let bed = Self { broker, home: tempfile::tempdir().unwrap() };
        let agent = bed.broker.agent("a", &["repo-reader"]).await;
        bed.identity(&agent.certificate, &agent.key).save(bed.home.path(), IdentityKind::Agent).unwrap();
        bed
    }

    fn identity(&self, certificate: &str, key: &str) -> Identity {
        Identity {
            address: self.broker.agents().to_string(),
            key_pem: Sensitive::new(key.to_owned()),
            certificate_pem: certificate.to_owned(),
            authority_pem: self.broker.authority_pem(),
        }
    }

    fn held(&self) -> Agent {
        let identity = Identity::load(self.home.path(), IdentityKind::Agent).unwrap();
        let key = identity.key_pem.expose().clone();
        let certificate = identity.certificate_pem;
        let caller = self.broker.caller(self.broker.agents(), Some(&certificate), Some(&key));
        Agent { caller, certificate, key }
    }

    fn pending(&self) -> PathBuf {
        self.home.path().join("agent-renewing.pem")
    }

    /// A key of the client's, and what the broker gave for it.
    async fn asked(&self) -> (String, String) {
        let (key, request) = new_key_and_request().unwrap();
        let body = json!({ "csr": base64url(&request) });
        let reply = self.held().caller.post_json("/v1/renew", &body).await;
        assert_eq!(reply.status, 201, "{}", reply.text());
        (key.expose().clone(), reply.json()["certificate"].as_str().unwrap().to_owned())
    }

    async fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(KEYWARD);
        command.args(args).arg("--home").arg(self.home.path());
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    /// The next verb works, with a certificate newer than `before`, and leaves nothing behind.
    async fn goes_on(&self, before: &str) {
        let output = self.run(&["whoami"]).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_ne!(self.held().certificate, before, "it was renewed");
        assert_eq!(self.held().caller.get("/v1/whoami").await.status, 200);
        assert!(names(self.home.path()).iter().all(|name| name == "agent" || name == "renewing.lock"));
    }
}

fn names(dir: &Path) -> Vec<String> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test]
async fn a_verb_renews_what_is_due_and_leaves_nothing_behind() {
    let bed = Bed::due().await;
    let before = bed.held().certificate;
    bed.goes_on(&before).await;
    assert_eq!(bed.broker.entries("certificate.promoted").await.len(), 1);
}

#[tokio::test]
async fn a_kill_after_the_key_was_kept() {
    let bed = Bed::due().await;
    let before = bed.held().certificate;
    let (key, _) = new_key_and_request().unwrap();
    fs::write(bed.pending(), key.expose()).unwrap();
    bed.goes_on(&before).await;
    assert_eq!(bed.held().key, *key.expose(), "the key that was kept is the one that is asked for");
}

#[tokio::test]
async fn a_kill_while_the_key_was_being_kept() {
    let bed = Bed::due().await;
    let before = bed.held().certificate;
    fs::write(bed.pending().with_extension("pem.new"), "-----BEGIN").unwrap();
    bed.goes_on(&before).await;
}

#[tokio::test]
async fn a_kill_before_the_answer_was_stored() {
    let bed = Bed::due().await;
    let before = bed.held().certificate;
    let (key, certificate) = bed.asked().await;
    fs::write(bed.pending(), &key).unwrap();
    bed.goes_on(&before).await;
    assert_eq!((bed.held().certificate, bed.held().key), (certificate, key));
    assert_eq!(bed.broker.entries("instance.renewed").await.len(), 1, "nothing was issued twice");
}

#[tokio::test]
async fn a_kill_while_the_identity_was_being_written() {
    let bed = Bed::due().await;
    let before = bed.held().certificate;
    let (key, _) = bed.asked().await;
    fs::write(bed.pending(), &key).unwrap();
    fs::create_dir(bed.home.path().join("agent.new")).unwrap();
    fs::write(bed.home.path().join("agent.new/key.pem"), &key).unwrap();
    bed.goes_on(&before).await;
}

#[tokio::test]
async fn a_kill_after_the_identity_was_stored_and_before_its_first_use() {
    let bed = Bed::due().await;
    let (key, certificate) = bed.asked().await;
    fs::write(bed.pending(), &key).unwrap();
    bed.identity(&certificate, &key).save(bed.home.path(), IdentityKind::Agent).unwrap();
    bed.goes_on(&certificate).await;
}

#[tokio::test]
async fn a_kill_after_the_first_use() {
    let bed = Bed::due().await;
    let (key, certificate) = bed.asked().await;
    bed.identity(&certificate, &key).save(bed.home.path(), IdentityKind::Agent).unwrap();
    assert_eq!(bed.held().caller.get("/v1/whoami").await.status, 200);
    fs::write(bed.pending(), &key).unwrap();
    bed.goes_on(&certificate).await;
}

#[tokio::test]
async fn verbs_at_once_while_a_renewal_is_due_all_work() {
    let bed = Bed::due().await;
    for one in futures(&bed, 8).await {
        assert!(one.status.success(), "{}", String::from_utf8_lossy(&one.stderr));
    }
}

async fn futures(bed: &Bed, count: usize) -> Vec<Output> {
    let runs: Vec<_> = (0..count)
        .map(|_| {
            let mut command = Command::new(KEYWARD);
            command.args(["whoami", "--home"]).arg(bed.home.path());
            tokio::task::spawn_blocking(move || command.output().unwrap())
        })
        .collect();
    let mut outputs = Vec::new();
    for run in runs {
        outputs.push(run.await.unwrap());
    }
    outputs
}

#[tokio::test]
async fn a_verb_works_on_while_renewal_fails_and_the_certificate_holds() {
    let bed = Bed::due().await;
    assert_eq!(
        bed.broker.apply("[[agent]]\nname = \"a\"\nroles = []\nmax_instances = 1\n").await.status,
        200
    );
    let before = bed.held().certificate;
    // What answers is no renewal: a directory is where the key would be kept.
    fs::create_dir(bed.pending()).unwrap();
    let output = bed.run(&["whoami"]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(bed.held().certificate, before);
    let output = bed.run(&["renew"]).await;
    assert_eq!(output.status.code(), Some(1), "asked for by name, it says why not");
    assert!(String::from_utf8_lossy(&output.stderr).contains("file_unusable"));
}

/// Runs `keyward ARGS` after `mount`, in a mount namespace of its own. Root ignores permissions, and nobody a file
/// system.
fn mounted(home: &Path, mount: &str, args: &[&str]) -> Output {
    let script = format!("{mount} && exec \"$K\" \"$@\" --home \"$H\"");
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", &script, "sh"]).args(args).env("H", home).env("K", KEYWARD);
    command.output().unwrap()
}

fn read_only(home: &Path, args: &[&str]) -> Output {
    mounted(home, "mount --bind \"$H\" \"$H\" && mount -o remount,ro,bind \"$H\"", args)
}

async fn run_read_only(bed: &Bed, args: &'static [&'static str]) -> Output {
    let home = bed.home.path().to_owned();
    tokio::task::spawn_blocking(move || read_only(&home, args)).await.unwrap()
}

fn warnings(output: &Output) -> usize {
    String::from_utf8_lossy(&output.stderr).matches("warning: ").count()
}

#[tokio::test]
async fn a_read_only_home_serves_every_verb_while_the_certificate_is_valid() {
    let bed = Bed::due().await;
    let before = bed.held().certificate;
    // A key and a lock that an earlier attempt left: it could be asked for without writing anything.
    fs::write(bed.home.path().join("renewing.lock"), "").unwrap();
    let (key, _) = new_key_and_request().unwrap();
    fs::write(bed.pending(), key.expose()).unwrap();
    for args in [&["whoami"][..], &["get", "github/app"], &["token", "github.repo.read", "--cached"]] {
        let output = run_read_only(&bed, args).await;
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(warnings(&output), 1, "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(bed.broker.entries("instance.renewed").await.len(), 0, "nothing was requested");
    assert_eq!(bed.held().certificate, before);
    let renewed = run_read_only(&bed, &["renew"]).await;
    assert_eq!(renewed.status.code(), Some(1), "asked for by name, it says why not");
}

#[tokio::test]
async fn identity_that_cannot_be_replaced_requests_no_renewal() {
    let bed = Bed::due().await;
    // Given a home that can be written to, with an identity on a file system of its own
    let home = bed.home.path().to_owned();
    let renewed = tokio::task::spawn_blocking(move || {
        let mount = "cp -a \"$H/agent\" \"$H/kept\" && mount -t tmpfs tmpfs \"$H/agent\" && cp -a \"$H/kept/.\" \"$H/agent\"";
        mounted(&home, mount, &["renew"])
    });
    let renewed = renewed.await.unwrap();
    let said = String::from_utf8_lossy(&renewed.stderr);
    assert!(renewed.status.code() == Some(1) && said.contains("another file system"), "{said}");
    // Then the broker has issued no certificate that would be lost
    assert_eq!(bed.broker.entries("instance.renewed").await.len(), 0);
}

#[tokio::test]
async fn a_read_only_home_serves_when_an_authority_is_prepared() {
    let broker = TestBroker::declared().await;
    let bed = Bed { broker, home: tempfile::tempdir().unwrap() };
    let agent = bed.broker.agent("a", &["repo-reader"]).await;
    bed.identity(&agent.certificate, &agent.key).save(bed.home.path(), IdentityKind::Agent).unwrap();
    let prepared = bed.broker.operator().post_json("/v1/authorities", &json!({})).await;
    assert!(prepared.status < 300, "{}", prepared.text());
    let output = run_read_only(&bed, &["get", "github/app"]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!((output.stdout.as_slice(), warnings(&output)), (&b"hunter2"[..], 1));
    let learnt = |bed: &Bed| {
        Identity::load(bed.home.path(), IdentityKind::Agent).unwrap().authority_pem.matches("BEGIN").count()
    };
    assert_eq!(learnt(&bed), 1, "it could not be stored");
    let outputs = futures(&bed, 16).await;
    for one in outputs {
        assert!(one.status.success(), "{}", String::from_utf8_lossy(&one.stderr));
    }
    assert_eq!(learnt(&bed), 2, "a home that can be written to learns of it");
}

#[tokio::test]
async fn a_read_only_home_says_why_when_the_certificate_has_ended() {
    let bed = Bed::ended().await;
    let output = run_read_only(&bed, &["whoami"]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("cannot be stored") && said.contains("read-only"), "{said}");
}

#[tokio::test]
async fn verbs_at_once_wait_for_the_renewal_when_the_certificate_has_ended() {
    let bed = Bed::ended().await;
    for one in futures(&bed, 32).await {
        assert!(one.status.success(), "{}", String::from_utf8_lossy(&one.stderr));
    }
    assert_eq!(bed.broker.entries("alarm.late-renewal").await.len(), 1, "one process renewed");
}

/// Kills of either side at random moments.
#[test]
fn kill_9_of_the_client_or_the_broker_during_renewals_locks_nobody_out() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    for round in 0..10 {
        let mut client = process.command("a", &["renew"]).spawn().unwrap();
        // However far it gets while some other verbs run.
        for _ in 0..round % 4 {
            process.run_as("operator", &["agent", "list"], b"");
        }
        if round % 2 == 0 {
            client.kill().unwrap();
        } else {
            process.kill();
            process.serve();
        }
        client.wait().unwrap();
        process.good_as("a", &["get", "github/app"], b"");
        process.good_as("a", &["renew"], b"");
    }
    process.stop();
    process.good(&["verify", "--config", &process.config()], b"");
}
