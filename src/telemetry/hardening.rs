use std::fs;
use std::path::Path;

use rustix::fs::statvfs;
use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

/// What worked of keeping memory from others on the host.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Hardening {
    /// No core dumps, whatever the limits were.
    pub core_dumps_off: Protection,
    /// Not dumpable, and so not to be traced by processes of the same user.
    pub ptrace_off: Protection,
    /// Memory is not swapped out. Needs an unlimited `RLIMIT_MEMLOCK` or `CAP_IPC_LOCK`.
    pub memory_locked: Protection,
}

/// Whether a protection holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protection {
    /// It does.
    On,
    /// The kernel, or the limits of this process, refuse it.
    Refused,
}

impl Protection {
    fn of<E>(result: &Result<(), E>) -> Self {
        if result.is_ok() { Self::On } else { Self::Refused }
    }
}

/// Turns core dumps and ptrace off, and tries to lock memory. What does not work is reported, not
/// fatal: an unprivileged user must still be able to run the broker.
#[must_use]
pub fn harden() -> Hardening {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    Hardening {
        core_dumps_off: Protection::of(&setrlimit(Resource::Core, none)),
        ptrace_off: Protection::of(&set_dumpable_behavior(DumpableBehavior::NotDumpable)),
        memory_locked: lock_memory(),
    }
}

/// Lets this process have as many open files as the host allows it, and says how many that is, unless there is no
/// limit.
#[must_use]
pub fn raise_open_files() -> Option<u64> {
    let most = getrlimit(Resource::Nofile).maximum;
    // What a refusal leaves is the limit that was there.
    let _kept = setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most });
    getrlimit(Resource::Nofile).current
}

/// Locks memory only where no limit can be hit later: under one, locking future mappings succeeds
/// now and makes an allocation fail at some later moment.
fn lock_memory() -> Protection {
    let unlimited = getrlimit(Resource::Memlock).current.is_none();
    if !unlimited && !may_lock() {
        return Protection::Refused;
    }
    Protection::of(&mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT))
}

/// Whether the process has `CAP_IPC_LOCK` (bit 14 of the effective set).
fn may_lock() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    effective.is_some_and(|set| set & (1 << 14) != 0)
}

/// How much a user without privileges can still write below `dir`, in bytes.
#[must_use]
pub fn free_bytes(dir: &Path) -> Option<u64> {
    statvfs(dir).ok().map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(test)]
mod tests {
    use rustix::process::dumpable_behavior;

    use super::*;

    #[test]
    fn key_04_after_hardening_there_are_no_cores_and_no_tracing() {
        let hardening = harden();
        assert_eq!((hardening.core_dumps_off, hardening.ptrace_off), (Protection::On, Protection::On));
        assert_eq!(getrlimit(Resource::Core).current, Some(0));
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    }

    #[test]
    fn a_process_has_as_many_open_files_as_it_may() {
        assert_eq!(raise_open_files(), getrlimit(Resource::Nofile).maximum);
    }
}
