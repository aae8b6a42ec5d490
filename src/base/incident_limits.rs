//! The limits of incidents and evidence bundles, which are part of [`super::limits`].

/// Largest evidence bundle, in bytes.
pub const EVIDENCE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most files in an evidence bundle.
pub const EVIDENCE_FILES_MAX: usize = 16;
/// Most entries in an evidence bundle.
pub const EVIDENCE_ENTRIES_MAX: usize = 50_000;
/// Maximum number of ledger entries that the search for related entries of an evidence bundle reads: those that the search
/// index finds, and those that it does not have.
pub const EVIDENCE_RELATED_ENTRIES_READ_MAX: u64 = 200_000;
/// Maximum number of lifted or closed incidents that the broker remembers; the ledger keeps all. Contained subjects are not
/// limited.
pub const INCIDENTS_LIFTED_MAX: usize = 1000;
/// Maximum number of names that the answer about an incident or a preview of a containment lists.
pub const INCIDENT_NAMES_MAX: usize = 20;
/// Maximum number of open incidents without a containment.
pub const INCIDENTS_OPEN_MAX: usize = 200;
/// Maximum number of subjects that an operator can name in the record of an incident, or add to its containment.
pub const INCIDENT_SUBJECTS_MAX: usize = 100;
/// Maximum number of people in the record of an incident.
pub const INCIDENT_PEOPLE_MAX: usize = 20;
/// Maximum number of notes in the record of an incident.
pub const INCIDENT_NOTES_MAX: usize = 100;
/// Maximum number of follow-up actions of a closed incident.
pub const INCIDENT_FOLLOW_UPS_MAX: usize = 20;
/// Maximum number of agents of which the broker remembers when they were connected last; one more forgets those that are not
/// connected.
pub const AGENTS_SEEN_MAX: usize = 20_000;
/// Maximum number of connections closed because of a revocation that the broker remembers, to count them for incidents.
pub const CLOSED_CONNECTIONS_MAX: usize = 10_000;
/// Maximum number of ledger entries that a report about a subject reads, for its own period and again for the period before.
pub const REPORT_ENTRIES_READ_MAX: u64 = 20_000;
/// Length of the period before a report, in seconds; the report compares the acts of its subject with this period.
pub const REPORT_BASELINE_S: i64 = 30 * 24 * 3600;
/// Maximum number of leaked texts, or parts of them, that an operator can check in a minute.
pub const VALUE_CHECKS_PER_MINUTE: u32 = 10;
/// Maximum number of parts of a leaked text that are compared: the text itself, and values in it. Each counts as a check.
pub const VALUE_CHECK_TEXTS_MAX: usize = 8;
/// Maximum number of versions of secrets, and of leases, with which a leaked text is compared.
pub const VALUE_CHECK_VALUES_MAX: usize = 10_000;
/// Maximum number of pages of entries that are read to find the receivers of a leaked value.
pub const VALUE_CHECK_PAGES_MAX: usize = 40;
/// Maximum number of words of a text for the record of an incident that the broker compares with stored values.
pub const TEXT_WORDS_MAX: usize = 200;
/// Length of the shortest word that the broker compares with stored values, in bytes.
pub const WORD_BYTES_MIN: usize = 8;
/// Maximum number of words in a value with spaces that the broker finds inside of a longer text.
pub const TEXT_RUN_WORDS_MAX: usize = 8;
/// Minimum time between two summaries of refused certificates in the ledger, in seconds.
pub const REFUSED_SUMMARY_S: u64 = 60;
/// Maximum number of callers that a summary of refused certificates lists; it counts the others together.
pub const REFUSED_CALLERS_MAX: usize = 64;
/// Maximum number of sources of one caller that a summary of refused certificates lists.
pub const REFUSED_SOURCES_MAX: usize = 8;
