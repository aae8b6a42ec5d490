/// The examples of the verbs of secrets.
pub(super) const OF_SECRETS: &[(&str, [&str; 2])] = &[
    (
        "secret put",
        [
            "keyward secret put github/app --file value.txt",
            "printf %s \"$TOKEN\" | keyward secret put github/app --owner payments",
        ],
    ),
    (
        "secret list",
        ["keyward secret list --prefix orders-db/", "keyward secret list --owner payments -o json"],
    ),
    ("secret show", ["keyward secret show github/app", "keyward secret show github/app -o json"]),
    (
        "secret classify",
        ["keyward secret classify orders-db/app high", "keyward secret classify github/app ordinary --widen"],
    ),
    ("secret versions", ["keyward secret versions github/app", "keyward secret versions github/app -o json"]),
    ("secret readers", ["keyward secret readers github/app", "keyward secret readers github/app --at 7d"]),
    (
        "secret rollback",
        ["keyward secret rollback github/app 3", "keyward secret rollback github/app 3 -o json"],
    ),
    (
        "secret destroy",
        ["keyward secret destroy github/app 2 --yes", "keyward secret destroy github/app 2 --yes --now"],
    ),
    (
        "secret delete",
        ["keyward secret delete github/app", "keyward secret delete github/app --yes --reason \"ticket 17\""],
    ),
    (
        "secret rotate",
        ["keyward secret rotate orders-db/app --plan", "keyward secret rotate orders-db/app --no-wait"],
    ),
];
