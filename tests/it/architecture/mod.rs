//! The tower, held by a test: floors, owners of outside crates, and the habits that keep rooms rooms.
//!
//! Each rule is a function from sources to findings. It runs over `src`, where it must find nothing,
//! and over a made-up breach, which it must find.

mod bites;
mod book;
mod confined;
mod constructors;
mod cycles;
mod events;
mod exposing;
mod limits;
mod services;
mod shapes;
mod wire;

use std::collections::BTreeSet;

use crate::support::source::{Source, identifier, is_word, sources, words};

/// Every room and its floor. A room imports only rooms on strictly lower floors.
const ROOMS: &[(&str, u8)] = &[
    ("base", 0),
    ("crypto", 1),
    ("config", 1),
    ("telemetry", 1),
    ("files", 1),
    ("ledger", 2),
    ("index", 2),
    ("postings", 2),
    ("keyring", 2),
    ("wire", 2),
    ("store", 3),
    ("console", 3),
    ("registry", 4),
    ("operators", 4),
    ("secrets", 4),
    ("pki", 4),
    ("token", 4),
    ("quota", 4),
    ("revocation", 4),
    ("incidents", 4),
    ("idempotency", 4),
    ("rotation", 4),
    ("custody", 4),
    ("leases", 4),
    ("evidence", 4),
    ("rules", 4),
    ("approvals", 4),
    ("authn", 5),
    ("upstream", 5),
    ("database", 5),
    ("policy", 6),
    ("issuance", 7),
    ("broker", 8),
    ("http", 9),
    ("cli", 9),
    ("jobs", 9),
    ("app", 10),
    ("offline", 11),
];

/// Every outside crate and the rooms that may name it. `docs/architecture.md` says the same, and why.
const CRATES: &[(&str, &[&str])] = &[
    ("aes_gcm", &["crypto"]),
    ("argon2", &["crypto"]),
    ("aws_lc_rs", &["crypto"]),
    ("axum", &["http"]),
    ("blahaj", &["crypto"]),
    ("bytes", ANY),
    ("cedar_policy", &["rules"]),
    ("clap", &["cli", "console"]),
    ("clap_complete", &["cli"]),
    ("clap_mangen", &["cli"]),
    ("crc32fast", &["ledger"]),
    ("croner", &["rotation"]),
    ("data_encoding", &["base"]),
    ("form_urlencoded", &["http", "cli", "upstream"]),
    ("getrandom", &["base"]),
    ("governor", &["quota"]),
    ("http_body_util", &["http", "cli", "upstream"]),
    ("hyper", &["http", "cli", "upstream"]),
    ("hyper_util", &["http", "cli", "upstream"]),
    ("indicatif", &["console"]),
    ("ipnet", &["base"]),
    ("jiff", &["base", "rotation"]),
    ("jsonwebtoken", &["token"]),
    ("flate2", &["upstream"]),
    ("matchit", &["http"]),
    ("memchr", &["cli"]),
    ("miette", &["rules"]),
    ("mimalloc", &["telemetry"]),
    ("minijinja", &["cli"]),
    ("mysql_common", &["upstream"]),
    ("pem", &["pki"]),
    ("postcard", &["store"]),
    ("postgres_protocol", &["database", "upstream"]),
    ("prometheus_client", &["telemetry"]),
    ("rand_core", &["crypto"]),
    ("rcgen", &["pki"]),
    ("roaring", &["postings"]),
    ("rustix", &["base", "files", "ledger", "telemetry", "cli", "console"]),
    ("rustls", &["crypto", "pki"]),
    (
        "schemars",
        &[
            "base", "broker", "config", "http", "leases", "registry", "rotation", "rules", "token",
            "upstream", "wire",
        ],
    ),
    ("serde", ANY),
    ("serde_json", ANY),
    ("signal_hook", &["console"]),
    ("sled", &["index"]),
    ("thiserror", ANY),
    ("time", &["pki"]),
    ("tokio", ANY),
    ("tokio_rustls", &["http", "cli", "upstream"]),
    ("tokio_postgres", &["database", "upstream"]),
    ("tokio_postgres_rustls_improved", &["database", "upstream"]),
    ("toml", &["config", "leases", "registry", "rotation", "rules"]),
    ("tower", &["http"]),
    ("tracing", ANY),
    ("tracing_subscriber", &["telemetry"]),
    ("uuid", &["base"]),
    ("webpki", &["pki"]),
    ("x509_parser", &["pki"]),
    ("zeroizing_alloc", &["telemetry"]),
    ("zip", &["evidence"]),
    ("zeroize", ANY),
];

const ANY: &[&str] = &["any"];

/// The file that reads the marks of revoked subjects.
const LIVENESS: &[&str] = &["src/authn/live.rs"];

