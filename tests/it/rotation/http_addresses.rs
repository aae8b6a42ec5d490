//! Which servers the requests of a rotation reach: by address, by name and by certificate.

use super::LOOPBACK;
use super::http_driver::{FIRST, Scene, declared};
use crate::support::webhook::Webhook;

/// Hazard EGR-08.
#[tokio::test]
async fn a_server_of_an_undeclared_authority_is_not_called() {
    let impostor = Webhook::start("x");
    let scene = Scene::start(|service| service.applying().replace(&service.ca_pem, &impostor.ca_pem)).await;
    scene.rotate().await;
    assert_eq!(scene.trouble().await, ("begun".to_owned(), "upstream_handshake_failed".to_owned(), 1));
    assert!(scene.service.heard("PUT").is_empty());
    scene.hands_out_still().await;
}

/// The same service, called by its name.
fn named(service: &Webhook) -> String {
    declared("", &service.applying().replace("https://127.0.0.1:", "https://localhost:"))
}

const LOCALHOST: &str = "[upstream]\nallow_networks = [\"127.0.0.1/32\", \"::1/128\"]\n";

/// Hazard EGR-08.
#[tokio::test]
async fn a_certificate_is_for_the_name_in_the_url() {
    for (names, code) in
        [(&["127.0.0.1", "localhost"][..], ""), (&["127.0.0.1"], "upstream_handshake_failed")]
    {
        let scene = Scene::on(Webhook::start_as(FIRST, names), LOCALHOST, &named).await;
        scene.rotate().await;
        assert_eq!(scene.trouble().await.1, code);
        let told = scene.service.heard("PUT");
        assert_eq!(told.len(), usize::from(code.is_empty()));
        for heard in told {
            assert!(heard.head.contains(&format!("\r\nhost: localhost:{}\r\n", scene.service.port)));
        }
    }
}

/// Hazard EGR-01.
#[tokio::test]
async fn a_name_with_a_private_address_is_refused_unless_allowed() {
    for (settings, code) in [
        ("", "upstream_address_blocked"),
        ("[upstream]\nallow_networks = [\"10.0.0.0/8\"]\n", "upstream_address_blocked"),
        (LOCALHOST, ""),
    ] {
        let service = Webhook::start_as(FIRST, &["127.0.0.1", "localhost"]);
        let scene = Scene::on(service, settings, &named).await;
        scene.rotate().await;
        assert_eq!(scene.trouble().await.1, code);
        if code.is_empty() {
            scene.hands_out("2").await;
        } else {
            assert!(scene.service.heard("PUT").is_empty() && scene.service.heard("GET").is_empty());
            scene.hands_out_still().await;
        }
    }
}

#[tokio::test]
async fn without_tls_a_service_of_this_machine_is_called_when_that_is_allowed() {
    let in_clear = |service: &Webhook| {
        let tls = service.applying().replace("ca = \"\"\"\n\"\"\"\n", "");
        declared("", &tls.replace("https://", "http://"))
    };
    for (settings, code) in [(LOOPBACK, ""), ("", "upstream_address_blocked")] {
        let scene = Scene::on(Webhook::start_in_clear(FIRST), settings, &in_clear).await;
        scene.rotate().await;
        assert_eq!(scene.trouble().await.1, code);
        assert_eq!(scene.service.heard("PUT").len(), usize::from(code.is_empty()));
    }
}
