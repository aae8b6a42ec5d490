//! What a command says of the machine that it ran on, or of the way to the broker. Never answered
//! over HTTP.

super::codes! {
    USAGE "usage" Usage:
        "the command line was used wrongly",
        "see the verb's `--help`";
    NO_IDENTITY "no_identity" Unauthenticated:
        "there is no identity of this kind on this machine",
        "enrol: `keyward join`; an operator's comes from `keyward init` on the broker's host";
    CERTIFICATE_REFUSED "certificate_refused" Unauthenticated:
        "the broker refused this machine's certificate",
        "have its holder resumed or invited anew by an operator, then `keyward join`; or `keyward init --reissue-operator` on the broker's host";
    TLS_FAILED "tls_failed" Unauthenticated:
        "there is no TLS connection with the broker",
        "if this identity is old, enrol again; if the broker's authority changed unannounced, ask your operator";
    BROKER_UNREACHABLE "broker_unreachable" Unavailable:
        "the broker cannot be reached",
        "see whether it runs: `keyward serve`, and whether the address is right";
    RESPONSE_INVALID "response_invalid" Unavailable:
        "what answered at the broker's address is not the broker, or of another version",
        "see what answers at its address";
    IDENTITY_DAMAGED "identity_damaged" Local:
        "the identity on this machine cannot be used",
        "enrol again: `keyward join`";
    IDENTITY_EXISTS "identity_exists" Conflict:
        "this home holds an identity already; nothing was sent",
        "keep the new identity elsewhere: `--home DIR`; or replace the one that is there: `--replace`";
    CERTIFICATE_MISMATCH "certificate_mismatch" Unverified:
        "the broker's answer is not the certificate that was asked for; the identity on this machine was not changed",
        "do not use this broker: find out what answers at its address";
    ADDRESS_INVALID "address_invalid" Local:
        "the broker's address is no host name",
        "enrol again: `keyward join`";
    VALUE_FORMAT_MISMATCH "value_format_mismatch" Local:
        "the secret's value has not the parts that this format needs",
        "have an operator put it in the form that `docs/how-to/helpers.md` shows, or choose another format";
    SERVER_NOT_DECLARED "server_not_declared" Local:
        "a program asks for the credential of a server that this helper has none for",
        "name the helper for its own server alone (docker: `credHelpers`), or declare the right one: `--server`";
    LIFETIME_TOO_SHORT "lifetime_too_short" Local:
        "what there is ends sooner than was asked for",
        "ask again once it was rotated, or for less: `--min-ttl`";
    COMMAND_FAILED "command_failed" Local:
        "the command, or what looks after its token, could not be started",
        "see whether there is such a command, and whether processes can be started here";
    CHECKS_FAILED "checks_failed" Local:
        "something that was looked at does not work",
        "the list says what, and what would mend it";
    FILE_UNUSABLE "file_unusable" Local:
        "a file or directory cannot be used",
        "look at the path and its permissions";
    OUTPUT_FAILED "output_failed" Local:
        "standard output cannot be written",
        "make standard output writable, then look at what the verb has done before you repeat it: its effect stands";
    FILE_PERMISSIONS_TOO_OPEN "file_permissions_too_open" NotStarted:
        "another user of this host can read or replace a file that the broker trusts",
        "take the rights of group and others away, and find out who could have used them";
    DATA_DIR_UNUSABLE "data_dir_unusable" Local:
        "the data directory cannot be made",
        "make the directory, or run as a user who can";
    SERVER_KEY_UNUSABLE "server_key_unusable" Local:
        "the broker's own TLS key or certificate cannot be used",
        "look at the data directory and its permissions; without `tls/server.key` a new one is made at the next start";
    RUNTIME_FAILED "runtime_failed" Local:
        "the process could not start its threads",
        "look at the process limits";
    DEMO_FAILED "demo_failed" Local:
        "the demo did not go as it should",
        "this is a fault of keyward itself: please report it";
    NOT_INITIALISED "not_initialised" NotStarted:
        "there is no broker in the data directory",
        "run `keyward init`";
    KEYRING_MISSING "keyring_missing" NotStarted:
        "the keyring is missing, and the data directory holds a ledger that no other keyring opens",
        "restore the newest copy of the file `keyring` from your backup to the data directory, then start the broker; a new keyring would open nothing";
    ALREADY_INITIALISED "already_initialised" Local:
        "there is a broker in the data directory already; nothing was changed",
        "run it: `keyward serve`; for a new operator certificate: `keyward init --reissue-operator`";
    ROOT_KEY_WRONG "root_key_wrong" NotStarted:
        "the root key does not open this keyring",
        "name the key that this broker was initialised with in `[root_key]`; nothing was touched";
    ROOT_KEY_UNUSABLE "root_key_unusable" NotStarted:
        "the root key's file cannot be used",
        "see that the file in `[root_key]` is there and for its owner alone; where that names a credential of the service's, `--root-key-file` names the file behind it";
    PASSPHRASE_REFUSED "passphrase_refused" Usage:
        "what was given is no passphrase, or can be guessed",
        "choose at least 15 characters on one line; five or six words that have nothing to do with one another are good";
    PASSPHRASE_WRONG "passphrase_wrong" Unauthenticated:
        "the passphrase opens none of the keyring's slots",
        "mind the case and the keyboard; `keyward slot list` shows whether there is a slot of this kind";
    SLOT_UNKNOWN "slot_unknown" NotFound:
        "the keyring has no slot of this id",
        "`keyward slot list` shows those there are";
    LAST_SLOT "last_slot" Conflict:
        "without this slot nothing would open the keyring any more; nothing was changed",
        "add another slot first: `keyward slot add`";
    SLOT_KEY_UNCHANGED "slot_key_unchanged" Conflict:
        "what is to open the slot opens it already; nothing was changed",
        "choose another passphrase, or name another file";
    SLOT_LIMIT_REACHED "slot_limit_reached" Conflict:
        "the keyring has as many slots as it may have",
        "remove one that nobody needs: `keyward slot list`, `keyward slot remove ID`";
    SLOT_UNCONFIRMED "slot_unconfirmed" Conflict:
        "the slot opens nothing until its shares were handed back",
        "`keyward slot confirm` takes them; `keyward slot remove ID` gives the slot up";
    SLOT_NOT_PENDING "slot_not_pending" Conflict:
        "no slot waits to be confirmed by what was given",
        "`keyward slot list` shows which slot is unconfirmed; one that is not needs nothing";
    SHARES_OUT_OF_RANGE "shares_out_of_range" Usage:
        "no key is split like that",
        "at most 16 shares, of which at least 2 open the slot; 3 of 5 is a good choice";
    SHARE_INVALID "share_invalid" Usage:
        "what was given is no share, or was not copied letter by letter",
        "compare it with the share: `keyward-share-1:`, how many of how many, its number, 22 groups of four letters";
    SHARES_MISMATCH "shares_mismatch" Usage:
        "the shares do not belong together",
        "give each share once, all of one slot, as many as the first number in each of them says";
    SHARES_WRONG "shares_wrong" Unauthenticated:
        "the shares open none of the keyring's slots",
        "`keyward slot list` shows the slots there are; a slot that was rekeyed has other shares than before";
    SLOT_UNRECORDED "slot_unrecorded" Partial:
        "the slot was changed, and the ledger could not take the entry that says so",
        "mend the disk; the next start of the broker records it";
    SLOTS_NOT_REWRAPPABLE "slots_not_rewrappable" Conflict:
        "some slots cannot take another root key without their own keys; nothing was changed",
        "rekeying or removing a slot replaces the root key; repeat with `--remove-old-slots` to remove the slots \
         named, then add them again: `keyward slot add`";
    KEYRING_ALTERED "keyring_altered" NotStarted:
        "the keyring is not as the broker wrote it",
        "put the keyring back from its own backup; nothing was touched";
    NOTHING_TO_ADOPT "nothing_to_adopt" NotStarted:
        "there is no data directory to adopt yet",
        "start the broker: on a copy of the data it starts in read-only mode; then `keyward adopt`";
    DATA_DIR_IN_USE "data_dir_in_use" NotStarted:
        "another process uses the data directory",
        "another keyward uses this data directory: stop it first";
    PENDING_ORDERS_DAMAGED "pending_orders_damaged" NotStarted:
        "the file of orders that wait cannot be read",
        "look at the file that the reason names, move it away, and repeat the revocations that it was to carry out";
    ENTRIES_LOST "entries_lost" NotStarted:
        "the ledger lacks entries that were acknowledged",
        "put the newer ledger back; or, having looked, go on without them: `keyward serve --accept-lost-entries`";
    KEYRING_OUTDATED "keyring_outdated" NotStarted:
        "the keyring is an older copy than the broker has used",
        "put the newest copy of `keyring` back; or, if slots alone were added since and you have looked, go on with this one: `keyward serve --accept-lost-entries`";
    ANCHOR_ALTERED "anchor_altered" NotStarted:
        "the file that says which ledger and keyring are the newest cannot be believed",
        "put `anchor` of the data directory back, or find out who changed it; having looked, go on: `keyward serve --accept-lost-entries`";
    TRUST_DOMAIN_CHANGED "trust_domain_changed" NotStarted:
        "the configured trust domain is not the one that this broker was initialised with",
        "set `trust_domain` back: every identity carries it";
    STORE_FAILED "store_failed" NotStarted:
        "the broker's records cannot be opened",
        "look at the data directory, its disk and its permissions";
    LISTEN_FAILED "listen_failed" Local:
        "an address cannot be listened on",
        "see what listens there, or change `[listen]`";
    START_FAILED "start_failed" NotStarted:
        "the broker could not start",
        "this is a fault of keyward itself: please report it";
    NOT_DURABLE "not_durable" Partial:
        "it is in force, in memory alone: the ledger has not taken it",
        "free space on the broker's disk or mend it: the ledger takes it by itself as soon as it can. After a failed write it cannot, and a start forgets it: start the broker again, and then say the same once more";
    SEALING_UNFINISHED "sealing_unfinished" Partial:
        "the root key and the keys that sign and open values are wiped, and the process has not been replaced yet: a thread of it waits for its disk",
        "look at the data disk; keys of the ledger and the index stay in memory until the disk answers";
    LEASES_NOT_REVOKED "leases_not_revoked" Partial:
        "leases are ending, and upstream has not ended all of their logins yet",
        "`keyward lease list` says what keeps them; they are tried again by themselves";
    LEDGER_EMPTY "ledger_empty" Unverified:
        "there is no ledger entry below the directory",
        "name the data directory of a broker";
    LEDGER_FORKED "ledger_forked" Unverified:
        "the entries are not those that the checkpoint was signed over",
        "keep the directory as it is, and put the ledger back from its backup";
    LEDGER_CUT "ledger_cut" Unverified:
        "the checkpoint knows more entries than are left",
        "keep the directory as it is, and put the ledger back from its backup";
    SNAPSHOT_ALTERED "snapshot_altered" Unverified:
        "a snapshot of the state is not the one that was taken; the entries are as they were written",
        "find out who changed it, and remove its file: the broker reads the entries instead";
    CHECKPOINT_INVALID "checkpoint_invalid" Unverified:
        "the checkpoint is not one of this ledger's, or was altered",
        "take the checkpoint from GET /v1/checkpoint and the key from GET /v1/checkpoint/key, kept elsewhere";
}
