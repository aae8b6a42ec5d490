//! Plans that give more access, where the broker demands that a second operator approves them.

mod history;
mod moved_secrets;
mod puppets;

use keyward::base::Timestamp;
use keyward::base::encoding::base64url;
use keyward::base::limits::PLAN_APPROVAL_S;
use keyward::crypto::EcdsaKey;
use keyward::evidence::{Signatures, verify};
use keyward::ledger::NoteVerifier;
use keyward::wire::{PlanBallot, SensitivityBallot};
use serde_json::{Value, json};

use crate::approvals::accepted_key;
use crate::operators::{change, join, post, refused};
use crate::support::broker::{Caller, Reply, TestBroker};

/// A Friday, 2027-01-15, 08:00 UTC.
const MORNING: Timestamp = Timestamp::from_s(1_800_000_000);
const NARROW: &str = "[[agent]]\nname = \"a\"\nroles = [\"repo-reader\"]\n";

/// The agent `a` with a further role: it gets more access.
fn wider() -> String {
    NARROW.replace("[\"repo-reader\"]", "[\"publisher\", \"repo-reader\"]")
}

fn body(text: &str) -> Value {
    json!({ "files": [{ "name": "a.toml", "text": text }] })
}

/// A broker with the agent `a` and the admins `admin` and `bob`, each a person with an accepted approval key.
struct Scene {
    broker: TestBroker,
    bob: Caller,
    /// The approval key of `bob`.
    key: EcdsaKey,
    /// The approval key of `admin`.
    own: EcdsaKey,
}

impl Scene {
    async fn start() -> Self {
        let mut broker = TestBroker::start_at(MORNING, "").await;
        broker.declare().await;
        assert_eq!(broker.apply(NARROW).await.status, 200);
        let profile = json!({ "networks": [], "life_s": null, "person": "root@corp.example" });
        assert_eq!(change(&broker.operator(), "admin", &profile).await.status, 200);
        let bob = join(&broker, "bob", &admin("bob@corp.example")).await.caller;
        let key = accepted_key(&broker, "bob", &bob).await;
        let own = accepted_key(&broker, "admin", &broker.operator()).await;
        // From now on a second operator is demanded
        broker.config.policies.widening_second_operator = true;
        broker.restart().await;
        let bob = Caller { address: broker.admins(), ..bob };
        Self { broker, bob, key, own }
    }

    /// The plan of `text` as `by` is shown it.
    async fn plan(&self, by: &Caller, text: &str) -> Value {
        let planned = by.post_json("/v1/plan", &body(text)).await;
        assert_eq!(planned.status, 200, "{}", planned.text());
        planned.json()
    }

    /// The approval of the plan of `text` by `bob`.
    async fn approved(&self, text: &str) -> Value {
        let planned = self.plan(&self.bob, text).await;
        approval(&planned["to_approve"], "bob", &self.key)
    }

    async fn apply(&self, text: &str, approval: Option<&Value>) -> Reply {
        let mut body = body(text);
        body["widen"] = json!(true);
        if let Some(approval) = approval {
            body["approval"] = approval.clone();
        }
        self.broker.operator().post_json("/v1/apply", &body).await
    }

    async fn roles(&self) -> Value {
        self.broker.operator().get("/v1/agents/a").await.json()["roles"].clone()
    }
}

fn admin(person: &str) -> Value {
    json!({ "role": "admin", "owner": null, "person": person })
}

/// The approval of `to_approve` by the operator `name` with `key`.
fn approval(to_approve: &Value, name: &str, key: &EcdsaKey) -> Value {
    let operator = name.parse().unwrap();
    let signed = PlanBallot::approve(&operator, to_approve["digest"].as_str().unwrap()).canonical().unwrap();
    json!({
        "type": PlanBallot::KIND, "operator": name, "digest": to_approve["digest"], "seq": to_approve["seq"],
        "expires_at": to_approve["expires_at"], "signature": base64url(&key.sign(&signed).unwrap()),
    })
}

