//! What ends a lease, and what an end does.

use keyward::base::limits::{LEASE_SWEEP_S, UNKNOWN_LOGINS_LISTED_MAX};
use keyward::base::{Clock, LeaseId, ManualClock, SystemEntropy};
use serde_json::json;

use super::{BY_ADMIN, BY_SUPERUSER, Login, Scene, declared};
use crate::rotation::BYTES;
use crate::support::postgres::ADMIN_PASSWORD;
use crate::support::waiting::until;

/// Hazard REV-03.
#[tokio::test]
async fn an_agent_that_loses_its_right_loses_login_and_sessions() {
    for what in ["revoke", "suspend", "instance", "role", "delete", "prune"] {
        let scene = Scene::start().await;
        let login = scene.lease(&json!({})).await;
        let mut session = scene.session(&login);
        let other = scene.broker.agent("other-bot", &["orders"]).await;
        let body = json!({ "capability": "orders.query" });
        let others = Login(other.caller.post_json("/v1/leases", &body).await.json());
        let operator = scene.broker.operator();
        let done = match what {
            "revoke" | "suspend" => {
                operator.post_json(&format!("/v1/agents/orders-bot/{what}"), &json!({})).await
            }
            "instance" => {
                let listed = scene.listed().await;
                let own = listed.iter().find(|lease| lease["lease"] == login.id()).unwrap();
                let instance = own["instance"].as_str().unwrap().to_owned();
                operator.post_json(&format!("/v1/instances/{instance}/revoke"), &json!({})).await
            }
            "role" => scene.broker.apply("[[agent]]\nname = \"orders-bot\"\nroles = []\n").await,
            "delete" => {
                let deleted = operator.post_json("/v1/agents/orders-bot/delete", &json!({})).await;
                assert_eq!(deleted.json()["leases"], 1, "{}", deleted.text());
                deleted
            }
            _ => {
                let whole = declared(&scene.postgres, 10, BY_ADMIN);
                let text = format!("{whole}\n[[agent]]\nname = \"other-bot\"\nroles = [\"orders\"]\n");
                let body = json!({ "files": [{ "name": "a.toml", "text": text }], "prune": true });
                let planned = operator.post_json("/v1/plan", &body).await.json();
                let live = json!({ "instances": 1, "tokens": 0, "leases": 1 });
                assert_eq!(planned["losses"]["live"], live, "{planned}");
                operator.post_json("/v1/apply", &body).await
            }
        };
        assert_eq!(done.status, 200, "{what}: {}", done.text());
        scene.broker.end_due_leases().await;
        assert!(!session.wait().unwrap().success(), "{what}");
        assert!(!scene.lets_in(&login), "{what}");
        assert_eq!(scene.logins(), others.name(), "{what}: nobody else's");
        assert_eq!(scene.broker.entries("lease.ended").await[0]["event"]["why"], "ineligible", "{what}");
        let revoked = &scene.broker.entries("leases.revoked").await[0];
        assert_eq!(revoked["event"]["agents"], json!(["orders-bot"]), "{what}");
    }
}

#[tokio::test]
async fn an_operator_ends_leases_by_agent_by_capability_and_all_of_them() {
    for which in ["agent", "capability", "all"] {
        let scene = Scene::start().await;
        let mine = scene.lease(&json!({})).await;
        let other = scene.broker.agent("other-bot", &["orders"]).await;
        let body = json!({ "capability": "orders.query" });
        let others = Login(other.caller.post_json("/v1/leases", &body).await.json());
        let (body, count) = match which {
            "agent" => (json!({ "agent": "orders-bot" }), 1),
            "capability" => (json!({ "capability": "orders.query" }), 2),
            _ => (json!({ "all": true }), 2),
        };
        let ended = scene.end(&body).await;
        assert_eq!(
            (ended.status, &ended.json()["leases"]),
            (200, &json!(count)),
            "{which}: {}",
            ended.text()
        );
        let agents =
            if which == "agent" { json!(["orders-bot"]) } else { json!(["orders-bot", "other-bot"]) };
        assert_eq!(scene.broker.entries("leases.revoked").await[0]["event"]["agents"], agents, "{which}");
        // From here on nobody is handed it again, however long upstream takes.
        assert_eq!(scene.act(&mine, "renew", &json!({})).await.code(), "lease_not_active");
        scene.broker.end_due_leases().await;
        assert_eq!(scene.logins(), if which == "agent" { others.name() } else { "" }, "{which}");
        let again = scene.end(&body).await;
        assert_eq!((again.status, &again.json()["leases"]), (200, &json!(0)), "{which}: a second time");
    }
}

