use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::concerns::concerned_by;
use crate::base::{Connection, IncidentId, Reason, Sensitive, Timestamp};
use crate::crypto::Digest;
use crate::index::{IndexTree, Put};
use crate::ledger::{AppendError, Draft, Entry, EntryCause, Expectation, Key, Kind, Space, TakeInError};

/// The place and time of the entry that brings an effect about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct At {
    /// The entry's sequence.
    pub seq: u64,
    /// The entry's time.
    pub time: Timestamp,
}

/// What an entry says of all entries before it. It is sealed with the entry's state change: a holder of an
/// earlier delta key alone cannot make one.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct History {
    /// The entry before it.
    pub through: u64,
    /// The root of the Merkle tree over the entries up to that one.
    pub root: Digest,
}

impl History {
    /// Whether the entries before entry `seq`, which says this, are others; `before` is their root. It is
    /// about those alone: an entry that came between leaves nothing to compare.
    #[must_use]
    pub fn contradicts(&self, seq: u64, before: Digest) -> bool {
        self.is_about(seq) && self.root != before
    }

    /// Whether entry `seq` comes next.
    #[must_use]
    pub const fn is_about(&self, seq: u64) -> bool {
        self.through.saturating_add(1) == seq
    }
}

/// The claim of the entry with this state change about earlier entries.
///
/// # Errors
/// [`TakeInError`].
pub fn histories<W: StoredState>(delta: &[u8]) -> Result<Vec<History>, TakeInError> {
    Ok(decode::<W::Effect>(delta)?.iter().filter_map(W::history).collect())
}

/// The state that decisions read, composed from the record rooms.
///
/// Its stored form is a snapshot's, and read by the build that wrote it alone.
pub trait StoredState: Default + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// One state change: an effect, not a command, so that newer code replays old entries alike.
    type Effect: Serialize + DeserializeOwned + Send + Sync;

    /// What may be done to the state before it is recorded: something that takes away, and gives nothing.
    type Denial: Clone + Send + Sync + 'static;

    /// Takes in one effect. Deterministic, and without the keys that open secret values.
    fn apply(&mut self, at: At, effect: &Self::Effect);

    /// Adds the keys that `effect` advances: what an entry changes, it advances.
    fn advances(effect: &Self::Effect, keys: &mut Vec<Key>);

    /// Whether `effect` takes something away: revokes, suspends, removes, narrows or destroys. The entry is
    /// anchored before it is acknowledged, so that no older copy of the ledger un-does it unnoticed.
    fn takes_away(effect: &Self::Effect) -> bool;

    /// What `effect` says of the entries before it. A start that finds others is refused.
    fn history(_effect: &Self::Effect) -> Option<History> {
        None
    }

    /// The writes of `effect` to the index.
    fn project(effect: &Self::Effect, out: &mut Projection);

    /// The number of the rule of [`StoredState::terms`]. An index by another rule is built again.
    const TERMS_RULE: u16 = 0;

    /// The terms by which a search finds `entry`: names of fields, and their texts.
    fn terms(_entry: &Entry) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Takes effect before every entry that commits before its own. It lasts until it is recorded, or until the
    /// next start.
    fn deny(&mut self, denial: &Self::Denial);

    /// Entries were taken in: earlier denials stay in force.
    fn deny_again(&mut self);

    /// The entry of `denial` has been taken in, so that the denial itself is not needed any more.
    fn recorded(&mut self, denial: &Self::Denial);

    /// There will be no entry of `denial`: the state is what the entries say.
    fn lift(&mut self, denial: &Self::Denial);

    /// The keys that changes rely on whose receipts must not be delivered once `denial` is in force.
    fn withheld_by(denial: &Self::Denial) -> Vec<Key>;
}

/// Something that an entry says happened. Never holds a secret value.
///
/// It concerns the agents and operators that it names in its fields `agent`, `operator`, `by` and the like: the entry is
/// linked to the one before that concerned them (`docs/reference/ledger-format.md`).
pub trait Event: Serialize {
    /// The entry's kind; never given to another event.
    const KIND: Kind;
    /// The kind's name for people, e.g. `token.minted`.
    const NAME: &'static str;
}

