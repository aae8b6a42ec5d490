use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use clap::Args;

use super::issued::{issued, printed};
use crate::base::encoding::base64url;
use crate::base::{Clock, SystemClock, Timestamp, code};
use crate::cli::client::{Attempts, Client, Received};
use crate::cli::identity::{Identity, IdentityKind, PendingKey, identity_lock, warn_not_updated};
use crate::cli::sealed_key::KeyOpener;
use crate::console::{CommandFailure, Console, Format, InputEnd};
use crate::pki::Requested;
use crate::wire::{AGENT_WHOAMI, Nothing, OPERATOR_WHOAMI, RENEW, RenewBody, RenewalAnswer};

/// Longest wait of `--watch` before it reads the clock again, because the machine may sleep meanwhile, and asks the broker
/// whether to renew now: after a theft of the authority's key, every minute counts.
const LOOK_AGAIN_S: i64 = 60;
/// Longest wait for another process that renews: its connect and response timeouts together, and some seconds.
const LOCK_WAIT: Duration = Duration::from_secs(40);
const LOCK_LOOK: Duration = Duration::from_millis(25);

/// `keyward renew`
#[derive(Args, Debug)]
pub struct RenewArgs {
    /// Renew the operator's certificate instead of the agent's
    #[arg(long)]
    operator: bool,
    /// Keep running, and renew the certificate each time it is due
    #[arg(long)]
    watch: bool,
    /// With `--watch`: stop when standard input, a pipe, ends, e.g. with the program that started this one
    #[arg(long, requires = "watch")]
    until_stdin_ends: bool,
}

pub(crate) async fn renew(home: &Path, args: &RenewArgs, console: &Console) -> Result<(), CommandFailure> {
    let kind = IdentityKind::named(args.operator);
    let renewed = if !args.watch {
        renew_now(home, kind, console).await
    } else if args.until_stdin_ends {
        let end = InputEnd::watch();
        let end = end.map_err(|error| CommandFailure::of_file(Path::new("standard input"), &error))?;
        tokio::select! {
            watched = watch(home, kind, console) => watched,
            () = end.wait() => Ok(()),
        }
    } else {
        watch(home, kind, console).await
    };
    renewed.map_err(|failure| kind.or_as_operator(home, failure))
}

async fn renew_now(home: &Path, kind: IdentityKind, console: &Console) -> Result<(), CommandFailure> {
    // Without an identity nothing is written.
    find_opener(home, &Identity::load(home, kind)?)?;
    let lock = identity_lock(home)?;
    lock.lock().map_err(|error| CommandFailure::of_file(home, &error))?;
    let renewed = exchange(home, kind, &Identity::load(home, kind)?).await?;
    console.record(&printed(&renewed), || {
        let identity = &renewed.identity;
        format!("renewed {}; certificate valid until {}", identity.spiffe_id, identity.not_after)
    });
    Ok(())
}

/// Renews each time the certificate is due. Reports a failure and tries again: every few seconds while the broker does
/// not answer. Fails only when the certificate can no longer be renewed.
async fn watch(home: &Path, kind: IdentityKind, console: &Console) -> Result<(), CommandFailure> {
    KeyOpener::use_only_the_agent();
    let clock = SystemClock::new();
    let mut attempts = Attempts::default();
    let mut acceptance = Acceptance::default();
    loop {
        let due = RenewalDue::of(&Identity::load(home, kind)?)?;
        let now = clock.now();
        let ahead = due.moment.seconds_since(now);
        let wait = match ahead {
            1.. if !acceptance.is_wanted_now(home, kind, console).await => {
                Duration::from_secs(u64::try_from(ahead.min(LOOK_AGAIN_S)).unwrap_or(1))
            }
            _ => match renew_now(home, kind, console).await {
                Ok(()) => {
                    if let Some(time) = attempts.succeeded(clock.elapsed()) {
                        console.say(&format!("the renewal succeeds again after {} s", time.as_secs()));
                    }
                    continue;
                }
                Err(failure) if now >= due.ends && failure.is_unauthenticated() => return Err(failure),
                Err(failure) => {
                    let now = clock.elapsed();
                    if attempts.failed(&failure, now).is_some() {
                        console.report(&failure);
                    }
                    attempts.next(now).saturating_sub(now).min(due.longest_pause())
                }
            },
        };
        tokio::time::sleep(wait).await;
    }
}

/// Whether the broker asks to replace the certificate of `client` now.
pub(crate) async fn is_renewal_wanted(client: &Client, kind: IdentityKind) -> Result<bool, CommandFailure> {
    Ok(match kind {
        IdentityKind::Agent => client.call(AGENT_WHOAMI, &Nothing, &Nothing).await?.renew_now,
        IdentityKind::Operator => client.call(OPERATOR_WHOAMI, &Nothing, &Nothing).await?.renew_now,
    })
}

