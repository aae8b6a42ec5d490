use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::PathBuf;

use super::*;
use crate::base::limits::SLOTS_COST_MAX;
use crate::base::{LedgerId, Sensitive, SystemEntropy};
use crate::keyring::{Keyring, Passphrase, SlotKind, UnreachableSlots, slots_of};

pub(in crate::keyring) const NOW: Timestamp = Timestamp::from_s(1_800_000_000);
pub(in crate::keyring) const WORDS: &str = "correct horse battery staple";

pub(in crate::keyring) struct Bench {
    pub(in crate::keyring) directory: tempfile::TempDir,
    pub(in crate::keyring) file: SlotKey,
    pub(in crate::keyring) ring: Keyring,
}

impl Bench {
    pub(in crate::keyring) fn path(&self) -> PathBuf {
        self.directory.path().join("keyring")
    }

    pub(in crate::keyring) fn add(&mut self, key: &SlotKey) -> Result<SlotView, KeyringError> {
        let path = self.path();
        self.ring.add_slot(&path, key, NOW, &SystemEntropy)
    }

    pub(in crate::keyring) fn rekey(&mut self, id: SlotId, key: &SlotKey) -> Result<SlotView, KeyringError> {
        let (path, opened_by) = (self.path(), self.key_file());
        self.ring.rekey_slot(&path, id, key, NOW, &by(&opened_by))
    }

    pub(in crate::keyring) fn remove(&mut self, id: SlotId) -> Result<SlotView, KeyringError> {
        let (path, opened_by) = (self.path(), self.key_file());
        self.ring.remove_slot(&path, id, &by(&opened_by))
    }

    /// As a process that starts now has it.
    pub(in crate::keyring) fn reopen(&mut self, key: &SlotKey) {
        self.ring = Keyring::open(&self.path(), key).unwrap();
    }

    pub(in crate::keyring) fn key_file(&self) -> SlotKey {
        SlotKey::from_file(&self.directory.path().join("root.key")).unwrap()
    }

    pub(in crate::keyring) fn open(&self, key: &SlotKey) -> Result<LedgerId, KeyringError> {
        Keyring::open(&self.path(), key).map(|ring| ring.ledger())
    }

    /// The file with `from` in its place, and no HMAC that fits.
    pub(in crate::keyring) fn tamper(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.path()).unwrap();
        assert!(text.contains(from), "{from}: {text}");
        fs::write(self.path(), text.replace(from, to)).unwrap();
    }
}

pub(in crate::keyring) fn bench() -> Bench {
    let directory = tempfile::tempdir().unwrap();
    let file = SlotKey::create_file(&directory.path().join("root.key"), &SystemEntropy).unwrap();
    let path = directory.path().join("keyring");
    let ring = Keyring::create(&path, std::slice::from_ref(&file), NOW, &SystemEntropy).unwrap();
    Bench { directory, file, ring }
}

pub(in crate::keyring) fn by(opened_by: &SlotKey) -> Replacing<'_> {
    Replacing { opened_by, out_of_reach: UnreachableSlots::Refuse, entropy: &SystemEntropy }
}

pub(in crate::keyring) fn passphrase(text: &str) -> SlotKey {
    SlotKey::Passphrase(Passphrase::entered(&Sensitive::new(text.as_bytes().to_vec())).unwrap())
}

#[test]
fn each_slot_opens_the_same_keyring_and_nothing_else_does() {
    let mut bench = bench();
    let added = bench.add(&passphrase(WORDS)).unwrap();
    assert_eq!((added.kind, added.made_at), (SlotKind::Passphrase, NOW));
    for key in [&bench.file, &passphrase(WORDS), &passphrase(&format!("{WORDS}\n"))] {
        assert_eq!(bench.open(key).unwrap(), bench.ring.ledger());
    }
    for wrong in ["correct horse battery stapl", "Correct horse battery staple", ""] {
        assert!(matches!(bench.open(&passphrase(wrong)), Err(KeyringError::WrongKey)), "{wrong}");
    }
    let listed = slots_of(&bench.path()).unwrap();
    assert_eq!(listed, bench.ring.slots(&bench.path()).unwrap());
    assert_eq!(listed.iter().map(|one| one.kind.as_str()).collect::<Vec<_>>(), ["key-file", "passphrase"]);
    assert!(!fs::read_to_string(bench.path()).unwrap().contains("horse"));
}

#[test]
fn a_keyring_that_root_changes_stays_its_owner_s() {
    let mut bench = bench();
    // Only root can give a file away; any other user owns it before and afterwards.
    let broker = match fs::metadata(bench.path()).unwrap().uid() {
        0 => 12_345,
        own => own,
    };
    chown(bench.path(), Some(broker), None).unwrap();
    bench.add(&passphrase(WORDS)).unwrap();
    let changed = fs::metadata(bench.path()).unwrap();
    assert_eq!((changed.uid(), changed.mode() & 0o777), (broker, 0o600));
}

