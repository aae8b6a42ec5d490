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

/// The result of trying an upstream.
pub type Checking<'a> = Pin<Box<dyn Future<Output = Vec<Finding>> + Send + 'a>>;

/// Rotates the secret of one declared upstream.
///
/// The order of a rotation is `prepare`, `apply`, `verify`, and after the grace period `retire`. Each may
/// be called again after any failure: none does more the second time, except the `prepare` of an upstream
/// that creates the value ([`Capabilities::creates`]).
pub trait Driver: fmt::Debug + Send + Sync {
    /// The driver and the address, for people.
    fn describe(&self) -> String;

    /// What fails together: the same for every declaration that leads to one machine. None without an upstream.
    fn place(&self) -> Option<String>;

    /// The secret that administers the upstream, when one does.
    fn admin_secret(&self) -> Option<&SecretName>;

    /// What the upstream can do.
    fn capabilities(&self) -> Capabilities;

    /// A new value. Changes nothing upstream, unless upstream creates the value: then each call creates another.
    fn prepare<'a>(&'a self, call: RotationCall<'a>) -> DriverFuture<'a, Prepared>;

    /// Sets the pending value upstream.
    fn apply<'a>(&'a self, call: RotationCall<'a>) -> DriverFuture<'a, ()>;

    /// Whether `value` works upstream now.
    fn verify<'a>(&'a self, with: &'a DriverContext, value: &'a SecretValue) -> DriverFuture<'a, Verdict>;

    /// Tries what a rotation needs, and changes nothing: the findings, also when the upstream does not answer.
    fn check<'a>(&'a self, call: RotationCall<'a>) -> Checking<'a>;

    /// Revokes `old`, where upstream has a slot for it.
    fn retire<'a>(&'a self, call: RotationCall<'a>, old: &'a SecretValue) -> DriverFuture<'a, ()>;
}

/// What an upstream can do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Capabilities {
    /// How many values it holds at a time.
    pub shape: SlotCount,
    /// It creates the new values.
    pub creates: bool,
    /// It revokes an old value by its own name for it, and not without.
    pub retires_by_slot: bool,
    /// A rotation needs a value that works.
    pub needs_current: bool,
}

/// How many values upstream holds at a time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SlotCount {
    /// There is no upstream: the users of the value ask for it.
    Pulled,
    /// One: the new value ends the old one.
    OneSlot,
    /// Two, side by side.
    TwoSlots,
}

/// A new value.
#[derive(Debug)]
pub struct Prepared {
    /// The value.
    pub value: SecretValue,
    /// The upstream's own name for it, where upstream created it and says so.
    pub slot: Option<UpstreamSlot>,
}

impl From<SecretValue> for Prepared {
    fn from(value: SecretValue) -> Self {
        Self { value, slot: None }
    }
}

/// What a call of a rotation may need. Lent for the call alone.
#[derive(Clone, Copy, Debug)]
pub struct RotationCall<'a> {
    /// The broker's side.
    pub with: &'a DriverContext,
    /// The value of the secret that administers the upstream, when the declaration names one.
    pub admin: Option<&'a SecretValue>,
    /// The value that works now, as far as is known.
    pub current: Option<&'a SecretValue>,
    /// The new value.
    pub pending: Option<&'a SecretValue>,
    /// The upstream's own name for the value that is retired, when that is known.
    pub slot: Option<&'a UpstreamSlot>,
    /// The rotation.
    pub rotation: Option<RotationId>,
    /// The mark to leave upstream, where there is a place for one.
    pub mark: Option<Mark<'a>>,
}

impl<'a> RotationCall<'a> {
    /// A call without any value.
    #[must_use]
    pub const fn new(with: &'a DriverContext) -> Self {
        Self { with, admin: None, current: None, pending: None, slot: None, rotation: None, mark: None }
    }
}

/// What drivers are given beside their declaration.
#[derive(Clone)]
pub struct DriverContext {
    /// Randomness, for new values.
    pub entropy: Arc<dyn Entropy>,
    /// The time, for certificates.
    pub clock: Arc<dyn Clock>,
    /// The addresses at which upstreams may be that are named by URL.
    pub reach: AllowedNetworks,
    /// Set by each call.
    pub called: Called,
}

/// Whether an upstream was called. A step that needs no call, or fails before it, says nothing of the upstream.
#[derive(Clone, Debug, Default)]
pub struct Called(Arc<AtomicBool>);

impl Called {
    /// An upstream is called now.
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether one was called since the last time that this was asked.
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