/// The last answer of the broker to `--watch` about a certificate that is not due.
#[derive(Default)]
struct Acceptance {
    /// The code of the last refusal, until the broker accepts the certificate again.
    refused: Option<String>,
}

impl Acceptance {
    /// Whether the broker asks to replace the certificate now; `false` without a response. Reports that the broker refuses
    /// the certificate, once for each cause: another holder of the key may have renewed it.
    async fn is_wanted_now(&mut self, home: &Path, kind: IdentityKind, console: &Console) -> bool {
        let asking = async {
            let client = Client::with(&Identity::load(home, kind)?, home, kind)?;
            is_renewal_wanted(&client, kind).await
        };
        match asking.await {
            Ok(is_wanted) => {
                if self.refused.take().is_some() {
                    console.say("the broker accepts the certificate again");
                }
                is_wanted
            }
            Err(failure) => {
                if failure.is_unauthenticated() && self.refused.as_deref() != Some(failure.code()) {
                    console.report(&failure);
                    self.refused = Some(failure.code().to_owned());
                }
                false
            }
        }
    }
}

/// Whether the certificate is valid for more than `seconds` from now.
pub(crate) fn is_valid_for(home: &Path, kind: IdentityKind, seconds: i64) -> Result<bool, CommandFailure> {
    let due = RenewalDue::of(&Identity::load(home, kind)?)?;
    Ok(due.ends.seconds_since(SystemClock::new().now()) > seconds)
}

/// Renews the certificate if it is due, before a verb uses it. While the certificate is valid, a failed renewal does
/// not fail the verb: the next verb tries again.
pub(crate) async fn renew_if_due(home: &Path, kind: IdentityKind) -> Result<(), CommandFailure> {
    let identity = Identity::load(home, kind)?;
    let due = RenewalDue::of(&identity)?;
    let now = SystemClock::new().now();
    if due.moment > now {
        return Ok(());
    }
    let is_valid = now < due.ends;
    let renewed = match find_opener(home, &identity).and_then(|()| identity_lock(home)) {
        Ok(lock) => renew_locked(home, kind, &lock, is_valid).await,
        Err(failure) => Err(failure),
    };
    match renewed {
        Err(failure) if !is_valid && failure.code() == code::FILE_UNUSABLE.as_str() => {
            let why = format!(
                "the certificate expired at {}, and a new one cannot be stored: {}",
                due.ends,
                failure.why()
            );
            let fix = "make the directory writable, or run `keyward renew` where it is writable";
            Err(CommandFailure::new(code::CERTIFICATE_EXPIRED).because(why).mended_by(fix))
        }
        Err(failure) if !is_valid => Err(failure),
        Err(failure) if failure.is_worth_warning() => {
            warn_not_updated(&failure);
            Ok(())
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Renews, unless another process has done so meanwhile. While another process renews, a valid certificate is used
/// unchanged; with an expired one the verb waits.
async fn renew_locked(
    home: &Path,
    kind: IdentityKind,
    lock: &File,
    is_valid: bool,
) -> Result<(), CommandFailure> {
    if !locked(home, lock, if is_valid { Duration::ZERO } else { LOCK_WAIT }).await? {
        if is_valid {
            return Ok(());
        }
        let why = format!(
            "the certificate has expired, and another process has held the renewal lock for {} s (`{}`)",
            LOCK_WAIT.as_secs(),
            home.join("renewing.lock").display()
        );
        let fix = "run the command again; if it fails again, stop the process that holds the lock: `fuser FILE` names it";
        return Err(CommandFailure::new(code::CERTIFICATE_EXPIRED).because(why).mended_by(fix));
    }
    let identity = Identity::load(home, kind)?;
    if RenewalDue::of(&identity)?.moment > SystemClock::new().now() {
        return Ok(());
    }
    exchange(home, kind, &identity).await.map(|_| ())
}

/// Locks, after waiting at most `wait`. `false` if another process still holds the lock.
async fn locked(home: &Path, lock: &File, wait: Duration) -> Result<bool, CommandFailure> {
    let mut left = wait;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::Error(error)) => return Err(CommandFailure::of_file(home, &error)),
            Err(TryLockError::WouldBlock) if left.is_zero() => return Ok(false),
            Err(TryLockError::WouldBlock) => {}
        }
        tokio::time::sleep(LOCK_LOOK).await;
        left = left.saturating_sub(LOCK_LOOK);
    }
}

/// The time of a renewal: at 50 to 60 % of the certificate's life, derived from the serial number, so that agents that
/// enrolled together do not renew together.
struct RenewalDue {
    moment: Timestamp,
    ends: Timestamp,
}