/// The index writes of one entry.
#[derive(Debug, Default)]
pub struct Projection {
    pub(super) puts: Vec<Put>,
}

impl Projection {
    /// Puts `value` under `key` of `tree`.
    pub fn put(&mut self, tree: IndexTree, key: Vec<u8>, value: Vec<u8>) {
        self.puts.push(Put { tree, key, value: Some(value) });
    }

    /// Removes `key` of `tree`.
    pub fn remove(&mut self, tree: IndexTree, key: Vec<u8>) {
        self.puts.push(Put { tree, key, value: None });
    }
}

/// A change that is yet to be committed: what happened, what it does, what it relies on.
#[must_use]
#[derive(Debug)]
pub struct Change<E> {
    kind: Kind,
    event: Vec<u8>,
    effects: Vec<E>,
    expect: Vec<Expectation>,
    advance: Vec<Key>,
    concerns: Vec<Key>,
    cause: EntryCause,
    space: Space,
}

/// Most events are shorter; longer ones cost a copy.
const USUAL_EVENT_BYTES: usize = 1024;

impl<E: Serialize> Change<E> {
    /// A change that says `event` and does nothing yet.
    ///
    /// # Errors
    /// [`CommitError::Unwritable`] when the event has no JSON form.
    pub fn new<V: Event>(event: &V) -> Result<Self, CommitError> {
        let mut written = Vec::with_capacity(USUAL_EVENT_BYTES);
        serde_json::to_writer(&mut written, event).map_err(|_| CommitError::Unwritable)?;
        Ok(Self {
            kind: V::KIND,
            event: written,
            effects: Vec::new(),
            expect: Vec::new(),
            advance: Vec::new(),
            concerns: concerned_by(event),
            cause: EntryCause::default(),
            space: Space::Usual,
        })
    }

    /// It is written even on a full disk, to room that was taken beforehand: for what takes away.
    pub const fn urgent(mut self) -> Self {
        self.space = Space::Reserve;
        self
    }

    /// Takes something away and gives nothing: when the ledger does not take it in time, `denial` does so
    /// in memory.
    pub const fn revoking<D>(self, denial: D) -> RevokingChange<E, D> {
        RevokingChange { change: self, denial }
    }

    /// Belongs to an incident.
    pub const fn of_incident(mut self, incident: IncidentId) -> Self {
        self.cause.incident = Some(incident);
        self
    }

    /// The incident that it belongs to.
    #[must_use]
    pub const fn incident(&self) -> Option<IncidentId> {
        self.cause.incident
    }

    /// Adds the connection of the request to the event, as the fields `source` and `connection`.
    pub fn requested_on(mut self, connection: Option<Connection>) -> Self {
        if let (Some(connection), Some(b'}')) = (connection, self.event.last()) {
            let Connection { id, source } = connection;
            self.event.pop();
            let separator = if self.event == b"{" { "" } else { "," };
            let fields = format!("{separator}\"source\":\"{source}\",\"connection\":\"{id}\"}}");
            self.event.extend_from_slice(fields.as_bytes());
        }
        self
    }

    /// Adds the reason.
    pub fn because(mut self, reason: Reason) -> Self {
        self.cause.reason = Some(reason);
        self
    }

    /// Adds a state change. It advances the keys that [`StoredState::advances`] gives for it.
    pub fn effect(mut self, effect: E) -> Self {
        self.effects.push(effect);
        self
    }

    /// Relies on nothing having advanced `key` since the state as of `as_of` was read.
    pub fn rely(mut self, key: Key, as_of: u64) -> Self {
        self.expect.push(Expectation { key, as_of });
        self
    }

    /// Relies on all of `expected`.
    pub fn rely_on(mut self, expected: Vec<Expectation>) -> Self {
        if self.expect.is_empty() {
            self.expect = expected;
        } else {
            self.expect.extend(expected);
        }
        self
    }

