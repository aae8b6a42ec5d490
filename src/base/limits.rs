//! Every limit of the house in one place. Each has a test at the limit and one beyond it.

/// Longest name segment, in bytes.
pub const SEGMENT_BYTES_MAX: usize = 63;
/// Longest name, separators included, in bytes.
pub const NAME_BYTES_MAX: usize = 255;
/// Most segments in a capability's or secret's name.
pub const NAME_SEGMENTS_MAX: usize = 8;
/// Longest audience, in bytes.
pub const AUDIENCE_BYTES_MAX: usize = 512;

/// Largest upstream secret, in bytes. Below the index's 100 KB, above any key or certificate chain.
pub const SECRET_BYTES_MAX: usize = 64 * 1024;
/// Versions that are carried over to a new value key by one entry of the ledger.
pub const REWRAPPED_AT_ONCE_MAX: usize = 256;
/// Entries of the ledger that are looked through for who read a secret.
pub const READINGS_LOOKED_AT_MAX: u64 = 50_000;
/// Former versions of one secret that are kept when the settings say nothing.
pub const FORMER_VERSIONS: u32 = 10;
/// Fewest that may be set: an upstream can be put back by a backup, or be found to have forgotten the newest.
pub const FORMER_VERSIONS_MIN: u32 = 2;
/// Most that may be set.
pub const FORMER_VERSIONS_MAX: u32 = 1000;
/// Former versions of one secret that are destroyed by one entry of the ledger.
pub const VERSIONS_DESTROYED_AT_ONCE_MAX: usize = 256;
/// Destroyed versions of one secret that are still listed; the ledger knows of all.
pub const DESTROYED_LISTED_MAX: usize = 100;

/// Fewest characters of a passphrase that opens the keyring: NIST SP 800-63B-4 §3.1.1.2 asks for 15 of a
/// password that stands alone.
pub const PASSPHRASE_CHARS_MIN: usize = 15;
/// Longest passphrase, in bytes: beyond any that somebody types, and nothing to stretch for long.
pub const PASSPHRASE_BYTES_MAX: usize = 1024;
/// How often somebody may try to unseal, at once.
pub const UNSEAL_TRIES_MAX: u32 = 5;
/// The same in a minute, in the long run: whoever guesses has the cost of each guess on top.
pub const UNSEAL_TRIES_PER_MINUTE: u32 = 4;
/// How long verifiers may keep the public documents, in seconds: as long as a token key is published before it signs.
pub const DOCUMENTS_MAX_AGE_S: i64 = 60;
/// Most changes of signing keys that wait at a time for the public documents to be written.
pub const PUBLISHES_WAITING_MAX: usize = 16;
/// Longest wait of a change of signing keys for the public documents to be written, in milliseconds.
pub const PUBLISH_WAIT_MS: u64 = 1000;
/// Most values, put with an idempotency key, whose digests a process keeps to find the key with another value.
pub const PUT_VALUES_MAX: usize = 4096;
/// How often a broker looks for the order to adopt its data, in milliseconds.
pub const ADOPTION_WAIT_MS: u64 = 500;
/// Longest wait of a sealing for the ledger to take that it was asked for, and then for everything to stop, in
/// seconds each: keys go, whatever the disk does.
pub const SEAL_WAIT_S: u64 = 2;
/// Largest request to unseal, in bytes: room for the shares of a quorum.
pub const UNSEAL_BYTES_MAX: usize = 16 * 1024;
/// Most orders that wait for a sealed broker to be unsealed.
pub const ORDERS_MAX: usize = 1024;
/// Life of the certificate that is taken by breaking the glass, in seconds.
pub const BREAK_GLASS_LIFE_S: i64 = 3600;
/// Most connections to the socket on the host.
pub const HOST_CONNECTIONS_MAX: usize = 16;
/// Records that one AES-256-GCM key seals under random nonces: half of the 2^32 of NIST SP 800-38D §8.3. The other
/// half is for records that a stop left uncounted.
pub const SEALS_MAX: u64 = 2_147_483_648;
/// Seals that the value key keeps for what has begun: nothing is begun upstream that could not be sealed afterwards.
pub const SEALS_RESERVED: u64 = 65_536;
/// Records after which such a key is due to be replaced.
pub const SEALS_DUE: u64 = 1_073_741_824;
/// Writes of a keyring's file. A write seals three records at most under one key, but for the write that begins its
/// use; so no key of a keyring seals as many as 2^32.
pub const KEYRING_WRITES_MAX: u64 = 1_073_741_824;
/// What trying a passphrase at all slots of a keyring may cost, in KiB of memory times passes over it: a few seconds.
/// Eight slots as they are made cost 1,572,864.
pub const SLOTS_COST_MAX: u64 = 2_097_152;
/// Most slots of a keyring: each one of a passphrase is stretched in turn.
pub const SLOTS_MAX: usize = 8;
/// Most digest keys before the newest one that a request is looked for under: rotations of the digest key, by its
/// schedule or with the root key, within the life of an outcome.
pub const EARLIER_DIGESTS_MAX: usize = 8;
/// How long a digest key stays in the keyring after its rotation, in seconds: as long as the longest outcome, which is
/// that of a lease and longer than `OUTCOME_LIFE_S`.
pub const EARLIER_DIGEST_LIFE_S: u32 = LEASE_LIFE_MAX_S;
/// Most earlier root keys that a keyring still proves to have replaced.
pub const ROOT_MARKS_MAX: usize = 64;
/// Most shares of a slot: people who can be brought together, and a ceremony that ends.
pub const SHARES_MAX: u8 = 16;
/// Fewest shares that open a slot together: with one, it would be a key file with copies.
pub const THRESHOLD_MIN: u8 = 2;

