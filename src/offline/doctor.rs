use std::fs;
use std::path::Path;

use super::configuration::config_opened_by;
use super::verify::{VerifyOptions, look};
use crate::app::data_dir::keyring_path;
use crate::app::open_keyring::open_keyring;
use crate::app::trusted_files::TrustedFile;
use crate::base::limits::DISK_FREE_BYTES_MIN;
use crate::cli::{DoctorFinding, host_state, report};
use crate::config::{Config, RootKey};
use crate::console::{Console, Failure};
use crate::keyring::{SlotKind, SlotState, slots_of};
use crate::ledger::lock_file;
use crate::telemetry::{Protection, free_bytes, harden};

/// `keyward doctor --config FILE`
///
/// # Errors
/// [`Failure`] when something does not work.
pub async fn doctor(config: &Path, key_file: Option<&Path>, console: &Console) -> Result<(), Failure> {
    report(&host(config, key_file).await, console)
}

/// Looks at a broker's host: configuration, keys, data directory, ledger, what the kernel lets it do.
/// Changes nothing.
async fn host(path: &Path, key_file: Option<&Path>) -> Vec<DoctorFinding> {
    let loaded = config_opened_by(path, key_file);
    let mut findings =
        vec![DoctorFinding::of("configuration", &loaded, format!("`{}` is good", path.display()))];
    let Ok(config) = loaded else { return findings };
    findings.push(DoctorFinding::private("data directory", &config.data_dir));
    findings.extend(permissions(path, &config));
    if let RootKey::File(file) = &config.root_key {
        findings.push(DoctorFinding::private("root key's file", file));
    }
    findings.push(if config.root_key == RootKey::Attended {
        let slots = slots_of(&keyring_path(&config)).map_err(Failure::from);
        DoctorFinding::of("keyring", &slots, "it is there, and opened by hand: `keyward unseal`")
    } else {
        DoctorFinding::of("keyring", &open_keyring(&config), "the root key of `[root_key]` opens it")
    });
    findings.extend(slots(&config));
    findings.push(space(&config.data_dir));
    findings.push(ledger(&config));
    findings.extend(readiness(&config).await);
    findings.push(memory());
    findings
}

/// What `serve` would refuse; the data directory has a finding of its own.
fn permissions(path: &Path, config: &Config) -> Vec<DoctorFinding> {
    let all = TrustedFile::all(path, config);
    let own = all.iter().filter(|one| one.path != config.data_dir);
    own.map(|one| match one.check() {
        Ok(()) => DoctorFinding::ok(one.what, format!("no other user can use `{}`", one.path.display())),
        Err(failure) => DoctorFinding::fail(one.what, failure.why(), failure.fix()),
    })
    .collect()
}

fn slots(config: &Config) -> Option<DoctorFinding> {
    let mut slots = slots_of(&keyring_path(config)).ok()?;
    let all = slots.len();
    slots.retain(|slot| slot.state == SlotState::Opens);
    let others = slots.iter().filter(|slot| slot.kind != SlotKind::KeyFile).count();
    Some(if slots.len() < all {
        let fix = "`keyward slot confirm` with its shares, or `keyward slot remove ID`";
        DoctorFinding::warn("slots", "a slot waits for its shares and opens nothing until then", fix)
    } else if slots.len() > 1 {
        DoctorFinding::ok("slots", format!("{others} of {} slots are passphrases or shares", slots.len()))
    } else {
        let fix = "`keyward slot add --passphrase` or `--shares`, and keep it away from this machine";
        DoctorFinding::warn("slots", "one slot alone opens the keyring: lose its key, and nothing does", fix)
    })
}

fn space(dir: &Path) -> DoctorFinding {
    const WHAT: &str = "disk space";
    let Some(free) = free_bytes(dir) else {
        return DoctorFinding::fail(
            WHAT,
            format!("`{}` cannot be asked", dir.display()),
            "see whether it is there",
        );
    };
    let said = format!("{} MiB are free below `{}`", free / (1024 * 1024), dir.display());
    if free < DISK_FREE_BYTES_MIN {
        DoctorFinding::warn(WHAT, said, "free some: the ledger grows")
    } else {
        DoctorFinding::ok(WHAT, said)
    }
}

fn is_running(config: &Config) -> bool {
    let lock = config.data_dir.join("lock");
    lock.exists() && !matches!(lock_file(&lock), Ok(Some(_)))
}

/// What the running broker says of itself; nothing when none runs. One that is sealed runs, and holds no
/// lock.
async fn readiness(config: &Config) -> Option<DoctorFinding> {
    const WHAT: &str = "readiness";
    let state = match host_state(&config.listen.host).await {
        Ok(state) => state,
        Err(failure) => {
            let fix = "see whether this is its host, and whether you are root";
            return is_running(config).then(|| DoctorFinding::warn(WHAT, failure.why(), fix));
        }
    };
    Some(match state.not_ready {
        _ if state.state != "open" => {
            let why = format!("the broker is {}: it serves nobody", state.state);
            DoctorFinding::fail(WHAT, why, "`keyward unseal`")
        }
        Some(not_ready) => DoctorFinding::fail(WHAT, not_ready.detail, not_ready.fix),
        None => DoctorFinding::ok(WHAT, "ready: the ledger is writable"),
    })
}

/// The whole ledger, when no broker writes to it.
fn ledger(config: &Config) -> DoctorFinding {
    const WHAT: &str = "ledger";
    if is_running(config) {
        return DoctorFinding::ok(WHAT, "a broker runs on it; stop it to have the ledger verified");
    }
    let options = VerifyOptions { config: Some(config), data_dir: None, checkpoint: None, key: None };
    DoctorFinding::of(WHAT, &look(&options), "every entry is as it was written")
}

fn memory() -> DoctorFinding {
    const WHAT: &str = "memory";
    let hardening = harden();
    let swaps = fs::read_to_string("/proc/swaps").is_ok_and(|swaps| swaps.lines().count() > 1);
    match (hardening.memory_locked, swaps) {
        (Protection::On, _) => DoctorFinding::ok(WHAT, "no core dumps, no tracing, locked"),
        (Protection::Refused, false) => DoctorFinding::ok(WHAT, "no core dumps, no tracing, and no swap"),
        (Protection::Refused, true) => {
            let fix = "under systemd: `LimitMEMLOCK=infinity`, as in config/systemd/keyward.service";
            DoctorFinding::warn(WHAT, "it cannot be locked here, and may be swapped out", fix)
        }
    }
}