/// The files that may write to the reserve of a full disk. Reviewed: each of them only revokes, and no caller can
/// fill the reserve by repetition.
const REVOKING: &[&str] = &[
    "src/broker/host/clock.rs",
    "src/broker/keys/staging.rs",
    "src/broker/host/host_services.rs",
    "src/broker/leases/revoke_upstream.rs",
    "src/broker/leases/ineligible.rs",
    "src/broker/leases/revoke.rs",
    "src/broker/administration/narrow.rs",
    "src/broker/identity/revoke.rs",
    "src/broker/identity/revoke_code.rs",
    "src/broker/incidents/contain.rs",
    "src/broker/incidents/freeze.rs",
    "src/broker/secrets/versions.rs",
    "src/broker/removals.rs",
];

/// The files that may advance a key beside those of an effect. Reviewed: each announces a call of an upstream, or its
/// effect changes what other records mean.
const ADVANCING: &[&str] = &[
    "src/broker/identity/renew.rs",
    "src/broker/leases/renew.rs",
    "src/broker/rotation/context.rs",
    "src/broker/secrets/classify.rs",
    "src/broker/secrets/delete.rs",
];

/// Proofs and the room that makes them, by a constructor called `assertion` that nobody else sees.
const PROOFS: &[(&str, &str)] =
    &[("CaughtUp", "ledger"), ("Committed", "ledger"), ("Grant", "policy"), ("Issued", "issuance")];

/// Rooms that start tasks; each one waits for them or bounds them.
const SPAWNING: &[&str] = &["app", "http", "cli", "jobs"];

/// Files of other rooms that start tasks. Reviewed: `commit_revocation` starts one for each denial that the ledger has
/// not taken, `DENIALS_UNRECORDED_MAX` at most, and it ends with the denial; `removals` starts one that waits for
/// such a task and takes its order out of the runtime directory, and it ends at once when there is none to wait
/// for; `host` starts one, when the broker opens, that does the same for the orders that were kept. All end with the
/// runtime: what they had not done yet, the kept order has the next start do.
const SPAWNING_FILES: &[&str] =
    &["src/broker/host/host_services.rs", "src/broker/removals.rs", "src/store/revocation.rs"];

const FILE_LINES_MAX: usize = 450;
const DRAWERS: [&str; 9] =
    ["utils", "util", "common", "helpers", "helper", "types", "manager", "service", "misc"];

fn floor(room: &str) -> Option<u8> {
    ROOMS.iter().find(|(name, _)| *name == room).map(|(_, floor)| *floor)
}

/// A room imports only rooms on strictly lower floors.
fn floors(sources: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    for source in sources {
        let Some(room) = source.room() else {
            if !["src/lib.rs", "src/main.rs"].contains(&source.path.as_str()) {
                findings.push(source.finding(0, "a file outside of every room"));
            }
            continue;
        };
        let Some(own) = floor(room) else {
            findings.push(source.finding(0, "a room that is not in the tower"));
            continue;
        };
        for (at, named) in rooms_named(source) {
            let fine = named == room || floor(&named).is_some_and(|other| other < own);
            if !fine {
                findings.push(source.finding(at, &format!("`{room}` may not import `{named}`")));
            }
        }
    }
    findings
}

/// What stands behind `crate::`, or behind as many `super::` as lead to the root.
fn rooms_named(source: &Source) -> Vec<(usize, String)> {
    let code = &source.code;
    let mut found = Vec::new();
    let mut behind = |at: usize, end: usize| {
        for name in firsts(&code[end..]) {
            // Macros and the crate's own items have no room; the library's root has none.
            found.push((at, name.to_owned()));
        }
    };
    for at in words(code, "crate::") {
        behind(at, at + "crate::".len());
    }
    let inside = source.path.trim_start_matches("src/").trim_end_matches(".rs");
    let parts = inside.split('/').filter(|part| *part != "mod").count();
    let to_root = "super::".repeat(parts);
    for at in words(code, &to_root) {
        if !code[..at].ends_with("super::") {
            behind(at, at + to_root.len());
        }
    }
    found
}

/// The first identifiers of what follows: one, or those of a `{…}` group.
fn firsts(rest: &str) -> Vec<&str> {
    if !rest.starts_with('{') {
        return vec![identifier(rest)];
    }
    let (mut depth, mut names, mut fresh) = (0, Vec::new(), false);
    for (at, c) in rest.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if depth == 1 && (c == '{' || c == ',') {
            fresh = true;
        } else if fresh && is_word(c) {
            names.push(identifier(&rest[at..]));
            fresh = false;
        }
    }
    names
}

/// An outside crate is named only in the rooms that own it.
fn owners(sources: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    for source in sources {
        let Some(room) = source.room() else { continue };
        for (at, name) in crates_named(source) {
            match CRATES.iter().find(|(known, _)| *known == name) {
                None => findings.push(source.finding(at, &format!("`{name}` is no crate of the list"))),
                Some((_, rooms)) if *rooms == ANY || rooms.contains(&room) => {}
                Some(_) => findings.push(source.finding(at, &format!("`{name}` is not `{room}`'s"))),
            }
        }
    }
    findings
}

