//! Changes of the records by use cases: read, decide, commit, and retry on conflict.

use super::failure::Failure;
use super::reading::{Preconditions, Reading};
use super::replay::{code_not_repeated, remembered};
use super::retry::{AttemptError, retry_on_conflict};
use super::services::State;
use super::world::Effect;
use crate::authn::OperatorPrincipal;
use crate::base::{Connection, IncidentId, Reason, Scope, Timestamp, code};
use crate::custody::{OrderingOperator, PendingOrder, RevocationOrder};
use crate::idempotency::{IdempotencyKey, Outcome, Remembered};
use crate::ledger::Receipt;
use crate::store::{Change, CommitError, Event};

/// The actor of a change.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Initiator<'a> {
    Operator(&'a OperatorPrincipal),
    /// A user of the broker's host, by the name in entries.
    Host(&'a str),
    /// The operator of an order that was not recorded in time.
    Ordered(&'a PendingOrder),
    /// An order that was not recorded in time, and that is carried out whether its operator still has the right or not.
    Stored(StoredOrder<'a>),
    /// An agent, about its own credential, on this connection.
    Holder(Option<Connection>),
    /// The broker's own schedule.
    Schedule,
}

/// An order of before the start, with the name of its actor in entries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoredOrder<'a> {
    pub(crate) by: &'a str,
    pub(crate) order: &'a PendingOrder,
}

impl<'a> Initiator<'a> {
    /// The name in entries; no operator's name contains a space.
    pub(crate) fn name(self) -> &'a str {
        match self {
            Self::Operator(operator) => operator.name().as_str(),
            Self::Host(name) => name,
            Self::Ordered(order) => &order.by,
            Self::Stored(stored) => stored.by,
            Self::Holder(_) => "its holder",
            Self::Schedule => "the schedule",
        }
    }

    /// The connection of the request.
    pub(crate) const fn connection(self) -> Option<Connection> {
        match self {
            Self::Operator(operator) => operator.connection(),
            Self::Holder(connection) => connection,
            Self::Ordered(order) | Self::Stored(StoredOrder { order, .. }) => order.connection,
            Self::Host(_) | Self::Schedule => None,
        }
    }

    pub(crate) const fn operator(self) -> Option<&'a OperatorPrincipal> {
        match self {
            Self::Operator(operator) => Some(operator),
            Self::Host(_) | Self::Ordered(_) | Self::Stored(_) | Self::Holder(_) | Self::Schedule => None,
        }
    }

    /// Checks that it still has the right of the authorised request.
    ///
    /// # Errors
    /// [`Failure`] if the operator's certificate is no longer valid, or its role or scope has changed.
    pub(crate) fn still_allowed(self, reading: &Reading<'_>) -> Result<(), Failure> {
        if let Self::Ordered(order) = self {
            return reading.still_ordered(order);
        }
        let Some(operator) = self.operator() else { return Ok(()) };
        let now = reading.operator_again(operator)?;
        if (now.role(), now.scope()) != (operator.role(), operator.scope()) {
            // The request was allowed by the former role and scope: the caller has to repeat it.
            return Err(Failure::new(code::MODIFIED_CONCURRENTLY));
        }
        Ok(())
    }

    /// The scope.
    pub(crate) const fn scope(self) -> &'a Scope {
        match self {
            Self::Operator(operator) => operator.scope(),
            Self::Ordered(PendingOrder { operator: Some(operator), .. }) => &operator.scope,
            Self::Host(_) | Self::Ordered(_) | Self::Stored(_) | Self::Holder(_) | Self::Schedule => {
                &Scope::Everything
            }
        }
    }
}

/// A requested change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChangeRequest<'a> {
    pub(crate) by: Initiator<'a>,
    /// The idempotency key of the request.
    pub(crate) idempotency: Option<&'a IdempotencyKey>,
    pub(crate) reason: Option<&'a Reason>,
}

/// The idempotency key and the reason of an operator's request.
#[derive(Clone, Copy, Debug, Default)]
pub struct OperatorRequest<'a> {
    /// Its idempotency key.
    pub idempotency: Option<&'a IdempotencyKey>,
    /// The operator's reason.
    pub reason: Option<&'a Reason>,
}

impl<'a> ChangeRequest<'a> {
    /// `request` of `operator`.
    pub(crate) const fn of(operator: &'a OperatorPrincipal, request: OperatorRequest<'a>) -> Self {
        Self::by(operator, request.idempotency).because(request.reason)
    }

    pub(crate) const fn by(operator: &'a OperatorPrincipal, idempotency: Option<&'a IdempotencyKey>) -> Self {
        Self { by: Initiator::Operator(operator), idempotency, reason: None }
    }

