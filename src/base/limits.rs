//! Every limit. Each has a test at the limit and one beyond it.

pub use super::announcement_limits::{
    APPROVAL_PREVIOUS_MAX, APPROVAL_USUAL_MAX, METER_CAPABILITIES_MAX, WEBHOOK_ANSWER_BYTES_MAX,
    WEBHOOK_AT_ONCE_MAX, WEBHOOK_PAUSE_MAX_S, WEBHOOK_QUEUE_MAX, WEBHOOK_TRIES_MAX, WEBHOOK_WAIT_S,
};
pub use super::approval_limits::{
    APPROVAL_DEMANDS_MAX, APPROVAL_GRANT_S_MAX, APPROVAL_GRANT_S_MIN, APPROVAL_KEPT_S, APPROVAL_PENDING_S,
    APPROVAL_POLICIES_MAX, APPROVAL_QUORUM_MAX, APPROVAL_UNUSED_S, APPROVAL_USES_MAX, APPROVAL_WAIT_S_MAX,
    APPROVAL_WAITERS_MAX, APPROVALS_MAX, APPROVALS_OF_AGENT_MAX, APPROVALS_PENDING_MAX,
    APPROVER_GROUP_OPERATORS_MAX, APPROVER_GROUPS_MAX, DEVICE_POLL_S, OWNER_APPROVER_GROUPS_MAX,
    PLAN_APPROVAL_S,
};
pub use super::incident_limits::{
    AGENTS_SEEN_MAX, CLOSED_CONNECTIONS_MAX, EVIDENCE_BYTES_MAX, EVIDENCE_ENTRIES_MAX, EVIDENCE_FILES_MAX,
    EVIDENCE_RELATED_ENTRIES_READ_MAX, INCIDENT_FOLLOW_UPS_MAX, INCIDENT_NAMES_MAX, INCIDENT_NOTES_MAX,
    INCIDENT_PEOPLE_MAX, INCIDENT_SUBJECTS_MAX, INCIDENTS_LIFTED_MAX, INCIDENTS_OPEN_MAX,
    REFUSED_CALLERS_MAX, REFUSED_SOURCES_MAX, REFUSED_SUMMARY_S, REPORT_BASELINE_S, REPORT_ENTRIES_READ_MAX,
    TEXT_RUN_WORDS_MAX, TEXT_WORDS_MAX, VALUE_CHECK_PAGES_MAX, VALUE_CHECK_TEXTS_MAX, VALUE_CHECK_VALUES_MAX,
    VALUE_CHECKS_PER_MINUTE, WORD_BYTES_MIN,
};
pub use super::lease_limits::{
    LEASE_AGENTS_NAMED_MAX, LEASE_CONNECTIONS, LEASE_CONNECTIONS_MAX, LEASE_LIFE_MAX_S, LEASE_LIFE_MIN_S,
    LEASE_LIFE_S, LEASE_OVERDUE_S, LEASE_RETRY_FIRST_S, LEASE_RETRY_MAX_S, LEASE_RETRY_OPEN_MAX_S,
    LEASE_STATEMENT_BYTES_MAX, LEASE_STATEMENTS_MAX, LEASE_STILL_OPEN_FAILURES, LEASE_SWEEP_S,
    LEASE_USES_MAX, LEASES_ENDED_AT_ONCE_MAX, LEASES_ENDED_PER_PLACE_MAX, LEASES_LOOKED_AT_MAX,
    LEASES_PER_AGENT, LEASES_PER_AGENT_MAX, UNKNOWN_LOGINS_LISTED_MAX,
};
pub use super::policy_limits::{
    DECISION_ENTRIES_READ_MAX, ENVIRONMENTS_MAX, EXPLAINED_POLICIES_MAX, EXPLANATIONS_BURST,
    EXPLANATIONS_PER_S, NAMED_POLICIES_MAX, OFFERS_KEPT_MAX, OWNER_ENVIRONMENTS_MAX, OWNER_POLICIES_MAX,
    PARAMETER_INTEGER_MAX, PARAMETER_TEXT_CHARS_MAX, PARAMETER_VALUES_BYTES_MAX, PARAMETER_VALUES_MAX,
    PARAMETERS_BYTES_MAX, PARAMETERS_MAX, PAST_DECLARATIONS_READ_MAX, POLICIES_MAX, POLICY_NESTING_MAX,
    POLICY_REASON_CHARS_MAX, POLICY_RULE_BYTES_MAX, POLICY_VERSIONS_LISTED_MAX, ROLE_CAPABILITIES_MAX,
    ROLES_MAX, SIMULATED_CHANGES_MAX, SIMULATED_ENTRIES_READ_MAX, SIMULATED_REQUESTS_MAX,
    WIDENINGS_LISTED_MAX,
};