impl RenewalDue {
    fn of(identity: &Identity) -> Result<Self, CommandFailure> {
        let peer = identity.certificate()?;
        Ok(Self::at(peer.not_before(), peer.not_after(), peer.serial().as_bytes()))
    }

    fn at(begins: Timestamp, ends: Timestamp, serial: &[u8; 16]) -> Self {
        let life_s = ends.seconds_since(begins);
        let jitter = serial.last().copied().map_or(0, i64::from);
        // Half of the life, and up to a tenth of it in 256 steps.
        let after_s = (life_s / 2).saturating_add(life_s.saturating_mul(jitter) / 2560);
        Self { moment: begins.plus_s(after_s), ends }
    }

    /// Longest pause after a refused renewal: a certificate with a short life is renewed in time once its agent is resumed.
    fn longest_pause(&self) -> Duration {
        let tenth = self.ends.seconds_since(self.moment).div_euclid(10).max(1);
        Duration::from_secs(u64::try_from(tenth).unwrap_or(1))
    }
}

/// Each phase can be interrupted and repeated: the key is on disk before its certificate is requested; the identity is
/// replaced atomically when the certificate has arrived; the broker accepts the previous certificate until the first
/// use of the new one.
async fn exchange(
    home: &Path,
    kind: IdentityKind,
    identity: &Identity,
) -> Result<Received<RenewalAnswer>, CommandFailure> {
    Identity::check_storable(home, kind)?;
    let client = Client::with(identity, home, kind)?;
    let mut pending = next_key(home, kind, identity)?;
    if pending.key_pem.expose() == identity.key_pem.expose() {
        // The process was killed after it had stored the certificate for this key.
        pending.settle()?;
        pending = next_key(home, kind, identity)?;
    }
    let body = RenewBody { csr: base64url(&pending.request) };
    let answer = client.call(RENEW, &Nothing, &body).await?;
    let (held, trusted) = (identity.certificate()?, identity.authority_pins()?);
    let requested = Requested { key: pending.public()?.digest(), spiffe: held.spiffe(), trusted: &trusted };
    let renewed = issued(&answer.identity, &requested, &identity.address, &pending)?;
    renewed.save(home, kind)?;
    pending.settle()?;
    if answer.late {
        tell_late(held.not_after(), kind);
    }
    // The first use ends the previous certificate; if it fails, the next verb is the first use.
    let client = Client::with(&renewed, home, kind)?;
    drop(is_renewal_wanted(&client, kind).await);
    Ok(answer)
}

fn tell_late(ended: Timestamp, kind: IdentityKind) {
    let (alarm, whom) = match kind {
        IdentityKind::Agent => ("late_renewal", "an operator"),
        IdentityKind::Operator => ("operator_late_renewal", "the other operators"),
    };
    Console::new(Format::Table).say(&format!(
        "note: the certificate had expired at {}; the broker renewed it in its grace period and raised the alarm \
         `{alarm}`: tell {whom} that it was you",
        ended.to_minute()
    ));
}

/// Asks for the passphrase of a sealed key, if it is needed, before the process locks: no other process waits for a person.
fn find_opener(home: &Path, identity: &Identity) -> Result<(), CommandFailure> {
    identity.sealed_key()?.map_or(Ok(()), |key| KeyOpener::find(home, &key).map(drop))
}

/// The key of the next certificate: sealed like the present one.
fn next_key(home: &Path, kind: IdentityKind, identity: &Identity) -> Result<PendingKey, CommandFailure> {
    let name = Identity::renewing_key(kind);
    match identity.sealed_key()? {
        None => PendingKey::open(home, &name),
        Some(sealed) => PendingKey::open_sealed(home, &name, &KeyOpener::find(home, &sealed)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: Timestamp = Timestamp::from_s(1_800_000_000);

    #[test]
    fn a_certificate_is_due_between_a_half_and_six_tenths_of_its_life() {
        let end = BEGIN.plus_s(10_000);
        let due = |last: u8| {
            let mut serial = [0; 16];
            serial[15] = last;
            RenewalDue::at(BEGIN, end, &serial).moment.seconds_since(BEGIN)
        };
        assert_eq!((due(0), due(128), due(255)), (5000, 5500, 5996));
    }

    #[test]
    fn a_refused_renewal_is_repeated_often_enough_for_a_short_life() {
        let pause = |life_s| RenewalDue::at(BEGIN, BEGIN.plus_s(life_s), &[0; 16]).longest_pause().as_secs();
        assert_eq!((pause(300), pause(86_400), pause(1)), (15, 4320, 1));
    }
}
