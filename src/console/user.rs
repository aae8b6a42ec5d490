/// The ledger's name for the user of this process.
#[must_use]
pub fn host_user() -> String {
    format!("host uid {}", rustix::process::getuid().as_raw())
}

/// The effective user id of this process.
#[must_use]
pub fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}
