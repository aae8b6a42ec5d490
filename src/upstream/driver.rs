use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::fault::UpstreamFault;
use super::finding::{Finding, Verdict};
use super::guard::AllowedNetworks;
use super::mark::Mark;
use crate::base::{Clock, Entropy, RotationId, SecretName, UpstreamSlot};
use crate::secrets::SecretValue;

/// The result of a driver's call.
pub type DriverFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, UpstreamFault>> + Send + 'a>>;

/// The result of checking an upstream.
pub type Checking<'a> = Pin<Box<dyn Future<Output = Vec<Finding>> + Send + 'a>>;

/// Rotates the secret of one declared upstream.
///
/// The order of a rotation is `prepare`, `apply`, `verify`, and after the grace period `retire`. Each may
/// be repeated after any failure without further effect, except the `prepare` of an upstream
/// that creates the value ([`Capabilities::creates`]).
pub trait Driver: fmt::Debug + Send + Sync {
    /// The driver and the address, for people.
    fn describe(&self) -> String;

    /// The logins whose passwords it sets, and by which login, for people. `None` without logins.
    fn logins(&self) -> Option<String> {
        None
    }

    /// The unit of failure: equal for all declarations of one machine. `None` without an upstream.
    fn place(&self) -> Option<String>;

    /// The secret that administers the upstream, if there is one.
    fn admin_secret(&self) -> Option<&SecretName>;

    /// The capabilities of the upstream.
    fn capabilities(&self) -> Capabilities;

    /// The form that every value has, for people; `None` if each text can be a value.
    fn value_form(&self) -> Option<String> {
        None
    }

    /// Whether `value` has the form of [`value_form`](Self::value_form).
    fn has_form(&self, _value: &SecretValue) -> bool {
        true
    }

    /// Makes a new value. Changes nothing at the upstream, unless the upstream creates the value: then each call creates one.
    fn prepare<'a>(&'a self, call: RotationCall<'a>) -> DriverFuture<'a, Prepared>;

    /// Sets the pending value at the upstream.
    fn apply<'a>(&'a self, call: RotationCall<'a>) -> DriverFuture<'a, ()>;

    /// Whether the upstream accepts `value` now.
    fn verify<'a>(&'a self, with: &'a DriverContext, value: &'a SecretValue) -> DriverFuture<'a, Verdict>;

    /// Checks the requirements of a rotation without a change; also returns findings if the upstream does not answer.
    fn check<'a>(&'a self, call: RotationCall<'a>) -> Checking<'a>;

    /// Revokes `old`, if the upstream can.
    fn retire<'a>(&'a self, call: RotationCall<'a>, old: &'a SecretValue) -> DriverFuture<'a, ()>;
}

/// The capabilities of an upstream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Capabilities {
    /// The number of values at a time.
    pub shape: SlotCount,
    /// Whether it creates the new values.
    pub creates: bool,
    /// Whether it revokes an old value only by its own id of it.
    pub retires_by_slot: bool,
    /// Whether a rotation needs a value that works.
    pub needs_current: bool,
}

/// The number of values that an upstream accepts at a time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SlotCount {
    /// There is no upstream: its users read the value from the broker.
    Pulled,
    /// One: the new value replaces the old one.
    OneSlot,
    /// Two at the same time.
    TwoSlots,
}

/// A new value.
#[derive(Debug)]
pub struct Prepared {
    /// The value.
    pub value: SecretValue,
    /// The upstream's own id of the value, if the upstream created it.
    pub slot: Option<UpstreamSlot>,
}

impl From<SecretValue> for Prepared {
    fn from(value: SecretValue) -> Self {
        Self { value, slot: None }
    }
}

/// The input of a call of a rotation, borrowed for the call.
#[derive(Clone, Copy, Debug)]
pub struct RotationCall<'a> {
    /// The broker's services.
    pub with: &'a DriverContext,
    /// The value of the secret that administers the upstream, if the declaration names one.
    pub admin: Option<&'a SecretValue>,
    /// The value that works now, if known.
    pub current: Option<&'a SecretValue>,
    /// The new value.
    pub pending: Option<&'a SecretValue>,
    /// The upstream's own id of the retired value, if known.
    pub slot: Option<&'a UpstreamSlot>,
    /// The rotation.
    pub rotation: Option<RotationId>,
    /// The mark to write at the upstream, if it has a place for one.
    pub mark: Option<Mark<'a>>,
    /// Whether a rotation has set a value at the upstream before, or the upstream has accepted one.
    pub is_established: bool,
}

impl<'a> RotationCall<'a> {
    /// A call without any value.
    #[must_use]
    pub const fn new(with: &'a DriverContext) -> Self {
        Self {
            with,
            admin: None,
            current: None,
            pending: None,
            slot: None,
            rotation: None,
            mark: None,
            is_established: false,
        }
    }
}

/// The services for drivers.
#[derive(Clone)]
pub struct DriverContext {
    /// Randomness, for new values.
    pub entropy: Arc<dyn Entropy>,
    /// The time, for certificates.
    pub clock: Arc<dyn Clock>,
    /// The allowed addresses of upstreams that are declared by URL.
    pub reach: AllowedNetworks,
    /// Set by each call.
    pub called: Called,
}

/// Whether an upstream was called. A step without a call is no evidence for or against the upstream.
#[derive(Clone, Debug, Default)]
pub struct Called(Arc<AtomicBool>);

impl Called {
    /// Notes a call.
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether an upstream was called since the last query.
    #[must_use]
    pub fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

impl fmt::Debug for DriverContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").finish_non_exhaustive()
    }
}
