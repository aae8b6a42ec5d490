//! What goes wrong between the broker and an upstream.

super::codes! {
    UPSTREAM_UNREACHABLE "upstream_unreachable" Unavailable:
        "the upstream could not be reached, or the connection was lost",
        "see whether it runs and can be reached from the broker; rotations and ends of leases are tried again by themselves";
    UPSTREAM_HANDSHAKE "upstream_handshake" Unavailable:
        "no trusted connection to the upstream came about",
        "look at the declared `host` and `ca`, and at the certificate that the upstream shows; the answer, `keyward rotation show` and the log name what is wrong with it";
    UPSTREAM_SLOW "upstream_slow" Unavailable:
        "the upstream did not answer in time",
        "see what keeps it; rotations and ends of leases are tried again by themselves";
    UPSTREAM_LOGIN_REFUSED "upstream_login_refused" Unavailable:
        "the upstream did not let in whoever administers it",
        "look at the declared role and at the secret that it logs in with, then `keyward rotation retry`; leases are tried again by themselves";
    UPSTREAM_REFUSED "upstream_refused" Unavailable:
        "the upstream refused what it was asked, and did not change",
        "the ledger's entry has its own code, e.g. an SQLSTATE: look it up, mend the cause, then `keyward rotation retry`; leases are tried again by themselves";
    UPSTREAM_NOT_CHANGED "upstream_not_changed" Unavailable:
        "the upstream said that it took the new value, and does not let it in",
        "see whether something else sets this value; rotations and ends of leases are tried again by themselves";
    UPSTREAM_KNOWS_NONE "upstream_knows_none" Unavailable:
        "no value that the broker holds works upstream, and nothing can set one",
        "set the value upstream by hand, then `keyward secret put` the same one";
    UPSTREAM_UNEXPECTED "upstream_unexpected" Unavailable:
        "the upstream answered with a status that says neither yes nor no",
        "the ledger's entry has the status: see what the upstream means by it, and declare it in `expect` when it is a yes";
    UPSTREAM_TOO_MUCH "upstream_too_much" Unavailable:
        "the upstream answered with more than it may",
        "see what it answers; declare a larger `answer_bytes` when that is meant";
    UPSTREAM_ADDRESS "upstream_address" Unavailable:
        "the declared URL leads to an address at which upstreams may not be called",
        "when it is meant, name its network in the broker's configuration, `[upstream] allow_networks`";
    UPSTREAM_ANSWER "upstream_answer" Unavailable:
        "the upstream made a value, and its answer has none where the declaration says, or none that can be kept",
        "look at the declared `answer`; delete the value upstream, `keyward rotation show` lists it as an orphan";
    UPSTREAM_LOGIN_IRREVOCABLE "upstream_login_irrevocable" Unavailable:
        "the administering role of the upstream could not have revoked the new database login, so the login was not created",
        "the `lease.failed` entry has an SQLSTATE; give the administering role (`admin_role`) the attributes and grants that docs/how-to/database-logins.md lists, e.g. `ALTER ROLE … INHERIT`";
    UPSTREAM_NOT_ENDED "upstream_not_ended" Unavailable:
        "the upstream said that it ended an old value or a login, and it goes on",
        "see whether it takes a while; rotations and ends of leases are tried again by themselves";
    UPSTREAM_CHECK_FAILED "upstream_check_failed" Unavailable:
        "an upstream lacks something that a rotation needs",
        "each line that says FAIL has its own fix; then check again";
    UPSTREAM_VALUE "upstream_value" Unavailable:
        "a stored value is not of the form that this upstream needs",
        "`keyward secret put` a value of the form that the driver's reference shows";
}