fn crates_named(source: &Source) -> Vec<(usize, &str)> {
    const OURS: [&str; 6] = ["std", "core", "alloc", "crate", "super", "self"];
    let code = &source.code;
    let mut found = Vec::new();
    // Names that a `use` or a `mod` brings in stand for something of ours where they begin a path.
    let mut local = BTreeSet::new();
    let mut uses = Vec::new();
    for at in words(code, "use ") {
        let tree = code[at + 4..].split(';').next().unwrap_or_default();
        let root = identifier(tree.trim_start_matches(['{', ' ', ':']));
        uses.push((at, at + 4 + tree.len()));
        local.extend(tree.split(|c| !is_word(c)).filter(|name| !name.is_empty() && *name != root));
        // `use a_macro;` names something of the same file.
        let outside = tree.contains("::") || CRATES.iter().any(|(name, _)| *name == root);
        if !OURS.contains(&root) && root.starts_with(char::is_lowercase) && outside {
            found.push((at, root));
        }
    }
    local.extend(words(code, "mod ").map(|at| identifier(&code[at + 4..])));
    found.retain(|(_, root)| CRATES.iter().any(|(name, _)| name == root) || !local.contains(root));
    for (name, _) in CRATES {
        let path = format!("{name}::");
        for at in words(code, &path) {
            let rooted = !code[..at].ends_with("::") || code[..at].ends_with(" ::");
            let in_use = uses.iter().any(|(from, to)| (*from..*to).contains(&at));
            if rooted && !in_use && !local.contains(name) {
                found.push((at, name));
            }
        }
    }
    found
}

/// No drawers, no giants, no banners.
fn shapes(sources: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    for source in sources {
        for part in source.path.trim_end_matches(".rs").split('/') {
            if DRAWERS.contains(&part) {
                findings.push(source.finding(0, &format!("`{part}` is a drawer, not a room or an idea")));
            }
        }
        let lines = source.raw.lines().count();
        if lines > FILE_LINES_MAX {
            findings.push(source.finding(0, &format!("{lines} lines: more than one idea")));
        }
        let mut offset = 0;
        for line in source.raw.split_inclusive('\n') {
            if let Some(comment) = line.trim_start().strip_prefix("//") {
                let said = comment.trim_start_matches(['/', '!']).trim();
                if ["====", "----", "****", "####", "~~~~"].iter().any(|rule| said.starts_with(rule)) {
                    findings.push(source.finding(offset, "a banner"));
                }
                if ["This function", "This method", "This struct"].iter().any(|say| said.starts_with(say)) {
                    findings.push(source.finding(offset, "a comment that says what the next line is"));
                }
            }
            offset += line.len();
        }
    }
    findings
}

/// Tasks are joined; queues are bounded; there is one encoder of each sort.
fn habits(sources: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    for source in sources {
        let spawns = source.room().is_some_and(|room| SPAWNING.contains(&room))
            || SPAWNING_FILES.contains(&source.path.as_str());
        let mut ban = |text: &str, needle: &str, why: &str| {
            findings.extend(words(text, needle).map(|at| source.finding(at, why)));
        };
        if !spawns {
            ban(&source.code, "tokio::spawn(", "a task outside of the rooms that start tasks");
            ban(&source.code, "task::spawn(", "a task outside of the rooms that start tasks");
        }
        ban(&source.code, "unbounded_channel", "a queue without an end");
        ban(&source.code, "mpsc::channel(", "a queue whose end is not in `base::limits`, or none");
        if source.path != "src/base/encoding.rs" {
            for encoder in
                ["fn hex(", "fn to_hex(", "fn from_hex(", "fn base64(", "fn base64url(", "fn base32("]
            {
                ban(
                    &source.code,
                    encoder,
                    "a second encoder: `base::encoding` has it, or a method named for it",
                );
            }
            for format in [":02x}", ":02X}", ":02x?}"] {
                ban(&source.text, format, "a second hexadecimal encoder: `base::encoding` has it");
            }
        }
    }
    // A method that says `hex` of itself by way of `base::encoding` is the same encoder.
    findings.retain(|finding| !finding.starts_with("src/crypto/digest.rs:") || !finding.contains("encoder"));
    findings
}

fn assert_none(findings: &[String]) {
    assert!(findings.is_empty(), "\n{}", findings.join("\n"));
}

fn file(path: &str) -> String {
    std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn a_room_imports_only_lower_rooms() {
    let sources = sources("src");
    assert!(sources.iter().flat_map(rooms_named).count() > 200, "the rule reads imports");
    assert_none(&floors(&sources));
}

#[test]
fn an_outside_crate_is_named_by_its_owners_only() {
    let sources = sources("src");
    assert!(sources.iter().flat_map(crates_named).count() > 150, "the rule reads crates");
    assert_none(&owners(&sources));
}

#[test]
fn a_file_is_one_idea_with_a_name_and_without_banners() {
    assert_none(&shapes(&sources("src")));
    assert_none(&shapes(&sources("tests/it")));
}

#[test]
fn tasks_queues_and_encoders_keep_to_the_house() {
    assert_none(&habits(&sources("src")));
}