/// Largest event of a ledger entry, in bytes: room for some ten thousand changes of declarations.
pub const EVENT_BYTES_MAX: usize = 1024 * 1024;
/// Largest state change of a ledger entry, in bytes.
pub const DELTA_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most keys that a ledger entry may rely on, and most that it may advance.
pub const ENTRY_KEYS_MAX: usize = 16 * 1024;
/// Most appends that wait for the ledger's writer; beyond it the caller is told to come back.
pub const APPENDS_WAITING_MAX: usize = 8 * 1024;
/// Longest wait of a revocation for the ledger before it takes effect in memory, in milliseconds.
pub const TAKE_AWAY_WAIT_MS: u64 = 500;
/// How long apart a ledger that could not take a revocation is asked again, in milliseconds.
pub const TAKE_AWAY_RETRY_MS: u64 = 1000;
/// Longest wait for the runtime directory to keep such a revocation, in milliseconds.
pub const KEEP_WAIT_MS: u64 = 400;
/// Revocations in force in memory that the ledger is asked to take.
pub const DENIALS_UNRECORDED_MAX: usize = 4096;
/// Most entries in one group commit.
pub const BATCH_ENTRIES_MAX: usize = 1024;
/// Times that a group commit is tried anew which its log has dropped.
pub const LOG_RETRIES_MAX: u32 = 5;
/// Bytes after which a group commit takes no further entry.
pub const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Times a use case decides again after a conflict, before it answers that the broker is busy.
pub const CONFLICT_RETRIES_MAX: u32 = 3;
/// Most keys whose last advance the ledger knows one by one, twice over: whoever decided on an older state
/// than they reach back to decides again.
pub const GENERATIONS_KEPT_MAX: usize = 64 * 1024;
/// Fewest entries between two snapshots of the state: a start reads so many in a fraction of a second.
pub const SNAPSHOT_ENTRIES_MIN: u64 = 100_000;
/// Most bytes of state that are sealed as one in a snapshot.
pub const SNAPSHOT_CHUNK_BYTES: usize = 1024 * 1024;
/// Most index writes that wait for sled.
pub const INDEX_WAITING_MAX: usize = 8 * 1024;

/// Most connections that wait to be accepted, unless the kernel takes fewer (`net.core.somaxconn`): a fleet
/// wakes at once, and whoever finds no place waits a whole second before it tries again.
pub const CONNECTIONS_WAITING_MAX: u32 = 4096;