/// Longest name segment, in bytes.
pub const SEGMENT_BYTES_MAX: usize = 63;
/// Longest name, separators included, in bytes.
pub const NAME_BYTES_MAX: usize = 255;
/// Maximum number of segments in the name of a capability or secret.
pub const NAME_SEGMENTS_MAX: usize = 8;
/// Longest audience, in bytes.
pub const AUDIENCE_BYTES_MAX: usize = 512;

/// Largest upstream secret, in bytes: larger than a key or certificate chain, smaller than an index record (100 KB).
pub const SECRET_BYTES_MAX: usize = 64 * 1024;
/// Maximum number of versions that one ledger entry wraps with a new value key.
pub const REWRAPPED_AT_ONCE_MAX: usize = 256;
/// Maximum number of ledger entries that a search for the readers of a secret reads.
pub const READINGS_LOOKED_AT_MAX: u64 = 50_000;
/// Maximum number of ledger entries that a plan reads to count the tokens that end.
pub const PLAN_ENTRIES_READ_MAX: u64 = 50_000;
/// Number of ledger entries after which a request with filters, or of an operator with an owner, reads no further.
pub const AUDIT_ENTRIES_READ_MAX: u64 = 100_000;
/// Pause of a reader of the ledger after which the next page with the same filter gets an entry again, in seconds.
pub const LEDGER_READING_IDLE_S: u64 = 300;
/// Maximum number of pages of the search index in memory, 4 KB each; a quarter of it for directories, 28 KB each.
pub const POSTING_PAGES_KEPT_MAX: usize = 2048;
/// Maximum number of agents that a plan lists because they lose something; it counts all.
pub const LOSSES_LISTED_MAX: usize = 500;
/// Maximum number of capabilities and secrets that the listed agents of a plan lose; the first agent is listed in any case.
pub const LOSS_NAMES_LISTED_MAX: usize = 20_000;
/// Maximum number of capabilities that a plan looks at to find what agents lose. Agents with the same roles count once.
pub const LOSS_NAMES_READ_MAX: usize = 500_000;
/// Former versions of one secret that the broker keeps by default.
pub const FORMER_VERSIONS: u32 = 10;
/// Minimum of the setting for former versions: after a restore an upstream may accept an older version.
pub const FORMER_VERSIONS_MIN: u32 = 2;
/// Maximum of the setting for former versions.
pub const FORMER_VERSIONS_MAX: u32 = 1000;
/// Maximum number of former versions of one secret that one ledger entry destroys.
pub const VERSIONS_DESTROYED_AT_ONCE_MAX: usize = 256;
/// Maximum number of destroyed versions of one secret in a listing; the ledger has all of them.
pub const DESTROYED_LISTED_MAX: usize = 100;

