//! The limits of messages about approvals, of what an approver is shown, and of metrics, which are part of
//! [`super::limits`].

/// Maximum number of attempts to deliver a message to the webhook.
pub const WEBHOOK_TRIES_MAX: u32 = 8;
/// Longest pause between two attempts to deliver a message to the webhook, in seconds.
pub const WEBHOOK_PAUSE_MAX_S: u64 = 3600;
/// Maximum number of messages that wait for the webhook or are dead letters; further requests follow when one ends.
pub const WEBHOOK_QUEUE_MAX: usize = 1000;
/// Maximum number of messages that are sent to the webhook at the same time.
pub const WEBHOOK_AT_ONCE_MAX: usize = 4;
/// Longest time of one attempt to deliver a message to the webhook, in seconds.
pub const WEBHOOK_WAIT_S: u64 = 10;
/// Largest response of the webhook that is read, in bytes. Its content is ignored.
pub const WEBHOOK_ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Maximum number of earlier requests that an approver is shown.
pub const APPROVAL_PREVIOUS_MAX: usize = 20;
/// Maximum number of usual values of a field that an approver is shown.
pub const APPROVAL_USUAL_MAX: usize = 8;
/// Maximum number of pairs of a capability and an environment that are labels of metrics; further ones are `other`.
pub const METER_CAPABILITIES_MAX: usize = 200;
