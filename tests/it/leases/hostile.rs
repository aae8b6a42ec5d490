//! A login that plants objects for the administering role to find: nothing of them is ever evaluated.

use serde_json::json;

use super::{BY_ADMIN, Login, Scene};
use crate::rotation::{self, BYTES, FIRST, IN_TURN};
use crate::support::postgres::{Postgres, Release};

/// What a planted object does: it says who evaluated it, in a table and, for a transaction that is rolled
/// back, in the log.
const RECORD: &str = "CREATE FUNCTION public.planted(what text) RETURNS boolean LANGUAGE plpgsql AS \
    'BEGIN RAISE LOG ''planted %: evaluated by %'', what, current_user; \
     INSERT INTO public.evaluated VALUES (what, current_user); RETURN true; END'";

/// The types of which values are compared, cast and passed.
const TYPES: [&str; 10] =
    ["oid", "regclass", "name", "text", "int4", "int8", "bool", "timestamptz", "float8", "\"char\""];

/// Every operator that the statements of the broker use, and those that SQL's own constructs stand for.
const OPERATORS: [&str; 7] = ["=", "<>", "<", ">", "<=", ">=", "~~"];

/// Every function that they call, and one that a declared statement calls, with its numbers of arguments.
const FUNCTIONS: [(&str, usize); 9] = [
    ("pg_terminate_backend", 1),
    ("pg_terminate_backend", 2),
    ("pg_backend_pid", 0),
    ("current_database", 0),
    ("starts_with", 2),
    ("pg_has_role", 2),
    ("set_config", 3),
    ("count", 1),
    ("pg_sleep", 1),
];

/// Every catalog that they read.
const CATALOGS: [&str; 5] = ["pg_roles", "pg_stat_activity", "pg_shdepend", "pg_database", "pg_authid"];

/// Overloads of all of it, in `schema`.
fn planted(schema: &str) -> Vec<String> {
    let mut sql = Vec::new();
    let mut say = |what: &str, body: &str| {
        sql.push(body.replace("RECORD", &format!("public.planted(''{}'')", what.replace('"', ""))));
    };
    let pairs = || TYPES.iter().flat_map(|left| TYPES.iter().map(move |right| (*left, *right)));
    for (index, (left, right)) in pairs().enumerate() {
        let function = format!("{schema}.compared_{index}");
        let is_planted = format!(
            "CREATE FUNCTION {function}(pg_catalog.{left}, pg_catalog.{right}) RETURNS boolean LANGUAGE sql AS 'SELECT RECORD'"
        );
        say(&format!("operator of {left} and {right}"), &is_planted);
        for operator in OPERATORS {
            let is_planted = format!(
                "CREATE OPERATOR {schema}.{operator} (FUNCTION = {function}, LEFTARG = pg_catalog.{left}, RIGHTARG = pg_catalog.{right})"
            );
            say("", &is_planted);
        }
        for (name, _) in FUNCTIONS.iter().filter(|(_, arguments)| *arguments == 2) {
            let is_planted = format!(
                "CREATE FUNCTION {schema}.{name}(pg_catalog.{left}, pg_catalog.{right}) RETURNS boolean LANGUAGE sql AS 'SELECT RECORD'"
            );
            say(name, &is_planted);
        }
    }
    for (name, arguments) in FUNCTIONS.iter().filter(|(_, arguments)| *arguments != 2) {
        let each = if *arguments == 1 { &TYPES[..] } else { &["text"][..] };
        for argument in each {
            let all = vec![format!("pg_catalog.{argument}"); *arguments].join(", ");
            let returns = if *name == "current_database" { "pg_catalog.name" } else { "pg_catalog.int4" };
            let is_planted = format!(
                "CREATE FUNCTION {schema}.{name}({all}) RETURNS {returns} LANGUAGE sql AS 'SELECT CASE WHEN RECORD THEN NULL::{returns} END'"
            );
            say(name, &is_planted);
        }
    }
    for catalog in CATALOGS {
        let is_planted =
            format!("CREATE VIEW {schema}.{catalog} AS SELECT * FROM pg_catalog.{catalog} WHERE RECORD");
        say(catalog, &is_planted.replace("RECORD", &format!("public.planted('{catalog}')")));
    }
    // A cast is to a type by its name: a domain of that name has a check.
    for name in TYPES {
        let domain = format!("CREATE DOMAIN {schema}.{name} AS pg_catalog.{name} CHECK (RECORD)");
        say(name, &domain.replace("RECORD", &format!("public.planted('cast to {}')", name.replace('"', ""))));
    }
    sql
}