    pub(crate) const fn by_host(name: &'a str, idempotency: Option<&'a IdempotencyKey>) -> Self {
        Self { by: Initiator::Host(name), idempotency, reason: None }
    }

    pub(crate) const fn by_schedule() -> Self {
        Self { by: Initiator::Schedule, idempotency: None, reason: None }
    }

    /// The same, with the operator's reason.
    pub(crate) const fn because(self, reason: Option<&'a Reason>) -> Self {
        Self { reason, ..self }
    }

    pub(crate) const fn by_order(order: &'a PendingOrder) -> Self {
        Self { by: Initiator::Ordered(order), idempotency: None, reason: order.reason.as_ref() }
    }

    pub(crate) const fn by_stored(stored: StoredOrder<'a>) -> Self {
        Self { by: Initiator::Stored(stored), idempotency: None, reason: stored.order.reason.as_ref() }
    }

    /// The order `what` of this request, in case that the ledger does not record it in time.
    pub(crate) fn pending(self, at: Timestamp, what: RevocationOrder) -> PendingOrder {
        if let Initiator::Ordered(order) = self.by {
            return order.clone();
        }
        let operator = self.by.operator().map(|operator| OrderingOperator {
            id: operator.id(),
            role: operator.role().as_str().to_owned(),
            scope: operator.scope().clone(),
            enrolled_seq: operator.enrolled_seq(),
        });
        PendingOrder {
            at,
            by: self.by.name().to_owned(),
            reason: self.reason.cloned(),
            operator,
            connection: self.by.connection(),
            what,
        }
    }

    /// `change` with the connection and the reason of the request.
    pub(crate) fn attribute(self, change: Change<Effect>) -> Change<Effect> {
        let change = change.requested_on(self.by.connection());
        match self.reason {
            Some(reason) => change.because(reason.clone()),
            None => change,
        }
    }
}

/// A decided change, with the result for its caller once it is durable.
pub(crate) struct ChangeDraft<T> {
    change: Change<Effect>,
    outcome: Outcome,
    value: T,
}

impl<T> ChangeDraft<T> {
    /// A change with `event`. A repeated request gets the outcome from the entry.
    ///
    /// # Errors
    /// [`CommitError`].
    pub(crate) fn new<V: Event>(event: &V, value: T) -> Result<Self, CommitError> {
        Ok(Self::of(Change::new(event)?, value))
    }

    pub(crate) const fn of(change: Change<Effect>, value: T) -> Self {
        Self { change, outcome: Outcome::Recorded, value }
    }

    pub(crate) fn effect(self, effect: Effect) -> Self {
        Self { change: self.change.effect(effect), ..self }
    }

    /// The same, with another result for its caller.
    pub(crate) fn carrying<U>(self, value: U) -> ChangeDraft<U> {
        ChangeDraft { change: self.change, outcome: self.outcome, value }
    }

    /// It belongs to an incident.
    pub(crate) fn of_incident(self, incident: IncidentId) -> Self {
        Self { change: self.change.of_incident(incident), ..self }
    }

    /// The outcome for a repeated request.
    pub(crate) fn outcome(self, outcome: Outcome) -> Self {
        Self { outcome, ..self }
    }
}

/// The result of a change.
pub(crate) enum Changed<T> {
    /// Recorded as entry `seq`.
    Recorded { seq: u64, value: T },
    /// The same request was carried out before.
    Before(Remembered),
}

impl<T> Changed<T> {
    /// The ledger entry.
    pub(crate) const fn seq(&self) -> u64 {
        match self {
            Self::Recorded { seq, .. } | Self::Before(Remembered { seq, .. }) => *seq,
        }
    }

    /// The result; `None` for a repeated request.
    pub(crate) fn value(self) -> Option<T> {
        match self {
            Self::Recorded { value, .. } => Some(value),
            Self::Before(_) => None,
        }
    }

    /// The result with its secret, which is returned only once.
    ///
    /// # Errors
    /// [`Failure`] for a repeated request.
    pub(crate) fn new_value(self) -> Result<T, Failure> {
        match self {
            Self::Recorded { value, .. } => Ok(value),
            Self::Before(before) => Err(code_not_repeated(&before)),
        }
    }
}

/// The result of reading for a decision.
pub(crate) enum ReadOutcome<T> {
    /// The decision on the present records.
    Now(T, Preconditions),
    /// The same request was carried out before.
    Before(Remembered),
}