#[tokio::test]
async fn what_does_not_name_leases_in_one_way_or_names_none_is_refused() {
    let scene = Scene::start().await;
    for (body, code) in [
        (json!({}), "lease_selection_invalid"),
        (json!({ "all": true, "agent": "orders-bot" }), "lease_selection_invalid"),
        (json!({ "agent": "nobody" }), "agent_unknown"),
        (json!({ "capability": "no.such" }), "capability_unknown"),
        (json!({ "lease": format!("lease_{}", "0".repeat(26)) }), "lease_unknown"),
        (json!({ "lease": "x" }), "id_not_canonical"),
    ] {
        assert_eq!(scene.end(&body).await.code(), code, "{body}");
    }
}

/// Hazard REV-08.
#[tokio::test]
async fn a_failed_lease_revocation_is_retried_forever_and_blocks_no_other() {
    let mut scene = Scene::start().await;
    let login = scene.lease(&json!({})).await;
    scene.postgres.stop();
    scene.end(&json!({ "all": true })).await;
    for round in 1..=12 {
        scene.broker.end_due_leases().await;
        let listed = scene.listed().await;
        assert_eq!((listed.len(), &listed[0]["stage"]), (1, &json!("ending")));
        assert_eq!(listed[0]["ending"]["code"], "upstream_unreachable", "round {round}");
        assert!(listed[0]["ending"]["retry_at"].is_string());
        scene.broker.clock.advance_s(900);
    }
    let metrics = scene.broker.operator().get("/metrics").await.text();
    for line in ["keyward_leases{stage=\"ending\"} 1\n", "keyward_leases_overdue 1\n"] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    let failed =
        metrics.split("keyward_lease_revocations_failed_total ").nth(1).and_then(|rest| rest.lines().next());
    // While the server is left alone one caller a minute may try it, and the sweep may be that one.
    assert!(failed.unwrap().parse::<u32>().unwrap() >= 6, "{metrics}");
    scene.postgres.run();
    scene.broker.clock.advance_s(900);
    assert!(!scene.logins().is_empty());
    scene.broker.end_due_leases().await;
    assert!(!scene.lets_in(&login));
    assert_eq!((scene.logins().as_str(), scene.listed().await.len()), ("", 0));
}

#[tokio::test]
async fn a_lease_is_revoked_despite_a_stop_and_a_new_administrator_password() {
    let mut scene = Scene::start().await;
    let login = scene.lease(&json!({})).await;
    scene.postgres.stop();
    scene.end(&json!({ "all": true })).await;
    scene.broker.end_due_leases().await;
    // Meanwhile the declaration leads elsewhere, and the password is another one.
    let elsewhere =
        declared(&scene.postgres, 10, BY_ADMIN).replace("database = \"postgres\"", "database = \"other\"");
    assert_eq!(scene.broker.apply(&elsewhere).await.status, 200);
    scene.broker.stop().await;
    scene.postgres.run();
    scene.postgres.sql("ALTER ROLE keyward_admin PASSWORD 'another-one'");
    scene.broker.serve().await;
    let put = scene.broker.operator().put("/v1/secrets/orders-db/admin", BYTES, b"another-one").await;
    assert_eq!(put.status, 201, "{}", put.text());
    scene.broker.clock.advance_s(60);
    scene.broker.end_due_leases().await;
    assert!(scene.listed().await.is_empty());
    assert_eq!(scene.logins(), "", "{}", login.name());
}

