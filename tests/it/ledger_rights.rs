//! The ledger in PostgreSQL: the rights of the broker's role, the schema that is prepared, and servers that are not
//! trusted.

use std::sync::Arc;

use keyward::config::DatabaseHost;
use keyward::database::prepare_database;

use crate::ledger_database::{open, refusal, sql};
use crate::support::false_postgres::{ALL, FalsePostgres};
use crate::support::ledger_bed::{Bed, Recorder, fill};
use crate::support::ledger_database::{
    BROKER_PASSWORD, DatabaseBed, DatabaseSite, OWNER_PASSWORD, Pair, foreign_authority,
};

#[test]
fn a_role_with_other_rights_is_refused() {
    let bed = DatabaseBed::new();
    let why = || refusal(bed.open(Box::new(Recorder::default())));
    for (grant, revoke, named) in [
        (
            "GRANT DELETE ON keyward.entries TO ledger_broker",
            "REVOKE DELETE ON keyward.entries FROM ledger_broker",
            "can change or remove",
        ),
        (
            "GRANT UPDATE ON keyward.entries TO ledger_broker",
            "REVOKE UPDATE ON keyward.entries FROM ledger_broker",
            "can change or remove",
        ),
        (
            "GRANT TRIGGER ON keyward.entries TO ledger_broker",
            "REVOKE TRIGGER ON keyward.entries FROM ledger_broker",
            "can change or remove",
        ),
        (
            "GRANT TRUNCATE ON keyward.head TO ledger_broker",
            "REVOKE TRUNCATE ON keyward.head FROM ledger_broker",
            "can change or remove",
        ),
        (
            "GRANT CREATE ON SCHEMA keyward TO ledger_broker",
            "REVOKE CREATE ON SCHEMA keyward FROM ledger_broker",
            "can change or remove",
        ),
        (
            "REVOKE INSERT ON keyward.entries FROM ledger_broker",
            "GRANT INSERT ON keyward.entries TO ledger_broker",
            "lacks rights",
        ),
        (
            "REVOKE USAGE ON SCHEMA keyward FROM ledger_broker",
            "GRANT USAGE ON SCHEMA keyward TO ledger_broker",
            "SQLSTATE 42501",
        ),
    ] {
        sql(&bed, grant);
        let why = why();
        assert!(why.contains(named), "{grant}: {why}");
        sql(&bed, revoke);
    }
    open(&bed);
}

#[test]
fn a_role_that_owns_the_ledger_or_can_take_such_a_role_is_refused() {
    let bed = DatabaseBed::on(Arc::new(Pair::start()));
    let database = &bed.database;
    for (grant, revoke) in [
        (
            "GRANT ledger_owner TO ledger_broker".to_owned(),
            "REVOKE ledger_owner FROM ledger_broker".to_owned(),
        ),
        (
            "ALTER ROLE ledger_broker CREATEROLE".to_owned(),
            "ALTER ROLE ledger_broker NOCREATEROLE".to_owned(),
        ),
        ("ALTER ROLE ledger_broker SUPERUSER".to_owned(), "ALTER ROLE ledger_broker NOSUPERUSER".to_owned()),
        (
            format!("ALTER DATABASE {database} OWNER TO ledger_broker"),
            format!("ALTER DATABASE {database} OWNER TO ledger_owner"),
        ),
        ("GRANT postgres TO ledger_broker".to_owned(), "REVOKE postgres FROM ledger_broker".to_owned()),
        (
            "GRANT pg_write_server_files TO ledger_broker".to_owned(),
            "REVOKE pg_write_server_files FROM ledger_broker".to_owned(),
        ),
        // The rights of a role from which it does not inherit.
        (
            "CREATE ROLE keeper; GRANT USAGE ON SCHEMA keyward TO keeper; GRANT DELETE ON keyward.entries TO keeper; \
             ALTER ROLE ledger_broker NOINHERIT; GRANT keeper TO ledger_broker"
                .to_owned(),
            "REVOKE keeper FROM ledger_broker; ALTER ROLE ledger_broker INHERIT".to_owned(),
        ),
        (
            "ALTER TABLE keyward.entries OWNER TO ledger_broker".to_owned(),
            "ALTER TABLE keyward.entries OWNER TO ledger_owner".to_owned(),
        ),
    ] {
        sql(&bed, &grant);
        let why = refusal(bed.open(Box::new(Recorder::default())));
        assert!(why.contains("can change or remove"), "{grant}: {why}");
        sql(&bed, &revoke);
    }
    sql(&bed, "GRANT SELECT, INSERT ON keyward.entries TO ledger_broker");
    open(&bed);
}

