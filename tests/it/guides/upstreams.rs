//! The pages about upstreams: rotations and database logins.

use std::fs;

use super::{as_operator, blocks, run_as, said, said_by, shell};
use crate::mariadb::FIRST;
use crate::mariadb::leases::{BY_ADMIN, declared};
use crate::rotation::LOOPBACK;
use crate::support::mariadb::{ADMIN_PASSWORD as ADMIN_OF_MARIADB, MariaDb};
use crate::support::postgres::{ADMIN_PASSWORD, Postgres, Release};
use crate::support::process::Process;
use crate::support::webhook::{ADMIN_TOKEN, Webhook};

#[test]
fn a_postgresql_password_is_rotated_by_the_page_and_mended_by_the_runbook() {
    let mut postgres = Postgres::start_bare(Release::Debian);
    postgres.sql("CREATE ROLE app LOGIN PASSWORD 'the-first'");
    let mut process = Process::init("warn");
    process.serve();
    let ca = process.path("db-ca.pem");
    fs::write(&ca, &postgres.ca_pem).unwrap();
    let (ca, port) = (ca.display().to_string(), postgres.port.to_string());
    let environment = [
        ("APP_PASSWORD", "the-first"),
        ("DB_HOST", "127.0.0.1"),
        ("DB_PORT", port.as_str()),
        ("DB_CA", ca.as_str()),
    ];
    let environment = [&environment[..], &as_superuser(&port)].concat();
    let said = as_operator(&process, "how-to/rotate-a-password.md", 0..5, &environment);
    for part in
        ["+ rotation orders-db/app", "nothing was changed", "orders-db/app rotated: rot_", "every 30d"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    let calendar = fs::read_to_string(process.path("rotations.ics")).unwrap();
    assert!(calendar.matches("BEGIN:VEVENT").count() >= 2, "{calendar}");
    assert!(!postgres.lets_in("app", "the-first"));
    // A person changes a password by hand, and the next rotation is stuck.
    postgres.sql("ALTER ROLE keyward_admin PASSWORD 'by-hand'");
    let stuck = process.command("operator", &["secret", "rotate", "orders-db/app"]).output().unwrap();
    let stuck = String::from_utf8_lossy(&stuck.stderr).into_owned();
    assert!(stuck.contains("error: upstream_login_refused"), "{stuck}");
    let runbook = "runbooks/rotation-stuck.md";
    let shown = as_operator(&process, runbook, 0..1, &[]);
    for part in
        ["state", "retry-scheduled", "next_try", "last_error", "upstream_login_refused (SQLSTATE 28P01)"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let again = process.run_as("operator", &["rotation", "retry", "orders-db/app"], b"");
    let told = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(!again.status.success() && told.contains("tried now and failed: "), "{told}");
    for part in [
        "error: upstream_login_refused",
        "(28P01) (login `app`, set by `keyward_admin`, at postgresql at ",
        "the rotation of `orders-db/app` has",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    process.good(&["rotation", "pause", "orders-db/app"], b"");
    let listed = String::from_utf8(process.good(&["rotation", "list"], b"")).unwrap();
    assert!(listed.contains("SQLSTATE 28P01") && listed.contains("; schedule paused"), "{listed}");
    process.good(&["rotation", "resume", "orders-db/app"], b"");
    // The cure, and then the check, which fails before it.
    let cured = as_operator(&process, runbook, 2..3, &[("ADMIN_PASSWORD", "by-hand")]);
    assert!(cured.contains("orders-db/app: tried now and succeeded; version "), "{cured}");
    let nothing = process.run_as("operator", &["rotation", "retry", "orders-db/app"], b"");
    let told = String::from_utf8_lossy(&nothing.stderr).into_owned();
    assert!(
        told.contains("rotation_invalid_state")
            && told.contains("no rotation of orders-db/app is in progress")
    );
    as_operator(&process, runbook, 1..2, &[]);
    let blocks = blocks(runbook);
    assert!(blocks[2].ends_with(&blocks[3]), "the cure has the retry of step 3");
    process.good(&["secret", "rotate", "orders-db/app"], b"");
    // The other ways to continue.
    as_operator(&process, runbook, 4..5, &[]);
    postgres.sql("ALTER ROLE app PASSWORD 'set-by-hand'");
    let stored = as_operator(&process, runbook, 5..6, &[("PASSWORD", "set-by-hand")]);
    assert!(stored.contains("`keyward rotation check orders-db/app`"), "{stored}");
    let current = process.json(&["secret", "show", "orders-db/app"])["current"].to_string();
    let adopt = blocks[6].replace("orders-db/app 3", &format!("orders-db/app {current}"));
    run_as(&process, "operator", &adopt, &[]);
    postgres.stop();
}

#[test]
fn an_api_key_is_rotated_by_the_page_whoever_makes_it() {
    let service = Webhook::start("the-first-key");
    let mut process = Process::init("warn");
    process.configure(LOOPBACK);
    process.serve();
    let ca = process.path("service-ca.pem");
    fs::write(&ca, &service.ca_pem).unwrap();
    let (ca, url) = (ca.display().to_string(), format!("https://127.0.0.1:{}", service.port));
    let environment = [
        ("API_KEY", "the-first-key"),
        ("ADMIN_TOKEN", ADMIN_TOKEN),
        ("SERVICE_URL", url.as_str()),
        ("SERVICE_CA", ca.as_str()),
    ];
    let page = "how-to/rotate-an-api-key.md";
    let said = as_operator(&process, page, 0..3, &environment);
    for part in ["+ rotation billing/key", "nothing was changed", "billing/key rotated: rot_", "every 30d"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!service.lets_in("the-first-key"));
    as_operator(&process, page, 3..4, &environment);
    assert_eq!(service.heard("POST").len(), 1, "the service made one");
    // The grace has ended; what comes of that takes a moment.
    let is_over = |_: &u32| process.json(&["rotation", "show", "billing/key"])["run"].is_null();
    assert!((0..600).find(is_over).is_some(), "it does not end");
    let shown = as_operator(&process, page, 4..5, &environment);
    assert!(shown.contains("\norphans:\n"), "{shown}");
    assert!(shown.contains("orphans cleared"), "{shown}");
}

#[test]
fn a_secret_is_made_by_the_page_and_read_by_an_agent() {
    let mut process = Process::init("warn");
    process.serve();
    let page = "how-to/generate-a-value.md";
    let said = as_operator(&process, page, 0..2, &[]);
    for part in ["the broker makes the first one at once", "web/session-key rotated: rot_", "every 30d"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let invited = run_as(&process, "operator", &blocks(page)[2], &[]);
    process.good_as("web-bot", &["join"], invited.lines().next().unwrap().as_bytes());
    let read = run_as(&process, "web-bot", &blocks(page)[3], &[]);
    let read: serde_json::Value = serde_json::from_str(&read).unwrap();
    assert_eq!(read["value"].as_str().map(str::len), Some(48));
    assert!(read["version"].as_u64().unwrap() >= 1);
}

/// What `psql` logs in by as the superuser, and the password that the pages give to the administering role.
fn as_superuser(port: &str) -> [(&str, &str); 5] {
    [
        ("ADMIN_PASSWORD", "the-administering-roles-own"),
        ("PGHOST", "127.0.0.1"),
        ("PGPORT", port),
        ("PGUSER", "postgres"),
        ("PGPASSWORD", ADMIN_PASSWORD),
    ]
}

#[test]
fn both_pages_about_postgresql_fit_on_one_broker() {
    let role = |page: &str| {
        let commands = blocks(page).concat();
        let (_, declared) = commands.split_once("[[role]]\nname = ").unwrap();
        declared.lines().next().unwrap().to_owned()
    };
    assert_ne!(role("how-to/rotate-a-password.md"), role("how-to/database-logins.md"));
}

#[test]
fn database_logins_are_handed_out_by_the_page_and_end_by_it() {
    let postgres = Postgres::start_bare(Release::Debian);
    let mut process = Process::init("warn");
    process.serve();
    let ca = process.path("db-ca-of-operator.pem");
    fs::write(&ca, &postgres.ca_pem).unwrap();
    let (ca, port) = (ca.display().to_string(), postgres.port.to_string());
    let of_server = [("DB_HOST", "127.0.0.1"), ("DB_PORT", port.as_str()), ("DB_CA", ca.as_str())];
    let environment = [&of_server[..], &as_superuser(&port)].concat();
    let page = "how-to/database-logins.md";
    let said = as_operator(&process, page, 0..2, &environment);
    assert!(said.contains("+ capability orders.query") && said.contains("+ lease orders.query"), "{said}");
    process.enrol("bot", "order-queries");
    let home = process.path("home-bot").display().to_string();
    let as_agent = |block: usize, more: &[(&str, &str)]| {
        let environment = [&[("KEYWARD_HOME", home.as_str())], more].concat();
        said_by(&shell(&process.path(""), &blocks(page)[block], &environment))
    };
    let said = as_agent(2, &[]);
    assert!(said.contains("live") && said.contains("kw_"), "{said}");
    let said = as_agent(3, &[]);
    assert_eq!(said.matches("(1 row)").count(), 1, "{said}");
    let said = as_agent(4, &[]);
    assert_eq!(said.matches("(1 row)").count(), 2, "{said}");
    // When there is no login, then the line of the page does not start the client program with its own defaults
    assert!(!starts_without_login(&process, "psql", &blocks(page)[3]));
    // Without a place for the CA certificates the command says what is needed.
    drop(fs::remove_dir_all(process.path("home-bot/server-authorities")));
    fs::write(process.path("home-bot/server-authorities"), "no directory").unwrap();
    let nowhere = process.path("home-bot/server-authorities").display().to_string();
    let environment = [("KEYWARD_HOME", home.as_str()), ("XDG_RUNTIME_DIR", nowhere.as_str())];
    let get = "keyward lease get orders.query --format url";
    let said = said_by(&shell(&process.path(""), get, &environment));
    assert!(said.contains("warning: the CA certificates") && said.contains("--ca-file FILE"), "{said}");
    assert!(said.contains("?sslmode=verify-full\n"), "{said}");
    let named = format!("psql \"$({get} --ca-file ca.pem)\" -c 'SELECT 1'");
    assert!(said_by(&shell(&process.path(""), &named, &environment)).contains("(1 row)"));
    let said = as_operator(&process, page, 5..6, &[]);
    assert!(said.contains("1 lease revoked in ledger entry") && said.contains("no leases"), "{said}");
    assert_eq!(postgres.sql("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'kw\\_%'"), "0");
}

/// Whether `script` starts `program` for a person without an identity, whose shell does not stop at failures.
fn starts_without_login(process: &Process, program: &str, script: &str) -> bool {
    let home = process.path("home-nobody").display().to_string();
    let script = format!("set +eu\n{program}() {{ echo STARTED; }}\n{script}");
    let output = shell(&process.path(""), &script, &[("KEYWARD_HOME", home.as_str())]);
    let said = said(&output);
    assert!(said.contains("error: "), "the lease fails: {said}");
    said.contains("STARTED")
}

#[test]
fn mariadb_reads_the_printed_file_by_the_page() {
    let server = MariaDb::start(FIRST);
    let mut process = Process::init("warn");
    process.serve();
    process.good(&["secret", "put", "orders-db/admin"], ADMIN_OF_MARIADB.as_bytes());
    let file = process.path("logins.toml");
    fs::write(&file, declared(&server, 1, BY_ADMIN)).unwrap();
    process.good(&["apply", "-f", &file.display().to_string()], b"");
    process.enrol("bot", "orders");
    for block in blocks("how-to/mariadb-logins.md") {
        let said =
            run_as(&process, "bot", &block.replace(" orders'", " orders -e \"SELECT CURRENT_USER()\"'"), &[]);
        assert!(said.contains("kw_") && said.contains("CURRENT_USER()"), "{block}: {said}");
        assert!(!starts_without_login(&process, "mariadb", &block), "{block}");
    }
    let url = run_as(&process, "bot", "keyward lease get orders.query --format url", &[]);
    let ca = url.lines().next().unwrap().rsplit_once("&ssl-ca=").unwrap().1.replace("%2F", "/");
    assert!(fs::read_to_string(ca).unwrap().contains("BEGIN CERTIFICATE"), "{url}");
}
