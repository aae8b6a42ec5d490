//! The limits of roles, policies and environments, which are part of [`super::limits`].

/// Maximum number of roles of one agent.
pub const ROLES_MAX: usize = 32;
/// Maximum number of capabilities of one role.
pub const ROLE_CAPABILITIES_MAX: usize = 256;
/// Maximum number of policies.
pub const POLICIES_MAX: usize = 10_000;
/// Maximum number of policies of one owner: the policies of an owner delay requests for its capabilities only, and other
/// owners can still declare theirs.
pub const OWNER_POLICIES_MAX: usize = 256;
/// Maximum number of environments.
pub const ENVIRONMENTS_MAX: usize = 1000;
/// Maximum number of environments of one owner.
pub const OWNER_ENVIRONMENTS_MAX: usize = 64;
/// Policies that the entry of a decision names.
pub const NAMED_POLICIES_MAX: usize = 8;
/// Policies that the explanation of a decision lists for one capability; others are counted.
pub const EXPLAINED_POLICIES_MAX: usize = 50;
/// Explanations of its decisions that an agent gets in each second, beyond a burst.
pub const EXPLANATIONS_PER_S: u32 = 1;
/// The burst of an agent's explanations.
pub const EXPLANATIONS_BURST: u32 = 10;
/// Maximum number of ledger entries that the search for a decision reads.
pub const DECISION_ENTRIES_READ_MAX: u64 = 20_000;
/// Maximum number of ledger entries that one request about earlier declarations reads.
pub const PAST_DECLARATIONS_READ_MAX: u64 = 20_000;
/// Maximum number of versions of a policy that one answer lists; others are counted.
pub const POLICY_VERSIONS_LISTED_MAX: usize = 200;
/// Smaller requests of denials that are kept, to recognise the requests that accept them.
pub const OFFERS_KEPT_MAX: usize = 1024;
/// Maximum number of recorded requests that one request of a simulation replays; the next one continues.
pub const SIMULATED_REQUESTS_MAX: usize = 5_000;
/// Maximum number of ledger entries that one request of a simulation reads.
pub const SIMULATED_ENTRIES_READ_MAX: u64 = 20_000;
/// Maximum number of changes that one request of a simulation lists; others are counted.
pub const SIMULATED_CHANGES_MAX: usize = 1_000;
/// Maximum number of newly reachable requests that a plan lists; others are counted.
pub const WIDENINGS_LISTED_MAX: usize = 500;
/// Longest rule of a policy, in bytes.
pub const POLICY_RULE_BYTES_MAX: usize = 8 * 1024;
/// Deepest nesting of a rule: its open brackets, and the operators since each of them.
pub const POLICY_NESTING_MAX: usize = 24;
/// Longest reason of a policy, in characters.
pub const POLICY_REASON_CHARS_MAX: usize = 200;
/// Maximum number of parameters of one capability.
pub const PARAMETERS_MAX: usize = 16;
/// Maximum number of texts that a declaration allows a parameter.
pub const PARAMETER_VALUES_MAX: usize = 64;
/// Maximum length of these texts together, in bytes.
pub const PARAMETER_VALUES_BYTES_MAX: usize = 4096;
/// Longest text of a parameter, in characters, and the limit if its declaration names none.
pub const PARAMETER_TEXT_CHARS_MAX: u32 = 256;
/// Largest whole number of a parameter; its negative is the smallest one. JSON readers represent these exactly.
pub const PARAMETER_INTEGER_MAX: i64 = (1 << 53) - 1;
/// Longest parameters of one request in JSON, in bytes: they fit into the token.
pub const PARAMETERS_BYTES_MAX: usize = 1024;
