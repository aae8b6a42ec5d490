//! The page of the declaration format: it names every table, driver and field that the broker reads, and its examples
//! apply.

use std::fs;

use super::{as_operator, fenced};
use crate::readme::root;
use crate::support::process::Process;

const PAGE: &str = "reference/declarations.md";

/// Declarations with a field that does not exist, and the heading of the section that lists the fields beside it.
const UNKNOWN_FIELDS: [(&str, &str); 16] = [
    ("[[capability]]\nnonsense = 1", "## `capability`"),
    ("[[role]]\nnonsense = 1", "## `role`"),
    ("[[agent]]\nnonsense = 1", "## `agent`"),
    ("[[resource_server]]\nnonsense = 1", "## `resource_server`"),
    ("[[rotation]]\nnonsense = 1", "## `rotation`"),
    ("[[lease]]\nnonsense = 1", "## `lease`"),
    ("[[environment]]\nnonsense = 1", "## `environment`"),
    ("[[policy]]\nnonsense = 1", "## `policy`"),
    (
        "[[rotation]]\nsecret = \"a\"\nupstream = { driver = \"generate\", nonsense = 1 }",
        "### `driver = \"generate\"`",
    ),
    (
        "[[rotation]]\nsecret = \"a\"\nupstream = { driver = \"postgresql\", host = \"127.0.0.1\", database = \"d\", tls = \"off\", nonsense = 1 }",
        "### `driver = \"postgresql\"`",
    ),
    (
        "[[rotation]]\nsecret = \"a\"\nupstream = { driver = \"mariadb\", host = \"a\", ca = \"CA\", nonsense = 1 }",
        "### `driver = \"mariadb\"`",
    ),
    (
        "[[rotation]]\nsecret = \"a\"\nupstream = { driver = \"http\", nonsense = 1 }",
        "### `driver = \"http\"`",
    ),
    (
        "[[rotation]]\nsecret = \"a\"\nupstream = { driver = \"http\", verify = { nonsense = 1 } }",
        "### `driver = \"http\"`",
    ),
    (
        "[[rotation]]\nsecret = \"a\"\nupstream = { driver = \"http\", answer = { nonsense = 1 } }",
        "### `driver = \"http\"`",
    ),
    (
        "[[lease]]\ncapability = \"a\"\nupstream = { driver = \"postgresql-dynamic\", host = \"127.0.0.1\", database = \"d\", tls = \"off\", nonsense = 1 }",
        "### `driver = \"postgresql-dynamic\"`",
    ),
    (
        "[[lease]]\ncapability = \"a\"\nupstream = { driver = \"mariadb-dynamic\", host = \"a\", ca = \"CA\", nonsense = 1 }",
        "### `driver = \"mariadb-dynamic\"`",
    ),
];

/// Fields of servers, which the broker reads apart from the others of a driver.
const OF_SERVERS: [(&str, &[&str]); 4] = [
    ("### `driver = \"postgresql\"`", &["host", "port", "database", "tls", "ca"]),
    ("### `driver = \"postgresql-dynamic\"`", &["host", "port", "database", "tls", "ca"]),
    ("### `driver = \"mariadb\"`", &["host", "port", "ca"]),
    ("### `driver = \"mariadb-dynamic\"`", &["host", "port", "ca"]),
];

#[test]
fn the_page_names_every_table_driver_and_field_of_declarations() {
    let mut process = Process::init("warn");
    process.serve();
    let page = fs::read_to_string(root().join("docs").join(PAGE)).unwrap();
    for table in expected(&process, "[[nonsense]]", "unknown table") {
        assert!(page.contains(&format!("\n| [`[[{table}]]`](#{table})")), "{table}");
    }
    let upstreams = ["[[rotation]]\nsecret = \"a\"", "[[lease]]\ncapability = \"a\""];
    for of in upstreams {
        let text = format!("{of}\nupstream = {{ driver = \"nonsense\" }}");
        for driver in expected(&process, &text, "`driver` is one of").iter().filter(|one| *one != "driver") {
            assert!(page.contains(&format!("\n### `driver = \"{driver}\"`\n")), "{driver}");
        }
    }
    let named = |heading: &str, field: &str| {
        let section = page.split(&format!("\n{heading}\n")).nth(1).unwrap_or_else(|| panic!("{heading}"));
        let section = section.split("\n## ").next().unwrap().split("\n### ").next().unwrap();
        assert!(section.contains(&format!("`{field}`")), "{heading} does not name `{field}`");
    };
    for (text, heading) in UNKNOWN_FIELDS {
        let fields = expected(&process, text, "unknown field");
        fields.iter().filter(|field| *field != "nonsense").for_each(|field| named(heading, field));
        assert!(fields.len() > 2, "{text}: {fields:?}");
    }
    for (heading, fields) in OF_SERVERS {
        fields.iter().for_each(|field| named(heading, field));
    }
}