/// Minimum number of characters of a passphrase: NIST SP 800-63B-4 §3.1.1.2 requires 15 without a second factor.
pub const PASSPHRASE_CHARS_MIN: usize = 15;
/// Longest passphrase, in bytes.
pub const PASSPHRASE_BYTES_MAX: usize = 1024;
/// Shortest time for which a key agent uses an operator's sealed key, in seconds.
pub const KEY_AGENT_LIFE_MIN_S: u32 = 60;
/// Longest time for which a key agent uses an operator's sealed key, in seconds.
pub const KEY_AGENT_LIFE_MAX_S: u32 = 24 * 3600;
/// Maximum number of attempts to unseal at once.
pub const UNSEAL_TRIES_MAX: u32 = 5;
/// Average number of attempts to unseal per minute. Each attempt also costs the stretching of the passphrase.
pub const UNSEAL_TRIES_PER_MINUTE: u32 = 4;
/// Time for which verifiers may cache the public documents, in seconds. A token key is published at least this long
/// before it signs.
pub const DOCUMENTS_MAX_AGE_S: i64 = 60;
/// Maximum number of changes of signing keys that wait until the public documents are written.
pub const PUBLISHES_WAITING_MAX: usize = 16;
/// Longest wait of a change of signing keys until the public documents are written, in milliseconds.
pub const PUBLISH_WAIT_MS: u64 = 1000;
/// Maximum number of stored values whose digests a process keeps, to detect the reuse of an idempotency key with another
/// value.
pub const PUT_VALUES_MAX: usize = 4096;
/// Interval at which a broker checks for an order to adopt its data, in milliseconds.
pub const ADOPTION_WAIT_MS: u64 = 500;
/// When the broker is sealed: longest wait for the ledger entry, and then for the threads to stop, in seconds each.
/// Keys are wiped in any case.
pub const SEAL_WAIT_S: u64 = 2;
/// Largest request to unseal, in bytes: enough for 16 shares.
pub const UNSEAL_BYTES_MAX: usize = 16 * 1024;
/// Maximum number of pending orders of a sealed broker.
pub const ORDERS_MAX: usize = 1024;
/// Time in which a failed pending order is listed, in seconds.
pub const FAILED_ORDER_LISTED_S: i64 = 24 * 3600;
/// Life of a certificate of break-glass access, in seconds.
pub const BREAK_GLASS_LIFE_S: i64 = 3600;
/// Maximum number of connections to the host socket.
pub const HOST_CONNECTIONS_MAX: usize = 16;
/// Maximum number of records that one AES-256-GCM key seals under random nonces: half of the 2^32 of NIST SP 800-38D
/// §8.3. The other half is for records that a crash left uncounted.
pub const SEALS_MAX: u64 = 2_147_483_648;
/// Records of the value key that are reserved for steps in progress: no step begins at an upstream if its result could
/// not be sealed.
pub const SEALS_RESERVED: u64 = 65_536;
/// Records after which the value key is due for rotation.
pub const SEALS_DUE: u64 = 1_073_741_824;
/// Maximum number of writes of a keyring file. A write seals at most three records under one key, except the key's
/// first write, so that no key seals 2^32 records.
pub const KEYRING_WRITES_MAX: u64 = 1_073_741_824;
/// Largest cost of trying a passphrase at all slots of a keyring, in KiB of memory times passes: some seconds. Eight
/// slots of the default cost are 1,572,864.
pub const SLOTS_COST_MAX: u64 = 2_097_152;
/// Maximum number of slots of a keyring: a passphrase is tried at each of them.
pub const SLOTS_MAX: usize = 8;
/// Maximum number of former digest keys under which the broker searches for a replayed request: the rotations within the
/// life of an outcome.
pub const EARLIER_DIGESTS_MAX: usize = 8;
/// Time that a digest key stays in the keyring after its rotation, in seconds: the life of the outcome of a lease, the
/// longest one.
pub const EARLIER_DIGEST_LIFE_S: u32 = LEASE_LIFE_MAX_S;
/// Maximum number of former root keys in the proof of a keyring's descent.
pub const ROOT_MARKS_MAX: usize = 64;
/// Maximum number of shares of a slot.
pub const SHARES_MAX: u8 = 16;
/// Smallest threshold of shares: one share would be a key file.
pub const THRESHOLD_MIN: u8 = 2;

