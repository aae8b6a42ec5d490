//! A directory in memory that loses what was not synced.

mod layer;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use keyward::ledger::Layer;

use self::layer::UnsyncedLayer;
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
