use std::any::Any;
use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{FallocateFlags, OFlags};

use super::error::OpenError;
use crate::files;
use crate::telemetry::free_bytes;

/// One directory of files, with every step that durability rests on as a call of its own, so that a
/// test can stand in for a disk that forgets what was not synced or fails at the n-th step.
///
/// Names are plain file names, without a directory.
pub trait Layer: Send + Sync + fmt::Debug {
    /// Takes the directory for one writer, until the lock is dropped or the process ends.
    /// `None`: another one holds it.
    ///
    /// # Errors
    /// The lock file cannot be made or locked.
    fn lock(&self) -> io::Result<Option<Lock>>;

    /// The names of all files.
    ///
    /// # Errors
    /// The directory cannot be read.
    fn list(&self) -> io::Result<Vec<String>>;

    /// A new, empty file that only its owner may read or write. Must not exist yet.
    ///
    /// # Errors
    /// The file exists or cannot be made.
    fn create(&self, name: &str) -> io::Result<Arc<dyn LayerFile>>;

    /// A file that exists, for reading.
    ///
    /// # Errors
    /// The file does not exist or cannot be opened.
    fn open(&self, name: &str) -> io::Result<Arc<dyn LayerFile>>;

    /// A file that exists, for writing over.
    ///
    /// # Errors
    /// The file does not exist or cannot be opened.
    fn reopen(&self, name: &str) -> io::Result<Arc<dyn LayerFile>>;

    /// Renames a file, in place of the one that has the new name. Durable after [`Layer::sync_dir`].
    ///
    /// # Errors
    /// The file cannot be renamed.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// The file cannot be removed.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Gives back the space behind the first `bytes` bytes of a file that is not written to any more.
    /// Nothing depends on it: a layer may leave the file as it is.
    ///
    /// # Errors
    /// The file cannot be shortened; it is as it was.
    fn shorten(&self, _name: &str, _bytes: u64) -> io::Result<()> {
        Ok(())
    }

    /// The free space, in bytes; `None` if unknown.
    fn free_bytes(&self) -> Option<u64> {
        None
    }

    /// When this returns `Ok`, names made, changed or removed before are on stable storage.
    ///
    /// # Errors
    /// What is on stable storage is unknown; asking again proves nothing.
    fn sync_dir(&self) -> io::Result<()>;
}

/// One file of a [`Layer`].
pub trait LayerFile: Send + Sync + fmt::Debug {
    /// The file's length in bytes.
    ///
    /// # Errors
    /// The file cannot be asked.
    fn size(&self) -> io::Result<u64>;

    /// Reads into `into` from `offset` on and says how many bytes came: fewer than asked for only at
    /// the end of the file.
    ///
    /// # Errors
    /// The file cannot be read.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`. Durable after [`LayerFile::sync_data`].
    ///
    /// # Errors
    /// Any part of `bytes` may have been written.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes the file `bytes` long, with real space behind it, so that later writes inside it cannot
    /// run out of space.
    ///
    /// # Errors
    /// `StorageFull` when there is no such space.
    fn allocate(&self, bytes: u64) -> io::Result<()>;

    /// When this returns `Ok`, the file's bytes and length are on stable storage.
    ///
    /// # Errors
    /// What is on stable storage is unknown; asking again proves nothing.
    fn sync_data(&self) -> io::Result<()>;
}

/// A directory taken for one writer; given back on drop.
pub type Lock = Box<dyn Any + Send + Sync>;

/// A directory of the machine's file system.
#[derive(Debug)]
pub struct HostLayer {
    dir: PathBuf,
}

impl HostLayer {
    /// The directory `dir`, made if need be, for its owner alone.
    ///
    /// # Errors
    /// [`OpenError`] when it cannot be made.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        files::private_dir(dir).map_err(|source| OpenError::io("create the ledger's directory", source))?;
        Ok(Self::existing(dir))
    }

    /// The directory `dir` as it is, for reading: nothing is made.
    #[must_use]
    pub fn existing(dir: &Path) -> Self {
        Self { dir: dir.to_path_buf() }
    }

    fn opened(&self, name: &str, options: &OpenOptions) -> io::Result<File> {
        let path = self.dir.join(name);
        options.open(&path).map_err(|error| files::about(&path, error))
    }
}