#[tokio::test]
async fn what_a_login_made_stays_for_its_heir_in_every_database() {
    let upstream = format!(
        "{BY_SUPERUSER}\nheir = \"keeper\"\nstatements = [\"GRANT CREATE ON SCHEMA public TO {{login}}\"]"
    );
    let scene = Scene::start_with(10, &upstream).await;
    scene.postgres.sql("CREATE ROLE keeper");
    scene.postgres.sql("CREATE DATABASE elsewhere");
    let login = scene.lease(&json!({})).await;
    let as_login = |sql: &str| scene.postgres.psql(login.name(), login.password(), sql).unwrap();
    as_login("CREATE TABLE made (n int); INSERT INTO made VALUES (7)");
    scene.postgres.sql(&format!("ALTER DATABASE elsewhere OWNER TO {}", login.name()));
    scene.postgres.sql(&format!("GRANT SELECT ON pg_authid TO {}", login.name()));
    scene.act(&login, "give-up", &json!({})).await;
    scene.broker.end_due_leases().await;
    assert_eq!((scene.logins().as_str(), scene.listed().await.len()), ("", 0), "{:?}", scene.listed().await);
    assert_eq!(
        scene.postgres.sql("SELECT n, tableowner FROM made, pg_tables WHERE tablename = 'made'"),
        "7|keeper"
    );
}

#[tokio::test]
async fn whoever_administers_needs_to_be_no_superuser() {
    let upstream = "admin_role = \"lender\"\nadmin_secret = \"orders-db/admin\"\nmember_of = [\"readers\"]";
    let scene = Scene::start_with(10, upstream).await;
    scene.postgres.sql("CREATE ROLE lender LOGIN CREATEROLE");
    scene.postgres.sql("CREATE ROLE readers; GRANT readers TO lender WITH ADMIN OPTION");
    scene
        .postgres
        .sql("CREATE TABLE orders (n int); INSERT INTO orders VALUES (3); GRANT SELECT ON orders TO readers");
    let put = scene.broker.operator().put("/v1/secrets/orders-db/admin", BYTES, b"lenders-own").await;
    assert_eq!(put.status, 201);
    scene.postgres.sql("ALTER ROLE lender PASSWORD 'lenders-own'");
    let login = scene.lease(&json!({})).await;
    let as_login = |sql: &str| scene.postgres.psql(login.name(), login.password(), sql);
    assert_eq!(as_login("SELECT n FROM orders").as_deref(), Ok("3"), "by its group");
    assert!(as_login("DELETE FROM orders").is_err(), "and no more");
    let mut session = scene.session(&login);
    scene.end(&json!({ "all": true })).await;
    scene.broker.end_due_leases().await;
    assert!(!session.wait().unwrap().success());
    assert_eq!((scene.logins().as_str(), scene.listed().await.len()), ("", 0), "{:?}", scene.listed().await);
}

#[tokio::test]
async fn only_expired_logins_that_the_ledger_lost_are_swept() {
    let mut scene = Scene::start().await;
    let login = scene.lease(&json!({})).await;
    let prefix = &login.name()[.."kw_00000000_".len()];
    let own = |tail: &str| format!("\"{prefix}{tail}\"");
    let past = "LOGIN VALID UNTIL '2020-01-01'";
    scene.postgres.sql(&format!("CREATE ROLE {} {past}", own("lost")));
    scene.postgres.sql(&format!("CREATE ROLE {} LOGIN VALID UNTIL '2999-01-01'", own("later")));
    scene.postgres.sql(&format!("CREATE ROLE kw_ffffffff_x {past}"));
    scene.broker.restart().await;
    scene.broker.end_due_leases().await;
    let left = scene.logins();
    assert!(!left.contains("lost"), "{left}");
    assert!(
        left.contains("later") && left.contains("kw_ffffffff_x") && left.contains(login.name()),
        "{left}"
    );
    assert!(scene.lets_in(&login), "a lease that is known lives on");
    let alarms = async || scene.broker.entries("alarm.login-unknown-removed").await.len();
    assert_eq!(alarms().await, 1);
    // At the start, and then once in a while.
    scene.postgres.sql(&format!("CREATE ROLE {} {past}", own("again")));
    scene.broker.clock.advance_s(u32::try_from(LEASE_SWEEP_S - 1).unwrap());
    scene.broker.end_due_leases().await;
    assert_eq!(alarms().await, 1, "not yet");
    scene.broker.clock.advance_s(1);
    scene.broker.end_due_leases().await;
    assert_eq!((alarms().await, scene.logins().contains("again")), (2, false));
}