async fn nothing_that_a_login_planted_is_evaluated(release: Release) {
    let more = "statements = [\"SELECT pg_sleep(0)\", \"GRANT SELECT ON public.orders TO {login}\"]\nheir = \"keeper\"";
    let scene = Scene::start_at(Postgres::start_release(release), 10, &format!("{BY_ADMIN}\n{more}")).await;
    let postgres = &scene.postgres;
    postgres.sql(&format!(
        "CREATE TABLE public.orders (n int); CREATE ROLE keeper; GRANT keeper TO keyward_admin; \
         GRANT SELECT ON public.orders TO keyward_admin WITH GRANT OPTION; \
         CREATE TABLE public.evaluated (what text, by text); GRANT INSERT ON public.evaluated TO PUBLIC; \
         GRANT CREATE ON SCHEMA public TO PUBLIC; GRANT CREATE ON DATABASE postgres TO PUBLIC; \
         CREATE ROLE app LOGIN PASSWORD '{FIRST}'; CREATE ROLE app_b LOGIN"
    ));
    ["app", "app_b"].iter().for_each(|role| postgres.has_administered(role));
    // What this test asks is not to be led astray either.
    postgres.sql("ALTER ROLE postgres SET search_path = pg_catalog");
    let planter = scene.lease(&json!({})).await;
    let as_planter = |sql: &str| postgres.psql(planter.name(), planter.password(), sql).unwrap();
    as_planter(RECORD);
    as_planter("CREATE SCHEMA keyward_admin");
    for schema in ["public", "keyward_admin"] {
        planted(schema).chunks(200).for_each(|some| drop(as_planter(&some.join(";\n"))));
    }
    // The trap works: this is what the end of a lease once asked.
    let once =
        "SELECT count(*) FROM pg_catalog.pg_shdepend WHERE refclassid = 'pg_authid'::pg_catalog.regclass";
    assert!(postgres.psql("keyward_admin", "the-administrators-own", once).is_ok());
    let evaluated = || postgres.sql("SELECT count(*) FROM public.evaluated");
    assert_ne!(evaluated(), "0");
    postgres.sql("TRUNCATE public.evaluated");
    let before = postgres.log().len();

    for path in ["\"$user\", public", "keyward_admin, public, pg_catalog", "public, pg_catalog, pg_temp"] {
        postgres.sql(&format!("ALTER DATABASE postgres SET search_path = {path}"));
        let login = scene.lease(&json!({ "fresh": true, "life_s": 600 })).await;
        assert!(scene.lets_in(&login));
        assert_eq!(scene.act(&login, "renew", &json!({ "life_s": 900 })).await.status, 200);
        let stays = "SET search_path = pg_catalog; SELECT pg_sleep(600)";
        let mut session = postgres.session(login.name(), login.password(), stays);
        postgres.until_one_sleeps();
        assert_eq!(scene.end(&json!({ "lease": login.id() })).await.status, 200);
        scene.broker.end_due_leases().await;
        assert!(!scene.lets_in(&login) && !scene.logins().contains(login.name()), "{path}");
        assert!(!session.wait().unwrap().success(), "{path}");
    }
    let stray = format!("{}stray", &planter.name()[.."kw_00000000_".len()]);
    postgres
        .psql(
            "keyward_admin",
            "the-administrators-own",
            &format!("SET search_path = pg_catalog; CREATE ROLE {stray} LOGIN VALID UNTIL '2020-01-01'"),
        )
        .unwrap();
    rotated(&scene).await;
    scene.broker.clock.advance_s(3600);
    scene.broker.end_due_leases().await;
    assert_eq!((scene.logins().as_str(), scene.listed().await.len()), ("", 0), "{:?}", scene.listed().await);
    assert!(!scene.lets_in(&planter));
    assert_eq!(evaluated(), "0", "{}", postgres.sql("SELECT DISTINCT what, by FROM public.evaluated"));
    let log = postgres.log();
    let said = log[before..].lines().filter(|line| line.contains("LOG:  planted ")).collect::<Vec<_>>();
    assert_eq!(said, Vec::<&str>::new());
}

