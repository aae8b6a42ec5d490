//! A directory in memory that loses what was not synced.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use keyward::ledger::{Layer, LayerFile, Lock};

use super::gate::Gate;

/// What is torn apart when power is lost.
const SECTOR_BYTES: usize = 512;

/// The disk: what is durable, what is only cached, and how it misbehaves.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    state: Arc<Mutex<State>>,
    /// What every sync of a file goes through.
    pub(crate) syncs: Gate,
}

#[derive(Clone, Debug, Default)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    name_changes: Vec<NameChange>,
    holder: Option<u64>,
    session: u64,
    steps: u64,
    fault: Option<Fault>,
    tripped: bool,
    lie: Option<Lie>,
    full: bool,
    written: Vec<(usize, u64, Vec<u8>)>,
}

#[derive(Clone, Debug, Default)]
struct Inode {
    cached: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Length(usize),
    Write(usize, Vec<u8>),
}

#[derive(Clone, Debug)]
enum NameChange {
    Set(String, usize),
    Rename(String, String, usize),
    Remove(String),
}

/// One step that goes wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    /// Which step, counted from 1.
    pub(crate) step: u64,
    pub(crate) how: How,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum How {
    /// The step fails and has not happened. A sync that fails so loses what it should have synced,
    /// while reads still show it.
    Before,
    /// The step fails half way.
    Half,
    /// The step fails and has happened.
    After,
    /// From this step on nothing happens any more.
    PowerCut,
}

/// A disk, or a build, that says "synced" when it is not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Lie {
    DataSync,
    DirSync,
}

/// splitmix64: small, seeded, good enough to toss coins.
#[derive(Clone, Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.roll() % end
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

impl Disk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The disk as a process sees it that starts now.
    pub(crate) fn layer(&self) -> Arc<dyn Layer> {
        Arc::new(UnsyncedLayer { disk: self.clone(), session: self.state().session })
    }

    /// The process ends at once; what it wrote stays cached.
    pub(crate) fn kill(&self) {
        let mut state = self.state();
        state.session += 1;
        state.holder = None;
        state.fault = None;
    }

    /// Power is lost: of what was not synced, sectors and names stay by chance.
    pub(crate) fn crash(&self, seed: u64) {
        self.kill();
        let mut dice = Dice(seed);
        let keep = [0, 10, 50, 90, 100][dice.below(5) as usize];
        let mut state = self.state();
        for inode in &mut state.inodes {
            for change in std::mem::take(&mut inode.pending) {
                match change {
                    Change::Length(length) if dice.chance(keep) => inode.durable.resize(length, 0),
                    Change::Length(_) => {}
                    Change::Write(offset, bytes) => {
                        for (at, byte) in
                            sectors(offset, &bytes).into_iter().filter(|_| dice.chance(keep)).flatten()
                        {
                            if let Some(place) = inode.durable.get_mut(at) {
                                *place = byte;
                            }
                        }
                    }
                }
            }
            inode.cached = inode.durable.clone();
        }
        for change in std::mem::take(&mut state.name_changes) {
            if dice.chance(keep) {
                let State { durable_names, .. } = &mut *state;
                match change {
                    NameChange::Set(name, inode) => drop(durable_names.insert(name, inode)),
                    NameChange::Rename(from, to, inode) => {
                        durable_names.remove(&from);
                        durable_names.insert(to, inode);
                    }
                    NameChange::Remove(name) => drop(durable_names.remove(&name)),
                }
            }
        }
        state.names = state.durable_names.clone();
    }

    /// A disk of its own with the same content.
    pub(crate) fn copy(&self) -> Self {
        Self { state: Arc::new(Mutex::new(self.state().clone())), syncs: Gate::default() }
    }

    pub(crate) fn set_fault(&self, fault: Option<Fault>) {
        let mut state = self.state();
        (state.fault, state.steps, state.tripped) = (fault, 0, false);
    }

    /// Whether the fault has struck.
    pub(crate) fn has_tripped(&self) -> bool {
        self.state().tripped
    }

    pub(crate) fn set_lie(&self, lie: Lie) {
        self.state().lie = Some(lie);
    }

    pub(crate) fn set_full(&self, full: bool) {
        self.state().full = full;
    }

    /// All files as they read now.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.state();
        state.names.iter().map(|(name, inode)| (name.clone(), state.inodes[*inode].cached.clone())).collect()
    }

    /// Replaces a file's content, durably, behind everybody's back.
    pub(crate) fn put(&self, name: &str, content: Vec<u8>) {
        let mut state = self.state();
        let inode = Inode { cached: content.clone(), durable: content, pending: Vec::new() };
        if let Some(&at) = state.names.get(name) {
            state.inodes[at] = inode;
        } else {
            state.inodes.push(inode);
            let at = state.inodes.len() - 1;
            state.names.insert(name.to_owned(), at);
            state.durable_names.insert(name.to_owned(), at);
        }
    }

    /// Removes a file, durably, behind everybody's back.
    pub(crate) fn remove_file(&self, name: &str) {
        let mut state = self.state();
        state.names.remove(name);
        state.durable_names.remove(name);
    }

    /// Everything that was ever written: file number, offset, bytes.
    pub(crate) fn written(&self) -> Vec<(usize, u64, Vec<u8>)> {
        self.state().written.clone()
    }
}

fn sectors(offset: usize, bytes: &[u8]) -> Vec<Vec<(usize, u8)>> {
    let placed: Vec<(usize, u8)> = bytes.iter().enumerate().map(|(at, byte)| (offset + at, *byte)).collect();
    placed.chunk_by(|a, b| a.0 / SECTOR_BYTES == b.0 / SECTOR_BYTES).map(<[_]>::to_vec).collect()
}

fn broken(what: &str) -> io::Error {
    io::Error::other(what.to_owned())
}

/// How much of a step happens, and whether it then says that it failed.
enum Verdict {
    Go,
    Fail(How),
}

impl State {
    fn step(&mut self, session: u64) -> io::Result<Verdict> {
        if session != self.session {
            return Err(broken("the process has been killed"));
        }
        self.steps += 1;
        match self.fault {
            Some(Fault { step, how: How::PowerCut }) if self.steps >= step => {
                self.tripped = true;
                Err(broken("there is no power"))
            }
            Some(Fault { step, how }) if self.steps == step => {
                self.tripped = true;
                Ok(Verdict::Fail(how))
            }
            _ => Ok(Verdict::Go),
        }
    }

    fn apply(&mut self, session: u64, change: impl FnOnce(&mut Self) -> io::Result<()>) -> io::Result<()> {
        match self.step(session)? {
            Verdict::Go => change(self),
            Verdict::Fail(How::After) => {
                change(self)?;
                Err(broken("failed after it had happened"))
            }
            Verdict::Fail(_) => Err(broken("failed before it happened")),
        }
    }
}

#[derive(Debug)]
struct UnsyncedLayer {
    disk: Disk,
    session: u64,
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
