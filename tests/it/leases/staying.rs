//! What the holder of a login does to stay, or to get more than it was lent.

use serde_json::json;

use super::{BY_ADMIN, Scene};

/// Hazard REV-03.
#[tokio::test]
async fn a_session_that_holds_its_own_role_fast_ends_all_the_same() {
    let scene = Scene::start().await;
    let login = scene.lease(&json!({})).await;
    // Changes of the role wait for this transaction.
    let hold = "BEGIN; ALTER ROLE CURRENT_USER PASSWORD 'its-own'; SELECT pg_sleep(600)";
    let mut session = scene.postgres.session(login.name(), login.password(), hold);
    scene.postgres.until_one_sleeps();
    scene.end(&json!({ "all": true })).await;
    scene.broker.end_due_leases().await;
    assert_eq!((scene.logins().as_str(), scene.listed().await.len()), ("", 0), "{:?}", scene.listed().await);
    assert!(!session.wait().unwrap().success());
}

#[tokio::test]
async fn what_a_login_made_lends_the_next_one_nobodys_rights() {
    let upstream = format!("{BY_ADMIN}\nstatements = [\"GRANT CREATE ON SCHEMA public TO {{login}}\"]");
    let scene = Scene::start_with(10, &upstream).await;
    scene.postgres.sql("GRANT CREATE ON SCHEMA public TO keyward_admin WITH GRANT OPTION");
    let login = scene.lease(&json!({})).await;
    let made = "CREATE FUNCTION public.left_behind() RETURNS text LANGUAGE sql SECURITY DEFINER \
                AS 'SELECT current_user::text'; CREATE VIEW public.shown AS SELECT rolpassword FROM pg_authid; \
                GRANT SELECT ON public.shown TO PUBLIC";
    scene.postgres.psql(login.name(), login.password(), made).unwrap();
    scene.act(&login, "give-up", &json!({})).await;
    scene.broker.end_due_leases().await;
    assert_eq!(scene.logins(), "", "{:?}", scene.listed().await);
    let next = scene.lease(&json!({})).await;
    let as_next = |sql: &str| scene.postgres.psql(next.name(), next.password(), sql);
    assert!(as_next("SELECT public.left_behind()").is_err(), "{:?}", as_next("SELECT public.left_behind()"));
    assert!(as_next("SELECT rolpassword FROM public.shown").is_err());
}

#[tokio::test]
async fn no_login_is_made_while_its_heir_could_do_what_no_agent_may() {
    let upstream = format!("{BY_ADMIN}\nheir = \"keeper\"");
    let scene = Scene::start_with(10, &upstream).await;
    scene.postgres.sql("CREATE ROLE keeper CREATEROLE; GRANT keeper TO keyward_admin");
    let refused = scene.ask(&json!({})).await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "upstream_refused"), "{}", refused.text());
    assert_eq!(scene.broker.entries("lease.failed").await[0]["event"]["upstream"], "KW001");
    assert_eq!((scene.logins().as_str(), scene.listed().await.len()), ("", 0));
    scene.postgres.sql("ALTER ROLE keeper NOCREATEROLE");
    let login = scene.lease(&json!({})).await;
    assert!(scene.lets_in(&login));
}
