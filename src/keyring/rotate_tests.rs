use std::fs;

use super::*;
use crate::base::SystemEntropy;
use crate::crypto::AeadKey;
use crate::keyring::slots::tests::{Bench, NOW, WORDS, bench, by, passphrase};
use crate::keyring::slots::tests_of_shares::typed;
use crate::keyring::{RootId, slots_of};

/// What a thief has: a copy of the file, and a key that opens it.
struct Thief {
    root: Sensitive<[u8; 32]>,
    copy: Vec<u8>,
    ring: Keyring,
}

impl Thief {
    fn of(bench: &Bench, key: &SlotKey) -> Self {
        let body = file::read(&bench.path()).unwrap().body;
        let (root, _) = crate::keyring::view::unwrapped(&body, key).unwrap();
        let ring = Keyring::open(&bench.path(), key).unwrap();
        Self { root, copy: fs::read(bench.path()).unwrap(), ring }
    }

    /// Nothing that was written since opens for the root key that the thief has.
    fn gets_nothing_new(&self, bench: &Bench) {
        let newest = file::read(&bench.path()).unwrap();
        let keys = newest.body.keys.clone();
        assert!(newest.verify(&self.root).is_err(), "the root key of then authenticates the newest keyring");
        for key in &keys {
            let opened = self.ring.unwrapped_key(key);
            assert!(opened.is_err(), "family {} generation {}", key.family, key.generation);
        }
        for family in EXPOSED {
            let (id, key) = bench.ring.current(family).unwrap();
            assert!(self.ring.aead_of(family, id.generation).is_err(), "{family:?} has no new generation");
            let known = |(_, one): (u32, &Sensitive<[u8; 32]>)| one.expose() == key.expose();
            assert!(!self.ring.generations(family).any(known), "{family:?} goes on with a key of then");
        }
    }
}

fn opens(bench: &Bench, key: &SlotKey) -> bool {
    let opened = Keyring::open(&bench.path(), key);
    opened.is_ok_and(|ring| ring.root_id() == bench.ring.root_id())
}

/// The HMAC that belongs to `body` under `root`, in the place of the keyring.
fn put(bench: &Bench, body: &KeyringBody, root: &Sensitive<[u8; 32]>) {
    fs::remove_file(bench.path()).unwrap();
    file::create(&bench.path(), body, root).unwrap();
}

fn first_id(bench: &Bench) -> SlotId {
    slots_of(&bench.path()).unwrap()[0].id
}

/// Hazard KEY-13.
#[test]
fn a_removed_slot_opens_nothing_that_was_written_since() {
    let mut bench = bench();
    let first = first_id(&bench);
    bench.add(&passphrase(WORDS)).unwrap();
    let thief = Thief::of(&bench, &bench.file);
    bench.remove(first).unwrap();
    thief.gets_nothing_new(&bench);
    assert!(opens(&bench, &passphrase(WORDS)), "its passphrase was not at hand");
}

/// Hazard KEY-13.
#[test]
fn a_rekeyed_slot_opens_nothing_that_was_written_since() {
    let mut bench = bench();
    let only = first_id(&bench);
    let thief = Thief::of(&bench, &bench.file);
    bench.rekey(only, &passphrase(WORDS)).unwrap();
    thief.gets_nothing_new(&bench);
    assert!(opens(&bench, &passphrase(WORDS)));
    // Nor after any number of changes since.
    let thief = Thief::of(&bench, &passphrase(WORDS));
    let file = bench.key_file();
    bench.rekey(first_id(&bench), &file).unwrap();
    thief.gets_nothing_new(&bench);
}

/// Hazard KEY-13.
#[test]
fn enough_shares_of_before_open_nothing_that_was_written_since() {
    let mut bench = bench();
    let dealt = bench.deal((2, 3), None).unwrap();
    bench.confirm(&typed(&dealt, &[0, 1])).unwrap();
    let thief = Thief::of(&bench, &typed(&dealt, &[1, 2]));
    let again = bench.deal((2, 3), Some(dealt.slot.id)).unwrap();
    bench.confirm(&typed(&again, &[0, 1])).unwrap();
    thief.gets_nothing_new(&bench);
    assert!(opens(&bench, &typed(&again, &[1, 2])) && opens(&bench, &bench.file));
}