#[test]
fn a_keyring_can_begin_with_a_passphrase_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keyring");
    let ring = Keyring::create(&path, &[passphrase(WORDS)], NOW, &SystemEntropy).unwrap();
    assert_eq!(Keyring::open(&path, &passphrase(WORDS)).unwrap().ledger(), ring.ledger());
    let other = directory.path().join("other");
    assert!(matches!(Keyring::create(&other, &[], NOW, &SystemEntropy), Err(KeyringError::LastSlot)));
    assert!(!other.exists(), "nothing opens a keyring without slots");
}

#[test]
fn a_passphrase_that_can_be_guessed_makes_no_slot() {
    let mut bench = bench();
    let before = fs::read(bench.path()).unwrap();
    let refused = bench.add(&passphrase("fourteen chars"));
    assert!(matches!(refused, Err(KeyringError::Passphrase(_))), "{refused:?}");
    assert_eq!(fs::read(bench.path()).unwrap(), before);
    assert!(bench.add(&passphrase("fifteen letters")).is_ok());
}

#[test]
fn a_slot_that_was_removed_opens_nothing_and_the_last_one_stays() {
    let mut bench = bench();
    let first = slots_of(&bench.path()).unwrap()[0].id;
    let added = bench.add(&passphrase(WORDS)).unwrap();
    assert_eq!(bench.remove(first).unwrap().id, first);
    assert!(matches!(bench.open(&bench.file), Err(KeyringError::WrongKey)));
    assert!(bench.open(&passphrase(WORDS)).is_ok());
    let before = fs::read(bench.path()).unwrap();
    assert!(matches!(bench.remove(added.id), Err(KeyringError::LastSlot)));
    assert!(matches!(bench.remove(first), Err(KeyringError::NoSuchSlot)));
    assert_eq!(fs::read(bench.path()).unwrap(), before);
}

#[test]
fn a_slot_is_rekeyed_in_its_place_also_the_last_one() {
    let mut bench = bench();
    let only = slots_of(&bench.path()).unwrap()[0].id;
    let file = bench.key_file();
    let before = fs::read(bench.path()).unwrap();
    assert!(matches!(bench.rekey(only, &file), Err(KeyringError::SameKey)));
    assert!(matches!(bench.rekey(only, &passphrase("too short")), Err(KeyringError::Passphrase(_))));
    assert_eq!(fs::read(bench.path()).unwrap(), before);

    let put = bench.rekey(only, &passphrase(WORDS)).unwrap();
    assert_eq!(slots_of(&bench.path()).unwrap(), [put]);
    assert_eq!(put.kind, SlotKind::Passphrase);
    assert!(bench.open(&passphrase(WORDS)).is_ok());
    assert!(matches!(bench.open(&bench.file), Err(KeyringError::WrongKey)));
    assert!(matches!(bench.rekey(only, &file), Err(KeyringError::NoSuchSlot)), "the id went with its key");
    assert!(matches!(bench.rekey(put.id, &passphrase(WORDS)), Err(KeyringError::SameKey)));
    assert!(bench.rekey(put.id, &file).is_ok());
    assert!(bench.open(&bench.file).is_ok());
}

#[test]
fn a_keyring_takes_slots_up_to_its_limit() {
    let mut bench = bench();
    let directory = bench.directory.path().to_owned();
    let key = |n: usize| SlotKey::create_file(&directory.join(format!("{n}.key")), &SystemEntropy).unwrap();
    for n in 1..SLOTS_MAX {
        bench.add(&key(n)).unwrap();
    }
    assert!(matches!(bench.add(&key(SLOTS_MAX)), Err(KeyringError::SlotsFull)));
    let mut body = file::read(&bench.path()).unwrap().body;
    body.slots.push(body.slots[0].clone());
    fs::remove_file(bench.path()).unwrap();
    file::create(&bench.path(), &body, &bench.ring.root).unwrap();
    assert!(matches!(bench.open(&bench.file), Err(KeyringError::Altered(_))), "one more, put in by hand");
}

/// Hazard KEY-10.
#[test]
fn an_altered_cost_is_refused_before_it_is_paid() {
    for (from, to) in [
        ("\"memory_kib\":65536", "\"memory_kib\":1073741824"),
        ("\"memory_kib\":65536", "\"memory_kib\":8"),
        ("\"passes\":3", "\"passes\":4294967295"),
        ("\"passes\":3", "\"passes\":0"),
        ("\"lanes\":4", "\"lanes\":16777215"),
        ("\"lanes\":4", "\"lanes\":0"),
    ] {
        let mut bench = bench();
        bench.add(&passphrase(WORDS)).unwrap();
        bench.tamper(from, to);
        for key in [&bench.file, &passphrase(WORDS)] {
            let refused = bench.open(key);
            assert!(matches!(refused, Err(KeyringError::Altered(_))), "{to}: {refused:?}");
        }
    }
    // Within the bounds, it is another key.
    let mut bench = bench();
    bench.add(&passphrase(WORDS)).unwrap();
    bench.tamper("\"passes\":3", "\"passes\":2");
    assert!(matches!(bench.open(&passphrase(WORDS)), Err(KeyringError::WrongKey)));
    assert!(matches!(bench.open(&bench.file), Err(KeyringError::Altered(_))), "the HMAC knows");
}

