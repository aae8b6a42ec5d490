//! The same table through incidents: what a containment refuses, and what stays revoked after its lift.

use keyward::base::SubjectName;
use keyward::pki::{PeerCertificate, certificate_from_pem};
use serde_json::{Value, json};

use super::{Bed, Holder, PLACES, claims};

/// A column a place: `x` where the containment shows, then `x` where it still shows after the lift.
const CONTAINED: [(&str, &str, &str); 10] = [
    //             mint, replay, reveal, introspect, renew, enrol, lease, connection
    ("agent", "xxxxxxxx", "xxxxxxxx"),
    ("instance", "xxxxx.xx", "xxxxx.xx"),
    ("token", ".xxx....", ".xxx...."),
    ("role", "xxxx..x.", ".xxx..x."),
    ("capability", "xxxx..x.", ".xxx..x."),
    // Certificates of these are accepted again.
    ("owner", "xxxxxxxx", ".xxx.xx."),
    ("secret", "..x...x.", "..x...x."),
    ("certificate", "xxxxx.xx", "xxxxx.xx"),
    ("everything", "xxxxxxxx", ".xxx.xx."),
    ("network", "xxxxxxxx", ".xxx.xx."),
];

impl Bed {
    /// Contains a subject in a request of the admin; gives the answer.
    async fn contain(&self, subject: &Value) -> Value {
        let body = json!({ "subject": subject, "reason": "a drill" });
        let reply = self.broker.operator().post_json("/v1/incidents", &body).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()
    }

    async fn lift(&self, incident: &Value) -> Value {
        let path = format!("/v1/incidents/{}/lift", incident.as_str().unwrap());
        let reply = self.broker.operator().post_json(&path, &json!({ "reason": "over" })).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()
    }

    /// Contains all subjects of this kind that `holder` has to do with; gives the incidents.
    async fn contain_all(&self, kind: &str, holder: &Holder) -> Vec<Value> {
        let me = self.broker.operator().get(&format!("/v1/agents/{}", holder.name)).await.json();
        let named = |name: &str| json!({ "kind": kind, "name": name });
        let with_id = |id: String| json!({ "kind": kind, "id": id });
        let subjects = match kind {
            "agent" => vec![named(&holder.name)],
            "instance" => vec![with_id(me["instances"][0]["id"].as_str().unwrap().to_owned())],
            "token" => {
                [&holder.token, &holder.reveal].map(|token| with_id(claims(token).jti.to_string())).into()
            }
            "role" => ["repo-reader", "publisher", "orders"].map(named).into(),
            "capability" => ["github.repo.read", "reports.read", "orders.query"].map(named).into(),
            "owner" => vec![named(me["owner"].as_str().unwrap())],
            "secret" => ["github/app", "orders-db/admin"].map(named).into(),
            "certificate" => {
                let certificate = certificate_from_pem(&holder.agent.certificate).unwrap();
                vec![with_id(PeerCertificate::parse(&certificate).unwrap().serial().to_string())]
            }
            "network" => vec![named("127.0.0.0/8")],
            "everything" => vec![json!({ "kind": "everything" })],
            other => panic!("no row for {other}"),
        };
        let mut incidents = Vec::new();
        for subject in subjects {
            incidents.push(self.contain(&subject).await["incident"].clone());
        }
        incidents
    }
}

#[test]
fn every_kind_of_subject_has_a_row() {
    for (kind, contained, lifted) in CONTAINED {
        assert_eq!((contained.len(), lifted.len()), (PLACES.len(), PLACES.len()), "{kind}");
    }
    // In the tests of incidents: an operator holds what no agent does.
    let rows = CONTAINED.map(|(kind, ..)| kind);
    for form in keyward::base::SUBJECT_FORMS.split(", ") {
        let kind = form.split('/').next().unwrap();
        assert!(kind == "operator" || rows.contains(&kind), "{kind}");
    }
    assert!("lineage/x".parse::<SubjectName>().is_err(), "which no incident contains");
}

#[tokio::test]
async fn a_containment_shows_in_every_place() {
    let bed = Bed::new().await;
    for (number, (kind, contained, _)) in CONTAINED.into_iter().enumerate() {
        let mut holder = bed.holder(number).await;
        let incidents = bed.contain_all(kind, &holder).await;
        assert_eq!(bed.shown(&mut holder).await, contained, "{kind} contained: {PLACES:?}");
        for incident in incidents {
            bed.lift(&incident).await;
        }
    }
}

#[tokio::test]
async fn a_lift_accepts_again_what_was_only_refused() {
    let bed = Bed::new().await;
    for (number, (kind, _, lifted)) in CONTAINED.into_iter().enumerate() {
        let mut holder = bed.holder(number).await;
        for incident in bed.contain_all(kind, &holder).await {
            let said = bed.lift(&incident).await;
            let is_for_good = ["agent", "instance", "certificate"].contains(&kind);
            assert_eq!(said["revoked_certificates"], is_for_good, "{kind}: {said}");
        }
        if let Ok(connection) = holder.agent.caller.connect().await {
            holder.connection = connection;
        }
        assert_eq!(bed.shown(&mut holder).await, lifted, "{kind} lifted: {PLACES:?}");
    }
}
