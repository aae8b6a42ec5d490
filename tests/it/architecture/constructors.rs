//! Where proofs are made. `tests/it/compile_fail.rs` builds its cases outside the crate, where `pub(crate)` is not
//! seen: inside the crate, the fields of a proof are private, and each function that makes one is listed here.

use super::assert_none;
use crate::support::source::{Source, identifier, is_word, sources, words};

/// Each type that proves something, and the functions that make one. Reviewed: such a function checks what the type
/// proves, or takes a value that proves it.
const CONSTRUCTORS: &[(&str, &[&str])] = &[
    ("Admitted", &["src/quota/limiter.rs admit"]),
    (
        "AdmitOperator",
        &[
            "src/policy/operator.rs decide_operator_enrolment",
            "src/policy/operator.rs decide_operator_renewal",
        ],
    ),
    ("AgentPrincipal", &["src/authn/principal.rs agent"]),
    ("Authorised", &["src/policy/right.rs authorise"]),
    ("BoundToken", &["src/authn/presented.rs present"]),
    ("CaughtUp", &["src/ledger/sequencer.rs assertion"]),
    ("CertifyOperator", &["src/policy/operator.rs on_host"]),
    ("Committed", &["src/ledger/append.rs assertion"]),
    ("Enrol", &["src/policy/enrolment.rs decide_enrolment"]),
    ("Extend", &["src/policy/lease.rs decide_lease_extension"]),
    ("Grant", &["src/policy/decision.rs assertion"]),
    ("HostPrincipal", &["src/authn/host.rs host"]),
    ("Introspection", &["src/policy/introspection.rs decide_introspection"]),
    ("Issued", &["src/issuance/issue.rs assertion"]),
    (
        "IssueLease",
        &[
            "src/policy/lease.rs decide_lease",
            "src/policy/lease.rs decide_lease_again",
            "src/policy/lease.rs decide_lease_renewal",
        ],
    ),
    ("Mint", &["src/policy/mint.rs decide_again", "src/policy/mint.rs decide_mint"]),
    ("OperatorPrincipal", &["src/authn/operator.rs live_operator"]),
    ("Permit", &["src/quota/limiter.rs permit"]),
    ("Receipt", &["src/ledger/append.rs committing"]),
    ("Renew", &["src/policy/certificate_renewal.rs decide_renewal"]),
    ("RenewingAgent", &["src/authn/principal.rs renewing"]),
    ("RenewingOperator", &["src/authn/operator.rs renewing_operator"]),
    ("ResourceServerPrincipal", &["src/authn/resource_server.rs resource_server"]),
    ("Reveal", &["src/policy/reveal.rs decide_reveal"]),
    ("LoginPermit", &["src/issuance/login.rs begin_lease"]),
];

/// Proofs that are made where it is not listed, that can be made by more than their own file, and lists that are out of
/// date.
fn constructors(sources: &[Source], listed: &[(&str, &[&str])]) -> Vec<String> {
    let mut findings = Vec::new();
    for (proof, made_by) in listed {
        let mut found: Vec<String> = Vec::new();
        for source in sources {
            found.extend(made_in(source, proof));
            findings.extend(open_fields(source, proof));
        }
        found.sort();
        found.dedup();
        for one in found.iter().filter(|one| !made_by.contains(&one.as_str())) {
            findings.push(format!("{one}: makes a `{proof}`, and is not on the list"));
        }
        for one in made_by.iter().filter(|one| !found.iter().any(|made| made == *one)) {
            findings.push(format!("{one}: on the list, but makes no `{proof}`"));
        }
    }
    findings
}

