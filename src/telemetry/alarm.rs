use std::fmt;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

/// An event that needs an operator now. Each has a counter, a log line with the field `alarm`, a ledger entry if
/// the ledger is writable, and a rule in `config/prometheus/keyward.rules.yml`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Alarm {
    /// An agent's enrolment code was used again, with another key.
    EnrolmentCodeReused,
    /// An operator's enrolment code was used again, with another key.
    OperatorEnrolmentCodeReused,
    /// An agent's certificate was renewed after it had expired.
    LateRenewal,
    /// An operator's certificate was renewed after it had expired.
    OperatorLateRenewal,
    /// Break-glass access was used on the host.
    BreakGlass,
    /// The upstream no longer accepts a secret's current value.
    RotationDrifted,
    /// A database login that belongs to no lease was removed.
    LoginUnknownRemoved,
    /// An operator removed a lease from the records although its login could not be revoked.
    LeaseForgotten,
    /// A revoked database login can still log in: a transaction that does not end holds a lock on its role.
    LoginStillValid,
    /// The system clock and the clock since boot, or since the ledger's newest entry, disagree.
    ClockDisagrees,
    /// The broker was started without ledger entries or keys that it had before, because an operator accepted the loss.
    DataLossAccepted,
    /// A client presented a token or certificate that this broker signed and its ledger does not contain.
    RollbackSuspected,
    /// The ledger's database no longer has entries that the broker has acknowledged; the ledger has stopped, so no
    /// entry says so.
    EntriesLost,
    /// A revocation is in force in memory only: the data disk did not store its entry in time.
    RevocationUnrecorded,
    /// A pending order was not carried out: its name is wrong, its operator may no longer order it, or the records changed.
    PendingOrderFailed,
    /// The data directory is on another machine than before.
    MachineChanged,
    /// Another copy of this broker has acted at an upstream.
    CopyActive,
    /// The data directory was copied or moved before this build first served from it.
    DataMoved,
    /// A database login with this broker's name belongs to no lease; it works until it expires.
    LoginUnknown,
    /// An operator's certificate was used from outside the networks that it is bound to.
    OperatorElsewhere,
    /// A subject that an incident contains still presents its certificate.
    ContainedSubjectRefused,
}

impl Alarm {
    /// Every alarm.
    pub const ALL: &'static [Self] = &[
        Self::EnrolmentCodeReused,
        Self::OperatorEnrolmentCodeReused,
        Self::LateRenewal,
        Self::OperatorLateRenewal,
        Self::BreakGlass,
        Self::RotationDrifted,
        Self::LoginUnknownRemoved,
        Self::LeaseForgotten,
        Self::LoginStillValid,
        Self::ClockDisagrees,
        Self::DataLossAccepted,
        Self::RollbackSuspected,
        Self::EntriesLost,
        Self::RevocationUnrecorded,
        Self::PendingOrderFailed,
        Self::MachineChanged,
        Self::CopyActive,
        Self::DataMoved,
        Self::LoginUnknown,
        Self::OperatorElsewhere,
        Self::ContainedSubjectRefused,
    ];

    /// The stable name, as in the metric's label and the log's field.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::EnrolmentCodeReused => "enrolment_code_reused",
            Self::OperatorEnrolmentCodeReused => "operator_enrolment_code_reused",
            Self::LateRenewal => "late_renewal",
            Self::OperatorLateRenewal => "operator_late_renewal",
            Self::BreakGlass => "break_glass",
            Self::RotationDrifted => "rotation_drifted",
            Self::LoginUnknownRemoved => "login_unknown_removed",
            Self::LeaseForgotten => "lease_forgotten",
            Self::LoginStillValid => "login_still_valid",
            Self::ClockDisagrees => "clock_disagrees",
            Self::DataLossAccepted => "data_loss_accepted",
            Self::RollbackSuspected => "rollback_suspected",
            Self::EntriesLost => "entries_lost",
            Self::RevocationUnrecorded => "revocation_unrecorded",
            Self::PendingOrderFailed => "pending_order_failed",
            Self::MachineChanged => "machine_changed",
            Self::CopyActive => "copy_active",
            Self::DataMoved => "data_moved",
            Self::LoginUnknown => "login_unknown",
            Self::OperatorElsewhere => "operator_elsewhere",
            Self::ContainedSubjectRefused => "contained_subject_refused",
        }
    }
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct AlarmLabels {
    alarm: &'static str,
}

/// Counts alarms and writes them to the log. Cheap to clone; all clones count together.
#[derive(Clone, Debug)]
pub struct Alarms(pub(super) Family<AlarmLabels, Counter>);

impl Alarms {
    /// Each counter starts at 0, so that the first alarm is an increase.
    #[must_use]
    pub fn new() -> Self {
        let counters = Family::default();
        for alarm in Alarm::ALL {
            drop(counters.get_or_create_owned(&AlarmLabels { alarm: alarm.name() }));
        }
        Self(counters)
    }

    /// Counts `alarm` and logs `message`: subject, problem, action.
    pub fn raise(&self, alarm: Alarm, message: fmt::Arguments<'_>) {
        self.0.get_or_create(&AlarmLabels { alarm: alarm.name() }).inc();
        tracing::error!(alarm = alarm.name(), "{message}");
    }
}

impl Default for Alarms {
    fn default() -> Self {
        Self::new()
    }
}
