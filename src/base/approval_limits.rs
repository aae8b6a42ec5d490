//! The limits of approvals, which are part of [`super::limits`].

/// Maximum number of pending requests for approval of one agent.
pub const APPROVALS_PENDING_MAX: usize = 16;
/// Maximum number of requests for approval of one agent that the broker remembers, ended ones included; the ledger has all.
pub const APPROVALS_OF_AGENT_MAX: usize = 64;
/// Maximum number of requests for approval that the broker remembers.
pub const APPROVALS_MAX: usize = 10_000;
/// Time until a pending request for approval expires, in seconds.
pub const APPROVAL_PENDING_S: i64 = 24 * 3600;
/// Time until an approval expires that is not used, in seconds.
pub const APPROVAL_UNUSED_S: i64 = 3600;
/// Shortest time for which a request can ask for a grant, in seconds.
pub const APPROVAL_GRANT_S_MIN: u32 = 60;
/// Longest time for which a request can ask for a grant, in seconds. It begins with the first use.
pub const APPROVAL_GRANT_S_MAX: u32 = 24 * 3600;
/// Maximum number of uses of one approval.
pub const APPROVAL_USES_MAX: u32 = 100;
/// Time after which an ended request for approval is forgotten, counted from its opening, in seconds.
pub const APPROVAL_KEPT_S: i64 = 7 * 24 * 3600;
/// Time for which the approval of a plan counts, in seconds.
pub const PLAN_APPROVAL_S: i64 = 24 * 3600;
/// Maximum number of approvers that a policy can demand.
pub const APPROVAL_QUORUM_MAX: u32 = 5;
/// Maximum number of policies that can demand approval of one request.
pub const APPROVAL_DEMANDS_MAX: usize = 16;
/// Maximum number of policies that a request for approval names.
pub const APPROVAL_POLICIES_MAX: usize = 64;
/// Maximum number of groups of approvers.
pub const APPROVER_GROUPS_MAX: usize = 1000;
/// Maximum number of groups of approvers of one owner.
pub const OWNER_APPROVER_GROUPS_MAX: usize = 64;
/// Maximum number of operators that a group of approvers names.
pub const APPROVER_GROUP_OPERATORS_MAX: usize = 64;
/// Longest time for which a request waits for an approval, in seconds. A stop of the broker ends the wait.
pub const APPROVAL_WAIT_S_MAX: u64 = 60;
/// Maximum number of requests that wait for an approval at the same time; further ones get their answer at once.
pub const APPROVAL_WAITERS_MAX: usize = 64;
/// Shortest time between two polls of a device code, in seconds.
pub const DEVICE_POLL_S: u32 = 5;