/// The functions of `source` that make a `proof`, each as its file and its name. Other types have variants of the same
/// name: only what defines or imports the proof is looked at.
fn made_in(source: &Source, proof: &str) -> Vec<String> {
    let code = &source.code;
    let defined = words(code, "struct").any(|at| identifier(code[at + 6..].trim_start()) == proof);
    let mut imports = words(code, "use").filter_map(|at| Some(&code[at..at + code[at..].find(';')?]));
    if !defined && !imports.any(|import| words(import, proof).next().is_some()) {
        return Vec::new();
    }
    let enums = blocks(code, "enum", |_| true);
    let own = blocks(code, "impl", |head| {
        let on = head.rsplit_once(" for ").map_or(head, |(_, on)| on);
        words(on, proof).next().is_some()
    });
    let is_within =
        |blocks: &[(usize, usize)], at: usize| blocks.iter().any(|(from, to)| (*from..*to).contains(&at));
    let literals = words(code, proof).chain(words(code, "Self").filter(|at| is_within(&own, *at)));
    let makes = |at: &usize| {
        let after = code[*at..].trim_start_matches(is_word).trim_start();
        let before = code[..*at].trim_end();
        let is_type =
            ["struct", "impl", "for", "->", ":", "&", "<"].iter().any(|word| before.ends_with(word));
        (after.starts_with('{') || after.starts_with('('))
            && !is_type
            && !is_pattern(before)
            && !is_within(&enums, *at)
    };
    literals.filter(makes).map(|at| format!("{} {}", source.path, function(&code[..at]))).collect()
}

/// Whether what follows `before` is taken apart: a `let` without its `=` so far.
fn is_pattern(before: &str) -> bool {
    let statement = before.rfind(';').map_or(before, |at| &before[at..]);
    words(statement, "let").last().is_some_and(|at| !statement[at..].contains('='))
}

/// The function that code after `before` is in.
fn function(before: &str) -> &str {
    words(before, "fn").last().map_or("", |at| identifier(before[at + 2..].trim_start()))
}

/// The blocks that `word` begins and whose head is `wanted`.
fn blocks(code: &str, word: &str, wanted: impl Fn(&str) -> bool) -> Vec<(usize, usize)> {
    let opened = words(code, word).filter_map(|at| {
        let open = at + code[at..].find('{')?;
        wanted(&code[at..open]).then_some(open)
    });
    opened.map(|open| (open, close(code, open))).collect()
}

/// Where the brace closes that opens at `open`.
fn close(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, c) in code[open..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return open + at,
            '}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

/// Fields of `proof` that other files can set.
fn open_fields(source: &Source, proof: &str) -> Vec<String> {
    let code = &source.code;
    let defined = words(code, "struct").filter(|at| identifier(code[at + 6..].trim_start()) == proof);
    let open = defined.filter_map(|at| {
        let body = &code[at..];
        let (from, to) = match body.find(['{', '(', ';'])? {
            from if body[from..].starts_with('{') => (from, close(body, from)),
            from => (from, from + body[from..].find(';')?),
        };
        words(&body[from..to], "pub")
            .next()
            .map(|field| source.finding(at + from + field, &format!("a field of `{proof}` is not private")))
    });
    open.collect()
}

#[test]
fn each_function_that_makes_a_proof_is_listed() {
    assert_none(&constructors(&sources("src"), CONSTRUCTORS));
}

#[test]
fn a_proof_made_elsewhere_is_found() {
    let listed: &[(&str, &[&str])] = &[("Leave", &["src/a/leave.rs judge"])];
    let judged =
        "pub struct Leave(u8);\nimpl Leave {\n    pub fn judge() -> Leave { let Leave(_) = old; Self(1) }\n}";
    let source = |path: &str, raw: &str| Source::new(path, raw);
    let others = source(
        "src/a/other.rs",
        "use super::Leave;\nenum Effect { Leave(u8) }\nfn other() -> Effect { Effect::Leave(1) }",
    );
    assert!(constructors(&[source("src/a/leave.rs", judged), others], listed).is_empty());
    for (path, raw) in [
        ("src/a/other.rs", "use super::leave::Leave;\nfn forge() -> Leave { Leave(2) }"),
        ("src/a/other.rs", "use super::Leave;\nimpl Default for Leave { fn default() -> Self { Self(0) } }"),
        ("src/a/other.rs", "use super::Leave;\nfn forge() -> Leave { Leave { held: 1 } }"),
        ("src/b/leave.rs", "pub struct Leave { pub(crate) held: u8 }"),
        ("src/b/leave.rs", "pub struct Leave(pub u8);"),
    ] {
        let found = constructors(&[source("src/a/leave.rs", judged), source(path, raw)], listed);
        assert_eq!(found.len(), 1, "{raw}: {found:?}");
    }
    assert_eq!(constructors(&[source("src/a/leave.rs", "pub struct Leave(u8);")], listed).len(), 1);
}