/// Largest event of a ledger entry, in bytes: about ten thousand changes of declarations.
pub const EVENT_BYTES_MAX: usize = 1024 * 1024;
/// Largest state change of a ledger entry, in bytes.
pub const DELTA_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Maximum number of keys that a ledger entry can rely on, and maximum number that it can advance.
pub const ENTRY_KEYS_MAX: usize = 16 * 1024;
/// Maximum number of appends in the queue of the ledger's writer; beyond it, requests fail with `ledger_busy`.
pub const APPENDS_WAITING_MAX: usize = 8 * 1024;
/// Longest wait of a revocation for the ledger before it takes effect in memory, in milliseconds.
pub const REVOCATION_WAIT_MS: u64 = 500;
/// Interval at which the broker tries again to record a revocation, in milliseconds.
pub const REVOCATION_RETRY_MS: u64 = 1000;
/// Longest wait until the runtime directory has stored a revocation that the ledger did not record, in milliseconds.
pub const KEEP_WAIT_MS: u64 = 400;
/// Maximum number of revocations that are in force in memory only until the ledger has recorded them.
pub const DENIALS_UNRECORDED_MAX: usize = 4096;
/// Maximum number of entries in one group commit.
pub const BATCH_ENTRIES_MAX: usize = 1024;
/// Maximum number of attempts to commit a group of entries again after the log has dropped it.
pub const LOG_RETRIES_MAX: u32 = 5;
/// Maximum number of reads of entries that other brokers have committed, before a group of entries.
pub const CATCH_UP_READS_MAX: u32 = 64;
/// Maximum number of servers of the ledger's database.
pub const DATABASE_HOSTS_MAX: usize = 8;
/// Size from which a group commit accepts no further entry, in bytes.
pub const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Maximum number of retries of a use case after a conflict; then it fails with `modified_concurrently`.
pub const CONFLICT_RETRIES_MAX: u32 = 3;
/// Maximum number of keys in each of the two tables of latest changes. A decision on a state that is older than the
/// tables is made again.
pub const GENERATIONS_KEPT_MAX: usize = 64 * 1024;
/// Minimum number of entries between two snapshots of the state: a start reads them in a fraction of a second.
pub const SNAPSHOT_ENTRIES_MIN: u64 = 100_000;
/// Maximum number of bytes of state in one sealed chunk of a snapshot.
pub const SNAPSHOT_CHUNK_BYTES: usize = 1024 * 1024;
/// Maximum number of writes in the queue of the index.
pub const INDEX_WAITING_MAX: usize = 8 * 1024;

/// Maximum number of connections in a listener's accept queue, unless `net.core.somaxconn` is lower. If the queue is
/// full, a client waits a second before it tries again.
pub const CONNECTIONS_WAITING_MAX: u32 = 4096;

