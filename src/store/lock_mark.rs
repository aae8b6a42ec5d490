use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::UNIX_EPOCH;

use crate::crypto::sha256_parts;

/// What tells the lock file from that of a copy of the data: 53 bits of a digest of its inode and of the moment at
/// which it was made, where the file system keeps that. A copy on a fresh volume often has the same inode number;
/// it was made at another moment. The snapshot of a volume has both.
#[must_use]
pub fn lock_mark(lock: &Metadata) -> u64 {
    let made = lock.created().ok().and_then(|made| made.duration_since(UNIX_EPOCH).ok());
    let made = made.map(|made| made.as_nanos()).unwrap_or_default();
    let digest = sha256_parts(&[&lock.ino().to_be_bytes(), &made.to_be_bytes()]);
    let [a, b, c, d, e, f, g, h, ..] = *digest.as_bytes();
    // Every reader of JSON keeps this number as it is.
    u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 11
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_of_a_file_stays_and_a_file_in_its_place_has_another_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        std::fs::write(&path, b"").unwrap();
        let mark = lock_mark(&path.metadata().unwrap());
        std::fs::rename(&path, dir.path().join("moved")).unwrap();
        assert_eq!(lock_mark(&dir.path().join("moved").metadata().unwrap()), mark);
        std::fs::copy(dir.path().join("moved"), &path).unwrap();
        assert_ne!(lock_mark(&path.metadata().unwrap()), mark);
    }
}