/// A table that is already there under the name could change or hide entries.
#[test]
fn a_schema_that_is_not_as_the_ledger_needs_it_is_not_prepared() {
    let pair = Pair::shared();
    for (change, named) in [
        ("ALTER TABLE keyward.entries ENABLE ROW LEVEL SECURITY", "row-level security"),
        ("ALTER TABLE keyward.entries SET UNLOGGED", "is unlogged"),
        ("CREATE RULE hides AS ON INSERT TO keyward.entries DO INSTEAD NOTHING", "a rule"),
        (
            "CREATE FUNCTION changes() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; \
             CREATE TRIGGER changes BEFORE INSERT ON keyward.entries FOR EACH ROW EXECUTE FUNCTION changes()",
            "has a trigger",
        ),
        ("ALTER TABLE keyward.head ADD COLUMN more integer", "other columns"),
        ("ALTER TABLE keyward.entries ALTER entry DROP NOT NULL", "other columns"),
        ("ALTER TABLE keyward.entries OWNER TO postgres", "`--owner`"),
        ("ALTER SCHEMA keyward OWNER TO postgres", "`--owner`"),
    ] {
        let database = pair.new_database();
        pair.prepare(&database).unwrap();
        pair.primary.sql_in(&database, change);
        let why = pair.prepare(&database).unwrap_err().to_string();
        assert!(why.contains(named), "{change}: {why}");
    }
}

#[test]
fn a_role_that_is_missing_or_may_not_create_the_schema_is_named() {
    let pair = Pair::shared();
    let database = pair.new_database();
    let owner = || pair.target(&database, "ledger_owner", OWNER_PASSWORD);
    let why = prepare_database(owner(), "nobody").unwrap_err().to_string();
    assert!(why.contains("the role of the broker does not exist"), "{why}");
    let why = prepare_database(pair.broker(&database), "ledger_broker").unwrap_err().to_string();
    assert!(why.contains("`--owner`") && why.contains("may not create the schema"), "{why}");
    prepare_database(owner(), "ledger_broker").unwrap();
}

/// A server with the right certificate that does not know the password is not told it.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_prove_the_password_hears_none() {
    let (server, pair) = (FalsePostgres::start(true).await, Pair::shared());
    let mut target = pair.broker("d");
    target.hosts = vec![DatabaseHost { host: "127.0.0.1".to_owned(), port: server.port }];
    target.authorities = keyward::pki::certificates_from_pem(&server.ca_pem).unwrap();
    for asks in ALL {
        server.asks(asks);
        let site = DatabaseSite::new();
        let why = refusal(site.open(target.clone(), Box::new(Recorder::default())));
        assert!(
            !why.contains(BROKER_PASSWORD) && !server.heard().contains(BROKER_PASSWORD),
            "{asks:?}: {why}"
        );
    }
}

#[test]
fn a_database_without_schema_or_login_is_refused_by_name() {
    let pair = Pair::shared();
    let bed = DatabaseBed::on(Arc::clone(&pair));
    let at = |target| refusal(bed.site.open(target, Box::new(Recorder::default())));
    let empty = pair.new_database();
    let why = at(pair.broker(&empty));
    assert!(why.contains("`keyward ledger prepare`"), "{why}");
    let why = at(pair.broker("nowhere"));
    assert!(why.contains("SQLSTATE 3D000"), "{why}");
    let why = at(pair.target(&bed.database, "ledger_broker", "another"));
    assert!(why.contains("SQLSTATE 28P01") && !why.contains("another"), "{why}");
    let mut untrusted = pair.broker(&bed.database);
    untrusted.authorities = keyward::pki::certificates_from_pem(&foreign_authority()).unwrap();
    let why = at(untrusted);
    assert!(why.contains("TLS handshake"), "{why}");
}

#[test]
fn a_prepared_schema_is_prepared_again_without_a_change() {
    let bed = DatabaseBed::new();
    let (ledger, _) = open(&bed);
    fill(&ledger, 2);
    bed.pair.prepare(&bed.database).unwrap();
    fill(&ledger, 1);
    assert_eq!(ledger.head().seq, 3);
}