/// Largest request body, in bytes, except for uploads of secrets and declarations.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// Largest declaration upload, in bytes.
pub const DECLARATION_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Maximum number of declaration files in one upload.
pub const DECLARATION_FILES_MAX: usize = 256;
/// Maximum number of objects of one kind (roles, rotations, …) in one upload of declarations: more than one ledger entry
/// can change.
pub const DECLARED_MAX: usize = 32 * 1024;
/// Maximum number of listed errors of an upload of declarations; further errors are counted.
pub const FAULTS_LISTED_MAX: usize = 50;
/// Longest file name in an upload of declarations, in bytes: as long as a file system allows.
pub const FILE_NAME_BYTES_MAX: usize = 4096;
/// Longest reason of an operator's command, in characters.
pub const REASON_CHARS_MAX: usize = 300;
/// Longest text that names the person of an operator or agent, in characters.
pub const PERSON_CHARS_MAX: usize = 128;
/// Maximum number of networks of one operator.
pub const OPERATOR_NETWORKS_MAX: usize = 16;
/// Maximum number of fields of a form, and of filters of ledger entries.
pub const FORM_FIELDS_MAX: usize = 32;
/// Longest path and query of a request, in bytes.
pub const TARGET_BYTES_MAX: usize = 1024;
/// Largest headers of a request, names and values together, in bytes.
pub const HEADER_BYTES_MAX: usize = 16 * 1024;
/// Maximum number of headers of a request.
pub const HEADERS_MAX: usize = 64;
/// Longest wait for a request's headers, in seconds.
pub const HEADER_WAIT_S: u64 = 10;
/// Longest wait for a request's body, in seconds.
pub const BODY_WAIT_S: u64 = 10;
/// Longest time in which a client reads no byte of its response, in seconds.
pub const WRITE_WAIT_S: u64 = 10;
/// Longest wait for a TLS handshake, in seconds.
pub const HANDSHAKE_WAIT_S: u64 = 10;
/// Maximum number of TLS handshakes in progress at one listener; further clients are disconnected. Two cores complete
/// this number in about a second.
pub const HANDSHAKES_UNDER_WAY_MAX: usize = 4096;
/// Largest first message of a TLS handshake, in bytes.
pub const HELLO_BYTES_MAX: usize = 8 * 1024;
/// Maximum number of bytes of the rest of a TLS handshake, including a first request that arrives with it.
pub const HANDSHAKE_REST_BYTES_MAX: usize = 40 * 1024;
/// Maximum number of intermediate certificates of an upstream that are used; further ones are ignored.
pub const UPSTREAM_INTERMEDIATES_MAX: usize = 4;
/// Send buffer of a connection, in bytes; the kernel doubles it for its own records.
pub const SEND_BUFFER_BYTES: u32 = 64 * 1024;
/// File descriptors that are reserved for the ledger, the index, the host socket and calls of upstreams.
pub const FILES_RESERVED: usize = 512;
/// Longest wait for a response in progress before a revocation closes its connection, in seconds.
pub const CUT_WAIT_S: u64 = 1;
/// Longest wait until a client has read the alert of a refused handshake, in seconds.
pub const LINGER_WAIT_S: u64 = 1;
/// Maximum number of bytes of an unneeded request body that the broker reads, so that the connection can continue.
pub const UNREAD_BYTES_MAX: u64 = 64 * 1024;
/// Threads for the operators' listener, which also serves health and revocation.
pub const ADMIN_THREADS: usize = 2;
/// Threads for jobs: rotations, revocations of leases, snapshots, the broker's own certificate.
pub const JOB_THREADS: usize = 2;
/// Longest wait until a listener has stopped after its connections, in seconds.
pub const LISTENER_END_WAIT_S: u64 = 2;
/// At a stop: longest wait for a job, or for a request whose connection was closed, in seconds: longer than one call of
/// an upstream.
pub const JOB_END_WAIT_S: u64 = 65;
/// At a stop: longest time of the last snapshot, in seconds.
pub const LAST_SNAPSHOT_WAIT_S: u64 = 20;
/// At a stop: longest wait until connections have ended, in seconds.
pub const DRAIN_WAIT_S: u64 = 10;
/// Longest bearer token, in bytes.
pub const TOKEN_BYTES_MAX: usize = 4 * 1024;
/// Maximum number of cached tokens with a verified signature: about ten megabytes.
pub const TOKENS_SEEN_MAX: usize = 8 * 1024;
/// Maximum number of requests in progress of clients with a certificate, at one listener. Two cores complete them in a
/// tenth of a second.
pub const REQUESTS_UNDER_WAY_MAX: usize = 2048;
/// Longest wait of a request above `REQUESTS_UNDER_WAY_MAX`, in milliseconds; then it fails with `overloaded`.
pub const PLACE_WAIT_MS: u64 = 250;
/// `Retry-After` of `overloaded` and similar refusals, in seconds. Until then the broker reads no further request
/// on that connection.
pub const COME_BACK_AFTER_S: u64 = 1;
/// Maximum number of heavy requests (plan, apply, calendar, reports, pages of the ledger) in progress of one operator.
pub const HEAVY_PER_OPERATOR_MAX: usize = 2;
/// Maximum number of heavy requests in progress of all operators. Each can have a body of `DECLARATION_BYTES_MAX` in
/// memory.
pub const HEAVY_REQUESTS_MAX: usize = 16;
/// Threads for heavy requests.
pub const HEAVY_THREADS_MAX: usize = 2;
/// Longest time of one part of a heavy request, including its wait for a thread, in seconds; then it is cancelled.
pub const HEAVY_WAIT_S: u64 = 20;
/// Largest certificate request, in bytes.
pub const CSR_BYTES_MAX: usize = 4 * 1024;
/// Maximum number of capabilities in one token request.
pub const SCOPES_MAX: usize = 32;
/// Size of entries at which a page of the ledger ends, in bytes.
pub const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Maximum number of items in one page of a list.
pub const LIST_ITEMS_MAX: usize = 1000;
/// Maximum number of entries in one page of the ledger.
pub const PAGE_ENTRIES_MAX: usize = 500;