/// Largest request body on any route but secret and declaration uploads, in bytes.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// Largest declaration upload, in bytes.
pub const DECLARATION_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Most declaration files in one upload.
pub const DECLARATION_FILES_MAX: usize = 256;
/// Most things of a kind (roles, rotations, …) that an upload of declarations may declare: above what one entry of
/// the ledger can change.
pub const DECLARED_MAX: usize = 32 * 1024;
/// Faults of an upload of declarations that are listed with their positions; the others are counted.
pub const FAULTS_LISTED_MAX: usize = 50;
/// Longest file name in a declaration upload, in bytes: what a file system allows.
pub const FILE_NAME_BYTES_MAX: usize = 4096;
/// Longest reason that an operator gives, in characters.
pub const REASON_CHARS_MAX: usize = 300;
/// Most fields of a form.
pub const FORM_FIELDS_MAX: usize = 32;
/// Longest path and query of a request, in bytes: above the longest name of any route.
pub const TARGET_BYTES_MAX: usize = 1024;
/// Largest header, names and values together, in bytes.
pub const HEADER_BYTES_MAX: usize = 16 * 1024;
/// Most header fields.
pub const HEADERS_MAX: usize = 64;
/// Longest wait for a request's header, in seconds.
pub const HEADER_WAIT_S: u64 = 10;
/// Longest wait for a request's body, in seconds.
pub const BODY_WAIT_S: u64 = 10;
/// Longest time that a peer may take nothing of its answer, in seconds.
pub const WRITE_WAIT_S: u64 = 10;
/// Longest wait for a TLS handshake, in seconds.
pub const HANDSHAKE_WAIT_S: u64 = 10;
/// Most TLS handshakes at one listener that wait for the broker; a client that connects then is closed at once. Two
/// cores do as many in about a second.
pub const HANDSHAKES_UNDER_WAY_MAX: usize = 4096;
/// Most bytes of the first message of a TLS handshake.
pub const HELLO_BYTES_MAX: usize = 8 * 1024;
/// Most bytes that are read of the rest of a TLS handshake, and of a first request that comes with it.
pub const HANDSHAKE_REST_BYTES_MAX: usize = 40 * 1024;
/// Most intermediate certificates of an upstream that are looked at; others that it sends do not count.
pub const UPSTREAM_INTERMEDIATES_MAX: usize = 4;
/// Most of what was sent on a connection and not yet received, in bytes, as it is asked of the kernel, which takes
/// twice as much for its own records.
pub const SEND_BUFFER_BYTES: u32 = 64 * 1024;
/// Files that are kept for everything but connections of agents and operators: the ledger, the index, the socket on
/// the host, calls upstream.
pub const FILES_RESERVED: usize = 512;
/// Longest wait for the answer under way on a connection whose holder may not act any more, in seconds.
pub const CUT_WAIT_S: u64 = 1;
/// Longest wait for a peer whose handshake was refused to take notice, in seconds.
pub const LINGER_WAIT_S: u64 = 1;
/// Most of a body that is read although nobody wants it, in bytes, so that its connection can go on.
pub const UNREAD_BYTES_MAX: u64 = 64 * 1024;
/// Threads for the operators' listener, which health and revocation are answered by as well.
pub const ADMIN_THREADS: usize = 2;
/// Threads for what the broker does by itself: rotations, ends of leases, snapshots, its own certificate.
pub const JOB_THREADS: usize = 2;
/// Longest wait for a listener to end beyond the wait for its connections, when the broker stops, in seconds.
pub const LISTENER_END_WAIT_S: u64 = 2;
/// Longest wait for a job, or for a request whose connection was cut, when the broker stops, in seconds: beyond one
/// call of an upstream.
pub const JOB_END_WAIT_S: u64 = 65;
/// Longest time that the last snapshot may take when the broker stops, in seconds.
pub const LAST_SNAPSHOT_WAIT_S: u64 = 20;
/// Longest wait for connections to end when the broker stops, in seconds.
pub const DRAIN_WAIT_S: u64 = 10;
/// Longest bearer token read from a request, in bytes.
pub const TOKEN_BYTES_MAX: usize = 4 * 1024;
/// Most tokens that are remembered as having a good signature: some ten megabytes.
pub const TOKENS_SEEN_MAX: usize = 8 * 1024;
/// Most requests of certificate holders that are under way at one listener; whoever comes then waits for a place.
/// Taken on, they would wait a tenth of a second on two cores.
pub const REQUESTS_UNDER_WAY_MAX: usize = 2048;
/// Longest wait for such a place, in milliseconds; after that a request is told to come back. Connections have
/// caps, and so has what waits.
pub const PLACE_WAIT_MS: u64 = 250;
/// When whoever may try again is told to, in seconds, unless there is a better time to name. What the connection
/// of a request that found no place asks before is not looked at until then.
pub const COME_BACK_AFTER_S: u64 = 1;
/// Heavy requests (plan, apply, calendar, reports, pages of the ledger) of one operator that are under way.
pub const HEAVY_PER_OPERATOR_MAX: usize = 2;
/// The same of all operators together. Each may have a body of `DECLARATION_BYTES_MAX` in memory.
pub const HEAVY_REQUESTS_MAX: usize = 16;
/// Threads that work on heavy requests at a time.
pub const HEAVY_THREADS_MAX: usize = 2;
/// Longest time of one part of a heavy request, the wait for a thread included, in seconds; then it is cancelled.
pub const HEAVY_WAIT_S: u64 = 20;
/// Largest certificate request, in bytes.
pub const CSR_BYTES_MAX: usize = 4 * 1024;
/// Most capabilities in one token request.
pub const SCOPES_MAX: usize = 32;
/// Most roles of one agent.
pub const ROLES_MAX: usize = 32;
/// Most capabilities of one role.
pub const ROLE_CAPABILITIES_MAX: usize = 256;
/// Bytes of entries after which a page of the ledger takes no further one.
pub const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most items in one page of a list.
pub const LIST_ITEMS_MAX: usize = 1000;
/// Most entries in one page of the ledger.
pub const PAGE_ENTRIES_MAX: usize = 500;