impl State {
    /// Reads the records for a change.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Reading<'_>) -> T) -> (T, Preconditions) {
        Reading::in_store(&self.store, self.clock.now(), read)
    }

    /// Commits `change` if the preconditions hold; `value` is returned inside the proof that it is durable.
    ///
    /// # Errors
    /// [`CommitError`].
    pub(crate) fn commit<T: Send>(
        &self,
        change: Change<Effect>,
        preconditions: Preconditions,
        value: T,
    ) -> impl Future<Output = Result<Receipt<T>, CommitError>> + Send {
        // Not an async function: its future would contain the change twice.
        self.store.commit(preconditions.added_to(change), value)
    }

    /// Records an event without effects and preconditions.
    ///
    /// # Errors
    /// [`CommitError`].
    pub(crate) async fn record<V: Event + Sync>(&self, event: &V) -> Result<(), CommitError> {
        self.record_request(event, None).await
    }

    /// The same for a request on `connection`.
    ///
    /// # Errors
    /// [`CommitError`].
    pub(crate) async fn record_request<V: Event + Sync>(
        &self,
        event: &V,
        connection: Option<Connection>,
    ) -> Result<(), CommitError> {
        let change = Change::new(event)?.requested_on(connection);
        self.store.commit(change, ()).await.map(Receipt::redeem)
    }

    /// Changes the records by `decide`, which runs in each attempt: once per idempotency key, and only while the operator has
    /// the right.
    ///
    /// # Errors
    /// [`Failure`].
    pub(crate) async fn change<T: Send>(
        &self,
        request: ChangeRequest<'_>,
        decide: impl Fn(&Reading<'_>) -> Result<ChangeDraft<T>, Failure> + Sync,
    ) -> Result<Changed<T>, Failure> {
        retry_on_conflict!(self.change_once(request, &decide))
    }

    /// One attempt of [`State::change`].
    pub(crate) async fn change_once<T: Send>(
        &self,
        request: ChangeRequest<'_>,
        decide: &(impl Fn(&Reading<'_>) -> Result<ChangeDraft<T>, Failure> + Sync),
    ) -> Result<Changed<T>, AttemptError> {
        match self.read_for(request, decide)? {
            ReadOutcome::Before(before) => Ok(Changed::Before(before)),
            ReadOutcome::Now(draft, preconditions) => self.commit_draft(request, draft, preconditions).await,
        }
    }

    /// The decision on the records, unless the same request was carried out before.
    ///
    /// # Errors
    /// [`Failure`].
    pub(crate) fn read_for<T>(
        &self,
        request: ChangeRequest<'_>,
        decide: impl FnOnce(&Reading<'_>) -> Result<T, Failure>,
    ) -> Result<ReadOutcome<T>, Failure> {
        let (decided, preconditions) = self.read(|reading| match reading.outcome(request.idempotency)? {
            Some(before) => Ok(Err(before)),
            None => decide(reading).map(Ok),
        });
        Ok(match decided? {
            Ok(decided) => ReadOutcome::Now(decided, preconditions),
            Err(before) => ReadOutcome::Before(before),
        })
    }

    /// Commits `draft` once for its request, if the preconditions hold and the operator has the right.
    ///
    /// # Errors
    /// [`AttemptError`].
    pub(crate) async fn commit_draft<T: Send>(
        &self,
        request: ChangeRequest<'_>,
        draft: ChangeDraft<T>,
        preconditions: Preconditions,
    ) -> Result<Changed<T>, AttemptError> {
        let (change, value) = self.completed(request, draft, preconditions)?;
        let receipt = self.store.commit(change, value).await?;
        Ok(Changed::Recorded { seq: receipt.seq(), value: receipt.redeem() })
    }

    /// The change of `draft` as it is committed, and the value for its caller.
    ///
    /// # Errors
    /// [`Failure`] when the operator who asks is not allowed to any more.
    pub(crate) fn completed<T>(
        &self,
        request: ChangeRequest<'_>,
        ChangeDraft { change, outcome, value }: ChangeDraft<T>,
        preconditions: Preconditions,
    ) -> Result<(Change<Effect>, T), Failure> {
        let preconditions = preconditions.and(self.still_allowed(request.by)?);
        let change = request.attribute(remembered(change, request.idempotency, outcome));
        Ok((preconditions.added_to(change), value))
    }

    /// Checks that `by` still has the right of the authorised request. Checked for each attempt to commit.
    ///
    /// # Errors
    /// [`Failure`] if the operator's certificate is no longer valid, or its role or scope has changed.
    pub(crate) fn still_allowed(&self, by: Initiator<'_>) -> Result<Preconditions, Failure> {
        let (allowed, preconditions) = self.read(|reading| by.still_allowed(reading));
        allowed.map(|()| preconditions)
    }
}
