use crate::base::code::CodeClass;

/// The exit codes and their meanings.
pub(crate) const EXIT_CODES: [(u8, &str); 13] = [
    (0, "success"),
    (1, "a problem of this machine, or a bug in keyward"),
    (2, "wrong usage or invalid input"),
    (4, "not authenticated"),
    (5, "denied"),
    (7, "not found"),
    (8, "conflict with the present state"),
    (9, "limit reached: repeat the command later, or end something first"),
    (10, "the broker is unreachable, sealed, not started, or cannot record requests now"),
    (11, "a verification failed"),
    (12, "partly done: the message names the missing part"),
    (NOT_EXECUTABLE, "`run` and `lease run`: the command exists, and cannot be executed"),
    (NOT_FOUND, "`run` and `lease run`: the command does not exist"),
];

/// The exit codes of shells for a command that they cannot start.
pub(super) const NOT_EXECUTABLE: u8 = 126;
pub(super) const NOT_FOUND: u8 = 127;

/// One of [`EXIT_CODES`].
pub(crate) const fn exit_code(sort: CodeClass) -> u8 {
    match sort {
        CodeClass::Internal | CodeClass::Local => 1,
        CodeClass::Usage
        | CodeClass::Invalid
        | CodeClass::InvalidScope
        | CodeClass::InvalidTarget
        | CodeClass::InvalidDetails
        | CodeClass::UnsupportedGrant
        | CodeClass::UnsupportedResponse => 2,
        CodeClass::Unauthenticated => 4,
        CodeClass::Denied | CodeClass::NotGranted => 5,
        CodeClass::NotFound => 7,
        CodeClass::Conflict => 8,
        CodeClass::Limited | CodeClass::Full => 9,
        CodeClass::Unavailable | CodeClass::NotStarted => 10,
        CodeClass::Unverified => 11,
        CodeClass::Partial => 12,
    }
}

/// The exit code for an error code of a newer broker.
pub(super) const fn exit_of_status(status: u16) -> u8 {
    match status {
        401 => 4,
        403 => 5,
        404 => 7,
        409 | 412 | 428 => 8,
        429 => 9,
        503 => 10,
        400..500 => 2,
        _ => 1,
    }
}