/// Life of an enrolment code that was made without one, in seconds.
pub const CODE_LIFE_S: i64 = 15 * 60;
/// Longest life of an enrolment code that may be asked for, in seconds.
pub const CODE_LIFE_MAX_S: i64 = 7 * 24 * 3600;
/// Most uses of one enrolment code.
pub const CODE_USES_MAX: u32 = 10_000;
/// Longest life of a certificate of an agent, a resource server or an operator, in seconds.
pub const CERTIFICATE_LIFE_MAX_S: i64 = 7 * 24 * 3600;
/// Longest time after its end in which a certificate may still be renewed with, in seconds.
pub const RENEWAL_GRACE_MAX_S: i64 = 7 * 24 * 3600;
/// How long before it signs an authority is prepared, in seconds: every certificate that was given before is
/// over by then, and cannot be renewed with any more, so that its schedule leaves nobody behind.
pub const AUTHORITY_LEAD_S: i64 = CERTIFICATE_LIFE_MAX_S + RENEWAL_GRACE_MAX_S;
/// How long before it signs a token key is published, in seconds: sixty times as long as the key
/// document may be kept.
pub const TOKEN_KEY_LEAD_S: i64 = 3600;
/// How far certificates are backdated, in seconds: clocks of agents may be behind.
pub const BACKDATE_S: i64 = 60;
/// How far the wall clock may be from the boot clock before it is no longer followed, in milliseconds.
pub const CLOCK_TOLERANCE_MS: u64 = 5000;
/// How far before the ledger's newest entry the wall clock may be at start, in seconds.
pub const CLOCK_BEHIND_MAX_S: i64 = 60;
/// How far after the ledger's newest entry a wall clock may be at start that is not synchronised, in seconds.
pub const CLOCK_AHEAD_MAX_S: i64 = 30 * 24 * 3600;
/// How long the wall clock must have been synchronised before it is adopted, in seconds.
pub const CLOCK_SYNC_WAIT_S: u64 = 60;
/// For how long the system's word counts that the wall clock is synchronised, in seconds: systemd-timesyncd asks
/// again after 2048 seconds at most.
pub const CLOCK_SYNC_AGE_MAX_S: i64 = 3600;
/// How long after an entry that says that the clocks disagree another one may, in seconds of the boot clock.
pub const CLOCK_ALARM_PAUSE_S: u64 = 3600;
/// Leeway when a token's times are judged, in seconds.
pub const LEEWAY_S: i64 = 5;
/// Shortest life of an access token that may be declared or asked for, in seconds.
pub const TOKEN_LIFE_MIN_S: i64 = 10;
/// Names and audiences that one owner has or has left behind; an owner that is there has no new ones declared by
/// operators bound to it.
pub const FORMER_NAMES_PER_OWNER_MAX: usize = 16 * 1024;
/// Those left behind by all owners, and by nobody: some twenty megabytes. Beyond it new names are declared by operators
/// bound to no owner alone.
pub const FORMER_NAMES_MAX: usize = 256 * 1024;
/// Longest life of an access token that may be declared, in seconds.
pub const TOKEN_LIFE_MAX_S: i64 = 3600;
/// Longest life of an access token that reaches a secret of high sensitivity, in seconds, whatever is declared.
pub const HIGH_TOKEN_LIFE_MAX_S: u32 = 300;

