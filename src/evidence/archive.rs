//! The one ZIP archive of some files: names in order, stored without compression, without times and attributes. An
//! archive with any other byte is refused.

use std::collections::BTreeMap;
use std::io::{Cursor, Read, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

use crate::base::limits::{EVIDENCE_BYTES_MAX, EVIDENCE_FILES_MAX};

/// Files by name.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// The archive cannot be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// It has more bytes or files than a bundle may have.
    #[error("the file is larger than an evidence bundle may be")]
    TooLarge,
    /// It is no ZIP archive of the form that bundles have.
    #[error("the file is not an archive in the form of an evidence bundle")]
    Form,
}

/// The archive of `files`.
pub(super) fn pack(files: &Files) -> Result<Vec<u8>, ArchiveError> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(DateTime::default())
        .unix_permissions(0o644);
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        archive.start_file(name.as_str(), options).map_err(|_| ArchiveError::Form)?;
        archive.write_all(bytes).map_err(|_| ArchiveError::Form)?;
    }
    let bytes = archive.finish().map_err(|_| ArchiveError::Form)?.into_inner();
    if bytes.len() <= EVIDENCE_BYTES_MAX { Ok(bytes) } else { Err(ArchiveError::TooLarge) }
}

/// The files in `bytes`, which are exactly the archive of these files.
pub(super) fn unpack(bytes: &[u8]) -> Result<Files, ArchiveError> {
    if bytes.len() > EVIDENCE_BYTES_MAX {
        return Err(ArchiveError::TooLarge);
    }
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|_| ArchiveError::Form)?;
    if archive.len() > EVIDENCE_FILES_MAX {
        return Err(ArchiveError::TooLarge);
    }
    let mut files = Files::new();
    let mut left = bytes.len();
    for at in 0..archive.len() {
        let file = archive.by_index(at).map_err(|_| ArchiveError::Form)?;
        let name = file.name().map_err(|_| ArchiveError::Form)?.into_owned();
        let mut content = Vec::new();
        // Stored files together are never longer than the archive.
        let limit = u64::try_from(left).unwrap_or(u64::MAX).saturating_add(1);
        file.take(limit).read_to_end(&mut content).map_err(|_| ArchiveError::Form)?;
        left = left.checked_sub(content.len()).ok_or(ArchiveError::Form)?;
        files.insert(name, content);
    }
    if pack(&files)? == bytes { Ok(files) } else { Err(ArchiveError::Form) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> Files {
        [("a.txt", "one"), ("b.json", "{}")].map(|(name, text)| (name.to_owned(), text.into())).into()
    }

    #[test]
    fn an_archive_reads_back_and_no_other_bytes_do() {
        let packed = pack(&files()).unwrap();
        assert_eq!(unpack(&packed), Ok(files()));
        for at in 0..packed.len() {
            let mut altered = packed.clone();
            altered[at] ^= 1;
            assert_ne!(unpack(&altered).ok(), Some(files()), "byte {at}");
        }
        for other in [
            &packed[..packed.len() - 1],
            &[packed.as_slice(), b"x"].concat(),
            &[b"x", packed.as_slice()].concat(),
        ] {
            assert!(unpack(other).is_err());
        }
    }

    #[test]
    fn a_bomb_is_refused_by_its_size() {
        assert_eq!(unpack(&vec![0; EVIDENCE_BYTES_MAX + 1]), Err(ArchiveError::TooLarge));
        let many: Files = (0..=EVIDENCE_FILES_MAX).map(|at| (format!("{at:03}"), Vec::new())).collect();
        assert_eq!(unpack(&pack(&many).unwrap()), Err(ArchiveError::TooLarge));
    }
}
