//! How a use case changes the records: it reads, decides and commits, and does so again on a conflict.

use super::failure::Failure;
use super::reading::{Preconditions, Reading};
use super::replay::{code_not_repeated, remembered};
use super::retry::{AttemptError, retry_on_conflict};
use super::services::State;
use super::world::Effect;
use crate::authn::OperatorPrincipal;
use crate::base::{Reason, Scope, code};
use crate::idempotency::{IdempotencyKey, Outcome, Remembered};
use crate::ledger::Receipt;
use crate::store::{Change, CommitError, Event};

/// Who has the records changed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Initiator<'a> {
    Operator(&'a OperatorPrincipal),
    /// A person on the broker's host, as entries name that person.
    Host(&'a str),
    /// An agent, about a credential of its own.
    Holder,
    /// The broker's own schedule.
    Schedule,
}

impl<'a> Initiator<'a> {
    /// As entries name it; no operator's name has a space.
    pub(crate) fn name(self) -> &'a str {
        match self {
            Self::Operator(operator) => operator.name().as_str(),
            Self::Host(name) => name,
            Self::Holder => "its holder",
            Self::Schedule => "the schedule",
        }
    }

    pub(crate) const fn operator(self) -> Option<&'a OperatorPrincipal> {
        match self {
            Self::Operator(operator) => Some(operator),
            Self::Host(_) | Self::Holder | Self::Schedule => None,
        }
    }

    /// What it reaches.
    pub(crate) const fn scope(self) -> &'a Scope {
        match self {
            Self::Operator(operator) => operator.scope(),
            Self::Host(_) | Self::Holder | Self::Schedule => &Scope::Everything,
        }
    }
}

/// A change as it is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChangeRequest<'a> {
    pub(crate) by: Initiator<'a>,
    /// The idempotency key of the request.
    pub(crate) idempotency: Option<&'a IdempotencyKey>,
    pub(crate) reason: Option<&'a Reason>,
}

/// What an operator's request says besides what it does.
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

    /// `change` with the reason that its entry carries.
    pub(crate) fn explain(self, change: Change<Effect>) -> Change<Effect> {
        match self.reason {
            Some(reason) => change.because(reason.clone()),
            None => change,
        }
    }
}

/// A change that was decided, with what its caller is told once it is durable.
pub(crate) struct ChangeDraft<T> {
    change: Change<Effect>,
    outcome: Outcome,
    value: T,
}

impl<T> ChangeDraft<T> {
    /// Says `event`. A repeated request is told what the entry says.
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

    /// What a repeated request is told.
    pub(crate) fn outcome(self, outcome: Outcome) -> Self {
        Self { outcome, ..self }
    }
}

/// What became of a change.
pub(crate) enum Changed<T> {
    /// Entry `seq` says so.
    Recorded { seq: u64, value: T },
    /// The same request made it before.
    Before(Remembered),
}

impl<T> Changed<T> {
    /// The entry that says so.
    pub(crate) const fn seq(&self) -> u64 {
        match self {
            Self::Recorded { seq, .. } | Self::Before(Remembered { seq, .. }) => *seq,
        }
    }

    /// What was recorded now; none for a repeated request.
    pub(crate) fn value(self) -> Option<T> {
        match self {
            Self::Recorded { value, .. } => Some(value),
            Self::Before(_) => None,
        }
    }

    /// What was made, with its secret: that is told once.
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

/// What a decision read of the records.
pub(crate) enum ReadOutcome<T> {
    /// As they are now.
    Now(T, Preconditions),
    /// The same request was carried out before.
    Before(Remembered),
}

impl State {
    /// Reads the records for a change.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Reading<'_>) -> T) -> (T, Preconditions) {
        Reading::in_store(&self.store, self.clock.now(), read)
    }

    /// Commits `change` while the preconditions hold; `value` comes back inside the proof that it is durable.
    ///
    /// # Errors
    /// [`CommitError`].
    pub(crate) fn commit<T: Send>(
        &self,
        change: Change<Effect>,
        preconditions: Preconditions,
        value: T,
    ) -> impl Future<Output = Result<Receipt<T>, CommitError>> + Send {
        // No async function: a mint would keep a place for the change twice.
        self.store.commit(preconditions.added_to(change), value)
    }

    /// Records an event that changes nothing and relies on nothing.
    ///
    /// # Errors
    /// [`CommitError`].
    pub(crate) async fn record<V: Event + Sync>(&self, event: &V) -> Result<(), CommitError> {
        self.store.commit(Change::new(event)?, ()).await.map(Receipt::redeem)
    }

    /// Changes the records as `decide` says of the records of each attempt: once for an idempotency key, and only
    /// while the operator who asks is allowed to.
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

    /// What `decide` says of the records, unless the same request was carried out before.
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

    /// Commits `draft` once for its request, while the preconditions hold and the operator who asks is allowed to.
    ///
    /// # Errors
    /// [`AttemptError`].
    pub(crate) async fn commit_draft<T: Send>(
        &self,
        request: ChangeRequest<'_>,
        ChangeDraft { change, outcome, value }: ChangeDraft<T>,
        preconditions: Preconditions,
    ) -> Result<Changed<T>, AttemptError> {
        let preconditions = preconditions.and(self.still_allowed(request.by)?);
        let change = request.explain(remembered(change, request.idempotency, outcome));
        let receipt = self.commit(change, preconditions, value).await?;
        Ok(Changed::Recorded { seq: receipt.seq(), value: receipt.redeem() })
    }

    /// That `by` may still do what was allowed when the request was authorised. It is judged for each attempt to
    /// commit: a retry passes what has changed meanwhile and leaves the operator its right.
    ///
    /// # Errors
    /// [`Failure`] when the operator's certificate is valid no more, or its role or scope is another one.
    pub(crate) fn still_allowed(&self, by: Initiator<'_>) -> Result<Preconditions, Failure> {
        let Some(operator) = by.operator() else { return Ok(Preconditions::none()) };
        let (now, preconditions) = self.read(|reading| reading.operator_again(operator));
        let now = now?;
        if (now.role(), now.scope()) != (operator.role(), operator.scope()) {
            // The request was allowed by the former ones: the caller's next attempt is judged by these.
            return Err(Failure::new(code::MODIFIED_CONCURRENTLY));
        }
        Ok(preconditions)
    }
}