/// Outcomes of requests with an idempotency key that are remembered for one operator, or one user of the host.
pub const OUTCOMES_PER_CALLER_MAX: usize = 64;
/// The same for all operators and users of the host.
pub const OPERATOR_OUTCOMES_MAX: usize = 16 * 1024;
/// The same for one agent, whatever instances and certificates it has.
pub const OUTCOMES_PER_AGENT_MAX: usize = 1024;
/// The same for all agents: 100 megabytes for tokens of one capability, 220 for tokens of `SCOPES_MAX` capabilities
/// with names of 20 bytes, 750 at most, where each name is as long as may be.
pub const OUTCOMES_MAX: usize = 64 * 1024;
/// How long the outcome of an operator's request is remembered, in seconds: longer than any retry.
pub const OUTCOME_LIFE_S: u32 = 86_400;
/// Longest idempotency key, in bytes.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;

/// Shortest interval between two scheduled rotations of a secret, in seconds.
pub const ROTATION_EVERY_MIN_S: u32 = 60;
/// Longest, in seconds: ten years.
pub const ROTATION_EVERY_MAX_S: u32 = 10 * 366 * 24 * 3600;
/// Most stretches of blackout days in one schedule.
pub const BLACKOUTS_MAX: usize = 64;
/// Longest grace of a replaced value, in seconds.
pub const GRACE_MAX_S: u32 = 90 * 24 * 3600;
/// Versions that upstream is asked about when an operator adopts one that works: upstreams lock out guessers.
pub const VERSIONS_TRIED_MAX: usize = 4;
/// Tries of one step of a rotation before it becomes a dead letter.
pub const ROTATION_TRIES_MAX: u32 = 8;
/// First wait before a failed step is tried again, in seconds; doubled each time.
pub const ROTATION_RETRY_FIRST_S: i64 = 30;
/// Longest such wait, in seconds.
pub const ROTATION_RETRY_MAX_S: i64 = 3600;
/// Rotations under way at a time.
pub const ROTATIONS_AT_ONCE_MAX: usize = 8;
/// Rotations that begin by schedule within ten seconds: after a long stop they come spread out.
pub const ROTATIONS_BEGUN_MAX: usize = 25;
/// Longest wait of a read for a rotation that is between the old value and the new one, in seconds.
pub const SWAP_WAIT_S: u64 = 5;
/// How often the current value of a rotated secret is tried upstream, in seconds.
pub const DRIFT_CHECK_S: i64 = 86_400;
/// Failures in a row after which an upstream is left alone for a while.
pub const BREAKER_FAILURES_MAX: u32 = 5;
/// For how long, in seconds.
pub const BREAKER_OPEN_S: i64 = 60;
/// Lines of a rotation calendar.
pub const CALENDAR_LINES_MAX: usize = 1000;
/// Longest wait for one answer of an upstream, in seconds.
pub const UPSTREAM_WAIT_S: u64 = 10;
/// Fewest SCRAM iterations that a server may ask for (RFC 7677 §4): a false one would be given a proof
/// that passwords are cheap to try against.
pub const SCRAM_ITERATIONS_MIN: u32 = 4096;
/// Most that is read from an upstream in one call, in bytes.
pub const UPSTREAM_ANSWER_BYTES_MAX: usize = 256 * 1024;
/// Values that upstream may know and nobody uses, of one secret, after which it is asked for no other.
pub const ORPHANS_MAX: usize = 16;
/// Longest wait for the whole of one call by URL that may be declared, in seconds.
pub const UPSTREAM_WAIT_MAX_S: u64 = 60;
/// Longest template of a URL, a header or a body, in bytes.
pub const UPSTREAM_TEMPLATE_BYTES_MAX: usize = 16 * 1024;
/// Most header fields that a declared request may have.
pub const UPSTREAM_HEADERS_MAX: usize = 16;
/// Most statuses that a declared request may name.
pub const UPSTREAM_STATUSES_MAX: usize = 16;
/// Longest name of an upstream's slot, in bytes.
pub const UPSTREAM_SLOT_BYTES_MAX: usize = 128;