#[tokio::test]
async fn wider_plan_is_applied_with_the_approval_of_a_second_operator() {
    // Given a broker that demands a second operator
    let scene = Scene::start().await;
    // When one operator applies a change that gives more access, then it is refused, also if it is confirmed
    refused(&scene.apply(&wider(), None).await, 409, "widening_needs_second_operator");
    assert_eq!(scene.roles().await, json!(["repo-reader"]));
    // When another person has approved the plan, then it is applied, and the entry has both
    let approval = scene.approved(&wider()).await;
    let done = scene.apply(&wider(), Some(&approval)).await;
    assert_eq!(done.status, 200, "{}", done.text());
    assert_eq!(scene.roles().await, json!(["publisher", "repo-reader"]));
    let event = scene.broker.entries("declarations.applied").await.last().unwrap()["event"].clone();
    let approved = &event["approved"];
    assert_eq!((&event["operator"], &approved["operator"]), (&json!("admin"), &json!("bob")));
    assert_eq!(
        (&approved["person"], &approved["digest"], &approved["signature"]),
        (&json!("bob@corp.example"), &approval["digest"], &approval["signature"])
    );
    // And it has the key of bob, and names the entry that accepted the key
    let accepted = scene.broker.entries("approval-key.accepted").await;
    let accepted = accepted.iter().find(|entry| entry["event"]["operator"] == "bob").unwrap();
    assert_eq!(approved["public_key"], base64url(&scene.key.public_der().unwrap()));
    assert_eq!(
        (&approved["key_seq"], &approved["approval_key"], &approved["public_key"]),
        (&accepted["seq"], &accepted["event"]["key"], &accepted["event"]["public_key"])
    );
    // And it is an entry about bob, too
    let of_bob =
        scene.broker.operator().get("/v1/ledger/entries?operator=bob&kind=declarations.applied").await;
    assert_eq!(of_bob.json()["items"].as_array().unwrap().len(), 1, "{}", of_bob.text());
    // And the approval counts once: after the change was taken back, it does not count again
    assert_eq!(scene.apply(NARROW, None).await.status, 200, "less access needs no approval");
    refused(&scene.apply(&wider(), Some(&approval)).await, 409, "plan_approval_outdated");
}

#[tokio::test]
async fn approval_counts_once_without_an_index_too() {
    // Given a broker whose index of the ledger cannot be written
    let mut scene = Scene::start().await;
    scene.broker.stop().await;
    std::fs::remove_dir_all(scene.broker.data().join("postings")).unwrap();
    std::fs::write(scene.broker.data().join("postings"), "in the way").unwrap();
    scene.broker.serve().await;
    scene.bob.address = scene.broker.admins();
    // When an approval is used twice, then it counts once
    let approval = scene.approved(&wider()).await;
    assert_eq!(scene.apply(&wider(), Some(&approval)).await.status, 200);
    assert_eq!(scene.apply(NARROW, None).await.status, 200);
    refused(&scene.apply(&wider(), Some(&approval)).await, 409, "plan_approval_outdated");
}

#[tokio::test]
async fn plan_that_gives_no_more_access_takes_no_approval() {
    let scene = Scene::start().await;
    let approval = scene.approved(&wider()).await;
    assert_eq!(scene.plan(&scene.bob, NARROW).await["to_approve"], Value::Null);
    refused(&scene.apply(NARROW, Some(&approval)).await, 409, "plan_approval_not_needed");
    // The twin: a broker that does not demand it
    let broker = TestBroker::start_at(MORNING, "").await;
    broker.declare().await;
    assert_eq!(broker.apply(NARROW).await.status, 200);
    assert_eq!(broker.apply(&wider()).await.status, 200);
}

#[tokio::test]
async fn approval_of_another_plan_or_time_is_refused() {
    let scene = Scene::start().await;
    let approval = scene.approved(&wider()).await;
    // Other files, although they make the same change
    let other = format!("# again\n{}", wider());
    refused(&scene.apply(&other, Some(&approval)).await, 409, "plan_approval_outdated");
    // Another entry or end than the ones that were signed
    let mut changed = approval.clone();
    changed["seq"] = json!(1);
    refused(&scene.apply(&wider(), Some(&changed)).await, 409, "plan_approval_outdated");
    changed["seq"] = json!(u32::MAX);
    refused(&scene.apply(&wider(), Some(&changed)).await, 409, "plan_approval_outdated");
    let mut later = approval.clone();
    later["expires_at"] = json!("2027-01-16T07:00:00.000Z");
    refused(&scene.apply(&wider(), Some(&later)).await, 409, "plan_approval_outdated");
    later["expires_at"] = json!("2027-01-18T08:00:00.000Z");
    refused(&scene.apply(&wider(), Some(&later)).await, 403, "plan_approval_expired");
    // Another form
    for (field, wrong) in [("type", "x"), ("expires_at", "soon"), ("signature", "?")] {
        let mut malformed = approval.clone();
        malformed[field] = json!(wrong);
        refused(&scene.apply(&wider(), Some(&malformed)).await, 400, "plan_approval_malformed");
    }
    assert_eq!(scene.roles().await, json!(["repo-reader"]));
}

