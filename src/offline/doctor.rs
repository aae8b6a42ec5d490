use std::fs;
use std::path::Path;

use super::configuration::config_opened_by;
use super::host_checks::{host_checks, private_files};
use super::ledger_check::{VerifyOptions, look, unfinished_end};
use crate::app::data_dir::{is_running, keyring_path};
use crate::app::open_keyring::open_keyring;
use crate::base::limits::DISK_FREE_BYTES_MIN;
use crate::cli::{CLOCK_DISAGREES, DoctorFinding, host_state, report};
use crate::config::{Config, RootKey};
use crate::console::{CommandFailure, Console};
use crate::keyring::{SlotKind, SlotState, slots_of};
use crate::ledger::SEGMENT_BYTES;
use crate::telemetry::{Protection, free_bytes, harden};
use crate::wire::StateAnswer;

/// `keyward doctor --config FILE`
///
/// # Errors
/// [`CommandFailure`] if a check failed.
pub async fn doctor(config: &Path, key_file: Option<&Path>, console: &Console) -> Result<(), CommandFailure> {
    report(&host(config, key_file).await, console)
}

/// Checks a broker's host: configuration, keys, data directory, ledger, limits of the kernel. Changes nothing.
async fn host(path: &Path, key_file: Option<&Path>) -> Vec<DoctorFinding> {
    let loaded = config_opened_by(path, key_file);
    let mut findings =
        vec![DoctorFinding::of("configuration", &loaded, format!("`{}` is valid", path.display()))];
    let Ok(config) = loaded else { return findings };
    findings
        .extend(private_files(&config).into_iter().map(|(what, path)| DoctorFinding::private(what, path)));
    findings.extend(host_checks(path, &config));
    findings.push(if config.root_key == RootKey::Attended {
        let slots = slots_of(&keyring_path(&config)).map_err(CommandFailure::from);
        DoctorFinding::of("keyring", &slots, "the keyring exists; an operator opens it: `keyward unseal`")
    } else {
        DoctorFinding::of(
            "keyring",
            &open_keyring(&config),
            "the key that `[root_key]` names opens the keyring",
        )
    });
    findings.extend(slots(&config));
    findings.push(space(&config.data_dir));
    findings.push(ledger(&config));
    let state = host_state(&config.listen.host).await;
    findings.push(memory(state.as_ref().ok().and_then(|state| state.memory_locked)));
    findings.extend(running(&config, state));
    findings
}

fn slots(config: &Config) -> Option<DoctorFinding> {
    let mut slots = slots_of(&keyring_path(config)).ok()?;
    let all = slots.len();
    slots.retain(|slot| slot.state == SlotState::Opens);
    let others = slots.iter().filter(|slot| slot.kind != SlotKind::KeyFile).count();
    Some(if slots.len() < all {
        let fix = "`keyward slot confirm` reads the shares; `keyward slot remove ID` removes the slot";
        DoctorFinding::warn(
            "slots",
            "a slot is unconfirmed, and opens nothing until enough of its shares are confirmed",
            fix,
        )
    } else if slots.len() > 1 {
        DoctorFinding::ok("slots", format!("{others} of {} slots are passphrases or shares", slots.len()))
    } else {
        let fix = "add a passphrase or shares (`keyward slot add`), and keep them away from this machine";
        DoctorFinding::warn(
            "slots",
            "only one slot opens the keyring: without its key all data are lost",
            fix,
        )
    })
}

const MIB: u64 = 1024 * 1024;

fn space(dir: &Path) -> DoctorFinding {
    const WHAT: &str = "disk space";
    let Some(free) = free_bytes(dir) else {
        return DoctorFinding::fail(
            WHAT,
            format!("the free space of `{}` cannot be read", dir.display()),
            "check that the directory exists",
        );
    };
    let said = format!("{} MiB are free below `{}`", free / MIB, dir.display());
    if free < SEGMENT_BYTES {
        let needed = SEGMENT_BYTES / MIB;
        let why = format!(
            "{said}, and the next segment of the ledger needs {needed} MiB: the broker refuses writes when the present \
             segment is full"
        );
        let fix = format!("free at least {needed} MiB on the data disk; see docs/runbooks/full-disk.md");
        DoctorFinding::fail(WHAT, why, fix)
    } else if free < DISK_FREE_BYTES_MIN {
        DoctorFinding::warn(WHAT, said, "free space on the data disk: the ledger grows")
    } else {
        DoctorFinding::ok(WHAT, said)
    }
}