    /// Advances `key` beside those of the effects: a decision that relied on it before is made again. For an
    /// entry that announces a change, or whose effect changes what other records mean.
    pub fn advance(mut self, key: Key) -> Self {
        self.advance.push(key);
        self
    }

    /// Whether one entry of the ledger can hold it.
    ///
    /// # Errors
    /// [`CommitError`], as committing it would give.
    pub fn fits<W: StoredState<Effect = E>>(self) -> Result<(), CommitError> {
        if self.into_draft::<W>()?.is_too_large() { Err(AppendError::TooLarge.into()) } else { Ok(()) }
    }

    /// Its effects, for a state that no ledger records.
    #[must_use]
    pub fn into_effects(self) -> Vec<E> {
        self.effects
    }

    /// Whether one of its effects does what `is` asks.
    pub(super) fn any_effect(&self, is: impl Fn(&E) -> bool) -> bool {
        self.effects.iter().any(is)
    }

    /// The keys that it relies on.
    pub(super) fn relied_on(&self) -> Vec<Key> {
        self.expect.iter().map(|expectation| expectation.key).collect()
    }

    pub(super) fn into_draft<W: StoredState<Effect = E>>(mut self) -> Result<Draft, CommitError> {
        self.effects.iter().for_each(|effect| W::advances(effect, &mut self.advance));
        self.advance.sort_unstable();
        self.advance.dedup();
        let delta = if self.effects.is_empty() { Vec::new() } else { encode(&self.effects)? };
        Ok(Draft {
            kind: self.kind,
            event: self.event,
            delta: Sensitive::new(delta),
            expect: self.expect,
            advance: self.advance,
            space: self.space,
            concerns: self.concerns,
            cause: self.cause,
        })
    }
}

/// A change that takes something away, with what it does in memory when the ledger does not take it in time.
#[must_use]
#[derive(Debug)]
pub struct RevokingChange<E, D> {
    pub(super) change: Change<E>,
    pub(super) denial: D,
}

/// Why a change was not committed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The ledger did not acknowledge it.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The event or an effect has no stored form.
    #[error("the change cannot be serialised")]
    Unwritable,
    /// The ledger has not answered in time. It may still take the change.
    #[error("the ledger has not answered in time: whether the request was recorded is unknown")]
    Unanswered,
    /// The store is read-only; nothing was written.
    #[error("the broker is in read-only mode, and records no changes")]
    ReadOnly,
}

const FORMAT: u8 = 1;

fn encode<E: Serialize>(effects: &[E]) -> Result<Vec<u8>, CommitError> {
    postcard::to_extend(effects, vec![FORMAT]).map_err(|_| CommitError::Unwritable)
}

/// The effects of an entry's state change, which was sealed: unless this version understands it, a later one wrote it.
pub(super) fn decode<E: DeserializeOwned>(delta: &[u8]) -> Result<Vec<E>, TakeInError> {
    match delta.split_first() {
        None => Ok(Vec::new()),
        Some((&FORMAT, body)) => postcard::from_bytes(body).map_err(|_| TakeInError::Newer),
        Some(_) => Err(TakeInError::Newer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, PartialEq, Serialize)]
    enum Known {
        First(u8),
    }

    #[derive(Serialize)]
    enum Later {
        #[expect(dead_code, reason = "a later version adds variants at the end")]
        First(u8),
        Second(u8),
    }

    #[test]
    fn a_state_change_of_a_later_version_is_newer_and_not_damaged() {
        let known = encode(&[Known::First(7)]).unwrap();
        assert_eq!(decode(&known), Ok(vec![Known::First(7)]));
        let variant = encode(&[Later::Second(7)]).unwrap();
        assert_eq!(decode::<Known>(&variant), Err(TakeInError::Newer));
        let format: Vec<u8> = [&[FORMAT + 1], &known[1..]].concat();
        assert_eq!(decode::<Known>(&format), Err(TakeInError::Newer));
    }
}