/// Life of an enrolment code by default, in seconds.
pub const CODE_LIFE_S: i64 = 15 * 60;
/// Longest life of an enrolment code, in seconds.
pub const CODE_LIFE_MAX_S: i64 = 7 * 24 * 3600;
/// Maximum number of uses of one enrolment code.
pub const CODE_USES_MAX: u32 = 10_000;
/// Longest life of a certificate of an agent or a resource server, in seconds.
pub const CERTIFICATE_LIFE_MAX_S: i64 = 7 * 24 * 3600;
/// Longest time after its expiry in which a certificate can be renewed, in seconds.
pub const RENEWAL_GRACE_MAX_S: i64 = 7 * 24 * 3600;
/// Shortest life of an operator's certificate, in seconds.
pub const OPERATOR_LIFE_MIN_S: i64 = 300;
/// Longest life of a certificate of a human operator or an automation, in seconds.
pub const OPERATOR_LIFE_MAX_S: i64 = 24 * 3600;
/// Life of a service's certificate if its invitation names none, in seconds.
pub const SERVICE_LIFE_S: i64 = 30 * 24 * 3600;
/// Longest life of a service's certificate, in seconds.
pub const SERVICE_LIFE_MAX_S: i64 = 90 * 24 * 3600;
/// Time after which the next use of a service's or automation's certificate gets an entry again, in seconds.
pub const OPERATOR_USE_ENTRY_S: i64 = 24 * 3600;
/// Time after which a use of an operator's certificate from the same peer outside its networks raises an alarm again, in
/// seconds.
pub const SOURCE_NOTE_PAUSE_S: u64 = 60;
/// Maximum number of alarms about uses of one operator's certificate outside its networks, within `SOURCE_NOTE_PAUSE_S`.
pub const SOURCE_NOTES_PER_CALLER_MAX: usize = 10;
/// Maximum number of operators for which the broker remembers alarms about uses outside their networks; it forgets the
/// oldest.
pub const SOURCE_NOTED_CALLERS_MAX: usize = 1024;
/// Shortest prefix of an IPv4 network that an operator can be bound to, in bits.
pub const OPERATOR_NETWORK_V4_PREFIX_MIN: u8 = 8;
/// Shortest prefix of an IPv6 network that an operator can be bound to, in bits.
pub const OPERATOR_NETWORK_V6_PREFIX_MIN: u8 = 16;
/// Time before its first signature at which an authority is published, in seconds: every earlier certificate of an agent
/// has expired by then, so all agents know the authority. A service learns of it because the broker asks it to renew.
pub const AUTHORITY_LEAD_S: i64 = CERTIFICATE_LIFE_MAX_S + RENEWAL_GRACE_MAX_S;
/// Time before its first signature at which a token key is published, in seconds: sixty times the cache time of
/// the key document.
pub const TOKEN_KEY_LEAD_S: i64 = 3600;
/// Time by which certificates are backdated, in seconds, because agents' clocks may be behind.
pub const BACKDATE_S: i64 = 60;
/// Largest difference between wall clock and boot clock at which the broker follows the wall clock, in
/// milliseconds.
pub const CLOCK_TOLERANCE_MS: u64 = 5000;
/// Time that the wall clock may be behind the ledger's newest entry at a start, in seconds.
pub const CLOCK_BEHIND_MAX_S: i64 = 60;
/// Time that an unsynchronised wall clock may be ahead of the ledger's newest entry at a start, in seconds.
pub const CLOCK_AHEAD_MAX_S: i64 = 30 * 24 * 3600;
/// Time for which the wall clock must be synchronised before the broker adopts it, in seconds.
pub const CLOCK_SYNC_WAIT_S: u64 = 60;
/// Age up to which a report of a synchronised clock counts, in seconds: systemd-timesyncd reports at least every
/// 2048 seconds.
pub const CLOCK_SYNC_AGE_MAX_S: i64 = 3600;
/// Shortest time between two entries about disagreeing clocks, in seconds of the boot clock.
pub const CLOCK_ALARM_PAUSE_S: u64 = 3600;
/// Leeway for the times of a token, in seconds.
pub const LEEWAY_S: i64 = 5;
/// Shortest life of an access token, in seconds.
pub const TOKEN_LIFE_MIN_S: i64 = 10;
/// Maximum number of names and audiences that one owner uses or has used; beyond it, only operators with the scope `all`
/// declare new ones for the owner.
pub const FORMER_NAMES_PER_OWNER_MAX: usize = 16 * 1024;
/// Maximum number of former names and audiences of all owners: about twenty megabytes. Beyond it, only operators with
/// the scope `all` declare new names.
pub const FORMER_NAMES_MAX: usize = 256 * 1024;
/// Longest life of an access token, in seconds.
pub const TOKEN_LIFE_MAX_S: i64 = 3600;
/// Longest life of an access token for a secret of high sensitivity, in seconds.
pub const HIGH_TOKEN_LIFE_MAX_S: u32 = 300;