#[test]
fn slots_whose_keys_are_not_at_hand_open_after_each_of_many_rotations() {
    let mut bench = bench();
    bench.add(&passphrase(WORDS)).unwrap();
    let dealt = bench.deal((2, 3), None).unwrap();
    bench.confirm(&typed(&dealt, &[0, 1])).unwrap();
    let keys: Vec<Vec<u8>> = bench.ring.signing.values().map(|key| key.expose().clone()).collect();
    for n in 0..3 {
        let words = passphrase(&format!("{n} more words than anybody guesses"));
        let added = bench.add(&words).unwrap();
        let before = bench.ring.root_id();
        bench.remove(added.id).unwrap();
        assert_ne!(bench.ring.root_id(), before);
        assert!(opens(&bench, &bench.file) && opens(&bench, &passphrase(WORDS)), "rotation {n}");
        assert!(opens(&bench, &typed(&dealt, &[0, 2])), "rotation {n}");
        assert!(matches!(Keyring::open(&bench.path(), &words), Err(KeyringError::WrongKey)));
    }
    let opened = Keyring::open(&bench.path(), &passphrase(WORDS)).unwrap();
    assert_eq!(opened.signing.values().map(|key| key.expose().clone()).collect::<Vec<_>>(), keys);
    let generations =
        |family| opened.generations(family).map(|(generation, _)| generation).collect::<Vec<_>>();
    assert_eq!(generations(Family::Delta), [1, 2, 3, 4], "older segments stay readable");
    assert_eq!(generations(Family::Digest), [1, 2, 3, 4]);
    assert_eq!(generations(Family::Index), [3, 4], "the index is built anew");
}

#[test]
fn adding_a_slot_or_giving_up_a_pending_one_keeps_the_root_key() {
    let mut bench = bench();
    let before = bench.ring.root_id();
    bench.add(&passphrase(WORDS)).unwrap();
    let dealt = bench.deal((2, 3), None).unwrap();
    bench.remove(dealt.slot.id).unwrap();
    let dealt = bench.deal((2, 3), None).unwrap();
    bench.confirm(&typed(&dealt, &[0, 1])).unwrap();
    assert_eq!(bench.ring.root_id(), before);
}

#[test]
fn a_keyring_descends_from_the_roots_that_it_replaced_and_from_no_other() {
    let mut bench = bench();
    bench.add(&passphrase(WORDS)).unwrap();
    let first = bench.ring.root_id();
    let old = Keyring::open(&bench.path(), &bench.file).unwrap();
    bench.remove(first_id(&bench)).unwrap();
    let second = bench.ring.root_id();
    bench.rekey(first_id(&bench), &passphrase("other words than those before")).unwrap();
    let opened = Keyring::open(&bench.path(), &passphrase("other words than those before")).unwrap();
    for id in [first, second, opened.root_id()] {
        assert!(opened.descends_from(id), "{id}");
    }
    assert!(old.descends_from(first) && !old.descends_from(second) && !old.descends_from(opened.root_id()));
    assert!(!opened.descends_from(RootId::from_bytes([0; 32])));
}

/// The holder of an old root key puts a slot of their own into the copy, with a revision of their choice:
/// it opens, and does not pass for a successor of the newest root key.
#[test]
fn a_keyring_made_with_an_old_root_key_does_not_descend_from_the_newest() {
    let mut bench = bench();
    bench.add(&passphrase(WORDS)).unwrap();
    let thief = Thief::of(&bench, &bench.file);
    bench.remove(first_id(&bench)).unwrap();
    let newest = bench.ring.root_id();
    fs::write(bench.path(), &thief.copy).unwrap();
    let own = passphrase("a passphrase of the thief");
    let mut forger = thief.ring;
    forger.revision = 1_000_000;
    forger.add_slot(&bench.path(), &own, NOW, &SystemEntropy).unwrap();
    let opened_by = bench.key_file();
    forger
        .rekey_slot(
            &bench.path(),
            first_id(&bench),
            &passphrase("yet more words of theirs"),
            NOW,
            &by(&opened_by),
        )
        .unwrap();
    let forged = Keyring::open(&bench.path(), &passphrase(WORDS)).unwrap();
    assert!(!forged.descends_from(newest));
}

