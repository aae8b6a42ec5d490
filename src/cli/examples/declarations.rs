/// The examples of the verbs of declarations, policies and decisions.
pub(super) const OF_DECLARATIONS: &[(&str, [&str; 2])] = &[
    ("plan", ["keyward plan -f declarations/", "keyward plan -f declarations/ --prune"]),
    (
        "simulate",
        ["keyward simulate -f declarations/", "keyward simulate -f policies.toml --against 30d -o json"],
    ),
    (
        "apply",
        [
            "keyward apply -f declarations/",
            "keyward apply -f declarations/ --prune --plan 00112233445566778899aabbccddeeff",
        ],
    ),
    (
        "explain",
        [
            "keyward explain dec_06h302kig9p6nesb7ssq1ja15s",
            "keyward explain --own dec_06h302kig9p6nesb7ssq1ja15s -o json",
        ],
    ),
    ("export", ["keyward export > declarations.toml", "keyward export --kind agent --owner payments"]),
    (
        "declaration schema",
        ["keyward declaration schema > keyward.schema.json", "keyward declaration schema -o json"],
    ),
    ("policy list", ["keyward policy list --prefix no-", "keyward policy list --owner payments -o json"]),
    ("policy show", ["keyward policy show no-night-deploys", "keyward policy show no-night-deploys --at 7d"]),
    ("policy history", ["keyward policy history no-night-deploys", "keyward policy history -o json"]),
    (
        "policy rollback",
        [
            "keyward policy rollback no-night-deploys --to 2c26b46b68ff --dry-run",
            "keyward policy rollback --to 9f86d081884c --widen --yes",
        ],
    ),
    (
        "policy test",
        [
            "keyward policy test cases.toml -f declarations.toml",
            "keyward policy test cases/ -f declarations/ -o json",
        ],
    ),
];
