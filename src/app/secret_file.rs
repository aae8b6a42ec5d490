use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use zeroize::Zeroizing;

use crate::base::code;
use crate::console::CommandFailure;

/// Permissions of group and others.
const OTHERS: u32 = 0o077;

/// The text of a file that holds a secret, of at most `bytes_max`.
///
/// # Errors
/// [`CommandFailure`] if the file cannot be read as text, is longer, or other users than its owner can use it.
pub(crate) fn read_secret_file(path: &Path, bytes_max: usize) -> Result<Zeroizing<String>, CommandFailure> {
    let of_file = |error: io::Error| CommandFailure::of_file(path, &error);
    let file = File::open(path).map_err(of_file)?;
    let found = file.metadata().map_err(of_file)?;
    if found.mode() & OTHERS != 0 {
        let path = path.display();
        return Err(CommandFailure::new(code::FILE_PERMISSIONS_TOO_OPEN)
            .because(format!("`{path}` has mode {:o}: group or others can use it", found.mode() & 0o7777))
            .mended_by(format!("find out who could read it, then `chmod go= {path}`")));
    }
    let mut text = Zeroizing::new(String::with_capacity(bytes_max.saturating_add(1)));
    let most = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    file.take(most.saturating_add(1)).read_to_string(&mut text).map_err(of_file)?;
    if text.len() > bytes_max {
        return Err(of_file(io::ErrorKind::FileTooLarge.into()));
    }
    Ok(text)
}