/// Maximum number of remembered outcomes of requests with an idempotency key, for one operator or one user of the host.
pub const OUTCOMES_PER_CALLER_MAX: usize = 64;
/// Maximum number of remembered outcomes for all operators and users of the host.
pub const OPERATOR_OUTCOMES_MAX: usize = 16 * 1024;
/// Maximum number of remembered outcomes for one agent with all its instances.
pub const OUTCOMES_PER_AGENT_MAX: usize = 1024;
/// Maximum number of remembered outcomes for all agents: 100 megabytes for tokens of one capability, 220 for tokens of
/// `SCOPES_MAX` capabilities with names of 20 bytes, at most 750.
pub const OUTCOMES_MAX: usize = 64 * 1024;
/// Time for which the broker remembers the outcome of an operator's request, in seconds.
pub const OUTCOME_LIFE_S: u32 = 86_400;
/// Longest idempotency key, in bytes.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;

/// Shortest interval between two scheduled rotations of a secret, in seconds.
pub const ROTATION_EVERY_MIN_S: u32 = 60;
/// Longest interval between two scheduled rotations of a secret, in seconds: ten years.
pub const ROTATION_EVERY_MAX_S: u32 = 10 * 366 * 24 * 3600;
/// Maximum number of periods of blackout days in one schedule.
pub const BLACKOUTS_MAX: usize = 64;
/// Longest grace period of a previous version, in seconds.
pub const GRACE_MAX_S: u32 = 90 * 24 * 3600;
/// Maximum number of versions that `rotation adopt` tries at an upstream: upstreams lock accounts after wrong passwords.
pub const VERSIONS_TRIED_MAX: usize = 4;
/// Maximum number of attempts of one step of a rotation; then it becomes a dead letter.
pub const ROTATION_TRIES_MAX: u32 = 8;
/// First wait before a failed step of a rotation is retried, in seconds; it doubles each time.
pub const ROTATION_RETRY_FIRST_S: i64 = 30;
/// Longest wait before a failed step of a rotation is retried, in seconds.
pub const ROTATION_RETRY_MAX_S: i64 = 3600;
/// Maximum number of retries to record a value that an upstream made, after writes that wrote nothing; then the value is
/// an orphan.
pub const MADE_VALUE_RETRIES_MAX: u32 = 20;
/// Wait before the broker retries to record a value that an upstream made, in milliseconds.
pub const MADE_VALUE_RETRY_MS: u64 = 500;
/// Maximum number of rotations in progress.
pub const ROTATIONS_AT_ONCE_MAX: usize = 8;
/// Maximum number of scheduled rotations that begin within ten seconds, so that they are spread after a long stop.
pub const ROTATIONS_BEGUN_MAX: usize = 25;
/// Longest wait of a request for a secret while the working value of its rotation is uncertain, in seconds.
pub const SWAP_WAIT_S: u64 = 5;
/// Interval at which the current value of a rotated secret is checked at the upstream, in seconds.
pub const DRIFT_CHECK_S: i64 = 86_400;
/// Number of consecutive failures after which the circuit of an upstream opens.
pub const BREAKER_FAILURES_MAX: u32 = 5;
/// Time for which the circuit stays open, in seconds.
pub const BREAKER_OPEN_S: i64 = 60;
/// Maximum number of lines of a rotation calendar.
pub const CALENDAR_LINES_MAX: usize = 1000;
/// Longest wait for one response of an upstream, in seconds.
pub const UPSTREAM_WAIT_S: u64 = 10;
/// Minimum number of SCRAM iterations of a server (RFC 7677 §4): fewer would help a false server to guess the password.
pub const SCRAM_ITERATIONS_MIN: u32 = 4096;
/// Maximum number of bytes that the broker reads from an upstream in one call.
pub const UPSTREAM_ANSWER_BYTES_MAX: usize = 256 * 1024;
/// Number of orphans of one secret from which on the broker asks the upstream for no new value.
pub const ORPHANS_MAX: usize = 16;
/// Maximum of the declared time for one call by URL, in seconds.
pub const UPSTREAM_WAIT_MAX_S: u64 = 60;
/// Longest template of a URL, a header or a body, in bytes.
pub const UPSTREAM_TEMPLATE_BYTES_MAX: usize = 16 * 1024;
/// Maximum number of headers of a declared request.
pub const UPSTREAM_HEADERS_MAX: usize = 16;
/// Maximum number of statuses of a declared request.
pub const UPSTREAM_STATUSES_MAX: usize = 16;
/// Longest name of an upstream's slot, in bytes.
pub const UPSTREAM_SLOT_BYTES_MAX: usize = 128;

/// Seconds without an append after which the ledger tests its disk with a probe write.
pub const PROBE_EVERY_S: u64 = 10;
/// Space that a probe needs, in bytes: enough for a usual append.
pub const PROBE_ROOM_BYTES: u64 = 16 * 1024;
/// Time after which a write counts as stalled and the broker is not ready, in milliseconds.
pub const LEDGER_STALLED_MS: u64 = 3000;
/// Time after which a write counts as slow, and `/readyz` warns, in milliseconds.
pub const LEDGER_SLOW_MS: u64 = 1000;
/// Free bytes on the data disk below which `/readyz` warns.
pub const DISK_FREE_BYTES_MIN: u64 = 1024 * 1024 * 1024;