#[tokio::test]
async fn a_login_of_another_copy_of_the_broker_is_an_alarm_and_stays() {
    // Given a login of this broker's name, as a clone of it makes one
    let mut scene = Scene::start().await;
    let own = scene.lease(&json!({})).await;
    let prefix = &own.name()[.."kw_00000000_".len()];
    let made = |clock: &ManualClock| {
        let lease = LeaseId::mint(clock.now(), &SystemEntropy).to_string();
        let login = format!("{prefix}{}", lease.split_once('_').unwrap().1);
        scene.postgres.sql(&format!("CREATE ROLE {login} LOGIN VALID UNTIL '2999-01-01'"));
        login
    };
    let others: Vec<String> = (0..=UNKNOWN_LOGINS_LISTED_MAX).map(|_| made(&scene.broker.clock)).collect();
    // When upstream is looked through, then it is named, and left alone
    scene.broker.restart().await;
    scene.broker.end_due_leases().await;
    let alarms = async |scene: &Scene| scene.broker.entries("alarm.login-unknown").await;
    let raised = alarms(&scene).await;
    let named = raised[0]["event"]["logins"].as_array().unwrap();
    assert_eq!((raised.len(), named.len()), (1, UNKNOWN_LOGINS_LISTED_MAX), "{raised:?}");
    assert!(named.iter().all(|one| others.iter().any(|other| one == other)), "{raised:?}");
    assert_eq!(raised[0]["event"]["more"], 1);
    assert!(scene.broker.metric("keyward_alarms_total{alarm=\"login_unknown\"} 1\n").await);
    assert!(scene.logins().contains(&others[0]) && scene.lets_in(&own));
    // When an operator says on the host that the other copy has stopped, then only what comes later is named
    scene.broker.clock.advance_s(1);
    crate::support::process::order_adoption(&scene.broker.data());
    scene.broker.restart().await;
    scene.broker.end_due_leases().await;
    assert_eq!(alarms(&scene).await.len(), 1);
    scene.broker.clock.advance_s(u32::try_from(LEASE_SWEEP_S).unwrap());
    let later = made(&scene.broker.clock);
    scene.broker.end_due_leases().await;
    let raised = alarms(&scene).await;
    assert_eq!((raised.len(), &raised[1]["event"]["logins"]), (2, &json!([later])), "{raised:?}");
}

/// Hazard REV-02.
#[tokio::test]
async fn a_login_revoked_while_it_is_created_is_not_handed_out() {
    let upstream =
        format!("{BY_ADMIN}\nstatements = [\"SELECT pg_sleep(2)\", \"GRANT pg_read_all_data TO {{login}}\"]");
    let scene = Scene::start_with(10, &upstream).await;
    scene.postgres.has_administered("pg_read_all_data");
    let ended = async {
        until(async || !scene.listed().await.is_empty()).await;
        scene.end(&json!({ "all": true })).await
    };
    let body = json!({});
    let (asked, ended) = tokio::join!(scene.ask(&body), ended);
    assert_eq!(ended.json()["leases"], 1, "{}", ended.text());
    assert_eq!((asked.status, asked.code().as_str()), (409, "lease_not_active"), "{}", asked.text());
    scene.broker.end_due_leases().await;
    assert_eq!((scene.logins().as_str(), scene.listed().await.len()), ("", 0));
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_and_what_it_made_all_the_same_is_ended() {
    let scene = Scene::start().await;
    // Statements that add a role wait.
    let lock = "BEGIN; LOCK TABLE pg_authid IN SHARE MODE; SELECT pg_sleep(600)";
    let mut held = scene.postgres.session("postgres", ADMIN_PASSWORD, lock);
    scene.postgres.until_one_sleeps();
    let refused = scene.ask(&json!({})).await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "upstream_refused"), "{}", refused.text());
    let failed = scene.broker.entries("lease.failed").await;
    assert_eq!(
        failed[0]["event"]["upstream"], "57014",
        "the server gives up before the broker does: {failed:?}"
    );
    scene.postgres.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'");
    held.wait().unwrap();
    scene.broker.end_due_leases().await;
    assert_eq!((scene.logins().as_str(), scene.listed().await.len()), ("", 0));
    assert!(scene.lets_in(&scene.lease(&json!({})).await));
}