/// Nobody has authenticated the file when the slots are tried, one after another.
#[test]
fn slots_that_cost_too_much_together_are_refused_before_any_is_tried() {
    let bench = bench();
    let id = SlotId::mint(NOW, &SystemEntropy);
    let slot = KeySlot::wrap(id, &passphrase(WORDS), bench.ring.ledger, &bench.ring.root, &SystemEntropy);
    let slot = serde_json::to_value(slot.unwrap()).unwrap();
    let costly = |memory_kib: u64, passes: u64| {
        let mut slot = slot.clone();
        slot["argon2id"]["cost"]["memory_kib"] = memory_kib.into();
        slot["argon2id"]["cost"]["passes"] = passes.into();
        serde_json::from_value::<KeySlot>(slot).unwrap()
    };
    let read = |costs: &[(u64, u64)]| {
        let mut body = file::read(&bench.path()).unwrap().body;
        body.slots = costs.iter().map(|(memory_kib, passes)| costly(*memory_kib, *passes)).collect();
        let path = bench.directory.path().join(format!("{costs:?}"));
        file::create(&path, &body, &bench.ring.root).unwrap();
        file::read(&path).map(drop)
    };
    let (mib, half) = (1024, SLOTS_COST_MAX / 2);
    assert!(read(&[(64 * mib, 3); SLOTS_MAX]).is_ok(), "as many as may be, as they are made");
    assert!(read(&[(half / 2, 2), (half / 4, 4)]).is_ok(), "at the limit");
    for beyond in [&[(half / 2, 2), (half / 4 + 1, 4)][..], &[(64 * mib, 16); SLOTS_MAX], &[(1024 * mib, 16)]]
    {
        let refused = read(beyond);
        assert!(matches!(refused, Err(KeyringError::Altered(_))), "{beyond:?}: {refused:?}");
    }
}

#[test]
fn a_slot_of_another_keyring_or_of_another_kind_does_not_open_this_one() {
    let (bench, mut other) = (bench(), bench());
    other.add(&passphrase(WORDS)).unwrap();
    let mut body = file::read(&bench.path()).unwrap().body;
    body.slots.push(file::read(&other.path()).unwrap().body.slots[1].clone());
    fs::remove_file(bench.path()).unwrap();
    file::create(&bench.path(), &body, &bench.ring.root).unwrap();
    assert!(matches!(bench.open(&passphrase(WORDS)), Err(KeyringError::WrongKey)));
    assert!(bench.open(&bench.file).is_ok());
    bench.tamper("\"kind\":\"key-file\"", "\"kind\":\"passphrase\"");
    assert!(matches!(bench.open(&bench.file), Err(KeyringError::Altered(_))));
}

/// Every state that kill -9 can leave behind while slots are changed: the temporary file in part or
/// whole before the rename, and the new keyring after it.
#[test]
fn a_kill_at_any_step_of_a_slot_change_leaves_a_whole_keyring() {
    let mut bench = bench();
    let (path, temporary) = (bench.path(), bench.path().with_extension("new"));
    let before = fs::read(&path).unwrap();
    let added = bench.add(&passphrase(WORDS)).unwrap();
    let after = fs::read(&path).unwrap();
    for cut in [0, 1, after.len() / 2, after.len() - 1, after.len()] {
        fs::write(&path, &before).unwrap();
        fs::write(&temporary, &after[..cut]).unwrap();
        assert!(bench.open(&bench.file).is_ok(), "cut at {cut}");
        assert!(bench.open(&passphrase(WORDS)).is_err(), "cut at {cut}: not there yet");
        // And it is done again, over what was left.
        let again = bench.key_file();
        bench.reopen(&again);
        let again = bench.add(&again).unwrap();
        assert!(!temporary.exists(), "cut at {cut}");
        bench.remove(again.id).unwrap();
        assert!(bench.open(&bench.file).is_ok(), "cut at {cut}");
    }
    fs::write(&path, &after).unwrap();
    assert!(bench.open(&bench.file).is_ok() && bench.open(&passphrase(WORDS)).is_ok(), "renamed");
    let file = bench.key_file();
    bench.reopen(&file);
    fs::write(&temporary, &before).unwrap();
    let other = passphrase("other words than those before");
    let rekeyed = bench.rekey(added.id, &other).unwrap();
    assert!(bench.open(&other).is_ok() && bench.open(&passphrase(WORDS)).is_err());
    fs::write(&temporary, &before).unwrap();
    bench.remove(rekeyed.id).unwrap();
    assert!(bench.open(&bench.file).is_ok() && bench.open(&other).is_err());
    assert!(!temporary.exists());
}

#[test]
fn what_does_not_open_never_takes_the_place_of_what_does() {
    let bench = bench();
    let before = fs::read(bench.path()).unwrap();
    let body = file::read(&bench.path()).unwrap().body;
    let refused = file::replace(&bench.path(), body, &bench.ring.root, &|_| Err(KeyringError::WrongKey));
    assert!(matches!(refused, Err(KeyringError::WrongKey)));
    assert_eq!(fs::read(bench.path()).unwrap(), before);
    assert!(!bench.path().with_extension("new").exists());
}