/// Anybody can seal to a public key: no slot opens a keyring that is forged around public keys.
#[test]
fn a_keyring_made_up_around_public_keys_opens_by_no_slot() {
    let bench = bench();
    let mut body = file::read(&bench.path()).unwrap().body;
    let root = Sensitive::<[u8; 32]>::filled(|root| root.fill(7));
    let line = serde_json::to_value(&body.slots[0]).unwrap();
    let public = line["recipient"]["public_key"].as_str().unwrap();
    let public = crate::base::encoding::from_base64url(public).unwrap();
    let public = crate::crypto::RecipientKey::from_bytes(&public).unwrap();
    for sealed_by in [[0; 32], [7; 32]] {
        let secret = Sensitive::<[u8; 32]>::filled(|to| *to = sealed_by);
        let id = crate::crypto::KeyId { family: 0xfd, generation: 1 };
        let key = AeadKey::new(id, &secret);
        let aad = crate::crypto::Aad::new("keyward/keyring/slot/root");
        let aad = aad.field(body.ledger.as_bytes()).field(body.slots[0].id.as_bytes()).field(b"key-file");
        let sealed = key.seal(&aad, &public.seal(&aad, root.expose()).unwrap(), &SystemEntropy);
        let mut made = line.clone();
        made["wrapped_root"] = crate::base::encoding::base64url(&sealed).into();
        body.slots = vec![serde_json::from_value(made).unwrap()];
        put(&bench, &body, &root);
        assert!(matches!(Keyring::open(&bench.path(), &bench.file), Err(KeyringError::WrongKey)));
    }
}

/// An attacker who can write the file, and has no key, puts an own public key into a slot.
#[test]
fn a_public_key_that_was_replaced_in_the_file_is_noticed() {
    let mut bench = bench();
    bench.add(&passphrase(WORDS)).unwrap();
    let (public, _) = crate::crypto::RecipientKey::generate().unwrap();
    let text = fs::read_to_string(bench.path()).unwrap();
    let at = text.rfind("\"public_key\":\"").unwrap() + 14;
    let mut altered = text.clone();
    altered.replace_range(at..at + 43, &public.to_string());
    assert_ne!(altered, text);
    fs::write(bench.path(), altered).unwrap();
    let refused = bench.remove(first_id(&bench));
    assert!(matches!(refused, Err(KeyringError::Altered(_))), "{refused:?}");
}

/// Slots of the first format have no public key: what opened the keyring is carried over, the others are named.
#[test]
fn slots_of_the_first_format_are_named_and_go_only_when_told() {
    let mut bench = bench();
    let (words, more) = (passphrase(WORDS), passphrase("other words than those before"));
    bench.add(&words).unwrap();
    let added = bench.add(&more).unwrap();
    let mut body = file::read(&bench.path()).unwrap().body;
    let (ledger, root) = (body.ledger, &bench.ring.root);
    body.slots[0] = body.slots[0].of_first_format(&bench.file, ledger, root);
    body.slots[1] = body.slots[1].of_first_format(&words, ledger, root);
    put(&bench, &body, root);
    let before = fs::read(bench.path()).unwrap();
    bench.ring = Keyring::open(&bench.path(), &bench.file).unwrap();
    assert!(opens(&bench, &words) && opens(&bench, &more));

    let lost = bench.ring.out_of_reach(&bench.path()).unwrap();
    assert_eq!(lost.iter().map(|slot| slot.id).collect::<Vec<_>>(), [body.slots[1].id]);
    match bench.remove(added.id) {
        Err(KeyringError::SlotsOutOfReach(named)) => assert_eq!(named, [body.slots[1].id]),
        other => panic!("{other:?}"),
    }
    assert_eq!(fs::read(bench.path()).unwrap(), before);
    let opened_by = bench.key_file();
    let removing = Replacing { out_of_reach: UnreachableSlots::Remove, ..by(&opened_by) };
    let path = bench.path();
    bench.ring.remove_slot(&path, added.id, &removing).unwrap();
    assert!(opens(&bench, &bench.file) && !opens(&bench, &words) && !opens(&bench, &more));
    assert!(
        bench.ring.out_of_reach(&path).unwrap().is_empty(),
        "the slot that opened it has a public key now"
    );
    bench.add(&words).unwrap();
    bench.remove(first_id(&bench)).unwrap();
    assert!(opens(&bench, &words));
}

