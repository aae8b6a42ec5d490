use std::borrow::Cow;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::check::Finding;
use super::generate::Generate;
use super::guard::Reach;
use super::http::Http;
use super::mark::Mark;
use super::postgresql::PostgreSql;
use super::target::Target;
use crate::base::code::{self, Code};
use crate::base::{Clock, Entropy, RotationId, UpstreamSlot};
use crate::pki::tls::HandshakeFault;
use crate::secrets::SecretValue;

/// What a driver's call comes to.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Fault>> + Send + 'a>>;

/// What the trial of an upstream comes to.
pub type Checking<'a> = Pin<Box<dyn Future<Output = Vec<Finding>> + Send + 'a>>;

/// How one kind of upstream is told of a new value.
///
/// The order of a rotation is `prepare`, `apply`, `verify`, and after the grace `retire`. Each may be
/// called again after any failure: but for the `prepare` of an upstream that makes the value, none does
/// more the second time.
pub trait Driver: Send + Sync {
    /// How many values upstream holds at a time.
    fn shape(&self) -> Shape;

    /// A new value. Changes nothing upstream, unless that makes the value
    /// ([`Target::creates`](super::Target::creates)): then each call makes another one.
    fn prepare<'a>(&'a self, held: Held<'a>) -> Answer<'a, Prepared>;

    /// Makes upstream take the pending value.
    fn apply<'a>(&'a self, held: Held<'a>) -> Answer<'a, ()>;

    /// Whether `value` works upstream now.
    fn verify<'a>(&'a self, value: &'a SecretValue) -> Answer<'a, Verdict>;

    /// Tries what a rotation needs, and changes nothing: what was found, also when the upstream does not answer.
    fn check<'a>(&'a self, held: Held<'a>) -> Checking<'a>;

    /// Ends what `old` still opens, where upstream has a slot for it.
    fn retire<'a>(&'a self, held: Held<'a>, old: &'a SecretValue) -> Answer<'a, ()>;
}

/// How many values upstream holds at a time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Shape {
    /// There is no upstream: whoever uses the value asks for it.
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
    /// What upstream calls its place, where upstream made it and says so.
    pub slot: Option<UpstreamSlot>,
}

impl From<SecretValue> for Prepared {
    fn from(value: SecretValue) -> Self {
        Self { value, slot: None }
    }
}

/// The values that a call may need. Lent for the call alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Held<'a> {
    /// What administers upstream, when the target says so.
    pub admin: Option<&'a SecretValue>,
    /// The value that works now, as far as is known.
    pub current: Option<&'a SecretValue>,
    /// The new value.
    pub pending: Option<&'a SecretValue>,
    /// What upstream calls the place of the value that is retired, when that is known.
    pub slot: Option<&'a UpstreamSlot>,
    /// The rotation that it is for.
    pub rotation: Option<RotationId>,
    /// What is left upstream, where there is a place for it.
    pub mark: Option<Mark<'a>>,
}

/// Whether a value works.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Upstream let it in.
    Works,
    /// Upstream knows another one.
    Refused,
}

/// Whether upstream may have changed although a call failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It certainly has not.
    Refused,
    /// It may have.
    Unknown,
}

/// Why a call came to nothing. Holds nothing that upstream said but a short, standard code.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// Whether upstream may have changed.
    pub outcome: Outcome,
    /// The stable code.
    pub code: Code,
    /// An SQLSTATE, a status or the name of a [`HandshakeFault`], nothing longer.
    pub detail: Option<String>,
}

impl Fault {
    /// A fault without an upstream's own code.
    #[must_use]
    pub const fn new(outcome: Outcome, code: Code) -> Self {
        Self { outcome, code, detail: None }
    }

    /// No trusted connection came about, for this reason when there is a known one.
    #[must_use]
    pub fn of_handshake(reason: Option<HandshakeFault>) -> Self {
        let detail = reason.map(|reason| reason.as_str().to_owned());
        Self { outcome: Outcome::Refused, code: code::UPSTREAM_HANDSHAKE_FAILED, detail }
    }

    /// What is wrong and what mends it, in a sentence each.
    #[must_use]
    pub fn explained(&self) -> Explained {
        Explained::of(self.code, self.detail.as_deref())
    }
}

/// What is wrong with an upstream and what mends it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Explained {
    /// What is wrong.
    pub why: Cow<'static, str>,
    /// What mends it.
    pub fix: Cow<'static, str>,
}

impl Explained {
    /// Of a fault with this code and this detail.
    #[must_use]
    pub fn of(code: Code, detail: Option<&str>) -> Self {
        let handshake =
            detail.filter(|_| code == code::UPSTREAM_HANDSHAKE_FAILED).and_then(HandshakeFault::named);
        match (handshake, detail) {
            (Some(fault), _) => Self { why: fault.meaning().into(), fix: fault.fix().into() },
            (None, Some(detail)) => {
                Self { why: format!("{} ({detail})", code.meaning()).into(), fix: code.fix().into() }
            }
            (None, None) => Self { why: code.meaning().into(), fix: code.fix().into() },
        }
    }
}

/// What drivers are given beside their target.
#[derive(Clone)]
pub struct Surroundings {
    /// Chance, for new values.
    pub entropy: Arc<dyn Entropy>,
    /// The time, for certificates.
    pub clock: Arc<dyn Clock>,
    /// Where upstreams may be that are named by URL.
    pub reach: Reach,
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

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").finish_non_exhaustive()
    }
}

/// The driver of `target`.
#[must_use]
pub fn driver(target: &Target, surroundings: &Surroundings) -> Box<dyn Driver> {
    match target {
        Target::Generate(target) => {
            Box::new(Generate::new(target.clone(), Arc::clone(&surroundings.entropy)))
        }
        Target::Http(target) => Box::new(Http::new(target.as_ref().clone(), surroundings.clone())),
        Target::Postgresql(target) => Box::new(PostgreSql::new(target.clone(), surroundings.clone())),
    }
}
