//! Users without privileges, for servers that do not run as root.

use std::fs;

/// The ids of `user` and of its group, if this process is root.
pub(crate) fn unprivileged(user: &str) -> Option<(u32, u32)> {
    if !rustix::process::getuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let line =
        users.lines().find(|line| line.starts_with(&format!("{user}:"))).expect("its package makes the user");
    let ids: Vec<u32> = line.split(':').skip(2).take(2).map(|id| id.parse().unwrap()).collect();
    Some((ids[0], ids[1]))
}