/// The readiness of a running broker, and its pending orders. A sealed broker holds no lock.
fn running(config: &Config, state: Result<StateAnswer, CommandFailure>) -> Vec<DoctorFinding> {
    const WHAT: &str = "readiness";
    let state = match state {
        Ok(state) => state,
        Err(failure) => {
            let fix = "run this command on the broker's host as root";
            let is_running = is_running(&config.data_dir);
            return is_running.then(|| DoctorFinding::warn(WHAT, failure.why(), fix)).into_iter().collect();
        }
    };
    let (orders, warnings) = (orders(&state), warnings(&state));
    let readiness = match state.not_ready {
        _ if state.state != "open" => {
            let why = format!("the broker is {}: it serves no requests", state.state);
            DoctorFinding::fail(WHAT, why, "`keyward unseal`")
        }
        Some(not_ready) => DoctorFinding::fail(WHAT, not_ready.detail, not_ready.fix),
        None => DoctorFinding::ok(WHAT, "ready: the ledger is writable"),
    };
    std::iter::once(readiness).chain(warnings).chain(orders).collect()
}

/// The warnings of a running broker. A wrong clock comes first, because other problems can follow from it.
fn warnings(state: &StateAnswer) -> Vec<DoctorFinding> {
    let (clock, others): (Vec<&str>, Vec<&str>) =
        state.warnings.iter().map(|warning| &**warning).partition(|warning| *warning == CLOCK_DISAGREES);
    let clock = clock.first().map(|name| {
        let why = format!("the system clock and the clock since boot disagree (`{name}`)");
        let fix = "set the system clock right; if it is right: `keyward clock accept`; until then operators may be refused: `keyward break-glass contain SUBJECT --reason TEXT` on this host works; see docs/runbooks/wrong-clock.md";
        DoctorFinding::warn("clock", why, fix)
    });
    let others = (!others.is_empty()).then(|| {
        let fix = "the broker's log names the cause of each warning; docs/how-to/production.md lists them";
        DoctorFinding::warn("warnings", format!("the broker reports {}", others.join(", ")), fix)
    });
    clock.into_iter().chain(others).collect()
}

/// The pending orders of the host: those that wait, and those that failed when the broker opened.
fn orders(state: &StateAnswer) -> Option<DoctorFinding> {
    const WHAT: &str = "pending orders";
    let failed: Vec<String> = state
        .settled
        .iter()
        .filter_map(|one| Some(format!("`{}` ({})", one.order, one.code.as_ref()?)))
        .collect();
    if !failed.is_empty() {
        let why = format!("not carried out: {}", failed.join(", "));
        return Some(DoctorFinding::warn(
            WHAT,
            why,
            "if they are still needed, repeat them with the right names",
        ));
    }
    let (queued, done) = (state.queued, state.settled.len());
    match (queued, done) {
        (0, 0) => None,
        (0, done) => Some(DoctorFinding::ok(WHAT, format!("{done} carried out when the broker opened"))),
        (queued, _) => {
            Some(DoctorFinding::ok(WHAT, format!("{queued} pending: `keyward unseal` carries them out")))
        }
    }
}

/// Verifies the ledger, unless a broker writes to it.
fn ledger(config: &Config) -> DoctorFinding {
    const WHAT: &str = "ledger";
    if is_running(&config.data_dir) {
        return DoctorFinding::ok(
            WHAT,
            "not verified, because the broker is running; `keyward verify` verifies it",
        );
    }
    let options =
        VerifyOptions { config: Some(config), data_dir: None, checkpoint: None, key: None, checked: None };
    let looked = look(&options);
    if let Ok(verified) = &looked
        && let Some((dir, tail)) = &verified.unfinished
    {
        let failure = unfinished_end(dir, tail, verified.entries());
        return DoctorFinding::warn(WHAT, failure.why(), failure.fix());
    }
    DoctorFinding::of(WHAT, &looked, "all entries are intact")
}

/// The memory of the running broker, if it told whether it `is_locked`; otherwise of this process, which has the limits of
/// the user's session and not those of the service.
fn memory(is_locked: Option<bool>) -> DoctorFinding {
    const WHAT: &str = "memory";
    let swaps = fs::read_to_string("/proc/swaps").is_ok_and(|swaps| swaps.lines().count() > 1);
    let own_lock = || harden().memory_locked == Protection::On;
    match (is_locked, swaps) {
        (Some(true), _) => DoctorFinding::ok(WHAT, "the memory of the running broker is locked"),
        (Some(false), false) => DoctorFinding::ok(
            WHAT,
            "the memory of the running broker is not locked, and the host has no swap",
        ),
        (Some(false), true) => DoctorFinding::warn(
            WHAT,
            "the memory of the running broker is not locked: keys may be written to swap",
            LOCK_FIX,
        ),
        (None, false) => DoctorFinding::ok(
            WHAT,
            "the host has no swap; no running broker told whether its memory is locked",
        ),
        (None, true) if own_lock() => DoctorFinding::ok(
            WHAT,
            "this process can lock its memory; no running broker told whether its memory is locked",
        ),
        (None, true) => DoctorFinding::warn(
            WHAT,
            "this process cannot lock its memory, and no running broker told whether its memory is locked: keys may be \
             written to swap",
            LOCK_FIX,
        ),
    }
}

const LOCK_FIX: &str =
    "under systemd: `LimitMEMLOCK=infinity`, as in config/systemd/keyward.service; then restart the broker";