#[tokio::test]
async fn approval_of_a_plan_counts_for_a_day() {
    let mut scene = Scene::start().await;
    let approval = scene.approved(&wider()).await;
    // The certificates of operators live shorter
    scene.broker.clock.advance_s(u32::try_from(PLAN_APPROVAL_S).unwrap());
    scene.broker.reissue_admin().await;
    refused(&scene.apply(&wider(), Some(&approval)).await, 403, "plan_approval_expired");
    // The twin: a second before, with a key of the new enrolment
    let mut scene = Scene::start().await;
    let approval = scene.approved(&wider()).await;
    scene.broker.clock.advance_s(u32::try_from(PLAN_APPROVAL_S - 1).unwrap());
    scene.broker.reissue_admin().await;
    scene.own = accepted_key(&scene.broker, "admin", &scene.broker.operator()).await;
    assert_eq!(scene.apply(&wider(), Some(&approval)).await.status, 200, "at the limit");
}

#[tokio::test]
async fn approval_by_an_operator_that_may_not_give_it_is_refused() {
    let scene = Scene::start().await;
    let (by, text) = (scene.broker.operator(), wider());
    let to_approve = scene.plan(&scene.bob, &text).await["to_approve"].clone();
    let approved =
        async |name: &str, key: &EcdsaKey| scene.apply(&text, Some(&approval(&to_approve, name, key))).await;
    // The same person under another name
    let same = join(&scene.broker, "root", &admin("Root <ROOT@corp.example>")).await.caller;
    let key = accepted_key(&scene.broker, "root", &same).await;
    refused(&approved("root", &key).await, 403, "approver_is_requester");
    // An operator that does not exist, one with another scope, and one without a key
    let absent = approved("absent", &key).await;
    refused(&absent, 400, "approver_ineligible");
    let pam = json!({ "role": "admin", "owner": "payments", "person": "pam@corp.example" });
    let caller = join(&scene.broker, "pam", &pam).await.caller;
    let pam = accepted_key(&scene.broker, "pam", &caller).await;
    let other = approved("pam", &pam).await;
    refused(&other, 400, "approver_ineligible");
    assert_eq!(
        other.text().contains("is none with your scope"),
        absent.text().contains("is none with your scope")
    );
    let _eve = join(&scene.broker, "eve", &admin("eve@corp.example")).await;
    refused(&approved("eve", &key).await, 403, "approval_key_missing");
    // Another role
    let ann = json!({ "role": "approver", "owner": null, "person": "ann@corp.example" });
    let caller = join(&scene.broker, "ann", &ann).await.caller;
    let ann = accepted_key(&scene.broker, "ann", &caller).await;
    refused(&approved("ann", &ann).await, 400, "approver_ineligible");
    // A signature by another key
    refused(&approved("bob", &key).await, 403, "approval_signature_invalid");
    // An operator that was suspended since
    assert_eq!(post(&by, "/v1/operators/bob/suspend").await.status, 200);
    refused(&approved("bob", &scene.key).await, 400, "approver_ineligible");
    assert_eq!(post(&by, "/v1/operators/bob/resume").await.status, 200);
    // And one that was revoked since; the entries have the refusals
    let denied = scene.broker.entries("operator.denied").await;
    let codes: Vec<&str> = denied.iter().filter_map(|entry| entry["event"]["code"].as_str()).collect();
    assert!(codes.contains(&"approver_ineligible") && codes.contains(&"approval_key_missing"), "{codes:?}");
    assert_eq!(post(&by, "/v1/operators/bob/revoke").await.status, 200);
    refused(&approved("bob", &scene.key).await, 403, "approval_key_missing");
}

#[tokio::test]
async fn operator_of_unknown_person_applies_no_wider_plan() {
    let scene = Scene::start().await;
    let approval = scene.approved(&wider()).await;
    let profile = json!({ "networks": [], "life_s": null, "person": null });
    assert_eq!(change(&scene.bob, "admin", &profile).await.status, 200);
    refused(&scene.apply(&wider(), Some(&approval)).await, 409, "operator_without_person");
    // And the key of an approver ends with its person
    let profile = |person: Option<&str>| json!({ "networks": [], "life_s": null, "person": person });
    assert_eq!(change(&scene.bob, "admin", &profile(Some("root@corp.example"))).await.status, 200);
    assert_eq!(change(&scene.broker.operator(), "bob", &profile(None)).await.status, 200);
    refused(&scene.apply(&wider(), Some(&approval)).await, 403, "approval_key_missing");
}

