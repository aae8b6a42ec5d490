//! A name in the DNS whose owner answers once with one address and then with another.

use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;

use serde_json::Value;

use super::LOOPBACK;
use super::http_driver::{FIRST, declared};
use crate::support::process::Process;
use crate::support::webhook::{ADMIN_TOKEN, Webhook};

const NAME: &str = "rebound.test";

/// Of this machine's addresses the one at which the broker may call, and one at which it may not.
const ALLOWED: &str = "127.0.0.1";
const NEIGHBOUR: &str = "127.0.0.2";

/// How often something is looked at before it is taken for what it is.
const LOOKS: u32 = 600;

/// A real broker that rotates the key of a service which it knows by its name; and who listens beside that.
struct Scene {
    process: Process,
    service: Webhook,
    neighbour: TcpListener,
}

impl Scene {
    /// The name stands for these addresses, each in its turn.
    fn start(answers: &[&str]) -> Self {
        let service = Webhook::start_as(FIRST, &[NAME]);
        let neighbour = TcpListener::bind((NEIGHBOUR, service.port)).unwrap();
        neighbour.set_nonblocking(true).unwrap();
        let mut process = Process::init("warn");
        process.configure(LOOPBACK);
        process.load_faults(service.port);
        let resolver = process.path("resolver").display().to_string();
        process.broker_environment.push(("KEYWARD_TEST_RESOLVER".to_owned(), resolver));
        process.serve();
        process.good(&["secret", "put", "billing/key"], FIRST.as_bytes());
        process.good(&["secret", "put", "billing/admin"], ADMIN_TOKEN.as_bytes());
        let upstream = service.applying().replace("https://127.0.0.1:", &format!("https://{NAME}:"));
        let file = process.path("declared.toml");
        fs::write(&file, declared("", &upstream)).unwrap();
        process.good(&["apply", "-f", &file.display().to_string()], b"");
        process.enrol("bot", "billing");
        let scene = Self { process, service, neighbour };
        scene.resolve(answers);
        scene
    }

    fn resolve(&self, answers: &[&str]) {
        let next = self.process.path("resolver.next");
        fs::write(&next, format!("{NAME} {}", answers.join(" "))).unwrap();
        fs::rename(next, self.process.path("resolver")).unwrap();
    }

    /// What was answered so far, in order.
    fn answered(&self) -> Vec<String> {
        let asked = fs::read_to_string(self.process.path("resolver.asked")).unwrap_or_default();
        asked.lines().map(ToOwned::to_owned).collect()
    }

    /// The rotation under way, once it has failed so often; or none, once it is over.
    fn run(&self, failures: u64) -> Value {
        for _ in 0..LOOKS {
            let run = self.process.json(&["rotation", "show", "billing/key"])["run"].clone();
            let has_failed = !run["trouble"].is_null() && run["failures"].as_u64() >= Some(failures);
            if run.is_null() || has_failed {
                return run;
            }
        }
        panic!("it goes on: {}", self.process.log());
    }

    fn retry(&self) {
        self.process.good(&["rotation", "retry", "billing/key", "--no-wait"], b"");
    }

    /// Whether anybody has called where nobody may.
    fn has_called_the_neighbour(&self) -> bool {
        !self.neighbour.accept().is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }
}

/// Hazard EGR-02.
#[test]
fn only_the_judged_address_is_called_after_a_name_changes() {
    let scene = Scene::start(&[ALLOWED, NEIGHBOUR]);
    scene.process.good(&["secret", "rotate", "billing/key", "--no-wait"], b"");
    let run = scene.run(1);
    // The first look at the service took the one address; the request that came then was refused the other.
    assert_eq!(
        (&run["stage"], &run["trouble"]["code"]),
        (&"prepared".into(), &"upstream_address_blocked".into())
    );
    assert_eq!(scene.answered()[..2], [ALLOWED, NEIGHBOUR], "the name was asked for once a connection");
    assert!(scene.service.heard("PUT").is_empty());
    assert!(!scene.has_called_the_neighbour());
    scene.resolve(&[ALLOWED]);
    scene.retry();
    assert!(scene.run(u64::MAX).is_null());
    let value = scene.process.good_as("bot", &["get", "billing/key"], b"");
    assert!(value != FIRST.as_bytes() && scene.service.lets_in(&String::from_utf8(value).unwrap()));
    assert!(!scene.has_called_the_neighbour());
}

/// Hazard EGR-02.
#[test]
fn a_name_that_comes_to_stand_for_a_private_address_is_refused() {
    let private = ["10.1.2.3", "::ffff:192.168.7.7", "169.254.169.254"];
    let scene = Scene::start(&private);
    scene.process.good(&["secret", "rotate", "billing/key", "--no-wait"], b"");
    for answered in 1..=private.len() {
        let run = scene.run(1);
        assert_eq!(
            (&run["stage"], &run["trouble"]["code"]),
            (&"begun".into(), &"upstream_address_blocked".into())
        );
        assert_eq!(scene.answered(), private[..answered]);
        if answered == private.len() {
            scene.resolve(&[ALLOWED]);
        }
        // It is in no trouble from then on, until it fails again.
        scene.retry();
    }
    assert!(scene.run(u64::MAX).is_null());
    assert_eq!(scene.service.heard("PUT").len(), 1);
}