/// Life of a lease when the request names none, in seconds.
pub const LEASE_LIFE_S: u32 = 3600;
/// Shortest life of a lease that may be declared or asked for, in seconds.
pub const LEASE_LIFE_MIN_S: u32 = 60;
/// Longest life of a lease that may be declared, renewals included, in seconds.
pub const LEASE_LIFE_MAX_S: u32 = 7 * 24 * 3600;
/// Outstanding leases that one agent may have of a capability that is declared without a number.
pub const LEASES_PER_AGENT: u32 = 10;
/// Most that may be declared: beyond it a server's catalogue suffers.
pub const LEASES_PER_AGENT_MAX: u32 = 1000;
/// Most uses of one lease that are counted.
pub const LEASE_USES_MAX: usize = 256;
/// Connections of one leased login when the declaration names no number.
pub const LEASE_CONNECTIONS: u32 = 4;
/// Most that may be declared.
pub const LEASE_CONNECTIONS_MAX: u32 = 1000;
/// Most statements that prepare a leased login, and most groups that it joins.
pub const LEASE_STATEMENTS_MAX: usize = 32;
/// Longest such statement, in bytes.
pub const LEASE_STATEMENT_BYTES_MAX: usize = 2048;
/// First wait before an end that failed is tried again, in seconds; doubled each time.
pub const LEASE_RETRY_FIRST_S: i64 = 5;
/// Longest such wait, in seconds. There is no last try.
pub const LEASE_RETRY_MAX_S: i64 = 600;
/// The same while the login can still log in, as far as the broker knows.
pub const LEASE_RETRY_OPEN_MAX_S: i64 = 30;
/// Failed ends of a login that can still log in before an alarm is raised.
pub const LEASE_STILL_OPEN_FAILURES: u32 = 3;
/// Leases that are ended at a time at one upstream.
pub const LEASES_ENDED_PER_PLACE_MAX: usize = 8;
/// The same at all upstreams.
pub const LEASES_ENDED_AT_ONCE_MAX: usize = 64;
/// How long after it was due the end of a lease counts as overdue, in seconds.
pub const LEASE_OVERDUE_S: i64 = 60;
/// How often upstreams are looked through for logins that no lease knows, in seconds.
pub const LEASE_SWEEP_S: i64 = 3600;
/// Unknown logins at one upstream that one entry of the ledger names; the others are counted.
pub const UNKNOWN_LOGINS_LISTED_MAX: usize = 20;
/// Leases whose holders lost what they were issued for that are ended by one entry of the ledger.
pub const LEASES_LOOKED_AT_MAX: usize = 1000;

/// Seconds without an append after which the ledger tries its disk with a probe write.
pub const PROBE_EVERY_S: u64 = 10;
/// Room for entries that a probe asks for, in bytes: an append of usual size fits.
pub const PROBE_ROOM_BYTES: u64 = 16 * 1024;
/// Milliseconds after which a write that has not ended counts as stalled: the broker is not ready.
pub const LEDGER_STALLED_MS: u64 = 3000;
/// Milliseconds after which a write counts as slow: a warning.
pub const LEDGER_SLOW_MS: u64 = 1000;
/// Free bytes on the data directory's disk below which a warning is given.
pub const DISK_FREE_BYTES_MIN: u64 = 1024 * 1024 * 1024;
