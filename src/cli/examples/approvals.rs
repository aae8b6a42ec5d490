/// The examples of the verbs of approvals.
pub(super) const OF_APPROVALS: &[(&str, [&str; 2])] = &[
    (
        "request",
        [
            "keyward request web.deploy --reason \"release 7\"",
            "keyward request orders.write --reason \"ticket 17\" --for 30m --wait",
        ],
    ),
    ("request list", ["keyward request list", "keyward request list --all -o json"]),
    (
        "request show",
        ["keyward request show WDJB-MJHT", "keyward request show appr_06h2htbrfhs6388gu9e2l31ivk -o json"],
    ),
    (
        "request withdraw",
        [
            "keyward request withdraw WDJB-MJHT",
            "keyward request withdraw appr_06h2htbrfhs6388gu9e2l31ivk -o json",
        ],
    ),
    ("approval list", ["keyward approval list", "keyward approval list --all --agent deploy-bot -o json"]),
    (
        "approval show",
        ["keyward approval show WDJB-MJHT", "keyward approval show appr_06h2htbrfhs6388gu9e2l31ivk -o json"],
    ),
    (
        "approval approve",
        [
            "keyward approval approve WDJB-MJHT",
            "keyward approval approve appr_06h2htbrfhs6388gu9e2l31ivk --reason \"release 7 is tested\"",
        ],
    ),
    (
        "approval deny",
        [
            "keyward approval deny WDJB-MJHT",
            "keyward approval deny WDJB-MJHT --reason \"not during the freeze\" --tell-agent",
        ],
    ),
    ("approval key create", ["keyward approval key create", "keyward approval key create --replace"]),
    ("approval key show", ["keyward approval key show", "keyward approval key show -o json"]),
    (
        "approval key accept",
        [
            "keyward approval key accept alice --fingerprint 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
            "keyward approval key accept alice --fingerprint 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae --on-host",
        ],
    ),
    (
        "approval key remove",
        ["keyward approval key remove alice", "keyward approval key remove alice -o json"],
    ),
];
