use std::io::{self, ErrorKind};

/// The meaning of an I/O error without its number, e.g. `permission denied`, for the end of a message that names the
/// file or the address.
#[must_use]
pub fn io_reason(error: &io::Error) -> String {
    if let Some(words) = plain(error.kind()) {
        return words.to_owned();
    }
    let text = error.get_ref().map_or_else(|| error.to_string(), ToString::to_string);
    if text.starts_with("failed to lookup address information") {
        return "the host name does not resolve".to_owned();
    }
    // From the system's text, e.g. `Input/output error (os error 5)`.
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

fn plain(kind: ErrorKind) -> Option<&'static str> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest keeps the system's words")]
    let words = match kind {
        ErrorKind::NotFound => "no such file or directory",
        ErrorKind::PermissionDenied => "permission denied",
        ErrorKind::AlreadyExists => "the file exists already",
        ErrorKind::StorageFull => "the disk is full",
        ErrorKind::QuotaExceeded => "the disk quota is used up",
        ErrorKind::ReadOnlyFilesystem => "the file system is mounted read-only",
        ErrorKind::IsADirectory => "the path is a directory",
        ErrorKind::NotADirectory => "a part of the path is not a directory",
        ErrorKind::InvalidFilename => "the file name is too long",
        ErrorKind::FileTooLarge => "the file is too large",
        ErrorKind::CrossesDevices => "the path is on another file system",
        ErrorKind::UnexpectedEof => "the input ends too early",
        ErrorKind::AddrInUse => "another process uses the address",
        ErrorKind::AddrNotAvailable => "this host does not have the address",
        ErrorKind::ConnectionRefused => "the connection was refused",
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => {
            "the connection was closed by the other side"
        }
        ErrorKind::BrokenPipe => "the reader has closed the pipe",
        ErrorKind::HostUnreachable => "there is no route to the host",
        ErrorKind::NetworkUnreachable => "there is no route to the network",
        ErrorKind::TimedOut => "the operation timed out",
        ErrorKind::OutOfMemory => "the process has no memory left",
        _ => return None,
    };
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_io_error_is_told_in_plain_words() {
        for (error, words) in [
            (io::Error::from_raw_os_error(2), "no such file or directory"),
            (io::Error::from_raw_os_error(28), "the disk is full"),
            (io::Error::from_raw_os_error(5), "input/output error"),
            (io::Error::from_raw_os_error(24), "too many open files"),
            (io::Error::other("its key was wiped"), "its key was wiped"),
            (
                io::Error::other("failed to lookup address information: Name or service not known"),
                "the host name does not resolve",
            ),
        ] {
            assert_eq!(io_reason(&error), words, "{error:?}");
        }
    }
}