const LOCK_NAME: &str = "lock";
/// How often a lock is asked for, and how long apart.
const LOCK_TRIES: u32 = 40;
const LOCK_PAUSE: Duration = Duration::from_millis(25);

/// Takes the file at `path` for this process; `None` when another one has it. It is given back when
/// the file is closed, by a kill too.
///
/// Asks for about a second: a process that is about to become another one (fork, then exec) holds the
/// files of the one that it came from for a moment, and a broker that is being replaced ends in one.
///
/// # Errors
/// The file cannot be made or locked.
pub fn lock_file(path: &Path) -> io::Result<Option<File>> {
    let file = plain_file().write(true).create(true).truncate(false).open(path);
    let file = file.map_err(|error| files::about(path, error))?;
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(None)
}

/// A symbolic link in the place of a file is refused.
fn plain_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).mode(0o600).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    options
}

impl Layer for HostLayer {
    fn lock(&self) -> io::Result<Option<Lock>> {
        Ok(lock_file(&self.dir.join(LOCK_NAME))?.map(|file| Box::new(file) as Lock))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        let listed = std::fs::read_dir(&self.dir).map_err(|error| files::about(&self.dir, error))?;
        for found in listed {
            // A name that is no text is none of ours.
            if let Ok(name) = found?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn LayerFile>> {
        let file = self.opened(name, plain_file().write(true).create_new(true))?;
        Ok(Arc::new(HostFile(file)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn LayerFile>> {
        Ok(Arc::new(HostFile(self.opened(name, &plain_file())?)))
    }

    fn reopen(&self, name: &str) -> io::Result<Arc<dyn LayerFile>> {
        Ok(Arc::new(HostFile(self.opened(name, plain_file().write(true))?)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.dir.join(from), self.dir.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.dir.join(name))
    }

    fn shorten(&self, name: &str, bytes: u64) -> io::Result<()> {
        let file = plain_file().write(true).open(self.dir.join(name))?;
        if file.metadata()?.len() > bytes { file.set_len(bytes) } else { Ok(()) }
    }

    fn free_bytes(&self) -> Option<u64> {
        free_bytes(&self.dir)
    }

    fn sync_dir(&self) -> io::Result<()> {
        files::sync_dir(&self.dir)
    }
}

#[derive(Debug)]
struct HostFile(File);

impl LayerFile for HostFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut done: usize = 0;
        while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.0.read_at(rest, offset.saturating_add(done as u64)) {
                Ok(0) => break,
                Ok(more) => done = done.saturating_add(more),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    /// A short write is carried on, an interrupted one begun again; `write_all_at` does both.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        let asked =
            rustix::io::retry_on_intr(|| rustix::fs::fallocate(&self.0, FallocateFlags::empty(), 0, bytes));
        match asked {
            Err(rustix::io::Errno::OPNOTSUPP) => self.write_zeros(bytes),
            other => Ok(other?),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

impl HostFile {
    /// For file systems that cannot reserve space: written zeros are space too.
    fn write_zeros(&self, bytes: u64) -> io::Result<()> {
        static BLOCK: [u8; 64 * 1024] = [0; 64 * 1024];
        let mut offset: u64 = 0;
        while offset < bytes {
            let left = usize::try_from(bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
            let block = BLOCK.get(..left).unwrap_or(&BLOCK);
            self.write_at(offset, block)?;
            offset = offset.saturating_add(block.len() as u64);
        }
        Ok(())
    }
}

/// Syncs `file`, which is called `from`, and puts it in the place of `to`; durable when this returns.
pub(crate) fn name_durably(layer: &dyn Layer, file: &dyn LayerFile, from: &str, to: &str) -> io::Result<()> {
    file.sync_data()?;
    layer.rename(from, to)?;
    layer.sync_dir()
}

/// All bytes of the file `name`.
pub(super) fn read_whole(layer: &dyn Layer, name: &str) -> io::Result<Vec<u8>> {
    let file = layer.open(name)?;
    let size = usize::try_from(file.size()?).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut bytes = vec![0; size];
    let read = file.read_at(0, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}