/// Rotates a secret with two roles by the same administering role, until the old one has ended.
async fn rotated(scene: &Scene) {
    let operator = scene.broker.operator();
    let first = json!({ "username": "app", "password": FIRST }).to_string();
    assert_eq!(operator.put("/v1/secrets/orders-db/app", BYTES, first.as_bytes()).await.status, 201);
    let applied = scene.broker.apply(&rotation::declared(&scene.postgres, "grace = \"0s\"", IN_TURN)).await;
    assert_eq!(applied.status, 200, "{}", applied.text());
    let begun = operator.post_json("/v1/rotations/orders-db/app", &json!({ "action": "rotate" })).await;
    assert_eq!(begun.status, 200, "{}", begun.text());
    scene.broker.rotate_due().await;
    assert!(!scene.postgres.lets_in("app", FIRST));
    assert_eq!(scene.broker.entries("rotation.finished").await.len(), 1);
}

#[tokio::test]
async fn nothing_that_a_login_planted_is_evaluated_on_debians_postgresql() {
    nothing_that_a_login_planted_is_evaluated(Release::Debian).await;
}

#[tokio::test]
async fn nothing_that_a_login_planted_is_evaluated_on_postgresql_18() {
    nothing_that_a_login_planted_is_evaluated(Release::Eighteen).await;
}

#[tokio::test]
async fn a_declared_statement_finds_no_object_by_its_name_alone() {
    let more = "statements = [\"SET LOCAL search_path = public\", \"GRANT SELECT ON orders TO {login}\"]";
    let scene = Scene::start_with(10, &format!("{BY_ADMIN}\n{more}")).await;
    scene.postgres.sql(
        "CREATE TABLE public.orders (n int); GRANT SELECT ON public.orders TO keyward_admin WITH GRANT OPTION",
    );
    let refused = scene.ask(&json!({})).await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "upstream_refused"), "{}", refused.text());
    assert_eq!(scene.broker.entries("lease.failed").await[0]["event"]["upstream"], "42P01");
    assert_eq!(scene.logins(), "");
}

/// A login of an administering role that lacks a right, which then gets it.
async fn is_created_only_with(postgres: Postgres, (without, with): (&str, &str), more: &str, state: &str) {
    postgres.sql("CREATE ROLE keeper; GRANT keeper TO keyward_admin");
    postgres.sql(without);
    let scene = Scene::start_at(postgres, 10, &format!("{BY_ADMIN}\n{more}")).await;
    let refused = scene.ask(&json!({})).await;
    let code = refused.code();
    assert_eq!((refused.status, code.as_str()), (503, "upstream_login_irrevocable"), "{}", refused.text());
    assert!(refused.text().contains("drivers.md"), "{}", refused.text());
    let failed = scene.broker.entries("lease.failed").await;
    assert_eq!(
        (&failed[0]["event"]["upstream"], &failed[0]["event"]["unknown"]),
        (&json!(state), &json!(false))
    );
    assert_eq!((scene.logins().as_str(), scene.listed().await.len()), ("", 0));
    scene.postgres.sql(with);
    let login: Login = scene.lease(&json!({})).await;
    assert!(scene.lets_in(&login));
    scene.end(&json!({ "all": true })).await;
    scene.broker.end_due_leases().await;
    assert_eq!((scene.logins().as_str(), scene.listed().await.len()), ("", 0), "{:?}", scene.listed().await);
}

#[tokio::test]
async fn no_login_is_created_that_could_not_be_revoked() {
    let heir = "heir = \"keeper\"";
    let inherit = ("ALTER ROLE keyward_admin NOINHERIT", "ALTER ROLE keyward_admin INHERIT");
    is_created_only_with(Postgres::start(), inherit, "", "42501").await;
    let member = ("REVOKE keeper FROM keyward_admin", "GRANT keeper TO keyward_admin");
    for release in [Release::Debian, Release::Eighteen] {
        is_created_only_with(Postgres::start_release(release), member, heir, "42501").await;
    }
}

#[tokio::test]
async fn a_role_without_inheritance_revokes_its_logins_on_postgresql_18() {
    let postgres = Postgres::start_release(Release::Eighteen);
    postgres.sql("ALTER ROLE keyward_admin NOINHERIT; REVOKE pg_signal_backend FROM keyward_admin");
    let scene = Scene::start_at(postgres, 10, BY_ADMIN).await;
    let login = scene.lease(&json!({})).await;
    let mut session = scene.session(&login);
    scene.end(&json!({ "all": true })).await;
    scene.broker.end_due_leases().await;
    assert_eq!((scene.logins().as_str(), scene.listed().await.len()), ("", 0), "{:?}", scene.listed().await);
    assert!(!session.wait().unwrap().success());
}
