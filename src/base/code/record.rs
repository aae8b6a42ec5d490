//! What there is, or is not, and whether the broker can record anything.

super::codes! {
    AGENT_UNKNOWN "agent_unknown" NotFound:
        "there is no agent of this name",
        "`keyward agent list` shows those there are";
    NAME_RESERVED_BY_OWNER "name_reserved_by_owner" Conflict:
        "the name belonged to something of another owner, and whatever still means that must not find yours",
        "choose another name, or ask an operator who is bound to no owner to declare it";
    TOO_MANY_FORMER_NAMES "too_many_former_names" Conflict:
        "the name is new, and its owner has, and has left behind, as many names as one owner may, or all owners together have left as many as the broker remembers",
        "use one that its owner left again, or ask an operator who is bound to no owner to declare it";
    REPLAY_TOKEN_REVOKED "replay_token_revoked" Conflict:
        "this request was answered with a token before, and the token does not count any more",
        "send the request with a new Idempotency-Key";
    ROLE_UNKNOWN "role_unknown" NotFound:
        "a role that the invitation names is not declared",
        "declare the role in a file and `keyward apply` it; `keyward role list` shows those there are";
    SECRET_UNKNOWN "secret_unknown" NotFound:
        "the secret that the capability names is not there",
        "have an operator put it: `keyward secret put NAME`";
    SUBJECT_UNKNOWN "subject_unknown" NotFound:
        "there is no agent, instance or certificate of this name, id or serial",
        "`keyward agent list` and `keyward agent show NAME` list them";
    OPERATOR_UNKNOWN "operator_unknown" NotFound:
        "there is no operator of this name",
        "`keyward operator list` shows those there are; to create one, invite it with a role";
    ROUTE_UNKNOWN "route_unknown" NotFound:
        "there is no such route on this listener",
        "see the reference for routes";
    GENERATION_UNKNOWN "generation_unknown" NotFound:
        "there is no such generation of this key",
        "the listing shows the generations there are";
    SEALED "sealed" Unavailable:
        "the broker is sealed: it holds no key, and waits for somebody to unseal it",
        "on the broker's host: `keyward unseal`";
    NOT_SEALED "not_sealed" Conflict:
        "the broker is not sealed",
        "nothing is left to do: it serves";
    UNSEAL_FAILED "unseal_failed" Unavailable:
        "the broker could not start with what was given, and stays sealed",
        "the reason begins with a code: `keyward help error CODE`; mend that, then `keyward unseal` again";
    PENDING_ORDERS_FULL "pending_orders_full" Conflict:
        "as many orders wait for the broker to be unsealed as may",
        "unseal it: they are carried out before it serves anybody";
    PENDING_ORDER_NOT_STORED "pending_order_not_stored" Unavailable:
        "the order could not be kept until the broker is unsealed, and does not wait",
        "mend the disk of the data directory, and say it again";
    OPERATOR_IS_BREAK_GLASS "operator_is_break_glass" Conflict:
        "this operator is the host's own: it has one certificate, of an hour, and is neither invited nor renewed",
        "choose another name; for another hour: `keyward break-glass operator` on the broker's host";
    CERTIFICATES_NOT_RENEWED "certificates_not_renewed" Conflict:
        "live instances or operators have not renewed since then and would be locked out",
        "wait until they have (`keyward authority list` counts them), or leave them out: `--force`";
    GENERATION_ALREADY_PREPARED "generation_already_prepared" Conflict:
        "a generation is prepared already",
        "activate the one that is prepared, or give it up: revoke it";
    GENERATION_INVALID_STATE "generation_invalid_state" Conflict:
        "a generation of a key does not come to this stage from the one that it is in",
        "the stages are prepared, active, old, tainted, revoked; what is active becomes old by another's activation";
    REPLAY_SECRET_NOT_STORED "replay_secret_not_stored" Conflict:
        "the request was carried out before, and its answer held a secret that nobody keeps",
        "if that answer was lost, ask again with a fresh Idempotency-Key; what was made before ends by itself";
    ENROLMENT_CODE_USED "enrolment_code_used" Conflict:
        "the enrolment code has no use left, it was redeemed with other keys; an alarm was recorded",
        "if you did not redeem it, somebody else has it: tell your operator, and ask for a new code";
    TOO_MANY_INSTANCES "too_many_instances" Conflict:
        "the agent has as many live instances as it may have",
        "end an old instance (`keyward agent revoke --instance ID`), or raise `max_instances` in the agent's declaration";
    RENEWAL_SAME_KEY "renewal_same_key" Conflict:
        "the request is for the key that the certificate in use has",
        "make a new key for every renewal; `keyward renew` does";
    RENEWAL_KEY_IN_USE "renewal_key_in_use" Conflict:
        "the certificate request is that of another agent or resource server: its key has a certificate",
        "make a new key for every renewal; `keyward renew` does";
    AGENT_ROLES_MISMATCH "agent_roles_mismatch" Conflict:
        "the agent exists and holds other roles than the invitation names",
        "leave the roles out of the invitation, or change them in the agent's declaration and `keyward apply` it";
    OPERATOR_ROLE_MISMATCH "operator_role_mismatch" Conflict:
        "the operator exists and has another role or owner than the invitation names",
        "leave them out of the invitation, or change them first: `keyward operator role NAME ROLE`";
    LAST_ADMIN "last_admin" Conflict:
        "nobody else who can act now administers everything",
        "invite another admin first, and have it join: `keyward operator invite NAME --role admin`";
    VERSION_UNKNOWN "version_unknown" NotFound:
        "the secret has no version of this number",
        "`keyward secret versions NAME` lists those it has";
    VERSION_INVALID_STATE "version_invalid_state" Conflict:
        "the version is handed out, is about to be, or was destroyed",
        "only a former version can be rolled back to or destroyed: `keyward secret versions NAME` shows them";
    SECRET_HAS_ROTATION "secret_has_rotation" Conflict:
        "the upstream of the secret does not know the former value any more",
        "rotate it instead: `keyward secret rotate NAME`; or put a value that upstream knows";
    SENSITIVITY_CANNOT_BE_LOWERED "sensitivity_cannot_be_lowered" Conflict:
        "the secret's sensitivity is `high`, and storing a value does not lower it",
        "leave the sensitivity out; it is lowered by itself, which the ledger says: `keyward secret classify NAME ordinary`";
    VERSION_MISMATCH "version_mismatch" Conflict:
        "the secret has another version than the request expects",
        "read the secret's version, `keyward secret show NAME`, and decide again";
    ROTATION_UNKNOWN "rotation_unknown" NotFound:
        "no rotation is declared for a secret of this name",
        "declare one in a file, `[[rotation]]`, and `keyward apply` it; `keyward rotation list` shows those there are";
    ROTATION_IN_PROGRESS "rotation_in_progress" Conflict:
        "a rotation of the secret is under way, and its upstream may have changed",
        "wait until it has ended or failed (`keyward rotation show NAME`), or end it by the value that works: `keyward rotation adopt NAME`";
    ROTATION_IN_GRACE_PERIOD "rotation_in_grace_period" Conflict:
        "the value that was replaced last is still in its grace, and would be cut off",
        "wait until the grace has ended, or end it: `keyward rotation end-grace NAME`, then rotate again";
    ROTATION_HAS_ORPHANS "rotation_has_orphans" Conflict:
        "values that upstream may still know and nobody uses are listed with this rotation, and come first",
        "delete them upstream (`keyward rotation show NAME` lists them), then `keyward rotation clear-orphans NAME`";
    ROTATION_NO_VERSION_ACCEPTED "rotation_no_version_accepted" Conflict:
        "the upstream lets none of the versions in that it was asked about",
        "name another one (`keyward secret versions NAME` lists them), `keyward rotation adopt NAME VERSION`, or set the value upstream by hand and `keyward secret put` the same one";
    ROTATION_INVALID_STATE "rotation_invalid_state" Conflict:
        "the rotation is not in a state in which this can be done",
        "`keyward rotation show NAME` says how it stands";
    CAPABILITY_UNKNOWN "capability_unknown" NotFound:
        "no capability of this name is delivered as a lease",
        "`keyward capability list` shows the capabilities there are, and how each is delivered";
    LEASE_UNKNOWN "lease_unknown" NotFound:
        "there is no lease of this id, it has ended, or it is somebody else's",
        "`keyward lease list` shows those there are; `keyward lease get` makes a new one";
    LEASE_NOT_ACTIVE "lease_not_active" Conflict:
        "the lease is ending",
        "ask for a new one: `keyward lease get CAPABILITY`";
    LEASE_INVALID_STATE "lease_invalid_state" Conflict:
        "the end of the lease has not failed: there is nothing to retry or to forget",
        "revoke it (`keyward lease revoke ID`); `keyward lease list` says how each lease stands";
    LEASE_MAX_LIFE_REACHED "lease_max_life_reached" Conflict:
        "the lease has had the longest life that its capability allows",
        "ask for a new one: `keyward lease get CAPABILITY`";
    SECRET_VALUE_UNCERTAIN "secret_value_uncertain" Unavailable:
        "the secret is between its old value and its new one, and none is known to work",
        "come back in a moment; if it lasts, have an operator look at `keyward rotation show NAME`";
    SIGNING_KEY_MISSING "signing_key_missing" Unavailable:
        "the ledger names a key that the keyring does not hold: the keyring is an older copy",
        "put the newest copy of the keyring back";
    LEDGER_FAILED "ledger_failed" Unavailable:
        "the ledger cannot acknowledge anything",
        "whether this was recorded is unknown: look at the disk, restart the broker, then ask again";
    READ_ONLY "read_only" Unavailable:
        "the broker is in read-only mode (`serve --read-only`, or a copy of the data that is not adopted): it records, issues and revokes nothing",
        "when every other broker with these data has stopped for good: start it without `--read-only`, or adopt the copy: `keyward adopt` on its host";
    TOKEN_KEY_TOO_NEW "token_key_too_new" Conflict:
        "verifiers may not have fetched the token key yet: it was published less than 60 seconds ago",
        "activate it later; or with `--force`, when the key that signs now may be known: verifiers refuse tokens of the new one until they fetch it";
    DATA_COPIED "data_copied" Unavailable:
        "the data directory is a copy: its lock file is another one than when the broker last served from these data",
        "when every other broker with these data has stopped for good: `keyward adopt` on this host; until then the broker starts in read-only mode";
    CLOCK_UNTRUSTED "clock_untrusted" Unavailable:
        "the broker's clocks disagree, and nothing may be issued that outlives either",
        "set the system clock right; once it is, it is followed by itself, or at once after `keyward clock accept` on the broker's host";
    LEDGER_STALLED "ledger_stalled" Unavailable:
        "the broker's data disk does not answer a write",
        "look at the data disk of the broker; the broker goes on by itself once the disk answers";
    LEDGER_NO_SPACE "ledger_no_space" Unavailable:
        "there is no space for the ledger",
        "free space on the broker's data disk; it goes on by itself";
    REVOCATION_UNRECORDED "revocation_unrecorded" Unavailable:
        "a revocation or suspension of the same subject is in force, and the ledger has not taken it yet",
        "look at the broker's data disk: once it answers, the revocation is recorded by itself; ask again then";
    LEDGER_BUSY "ledger_busy" Unavailable:
        "too much waits for the ledger",
        "come back in a moment";
    OVERLOADED "overloaded" Unavailable:
        "more requests are under way than the broker takes on",
        "wait as long as Retry-After says; if it lasts, the broker needs more cores or a faster disk";
    TOO_MANY_HEAVY_REQUESTS "too_many_heavy_requests" Unavailable:
        "the broker works on as many heavy requests of operators (plan, apply, calendar, report) as it takes on",
        "wait as long as Retry-After says; revocations are never limited";
    HEAVY_TIMEOUT "heavy_timeout" Unavailable:
        "the request took longer than 20 seconds and was cancelled; nothing was changed",
        "split the declarations into smaller uploads, or try again when the broker has less to do";
    KEY_EXHAUSTED "key_exhausted" Unavailable:
        "the value key has sealed, or the keyring was written, as often as one key may be used; the reason says which",
        "value key: wait a minute, the broker rotates it, or run `keyward value-key turn`; keyring: it takes no change any more, set up a new broker";
    MODIFIED_CONCURRENTLY "modified_concurrently" Unavailable:
        "what this relies on changed each time that it was decided",
        "what this relies on keeps changing: come back in a moment";
    INTERNAL "internal" Internal:
        "the broker could not finish this",
        "look up the request id in the broker's log";
    ISSUANCE_FAILED "issuance_failed" Internal:
        "the broker could not sign or open what it had recorded",
        "look up the request id in the broker's log";
    RECORD_UNREADABLE "record_unreadable" Internal:
        "a record of the broker's own cannot be read",
        "look up the request id in the broker's log";
    AUTHORITY_FAILED "authority_failed" Internal:
        "the certificate authority could not be used",
        "look up the request id in the broker's log";
    KEYRING_FAILED "keyring_failed" NotStarted:
        "the keyring cannot be used",
        "look at the data directory and its permissions";
    LEDGER_DAMAGED "ledger_damaged" Unverified:
        "the ledger is damaged",
        "`keyward verify` names the place; keep the directory as it is, and put the ledger back from its backup";
}
