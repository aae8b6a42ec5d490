//! The files of a process on the disk.

use std::io;
use std::sync::Arc;

use keyward::ledger::{Layer, LayerFile, Lock};

use super::{Change, Disk, How, Inode, Lie, NameChange, State, Verdict, broken};

#[derive(Debug)]
pub(super) struct UnsyncedLayer {
    pub(super) disk: Disk,
    pub(super) session: u64,
}

#[derive(Debug)]
struct UnsyncedFile {
    disk: Disk,
    session: u64,
    inode: usize,
}

struct Held {
    disk: Disk,
    session: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if state.holder == Some(self.session) {
            state.holder = None;
        }
    }
}

impl UnsyncedLayer {
    fn file(&self, inode: usize) -> Arc<dyn LayerFile> {
        Arc::new(UnsyncedFile { disk: self.disk.clone(), session: self.session, inode })
    }
}

impl Layer for UnsyncedLayer {
    fn lock(&self) -> io::Result<Option<Lock>> {
        let mut state = self.disk.state();
        if state.holder.is_some() {
            return Ok(None);
        }
        state.holder = Some(self.session);
        Ok(Some(Box::new(Held { disk: self.disk.clone(), session: self.session })))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.disk.state().names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn LayerFile>> {
        let mut made = 0;
        self.disk.state().apply(self.session, |state| {
            if state.names.contains_key(name) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            state.inodes.push(Inode::default());
            made = state.inodes.len() - 1;
            state.names.insert(name.to_owned(), made);
            state.name_changes.push(NameChange::Set(name.to_owned(), made));
            Ok(())
        })?;
        Ok(self.file(made))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn LayerFile>> {
        let state = self.disk.state();
        let inode = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.file(inode))
    }

    fn reopen(&self, name: &str) -> io::Result<Arc<dyn LayerFile>> {
        self.open(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.state().apply(self.session, |state| {
            let inode = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
            state.names.insert(to.to_owned(), inode);
            state.name_changes.push(NameChange::Rename(from.to_owned(), to.to_owned(), inode));
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.disk.state();
        if !state.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.apply(self.session, |state| {
            state.names.remove(name);
            state.name_changes.push(NameChange::Remove(name.to_owned()));
            Ok(())
        })
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.disk.state().apply(self.session, |state| {
            if state.lie != Some(Lie::DirSync) {
                state.durable_names = state.names.clone();
                state.name_changes.clear();
            }
            Ok(())
        })
    }
}

impl UnsyncedFile {
    fn write(state: &mut State, inode: usize, offset: usize, bytes: &[u8]) {
        let file = &mut state.inodes[inode];
        let end = (offset + bytes.len()).max(file.cached.len());
        if end > file.cached.len() {
            file.cached.resize(end, 0);
            file.pending.push(Change::Length(end));
        }
        file.cached[offset..offset + bytes.len()].copy_from_slice(bytes);
        file.pending.push(Change::Write(offset, bytes.to_vec()));
        state.written.push((inode, offset as u64, bytes.to_vec()));
    }
}

impl LayerFile for UnsyncedFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.state().inodes[self.inode].cached.len() as u64)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let state = self.disk.state();
        let bytes = state.inodes[self.inode].cached.get(offset as usize..).unwrap_or_default();
        let read = bytes.len().min(into.len());
        into[..read].copy_from_slice(&bytes[..read]);
        Ok(read)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        let (happens, answer) = match state.step(self.session)? {
            Verdict::Go => (bytes, Ok(())),
            Verdict::Fail(How::After) => (bytes, Err(broken("failed after it was written"))),
            Verdict::Fail(How::Half) => (&bytes[..bytes.len() / 2], Err(broken("failed half way"))),
            Verdict::Fail(_) => (&bytes[..0], Err(broken("failed before it was written"))),
        };
        if state.full && offset as usize + happens.len() > state.inodes[self.inode].cached.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Self::write(&mut state, self.inode, offset as usize, happens);
        answer
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.disk.state().apply(self.session, |state| {
            if state.full {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let file = &mut state.inodes[self.inode];
            file.cached.resize(bytes as usize, 0);
            file.pending.push(Change::Length(bytes as usize));
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.syncs.pass();
        let mut state = self.disk.state();
        let verdict = state.step(self.session)?;
        let lies = state.lie == Some(Lie::DataSync);
        let file = &mut state.inodes[self.inode];
        match verdict {
            Verdict::Go if lies => Ok(()),
            Verdict::Go => {
                file.pending.clear();
                file.durable = file.cached.clone();
                Ok(())
            }
            Verdict::Fail(How::After) => {
                file.pending.clear();
                file.durable = file.cached.clone();
                Err(broken("failed after it was synced"))
            }
            Verdict::Fail(_) => {
                file.pending.clear();
                Err(broken("the pages are marked clean and are not on the disk"))
            }
        }
    }
}
