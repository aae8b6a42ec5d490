use std::fs;
use std::path::Path;

use crate::base::code;
use crate::base::encoding::{base64url, hex};
use crate::console::CommandFailure;

/// Searches every file below `dir` for `secret`: raw, hex and base64. Returns the number of files.
pub(crate) fn scan(dir: &Path, secret: &[u8]) -> Result<usize, CommandFailure> {
    let spelled = spellings(secret);
    let planted = [b"before ".as_slice(), secret, b" after"].concat();
    if !holds(&planted, &spelled) {
        return Err(
            CommandFailure::new(code::DEMO_FAILED).because("the scanner does not find a planted secret")
        );
    }
    let mut files = 0_usize;
    let mut dirs = vec![dir.to_owned()];
    while let Some(next) = dirs.pop() {
        for entry in fs::read_dir(&next).map_err(|error| CommandFailure::of_file(&next, &error))? {
            let path = entry.map_err(|error| CommandFailure::of_file(&next, &error))?.path();
            if path.is_dir() {
                dirs.push(path);
                continue;
            }
            files = files.saturating_add(1);
            if holds(&fs::read(&path).map_err(|error| CommandFailure::of_file(&path, &error))?, &spelled) {
                let why = format!("the secret is in `{}`", path.display());
                return Err(CommandFailure::new(code::DEMO_FAILED).because(why));
            }
        }
    }
    Ok(files)
}

/// Raw, hex, and base64 at its three offsets without the characters that depend on the neighbouring bytes.
fn spellings(secret: &[u8]) -> Vec<Vec<u8>> {
    let mut spelled =
        vec![secret.to_vec(), hex(secret).into_bytes(), hex(secret).to_uppercase().into_bytes()];
    for pad in 0..3 {
        let shifted = [&vec![0; pad], secret].concat();
        let text = base64url(&shifted);
        let inner = text.get(4..text.len().saturating_sub(4)).unwrap_or(&text);
        spelled.push(inner.as_bytes().to_vec());
        spelled.push(inner.replace('-', "+").replace('_', "/").into_bytes());
    }
    spelled
}

fn holds(bytes: &[u8], spelled: &[Vec<u8>]) -> bool {
    spelled.iter().any(|one| memchr::memmem::find(bytes, one).is_some())
}
