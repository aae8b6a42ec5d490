//! The limits of leases, which are part of [`super::limits`].

/// Life of a lease by default, in seconds.
pub const LEASE_LIFE_S: u32 = 3600;
/// Shortest life of a lease, in seconds.
pub const LEASE_LIFE_MIN_S: u32 = 60;
/// Longest life of a lease with its renewals, in seconds.
pub const LEASE_LIFE_MAX_S: u32 = 7 * 24 * 3600;
/// Maximum number of leases of one agent and capability by default.
pub const LEASES_PER_AGENT: u32 = 10;
/// Maximum of the declared number of leases of one agent and capability: more logins slow down the database server.
pub const LEASES_PER_AGENT_MAX: u32 = 1000;
/// Maximum number of counted uses of one lease.
pub const LEASE_USES_MAX: usize = 256;
/// Maximum number of connections of one leased login by default.
pub const LEASE_CONNECTIONS: u32 = 4;
/// Maximum of the declared number of connections of one leased login.
pub const LEASE_CONNECTIONS_MAX: u32 = 1000;
/// Maximum number of statements that prepare a leased login, and maximum number of roles that it gets.
pub const LEASE_STATEMENTS_MAX: usize = 32;
/// Longest statement that prepares a leased login, in bytes.
pub const LEASE_STATEMENT_BYTES_MAX: usize = 2048;
/// First wait before a failed revocation of a lease is retried, in seconds; it doubles each time.
pub const LEASE_RETRY_FIRST_S: i64 = 5;
/// Longest wait before a failed revocation of a lease is retried, in seconds. Revocations are repeated until they
/// succeed.
pub const LEASE_RETRY_MAX_S: i64 = 600;
/// Longest wait before a failed revocation is retried while the login can still log in, in seconds.
pub const LEASE_RETRY_OPEN_MAX_S: i64 = 30;
/// Number of failed revocations of a login that can still log in, after which the broker raises an alarm.
pub const LEASE_STILL_OPEN_FAILURES: u32 = 3;
/// Maximum number of leases that are revoked at the same time at one upstream.
pub const LEASES_ENDED_PER_PLACE_MAX: usize = 8;
/// Maximum number of leases that are revoked at the same time at all upstreams.
pub const LEASES_ENDED_AT_ONCE_MAX: usize = 64;
/// Time after which a revocation counts as overdue, in seconds.
pub const LEASE_OVERDUE_S: i64 = 60;
/// Interval at which the broker searches upstreams for logins without a lease, in seconds.
pub const LEASE_SWEEP_S: i64 = 3600;
/// Maximum number of logins without a lease that one ledger entry names; further logins are counted.
pub const UNKNOWN_LOGINS_LISTED_MAX: usize = 20;
/// Maximum number of leases that one ledger entry revokes because their agents lost the right to them.
pub const LEASES_LOOKED_AT_MAX: usize = 1000;
/// Maximum number of agents that one ledger entry about several leases names.
pub const LEASE_AGENTS_NAMED_MAX: usize = 100;
