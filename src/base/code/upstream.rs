//! The broker and an upstream. Operators receive these codes.

super::codes! {
    UPSTREAM_UNREACHABLE "upstream_unreachable" Unavailable:
        "the broker cannot connect to the upstream, or the connection was lost",
        "check that the upstream runs, and that the broker's host can reach its address; the broker tries again by itself";
    UPSTREAM_HANDSHAKE_FAILED "upstream_handshake_failed" Unavailable:
        "the TLS handshake with the upstream failed",
        "the detail code names the cause; compare the declared `host` and `ca` with the certificate that the upstream presents";
    UPSTREAM_NOT_AUTHENTICATED "upstream_not_authenticated" Unavailable:
        "the upstream server does not prove that it knows the password of the login",
        "set the authentication method that docs/reference/drivers.md names for the driver, and check which process listens at the server's port";
    UPSTREAM_CHANGED_BY_COPY "upstream_changed_by_copy" Unavailable:
        "another copy of this broker has changed the upstream: its mark there names a ledger entry that this ledger does not have",
        "find the other copy, e.g. a clone of the virtual machine, and stop one of the two for good; if the other one is stopped: `keyward adopt` on this broker's host, then `keyward rotation retry NAME`";
    UPSTREAM_CLOCK_AHEAD "upstream_clock_ahead" Unavailable:
        "the upstream's clock is ahead of the broker's: the login would expire there at once, so it was neither created nor extended",
        "compare the clocks of the upstream and of the broker's host, and correct the wrong one";
    UPSTREAM_TIMEOUT "upstream_timeout" Unavailable:
        "the upstream did not answer in time",
        "check the load of the upstream and its locks; the broker tries again by itself";
    UPSTREAM_LOGIN_REFUSED "upstream_login_refused" Unavailable:
        "the upstream refused the administering login that the broker used",
        "check the declared role and the secret of its password, then `keyward rotation retry NAME`; the broker repeats steps of leases by itself";
    UPSTREAM_REFUSED "upstream_refused" Unavailable:
        "the upstream refused the change, and is unchanged",
        "look the upstream's own code up (e.g. an SQLSTATE; the ledger's entry has it), correct the cause, then `keyward rotation retry NAME`; the broker repeats steps of leases by itself";
    UPSTREAM_NOT_CHANGED "upstream_not_changed" Unavailable:
        "the upstream confirmed the new value, but does not accept it",
        "check whether another program sets this value; the broker tries again by itself";
    UPSTREAM_ACCEPTS_NO_VERSION "upstream_accepts_no_version" Unavailable:
        "the upstream accepts no version that the broker has, and the broker cannot set one",
        "set a value at the upstream by hand, then store the same value: `keyward secret put NAME`";
    UPSTREAM_UNEXPECTED_STATUS "upstream_unexpected_status" Unavailable:
        "the upstream answered with an HTTP status that means neither success nor refusal in the declaration",
        "the ledger's entry has the status: look up what it means at the upstream; if it means success, add it to `expect`";
    UPSTREAM_RESPONSE_TOO_LARGE "upstream_response_too_large" Unavailable:
        "the upstream's response is larger than `answer_bytes` allows",
        "check what the upstream sends; if the size is right, declare a larger `answer_bytes`";
    UPSTREAM_ADDRESS_BLOCKED "upstream_address_blocked" Unavailable:
        "the declared URL resolves to an address that the broker may not call",
        "if the address is right, add its network to `[upstream] allow_networks` in the broker's configuration, and restart the broker; a rotation continues at its next try, or at once: `keyward rotation retry NAME`";
    UPSTREAM_RESPONSE_INVALID "upstream_response_invalid" Unavailable:
        "the upstream made a value, but its response has no usable value at the declared place",
        "correct `answer` in the declaration; delete the value at the upstream (`keyward rotation show NAME` lists it as an orphan)";
    UPSTREAM_LOGIN_IRREVOCABLE "upstream_login_irrevocable" Unavailable:
        "the administering login has no right to revoke the new database login, so the login was not created",
        "the entry `lease.failed` has the server's own code, e.g. an SQLSTATE; give the administering login the rights that docs/reference/drivers.md lists for the driver";
    UPSTREAM_NOT_REVOKED "upstream_not_revoked" Unavailable:
        "the upstream confirmed the revocation of a value or login, but still accepts it",
        "check whether the upstream needs some time; the broker tries again by itself";
    UPSTREAM_LOGIN_STILL_VALID "upstream_login_still_valid" Unavailable:
        "the revoked database login can still log in: a transaction that does not end holds a lock on it",
        "end the sessions and prepared transactions of the login at the server, as docs/reference/drivers.md shows for the driver; the broker tries again by itself";
    UPSTREAM_LOGIN_NOT_DROPPED "upstream_login_not_dropped" Unavailable:
        "the revoked database login can no longer log in, and its sessions have ended, but the server has not dropped it",
        "docs/reference/drivers.md explains the code in parentheses, e.g. an SQLSTATE; correct the cause, then `keyward lease retry ID`; the broker also tries again by itself";
    UPSTREAM_CONNECTION_LIMIT "upstream_connection_limit" Unavailable:
        "the logins of one agent could use up all connections of the upstream and block revocations, so the login was not created",
        "lower `per_agent` or `connections` of the lease, or raise the server's connection limit; `per_agent` × `connections` must be less than the number of unreserved connections, which is in parentheses";
    UPSTREAM_VERSION_UNSUPPORTED "upstream_version_unsupported" Unavailable:
        "the upstream server is of an old release, where a login can prevent its own revocation, so the login was not created",
        "upgrade the server to a release that docs/reference/drivers.md names for the driver";
    UPSTREAM_CHECK_FAILED "upstream_check_failed" Unavailable:
        "an upstream fails a check that its rotation needs",
        "each line with FAIL has its own fix; correct it, then run the check again";
    UPSTREAM_VALUE_INVALID "upstream_value_invalid" Unavailable:
        "a stored value does not have the form that this upstream needs",
        "store a value as docs/reference/drivers.md shows it for this driver: `keyward secret put NAME`";
}