/// The approval by `bob` with `key` of the sensitivity `ordinary` of this secret, which the entry `since` classified.
fn lower_sensitivity(key: &EcdsaKey, secret: &str, since: u64, expires_at: &str) -> Value {
    Approving { by: "bob", key, secret, to: "ordinary", since, expires_at }.signed()
}

/// Another sensitivity of a secret that a second operator approves.
struct Approving<'a> {
    by: &'a str,
    key: &'a EcdsaKey,
    secret: &'a str,
    to: &'a str,
    since: u64,
    expires_at: &'a str,
}

impl Approving<'_> {
    fn signed(&self) -> Value {
        let Self { by, key, secret, to, since, expires_at } = *self;
        let (operator, name) = (by.parse().unwrap(), secret.parse().unwrap());
        let ballot = SensitivityBallot::approve(&operator, &name, to.parse().unwrap(), since, expires_at);
        let signed = ballot.canonical().unwrap();
        json!({
            "type": SensitivityBallot::KIND, "operator": by, "secret": secret, "sensitivity": to,
            "classified_seq": since, "expires_at": expires_at, "signature": base64url(&key.sign(&signed).unwrap()),
        })
    }
}

#[tokio::test]
async fn lower_sensitivity_needs_the_approval_of_a_second_operator() {
    // Given a secret of the sensitivity `high` that a capability delivers
    let scene = Scene::start().await;
    let by = scene.broker.operator();
    let stored = by.put("/v1/secrets/github/app", "application/octet-stream", b"value").await;
    assert!([200, 201].contains(&stored.status), "{}", stored.text());
    let route = "/v1/secret-sensitivity/github/app";
    let raise = async || {
        assert_eq!(by.post_json(route, &json!({ "sensitivity": "high" })).await.status, 200);
        by.get("/v1/secrets/github/app").await.json()["classified_seq"].as_u64().unwrap()
    };
    let lower = async |approval: Option<&Value>| {
        let mut body = json!({ "sensitivity": "ordinary", "widen": true });
        approval.into_iter().for_each(|approval| body["approval"] = approval.clone());
        by.post_json(route, &body).await
    };
    let (since, noon) = (raise().await, "2027-01-15T12:00:00.000Z");
    // When one operator lowers it, then it is refused, also with an approval that does not count
    let refusal = lower(None).await;
    refused(&refusal, 409, "widening_needs_second_operator");
    assert!(refusal.text().contains("--approve --out"), "{}", refusal.text());
    let approval = lower_sensitivity(&scene.key, "github/app", since, noon);
    let mut later = approval.clone();
    later["expires_at"] = json!("2027-01-15T13:00:00.000Z");
    refused(&lower(Some(&later)).await, 403, "approval_signature_invalid");
    let long = lower_sensitivity(&scene.key, "github/app", since, "2027-01-17T12:00:00.000Z");
    refused(&lower(Some(&long)).await, 403, "plan_approval_expired");
    let ended = lower_sensitivity(&scene.key, "github/app", since, "2027-01-15T08:00:00.000Z");
    refused(&lower(Some(&ended)).await, 403, "plan_approval_expired");
    let earlier = lower_sensitivity(&scene.key, "github/app", since - 1, noon);
    refused(&lower(Some(&earlier)).await, 409, "plan_approval_outdated");
    let mut other = approval.clone();
    other["secret"] = json!("github/other");
    refused(&lower(Some(&other)).await, 409, "plan_approval_outdated");
    let mut malformed = approval.clone();
    malformed["type"] = json!("x");
    refused(&lower(Some(&malformed)).await, 400, "plan_approval_malformed");
    assert_eq!(by.get("/v1/secrets/github/app").await.json()["sensitivity"], "high");
    // When another person has approved it, then it is lowered, and the entry has both
    let done = lower(Some(&approval)).await;
    assert_eq!(done.status, 200, "{}", done.text());
    let event = scene.broker.entries("secret.sensitivity-lowered").await.last().unwrap()["event"].clone();
    assert_eq!((&event["operator"], &event["approved"]["operator"]), (&json!("admin"), &json!("bob")));
    assert_eq!(event["approved"]["person"], "bob@corp.example");
    // And a third party verifies it with a bundle
    let agent = scene.broker.agent("a", &[]).await;
    let key = agent.caller.get("/v1/checkpoint/key").await.text();
    let made = by.post_json("/v1/evidence", &json!({ "kind": "operator", "name": "bob" })).await;
    assert_eq!(made.status, 200, "{}", made.text());
    let verified = verify(&made.body, &NoteVerifier::parse(key.trim()).unwrap()).unwrap();
    assert_eq!(verified.signatures, Signatures { verified: 1, without_key: 0 });
    let (accepts, said) = crate::approvals::by_python(&made.body, key.trim());
    assert!(accepts && said.contains("verified approvals by operators: 1"), "{said}");
    // And the approval counts once
    raise().await;
    refused(&lower(Some(&approval)).await, 409, "plan_approval_outdated");
}