#[test]
fn the_last_slot_that_opens_is_never_left_behind() {
    let mut bench = bench();
    let words = passphrase(WORDS);
    bench.add(&words).unwrap();
    let mut body = file::read(&bench.path()).unwrap().body;
    body.slots[1] = body.slots[1].of_first_format(&words, body.ledger, &bench.ring.root);
    put(&bench, &body, &bench.ring.root);
    let opened_by = bench.key_file();
    let removing = Replacing { out_of_reach: UnreachableSlots::Remove, ..by(&opened_by) };
    let path = bench.path();
    let refused = bench.ring.remove_slot(&path, first_id(&bench), &removing);
    assert!(matches!(refused, Err(KeyringError::SlotsOutOfReach(_))), "{refused:?}");
    assert!(opens(&bench, &bench.file) && opens(&bench, &words));
}

/// Every state that kill -9 can leave behind while the root key is replaced.
#[test]
fn a_kill_at_any_step_of_a_root_rotation_leaves_a_whole_keyring() {
    let mut bench = bench();
    let words = passphrase(WORDS);
    bench.add(&words).unwrap();
    let dealt = bench.deal((2, 3), None).unwrap();
    let shares = typed(&dealt, &[0, 1]);
    bench.confirm(&shares).unwrap();
    let (path, temporary) = (bench.path(), bench.path().with_extension("new"));
    let first = first_id(&bench);
    let before = fs::read(&path).unwrap();
    let old_root = bench.ring.root_id();
    bench.remove(first).unwrap();
    let after = fs::read(&path).unwrap();
    let root = |key: &SlotKey| Keyring::open(&path, key).map(|ring| ring.root_id());
    for cut in [0, 1, after.len() / 2, after.len() - 1, after.len()] {
        fs::write(&path, &before).unwrap();
        fs::write(&temporary, &after[..cut]).unwrap();
        for key in [&bench.file, &words, &shares] {
            assert_eq!(root(key).unwrap(), old_root, "cut at {cut}: as it was");
        }
        // And it is done again, over what was left.
        bench.ring = Keyring::open(&path, &bench.file).unwrap();
        bench.remove(first).unwrap();
        assert!(!temporary.exists() && opens(&bench, &words) && opens(&bench, &shares), "cut at {cut}");
        assert!(!opens(&bench, &bench.file), "cut at {cut}");
    }
    fs::write(&path, &after).unwrap();
    assert!(root(&words).unwrap() == root(&shares).unwrap() && root(&words).unwrap() != old_root, "renamed");
}

#[test]
fn a_key_that_does_not_open_stops_the_rotation_before_anything_is_written() {
    let mut bench = bench();
    bench.add(&passphrase(WORDS)).unwrap();
    let mut body = file::read(&bench.path()).unwrap().body;
    body.keys[2].wrapped = body.keys[3].wrapped.clone();
    put(&bench, &body, &bench.ring.root);
    let before = fs::read(bench.path()).unwrap();
    let root = bench.ring.root_id();
    let refused = bench.remove(first_id(&bench));
    assert!(matches!(refused, Err(KeyringError::Altered(_))), "{refused:?}");
    assert_eq!((fs::read(bench.path()).unwrap(), bench.ring.root_id()), (before, root));
}

#[test]
fn as_many_earlier_roots_are_known_as_the_limit_says() {
    let mut bench = bench();
    bench.add(&passphrase(WORDS)).unwrap();
    let mut roots = vec![bench.ring.root_id()];
    for n in 0..=ROOT_MARKS_MAX {
        let file = bench.directory.path().join(format!("{n}.key"));
        let key = SlotKey::create_file(&file, &SystemEntropy).unwrap();
        let added = bench.add(&key).unwrap();
        bench.remove(added.id).unwrap();
        roots.push(bench.ring.root_id());
    }
    let opened = Keyring::open(&bench.path(), &bench.file).unwrap();
    assert!(!opened.descends_from(roots[0]));
    assert!(roots[1..].iter().all(|root| opened.descends_from(*root)));
}
