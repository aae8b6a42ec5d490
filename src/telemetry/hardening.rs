use std::fs;
use std::path::Path;

use rustix::fs::statvfs;
use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

/// The protections of the process's memory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Hardening {
    /// No core dumps.
    pub core_dumps_off: Protection,
    /// Processes of the same user cannot trace this one.
    pub ptrace_off: Protection,
    /// Memory is not swapped out. Needs an unlimited `RLIMIT_MEMLOCK` or `CAP_IPC_LOCK`.
    pub memory_locked: Protection,
}

/// Whether a protection holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protection {
    /// It is in force.
    On,
    /// The kernel or the limits of this process refused it.
    Refused,
}

impl Protection {
    fn of<E>(result: &Result<(), E>) -> Self {
        if result.is_ok() { Self::On } else { Self::Refused }
    }
}

/// Turns core dumps and ptrace off, and tries to lock memory. A refused protection is reported and not fatal, so that
/// an unprivileged user can run the broker.
#[must_use]
pub fn harden() -> Hardening {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    Hardening {
        core_dumps_off: Protection::of(&setrlimit(Resource::Core, none)),
        ptrace_off: Protection::of(&set_dumpable_behavior(DumpableBehavior::NotDumpable)),
        memory_locked: lock_memory(),
    }
}

/// Raises the limit of open files to its maximum, and returns it; `None` if there is no limit.
#[must_use]
pub fn raise_open_files() -> Option<u64> {
    let most = getrlimit(Resource::Nofile).maximum;
    // After a refusal the old limit is still in force.
    let _kept = setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most });
    getrlimit(Resource::Nofile).current
}

/// Locks memory only without a limit. Under a limit the call succeeds, and a later allocation fails.
fn lock_memory() -> Protection {
    let unlimited = getrlimit(Resource::Memlock).current.is_none();
    if !unlimited && !may_lock() {
        return Protection::Refused;
    }
    Protection::of(&mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT))
}

/// Whether memory of this process is locked; `None` if the kernel does not say.
#[must_use]
pub fn is_memory_locked() -> Option<bool> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let locked = status.lines().find_map(|line| line.strip_prefix("VmLck:"))?;
    let kilobytes: u64 = locked.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kilobytes > 0)
}

/// Whether the process has `CAP_IPC_LOCK` (bit 14 of the effective set).
fn may_lock() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    effective.is_some_and(|set| set & (1 << 14) != 0)
}

/// Free bytes below `dir`, for users other than root.
#[must_use]
pub fn free_bytes(dir: &Path) -> Option<u64> {
    statvfs(dir).ok().map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(test)]
mod tests {
    use rustix::process::dumpable_behavior;

    use super::*;

    #[test]
    fn hardening_turns_core_dumps_and_tracing_off_key_04() {
        let hardening = harden();
        assert_eq!((hardening.core_dumps_off, hardening.ptrace_off), (Protection::On, Protection::On));
        assert_eq!(getrlimit(Resource::Core).current, Some(0));
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    }

    #[test]
    fn the_limit_of_open_files_is_raised_to_its_maximum() {
        assert_eq!(raise_open_files(), getrlimit(Resource::Nofile).maximum);
    }
}
