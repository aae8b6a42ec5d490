//! The machine that a command runs on, and its way to the broker. HTTP never returns these codes.

super::codes! {
    USAGE "usage" Usage:
        "the command line is not valid",
        "run the command with `--help`";
    NOT_CONFIRMED "not_confirmed" Local:
        "the question was not answered with yes; nothing was changed",
        "run the command again and answer `y`";
    NO_IDENTITY "no_identity" Unauthenticated:
        "this machine has no identity of this kind",
        "ask an operator for an enrolment code, then `keyward join`; the first operator gets its identity from `keyward init` on the broker's host";
    CERTIFICATE_REFUSED "certificate_refused" Unauthenticated:
        "the broker refused this machine's certificate and named no cause",
        "ask an operator for a new enrolment code, then `keyward join --replace`; the only admin runs `keyward init --reissue-operator` on the broker's host";
    CLOCK_MISMATCH "clock_mismatch" Unauthenticated:
        "the clocks of this machine and of the broker differ: a certificate is valid by only one of them",
        "compare `date -u` on this machine and on the broker's host, and correct the wrong clock; if an operator cannot wait for that: on the broker's host, as root, `keyward break-glass contain SUBJECT --reason TEXT` and `keyward break-glass freeze --reason TEXT` need no certificate";
    SERVER_NAME_MISMATCH "server_name_mismatch" Unauthenticated:
        "the broker's certificate does not name the host of the broker's address",
        "add the host to `[server] names` on the broker's host and restart the broker, or correct the address";
    TLS_FAILED "tls_failed" Unauthenticated:
        "the TLS handshake with the broker failed",
        "check that the address is the broker's; if it is, the broker may have a new authority: ask an operator for a new enrolment code, then `keyward join --replace`";
    BROKER_UNREACHABLE "broker_unreachable" Unavailable:
        "the broker does not answer",
        "check the address and the network; on the broker's host check that `keyward serve` runs";
    RESPONSE_INVALID "response_invalid" Unavailable:
        "the response does not have the form of this version of the broker",
        "check the version of the broker, and which process answers at its address";
    IDENTITY_DAMAGED "identity_damaged" Local:
        "a file of this machine's identity is missing or damaged",
        "ask an operator for a new enrolment code, then `keyward join --replace`";
    IDENTITY_EXISTS "identity_exists" Conflict:
        "this home directory holds an identity already; nothing was sent",
        "store the new identity elsewhere (`--home DIR`), or replace the present one (`--replace`)";
    CERTIFICATE_MISMATCH "certificate_mismatch" Unverified:
        "the response does not contain the requested certificate; the identity on this machine is unchanged",
        "do not use this broker until you know which process answers at its address";
    ADDRESS_INVALID "address_invalid" Local:
        "the broker's address is not a host name with a port",
        "correct the file `address` in the identity's directory, or enrol again: `keyward join --replace`";
    TOKEN_UNVERIFIED "token_unverified" Unverified:
        "the token is not valid, or its signature could not be verified",
        "do not accept the token; get a new one: `keyward token CAPABILITY`";
    POLICY_TEST_FAILED "policy_test_failed" Unverified:
        "a case of a policy test has another outcome than it expects",
        "correct the policies, or the expectation of the case";
    VALUE_FORMAT_MISMATCH "value_format_mismatch" Local:
        "the secret's value lacks a part that this format needs",
        "choose another format, or ask an operator to store the value as docs/how-to/helpers.md shows";
    TEMPLATE_INVALID "template_invalid" Usage:
        "the template cannot be rendered",
        "correct the template; docs/how-to/run-a-program.md has the syntax, e.g. `{{ secret(\"orders-db/app\") }}`";
    SERVER_NOT_DECLARED "server_not_declared" Local:
        "the program asks for the credential of a server that this helper is not declared for",
        "configure the helper for its own server only (docker: `credHelpers`), or name the server: `--server`";
    LIFETIME_TOO_SHORT "lifetime_too_short" Local:
        "the credential expires sooner than `--min-ttl` requires",
        "repeat the command after the next rotation, or give a smaller `--min-ttl`";
    COMMAND_FAILED "command_failed" Local:
        "the command, or the process that renews its token and files, could not be started",
        "check the command's path and permissions, and the limit of processes (`ulimit -u`)";
    CHECKS_FAILED "checks_failed" Local:
        "at least one check failed",
        "each failed check in the list has its own fix";
    FILE_UNUSABLE "file_unusable" Local:
        "a file or directory cannot be used",
        "check the path and its permissions";
    OUTPUT_FAILED "output_failed" Local:
        "standard output cannot be written",
        "make standard output writable; the command took effect, so check its effect before you repeat it";
    FILE_PERMISSIONS_TOO_OPEN "file_permissions_too_open" NotStarted:
        "another user of this host can read or replace a file that the broker trusts",
        "remove the permissions of group and others (`chmod go-rwx FILE`), and check who could have used them";
    FILE_ACCESS_DENIED "file_access_denied" NotStarted:
        "the user of this process may not open a file of the broker; the file itself can be intact",
        "give the file to the broker's user, who owns the data directory: `chown USER FILE`; `keyward doctor --config FILE` checks every file";
    DATA_DIR_UNUSABLE "data_dir_unusable" Local:
        "the data directory cannot be created",
        "create it for the broker's user (mode 0700), or run the command as root";
    SERVER_KEY_UNUSABLE "server_key_unusable" Local:
        "the broker's own TLS key or certificate cannot be used",
        "check the permissions of `tls/` in the data directory; without `tls/server.key` the next start makes a new key";
    RUNTIME_FAILED "runtime_failed" Local:
        "the process could not start its threads",
        "check the limits of processes and memory (`ulimit -a`, `TasksMax=`)";
    DEMO_FAILED "demo_failed" Local:
        "a step of the demo failed",
        "this is a bug in keyward: please report it with the output";
    NOT_INITIALISED "not_initialised" NotStarted:
        "the data directory holds no broker",
        "check `data_dir` in the configuration; for a new broker: `keyward init`";
    KEYRING_MISSING "keyring_missing" NotStarted:
        "the file `keyring` is missing, and the data directory holds a ledger that no other keyring opens",
        "restore the newest copy of `keyring` from your backup to the data directory, then start the broker; a new keyring would open nothing";
    ALREADY_INITIALISED "already_initialised" Local:
        "the data directory holds a broker already; nothing was changed",
        "start it with `keyward serve`; for a new operator certificate: `keyward init --reissue-operator`";
    ROOT_KEY_WRONG "root_key_wrong" NotStarted:
        "the key that `[root_key]` names does not open this keyring",
        "nothing was changed; name the key file that belongs to one of the slots (`keyward slot list`)";
    ROOT_KEY_UNUSABLE "root_key_unusable" NotStarted:
        "the file that `[root_key]` names cannot be used",
        "check that the file exists and that only its owner can read it (mode 0600); outside of the service, a command takes the key of a credential from `--root-key-file FILE`";
    PASSPHRASE_REFUSED "passphrase_refused" Usage:
        "the passphrase is too short, too easy to guess, or not one line",
        "choose at least 15 characters on one line, e.g. five or six unrelated words";
    PASSPHRASE_WRONG "passphrase_wrong" Unauthenticated:
        "the passphrase opens no slot of the keyring",
        "check upper and lower case and the keyboard layout; `keyward slot list` shows whether a slot has a passphrase";
    KEY_SEALED "key_sealed" Local:
        "the operator's private key is sealed with a passphrase, and the command cannot ask for it",
        "run the command at a terminal, or start the key agent first: `keyward operator key-agent`";
    KEY_PASSPHRASE_WRONG "key_passphrase_wrong" Unauthenticated:
        "the passphrase does not open the operator's private key",
        "check upper and lower case and the keyboard layout, and repeat the command; nothing is locked. If the passphrase is lost, ask another admin for an enrolment code, then `keyward join --replace --seal`";
    KEY_NOT_SEALED "key_not_sealed" Conflict:
        "the operator's private key is stored in clear: a key agent has nothing to open",
        "seal the key first: `keyward operator seal-key`";
    KEY_AGENT_RUNNING "key_agent_running" Conflict:
        "a key agent runs already for this home directory",
        "stop it first: `keyward operator key-agent --stop`";
    KEY_AGENT_FAILED "key_agent_failed" Local:
        "the key agent ended, or refused a request",
        "start it again: `keyward operator key-agent`";
    WEBHOOK_UNUSABLE "webhook_unusable" NotStarted:
        "the webhook of `[approvals]` cannot be used, so the broker does not start",
        "correct `webhook`, `webhook_ca` or `webhook_key` in the configuration, or remove them";
    APPROVAL_KEY_NOT_ON_MACHINE "approval_key_not_on_machine" Local:
        "the accepted approval key of this operator is not on this machine",
        "approve on the machine that has the key, or make a key on this one: `keyward approval key create`; another admin has to accept it";
    APPROVAL_KEY_ON_MACHINE "approval_key_on_machine" Conflict:
        "this machine has an approval key, and the broker knows it",
        "`keyward approval key show` shows whether it is accepted; to make another key: `keyward approval key create --replace`";
    APPROVAL_KEY_NOT_ACCEPTED "approval_key_not_accepted" Local:
        "no approval key of this operator is accepted, and only an accepted key can approve",
        "make a key (`keyward approval key create`), and ask another admin to accept its fingerprint: `keyward approval key accept NAME --fingerprint HEX`; while no admin has an accepted key, root accepts it on the broker's host: the same command with `--on-host`";
    APPROVAL_DIGEST_DIFFERS "approval_digest_differs" Unverified:
        "the broker names the digest of another request than the one that it shows; nothing was signed",
        "do not approve; tell the people who run the broker: it shows something else than it would record";
    SLOT_UNKNOWN "slot_unknown" NotFound:
        "the keyring has no slot of this id",
        "`keyward slot list` shows the slots";
    LAST_SLOT "last_slot" Conflict:
        "this is the only slot that opens the keyring; nothing was changed",
        "add another slot first: `keyward slot add`";
    SLOT_KEY_UNCHANGED "slot_key_unchanged" Conflict:
        "this passphrase or key opens the slot already; nothing was changed",
        "choose another passphrase, or name another file";
    SLOT_LIMIT_REACHED "slot_limit_reached" Conflict:
        "the keyring has 8 slots, its limit",
        "remove a slot that is no longer needed: `keyward slot list`, `keyward slot remove ID`";
    SLOT_UNCONFIRMED "slot_unconfirmed" Conflict:
        "the slot does not open the keyring until enough of its shares are confirmed",
        "`keyward slot confirm` reads the shares; `keyward slot remove ID` removes the slot";
    SLOT_NOT_PENDING "slot_not_pending" Conflict:
        "the shares belong to no unconfirmed slot",
        "`keyward slot list` shows which slot is unconfirmed; the others need no confirmation";
    SHARES_OUT_OF_RANGE "shares_out_of_range" Usage:
        "the number of shares or the threshold is out of range",
        "choose 2 to 16 shares, and a threshold of at least 2, e.g. 3 of 5";
    SHARE_INVALID "share_invalid" Usage:
        "the input is not a share, or has a typing error",
        "compare it with the share: `keyward-share-1:`, the threshold and the number of shares, its own number, and 22 groups of four letters";
    SHARES_MISMATCH "shares_mismatch" Usage:
        "the shares do not belong together, or are too few",
        "give different shares of the same slot, as many as its threshold (the first number in each share)";
    SHARES_WRONG "shares_wrong" Unauthenticated:
        "the shares open no slot of the keyring",
        "`keyward slot list` shows the slots; after `keyward slot rekey` only the new shares open the slot";
    SLOT_UNRECORDED "slot_unrecorded" Partial:
        "the slot was changed, but the ledger did not record the change",
        "correct the fault of the data disk; the next start of the broker records the change";
    SLOTS_NOT_REWRAPPABLE "slots_not_rewrappable" Conflict:
        "some slots cannot get the new root key without their own passphrase, key or shares; nothing was changed",
        "repeat the command with `--remove-old-slots` to remove the slots that are listed, then add them again: \
         `keyward slot add`";
    KEYRING_ALTERED "keyring_altered" NotStarted:
        "the file `keyring` was changed by another program, or is damaged; nothing was changed",
        "restore the newest copy of `keyring` from its own backup";
    DATA_NEWER "data_newer" NotStarted:
        "a later version of keyward wrote the data; nothing was changed",
        "start the version of keyward that wrote the data, or a later one";
    DATA_OLDER "data_older" NotStarted:
        "an earlier version of keyward wrote the data, in a format that this version does not read; nothing was changed",
        "start the version of keyward that wrote the data; to use this version, initialise a new broker in an empty \
         data directory, and store the secrets again";
    NOTHING_TO_ADOPT "nothing_to_adopt" NotStarted:
        "there is no data directory to adopt yet",
        "start the broker first: on a copy of the data it starts in read-only mode; then run `keyward adopt`";
    DATA_DIR_IN_USE "data_dir_in_use" NotStarted:
        "another keyward process uses the data directory",
        "stop that process first, e.g. `systemctl stop keyward`";
    PENDING_ORDERS_DAMAGED "pending_orders_damaged" NotStarted:
        "the file of pending orders cannot be read",
        "move the file that the message names away, start the broker, and repeat the revocations that were ordered on this host";
    ENTRIES_LOST "entries_lost" NotStarted:
        "the ledger lacks entries that the broker acknowledged before",
        "restore the newest `ledger/` to the data directory; if there is none, read docs/how-to/recover.md, then `keyward serve --accept-lost-entries`";
    KEYRING_OUTDATED "keyring_outdated" NotStarted:
        "the file `keyring` is an older copy than the one that the broker used last",
        "restore the newest copy of `keyring`; if only slots were added since then: `keyward serve --accept-lost-entries`";
    ANCHOR_ALTERED "anchor_altered" NotStarted:
        "the file `anchor` in the data directory was changed by another program, or is damaged",
        "restore the file or find out who changed it; then `keyward serve --accept-lost-entries`, once";
    TRUST_DOMAIN_CHANGED "trust_domain_changed" NotStarted:
        "`trust_domain` in the configuration is not the one of this broker",
        "set `trust_domain` back: every certificate contains it, and it cannot change";
    LEDGER_DATABASE_UNUSABLE "ledger_database_unusable" NotStarted:
        "the ledger's database cannot be used",
        "check the settings of the database in `[ledger]`, and the database: docs/how-to/postgresql-ledger.md";
    LEDGER_NOT_MOVED "ledger_not_moved" Local:
        "the ledger was not moved; it is where it was",
        "correct what the message names, and repeat the command: it continues where it ended";
    STORE_FAILED "store_failed" NotStarted:
        "the broker cannot open its data",
        "check the data directory, its disk and its permissions";
    LISTEN_FAILED "listen_failed" Local:
        "the broker cannot listen on one of its addresses",
        "`ss -ltnp` shows which process uses the address; stop it, or change `[listen]`";
    START_FAILED "start_failed" NotStarted:
        "the broker could not start",
        "this is a bug in keyward: please report it with the log";
    CONTAINMENT_NOT_PROVED "containment_not_proved" Partial:
        "the subject is contained, but the check that the broker refuses its credentials failed",
        "repeat the command, which belongs to the same incident; `keyward incident show INCIDENT` counts the credentials that the broker accepts";
    CONTAINMENT_UNFINISHED "containment_unfinished" Partial:
        "the subject is contained, but logins or connections of it have not ended yet",
        "the broker goes on to end them; `keyward lease list` shows the failures, and `keyward lease retry` repeats at once";
    SECRETS_NOT_ROTATED "secrets_not_rotated" Partial:
        "the subject is contained, but some values that it has read still work",
        "end the grace period of a rotated secret: `keyward rotation revoke-previous NAME`; change each other secret at its upstream, then store the new value: `keyward secret put NAME`";
    NOT_DURABLE "not_durable" Partial:
        "the change is in force in memory only: the ledger has not recorded it",
        "free space on the data disk or correct its fault; the ledger then records the change by itself. After a failed write (`ledger_failed`): restart the broker, then repeat the command, because a restart forgets the change";
    SEALING_UNFINISHED "sealing_unfinished" Partial:
        "all keys are wiped, but the process is not replaced yet, because one of its threads waits for the disk",
        "check the data disk; until it answers, remains of keys can be in the memory of this thread";
    LEASES_NOT_REVOKED "leases_not_revoked" Partial:
        "the leases are revoked in the broker, but some of their logins still exist at the upstream",
        "`keyward lease list` shows the cause; the broker repeats the revocation by itself";
    ROTATION_UNFINISHED "rotation_unfinished" Partial:
        "the rotation has begun, and is not finished",
        "`keyward rotation show NAME` shows its state; the broker continues it by itself";
    LEDGER_EMPTY "ledger_empty" Unverified:
        "the directory contains no ledger entry",
        "name the data directory of a broker";
    LEDGER_UNFINISHED "ledger_unfinished" Unverified:
        "the ledger ends with bytes that are no valid entry, and entries may be missing",
        "if the broker was killed while it wrote them, nobody got a response for these entries: a start keeps the bytes as `torn-….bin` in the ledger's directory, and continues after the last valid entry; in a copy of a running broker's data, copy again; otherwise restore the ledger from its backup: docs/how-to/recover.md";
    LEDGER_FORKED "ledger_forked" Unverified:
        "the ledger's entries are not the ones that the checkpoint was signed over",
        "keep the data directory as it is for an investigation, and restore the ledger from its backup";
    LEDGER_CUT "ledger_cut" Unverified:
        "the ledger has fewer entries than the checkpoint",
        "keep the data directory as it is for an investigation, and restore the ledger from its backup";
    SNAPSHOT_ALTERED "snapshot_altered" Unverified:
        "a snapshot file was changed after the broker wrote it; the entries of the ledger are intact",
        "find out who changed the file, then delete it: the broker reads the entries instead";
    EVIDENCE_INVALID "evidence_invalid" Unverified:
        "the evidence bundle proves nothing: it was changed, is damaged, or was signed by another key",
        "get the bundle again from its sender, and the present checkpoint key from the broker's operators";
    CHECKPOINT_KEY_DIFFERS "checkpoint_key_differs" Unverified:
        "the signature is by another checkpoint key than the trusted one, and nothing that was given leads from one to the other",
        "after a rotation of the checkpoint key: verify with a copy of the ledger that has the entry `checkpoint-key.rotated` (`--data-dir DIR` or `--config FILE`), or with the earlier key, which is in the announcement of this entry (`keyward audit list --kind checkpoint-key.rotated -o json`)";
    CHECKPOINT_INVALID "checkpoint_invalid" Unverified:
        "the checkpoint is damaged, or belongs to another ledger",
        "use a checkpoint from GET /v1/checkpoint and the key from GET /v1/checkpoint/key, and keep both apart from the broker";
}
