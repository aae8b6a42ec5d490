//! What goes wrong between the broker and an upstream.

super::codes! {
    UPSTREAM_UNREACHABLE "upstream_unreachable" Unavailable:
        "the upstream could not be reached, or the connection was lost",
        "see whether it runs and can be reached from the broker; rotations and ends of leases are tried again by themselves";
    UPSTREAM_HANDSHAKE_FAILED "upstream_handshake_failed" Unavailable:
        "no trusted connection to the upstream came about",
        "look at the declared `host` and `ca`, and at the certificate that the upstream shows; the answer, `keyward rotation show` and the log name what is wrong with it";
    UPSTREAM_NOT_AUTHENTICATED "upstream_not_authenticated" Unavailable:
        "the upstream server does not prove that it knows the password: it authenticates the login by a method without that proof, or with too few iterations, or another process answers at its port",
        "have the server check the password by the method that docs/reference/drivers.md names for the driver, and see which process listens at the port";
    UPSTREAM_CHANGED_BY_COPY "upstream_changed_by_copy" Unavailable:
        "another copy of this broker has acted at the upstream: the mark in the role's comment names a ledger entry that this ledger does not have",
        "find the other copy, e.g. a clone of the virtual machine, and stop one of the two for good; if the other one has stopped: `keyward adopt` on this broker's host, then `keyward rotation retry`";
    UPSTREAM_CLOCK_AHEAD "upstream_clock_ahead" Unavailable:
        "the clock of the upstream is ahead of the broker's: the login would have ended there before it begins, so it was neither created nor extended",
        "compare the clocks of the upstream and of the broker's host, and correct the one that is wrong";
    UPSTREAM_TIMEOUT "upstream_timeout" Unavailable:
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
    UPSTREAM_ACCEPTS_NO_VERSION "upstream_accepts_no_version" Unavailable:
        "no value that the broker holds works upstream, and nothing can set one",
        "set the value upstream by hand, then `keyward secret put` the same one";
    UPSTREAM_UNEXPECTED_STATUS "upstream_unexpected_status" Unavailable:
        "the upstream answered with a status that says neither yes nor no",
        "the ledger's entry has the status: see what the upstream means by it, and declare it in `expect` when it is a yes";
    UPSTREAM_RESPONSE_TOO_LARGE "upstream_response_too_large" Unavailable:
        "the upstream answered with more than it may",
        "see what it answers; declare a larger `answer_bytes` when that is meant";
    UPSTREAM_ADDRESS_BLOCKED "upstream_address_blocked" Unavailable:
        "the declared URL leads to an address at which upstreams may not be called",
        "when it is meant, name its network in the broker's configuration, `[upstream] allow_networks`";
    UPSTREAM_RESPONSE_INVALID "upstream_response_invalid" Unavailable:
        "the upstream made a value, and its answer has none where the declaration says, or none that can be kept",
        "look at the declared `answer`; delete the value upstream, `keyward rotation show` lists it as an orphan";
    UPSTREAM_LOGIN_IRREVOCABLE "upstream_login_irrevocable" Unavailable:
        "the administering role of the upstream could not have revoked the new database login, so the login was not created",
        "the `lease.failed` entry has an SQLSTATE; give the administering role (`admin_role`) the attributes and grants that docs/how-to/database-logins.md lists, e.g. `ALTER ROLE … INHERIT`";
    UPSTREAM_NOT_REVOKED "upstream_not_revoked" Unavailable:
        "the upstream said that it ended an old value or a login, and it goes on",
        "see whether it takes a while; rotations and ends of leases are tried again by themselves";
    UPSTREAM_LOGIN_STILL_VALID "upstream_login_still_valid" Unavailable:
        "the revoked database login can still log in, because a transaction that does not end has its role locked",
        "end the sessions and prepared transactions of the login at the server, as docs/reference/drivers.md shows for the driver; the revocation is tried again by itself";
    UPSTREAM_LOGIN_NOT_DROPPED "upstream_login_not_dropped" Unavailable:
        "the revoked database login can no longer log in, and its sessions have ended, but its role is not dropped yet",
        "docs/reference/drivers.md explains the code in parentheses, e.g. an SQLSTATE; correct the cause, then `keyward lease retry`; the revocation is tried again by itself";
    UPSTREAM_CONNECTION_LIMIT "upstream_connection_limit" Unavailable:
        "the database logins of one agent could take all connections of the upstream, and no revocation would get in, so the login was not created",
        "lower `per_agent` or `connections` of the lease, or let the server take more connections: per_agent × connections must be less than the number in parentheses, the connections that are not reserved";
    UPSTREAM_VERSION_UNSUPPORTED "upstream_version_unsupported" Unavailable:
        "the upstream server is of an old release, at which a login can keep itself from being revoked, so the login was not created",
        "upgrade the server to a release that docs/reference/drivers.md names for the driver";
    UPSTREAM_CHECK_FAILED "upstream_check_failed" Unavailable:
        "an upstream lacks something that a rotation needs",
        "each line that says FAIL has its own fix; then check again";
    UPSTREAM_VALUE_INVALID "upstream_value_invalid" Unavailable:
        "a stored value is not of the form that this upstream needs",
        "`keyward secret put` a value of the form that the driver's reference shows";
}