#[tokio::test]
async fn lower_sensitivity_of_an_undelivered_secret_needs_the_approval_too() {
    // Given a secret that was stored with the sensitivity `high`, and that no capability delivers
    let scene = Scene::start().await;
    let by = scene.broker.operator();
    let headers = [("content-type", "application/octet-stream"), ("keyward-sensitivity", "high")];
    assert_eq!(by.send("PUT", "/v1/secrets/spare", &headers, b"value").await.status, 201);
    let shown = by.get("/v1/secrets/spare").await.json();
    assert_eq!(shown["sensitivity"], "high");
    // When one operator lowers it, then it is refused: a capability that comes later would deliver it
    let route = "/v1/secret-sensitivity/spare";
    let mut body = json!({ "sensitivity": "ordinary" });
    refused(&by.post_json(route, &body).await, 409, "widening_needs_second_operator");
    // And the entry of the value is the one that an approval names
    let since = shown["classified_seq"].as_u64().unwrap();
    body["approval"] = lower_sensitivity(&scene.key, "spare", since, "2027-01-15T12:00:00.000Z");
    let lowered = by.post_json(route, &body).await;
    assert_eq!(lowered.status, 200, "{}", lowered.text());
    assert_eq!(by.get("/v1/secrets/spare").await.json()["sensitivity"], "ordinary");
}

#[tokio::test]
async fn higher_sensitivity_that_a_policy_spares_needs_the_approval_too() {
    // Given a policy that denies what delivers ordinary secrets, and a secret that was never classified
    let scene = Scene::start().await;
    let by = scene.broker.operator();
    let stored = by.put("/v1/secrets/github/app", "application/octet-stream", b"value").await;
    assert!([200, 201].contains(&stored.status), "{}", stored.text());
    let rule = "[[policy]]\nname = \"p\"\nrule = '''\nforbid (principal, action, resource) when { resource.sensitivity == \
                \"ordinary\" };\n'''\n";
    let denied = scene.apply(rule, None).await;
    assert_eq!(denied.status, 200, "{}", denied.text());
    // When one operator raises the sensitivity, by either command, then it is refused
    let route = "/v1/secret-sensitivity/github/app";
    let mut body = json!({ "sensitivity": "high", "widen": true });
    let refusal = by.post_json(route, &body).await;
    refused(&refusal, 409, "widening_needs_second_operator");
    assert!(refusal.text().contains("classify github/app high --approve"), "{}", refusal.text());
    let headers = [
        ("content-type", "application/octet-stream"),
        ("keyward-sensitivity", "high"),
        ("keyward-widen", "true"),
    ];
    let stored = by.send("PUT", "/v1/secrets/github/app", &headers, b"value").await;
    refused(&stored, 409, "widening_needs_second_operator");
    // And an approval of the lower sensitivity does not count
    let noon = "2027-01-15T12:00:00.000Z";
    body["approval"] = lower_sensitivity(&scene.key, "github/app", 0, noon);
    refused(&by.post_json(route, &body).await, 409, "plan_approval_outdated");
    // When another person has approved it, then it is raised, and the entry has both
    let key = &scene.key;
    let raise = Approving { by: "bob", key, secret: "github/app", to: "high", since: 0, expires_at: noon };
    body["approval"] = raise.signed();
    let done = by.post_json(route, &body).await;
    assert_eq!(done.status, 200, "{}", done.text());
    let event = scene.broker.entries("secret.sensitivity-raised").await.last().unwrap()["event"].clone();
    assert_eq!((&event["operator"], &event["approved"]["operator"]), (&json!("admin"), &json!("bob")));
}
