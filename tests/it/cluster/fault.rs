//! Errors that can be planted in the model, each of which a property has to find.

/// One error of a broker or of its configuration.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fault {
    /// The freshness window is counted from the answer to its renewal, not from before the renewal was sent.
    WindowFromAnswer,
    /// A check at a node does not ask for a live freshness window.
    WindowIgnored,
    /// A check reads the state first, and then asks for a live window.
    StateBeforeWindow,
    /// A window is used before the node has applied the entries that its renewal saw.
    WindowBeforeApplied,
    /// A node confirms that it has applied the revocation before the primary shows it.
    ConfirmedHidden,
    /// A renewal only reads, so that a deposed primary can answer it.
    RenewalOnlyReads,
    /// `revoke` waits for a window, but not for the drift of two clocks.
    WaitWithoutDrift,
    /// The clock of a node stops while others run, as in a guest whose whole machine is paused.
    ClockStops,
    /// A node commits what it decided without checking it against the entries of others.
    RecheckSkipped,
    /// A node tells its client that a COMMIT with an unknown outcome was committed.
    UnknownIsCommitted,
    /// A node tells its client that a COMMIT with an unknown outcome was not committed.
    UnknownIsAbsent,
    /// A batch is looked up without the lock of the head row.
    LookUpWithoutLock,
    /// A batch is looked up by reading alone, at a primary or at a deposed one.
    LookUpOnlyReads,
    /// A waiting COMMIT is cancelled, and what PostgreSQL then answers is taken as success.
    WaitCancelled,
    /// A node applies what the primary shows, also if no standby has it.
    AppliedUnreplicated,
}

impl Fault {
    /// Whether brokers may believe a primary that was replaced and does not know it.
    pub(super) fn trusts_deposed(self) -> bool {
        matches!(self, Self::RenewalOnlyReads | Self::LookUpOnlyReads)
    }
}
