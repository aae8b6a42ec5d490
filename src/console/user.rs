/// The user of this process, as the ledger names a user of the broker's host.
#[must_use]
pub fn host_user() -> String {
    format!("host uid {}", rustix::process::getuid().as_raw())
}

/// The user that this process runs as.
#[must_use]
pub fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}