/// The words in backticks with which the broker refuses `text`, from `fault` on.
fn expected(process: &Process, text: &str, fault: &str) -> Vec<String> {
    let file = process.path("nonsense.toml");
    fs::write(&file, with_authority(process, text)).unwrap();
    let refused = process.run_as("operator", &["plan", "-f", &file.display().to_string()], b"");
    let refused = String::from_utf8(refused.stderr).unwrap();
    let line =
        refused.lines().find(|line| line.contains(fault)).unwrap_or_else(|| panic!("{text}: {refused}"));
    let line = &line[line.find(fault).unwrap()..];
    line.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// `text` with a certificate in the place of those that it leaves out.
fn with_authority(process: &Process, text: &str) -> String {
    let pem = fs::read_to_string(process.path("home-operator/operator/authority.pem")).unwrap();
    let text = text.replace("\"CA\"", &format!("\"{}\"", pem.trim().replace('\n', "\\n")));
    let text = text.replace("-----BEGIN CERTIFICATE-----\n…\n-----END CERTIFICATE-----", pem.trim());
    text.replace("-----BEGIN CERTIFICATE-----\n…", pem.trim())
}

#[test]
fn the_examples_of_declarations_apply_together_and_prune_as_the_page_says() {
    // Given the secrets that the examples name
    let mut process = Process::init("warn");
    process.serve();
    for secret in ["github/app", "orders-db/app", "orders-db/admin", "billing/key", "billing/admin"] {
        process.good(&["secret", "put", secret], b"value");
    }
    let dir = process.path("declared");
    fs::create_dir(&dir).unwrap();
    let examples = fenced(PAGE, "toml");
    for (at, example) in examples.iter().enumerate() {
        fs::write(dir.join(format!("{at}.toml")), with_authority(&process, example)).unwrap();
    }
    // When they are applied, then all is declared
    let dir = dir.display().to_string();
    let applied = String::from_utf8(process.good(&["apply", "-f", &dir], b"")).unwrap();
    for line in [
        "+ agent research-bot",
        "+ resource-server reports",
        "+ rotation billing/key",
        "+ lease orders.query",
    ] {
        assert!(applied.contains(line), "{line}: {applied}");
    }
    let exported = as_operator(&process, PAGE, 0..1, &[]);
    assert_eq!(exported.matches("no changes").count(), 2, "{exported}");
    let listed = as_operator(&process, PAGE, 1..2, &[]);
    for name in ["github.repo.read", "repo-reader", "research-bot", "orders-api/key"] {
        assert!(listed.contains(name), "{name}: {listed}");
    }
    // When one of the files is planned with `--prune`, then the objects of the others would go
    process.enrol("invited", "repo-reader");
    let pruned = process.good(&["plan", "--prune", "-f", &format!("{dir}/0.toml")], b"");
    let pruned = String::from_utf8(pruned).unwrap();
    for line in
        ["- agent invited", "- resource-server reports", "- rotation orders-db/app", "- lease orders.query"]
    {
        assert!(pruned.contains(line), "{line}: {pruned}");
    }
    let changes: Vec<&str> =
        pruned.lines().take_while(|line| !line.starts_with("agents that lose")).collect();
    let changes = changes.join("\n");
    assert!(!changes.contains("research-bot") && !changes.contains("secret"), "{pruned}");
    assert!(pruned.contains("  invited (removed)  1 live instance, 0 tokens, 0 leases"), "{pruned}");
}

#[test]
fn the_page_of_deletion_deletes_what_it_names() {
    const PAGE: &str = "how-to/delete.md";
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    process.enrol("research-bot", "repo-reader");
    process.good(&["operator", "invite", "alice", "--role", "auditor"], b"");
    // When the agent and the operator are deleted, then their names are reserved
    let deleted = as_operator(&process, PAGE, 0..2, &[]);
    assert_eq!(deleted.matches("the name stays reserved").count(), 2, "{deleted}");
    for args in [
        ["agent", "invite", "research-bot", "--role", "repo-reader"],
        ["operator", "invite", "alice", "--role", "auditor"],
    ] {
        let refused = process.run_as("operator", &args, b"");
        let why = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(8) && why.contains("name_deleted"), "{why}");
    }
    // When a secret is needed, then it is not deleted; without the capability it is
    let refused = process.run_as("operator", &["secret", "delete", "github/app", "--yes"], b"");
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(why.contains("secret_in_use") && why.contains("capability `github.repo.read`"), "{why}");
    fs::create_dir(process.path("declarations")).unwrap();
    fs::write(process.path("declarations/a.toml"), "[[agent]]\nname = \"a\"\nroles = []\n").unwrap();
    let planned = as_operator(&process, PAGE, 3..4, &[]);
    assert!(planned.contains("github.repo.read"), "{planned}");
    let declared = process.path("declarations").display().to_string();
    let plan = process.json(&["plan", "-f", &declared, "--prune"])["plan"].as_str().unwrap().to_owned();
    assert!(planned.contains(&plan), "{planned}");
    let deleted = as_operator(&process, PAGE, 4..5, &[("PLAN", &plan)]);
    assert!(deleted.contains("destroyed versions: 1;"), "{deleted}");
    // And a deletion is confirmed
    let asked = process.run_as("operator", &["agent", "delete", "a"], b"");
    let why = String::from_utf8_lossy(&asked.stderr).into_owned();
    assert!(asked.status.code() == Some(2) && why.contains("--yes"), "{why}");
    assert_eq!(process.json(&["agent", "show", "a"])["name"], "a");
}

#[test]
fn the_examples_for_mariadb_are_declarations() {
    let mut process = Process::init("warn");
    process.serve();
    for secret in ["orders-db/app", "orders-db/admin"] {
        process.good(&["secret", "put", secret], b"value");
    }
    let file = process.path("mariadb.toml");
    fs::write(&file, with_authority(&process, &fenced("how-to/mariadb-logins.md", "toml").concat())).unwrap();
    let planned = String::from_utf8(process.good(&["plan", "-f", &file.display().to_string()], b"")).unwrap();
    assert!(
        planned.contains("+ lease orders.query") && planned.contains("+ rotation orders-db/app"),
        "{planned}"
    );
}
