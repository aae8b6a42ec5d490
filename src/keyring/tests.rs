use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::*;
use crate::base::SystemEntropy;
use crate::base::encoding::hex;
use crate::base::limits::KEYRING_WRITES_MAX;
use crate::crypto::Aad;

const NOW: Timestamp = Timestamp::from_s(1_800_000_000);

struct Bench {
    directory: tempfile::TempDir,
    slot: SlotKey,
    ring: Keyring,
}

impl Bench {
    fn path(&self) -> PathBuf {
        self.directory.path().join("keyring")
    }

    fn files(&self) -> Vec<(PathBuf, u32, Vec<u8>)> {
        let entries = fs::read_dir(self.directory.path()).unwrap().map(|entry| entry.unwrap().path());
        let mut found: Vec<_> = entries
            .map(|path| {
                let mode = path.metadata().unwrap().permissions().mode();
                let bytes = fs::read(&path).unwrap();
                (path, mode, bytes)
            })
            .collect();
        found.sort();
        found
    }

    /// The keys that a holder of the slot's key can read.
    fn opened(&self) -> (Sensitive<[u8; 32]>, KeyringBody) {
        let body = file::read(&self.path()).unwrap().body;
        (body.slots[0].unwrap(&self.slot, body.ledger).unwrap().unwrap(), body)
    }

    /// A keyring with this body and the HMAC that belongs to it.
    fn reopened(&self, body: &KeyringBody, root: &Sensitive<[u8; 32]>) -> Result<Keyring, KeyringError> {
        fs::remove_file(self.path()).unwrap();
        file::create(&self.path(), body, root).unwrap();
        Keyring::open(&self.path(), &self.slot)
    }
}

fn bench() -> Bench {
    let directory = tempfile::tempdir().unwrap();
    let slot = SlotKey::create_file(&directory.path().join("root.key"), &SystemEntropy).unwrap();
    let path = directory.path().join("keyring");
    let ring = Keyring::create(&path, std::slice::from_ref(&slot), NOW, &SystemEntropy).unwrap();
    Bench { directory, slot, ring }
}

#[test]
fn what_was_created_opens_with_the_same_keys() {
    let bench = bench();
    let slot = SlotKey::from_file(&bench.directory.path().join("root.key")).unwrap();
    let opened = Keyring::open(&bench.path(), &slot).unwrap();
    assert_eq!(opened.ledger(), bench.ring.ledger());
    let (id, key) = opened.current(Family::Value).unwrap();
    assert_eq!(id, KeyId { family: 1, generation: 1 });
    assert_eq!(key.expose(), bench.ring.current(Family::Value).unwrap().1.expose());
    let token = opened.signing(Family::Token, 1).unwrap();
    assert_eq!(token.expose(), bench.ring.signing(Family::Token, 1).unwrap().expose());
}

/// Hazard KEY-03.
#[test]
fn a_wrong_key_is_refused_and_nothing_is_touched() {
    let bench = bench();
    let other = SlotKey::create_file(&bench.directory.path().join("other.key"), &SystemEntropy).unwrap();
    let before = bench.files();
    assert!(matches!(Keyring::open(&bench.path(), &other), Err(KeyringError::WrongKey)));
    assert_eq!(bench.files(), before);
}

#[test]
fn key_material_that_changed_places_is_noticed_even_under_a_good_mac() {
    let bench = bench();
    let (root, body) = bench.opened();
    let mut moved = body.clone();
    let (first, second) = (moved.keys[0].wrapped.clone(), moved.keys[1].wrapped.clone());
    (moved.keys[0].wrapped, moved.keys[1].wrapped) = (second, first);
    assert!(matches!(bench.reopened(&moved, &root), Err(KeyringError::Altered(_))), "families");
    let mut moved = body.clone();
    moved.keys[0].generation = 2;
    assert!(matches!(bench.reopened(&moved, &root), Err(KeyringError::Altered(_))), "generations");
    let mut moved = body.clone();
    moved.ledger = LedgerId::mint(NOW, &SystemEntropy);
    assert!(matches!(bench.reopened(&moved, &root), Err(KeyringError::WrongKey)), "ledgers");
    assert!(bench.reopened(&body, &root).is_ok());
}

#[test]
fn an_older_generation_is_found_by_its_number() {
    let bench = bench();
    let (root, mut body) = bench.opened();
    let id = KeyId { family: 1, generation: 2 };
    let wrapped = wrapping(&root).seal(&bound(body.ledger, id), &[5; 32], &SystemEntropy);
    body.keys.push(WrappedKey { family: 1, generation: 2, wrapped: base64url(&wrapped) });
    let ring = bench.reopened(&body, &root).unwrap();
    let aad = Aad::new("test");
    let old = bench.ring.aead(Family::Value).unwrap().seal(&aad, b"old", &SystemEntropy);
    assert_eq!(ring.aead(Family::Value).unwrap().id(), id);
    assert_eq!(ring.aead_of(Family::Value, 1).unwrap().open(&aad, &old).unwrap().expose(), b"old");
    assert_eq!(ring.generations(Family::Value).map(|(number, _)| number).collect::<Vec<_>>(), [1, 2]);
    assert!(matches!(ring.aead_of(Family::Value, 3), Err(KeyringError::NoSuchKey(1))));
    assert!(matches!(ring.aead(Family::Token), Err(KeyringError::NoSuchKey(5))));
    assert!(matches!(ring.signing(Family::Value, 1), Err(KeyringError::NoSuchKey(1))));
}

#[test]
fn an_added_generation_is_in_the_keyring_at_the_next_opening() {
    let mut bench = bench();
    let path = bench.path();
    bench.ring.extend(&path, (Family::Token, 2), &SystemEntropy).unwrap();
    let opened = Keyring::open(&path, &bench.slot).unwrap();
    for generation in [1, 2] {
        let (of, now) = (&opened.signing, &bench.ring.signing);
        let key = (Family::Token, generation);
        assert_eq!(of[&key].expose(), now[&key].expose());
    }
    let before = fs::read(&path).unwrap();
    bench.ring.extend(&path, (Family::Token, 2), &SystemEntropy).unwrap();
    assert_eq!(fs::read(&path).unwrap(), before, "added once");
    assert_eq!(fs::read_dir(bench.directory.path()).unwrap().count(), 2, "nothing temporary stays");
}

#[test]
fn what_a_kill_left_of_a_rewriting_is_in_nobodys_way() {
    let mut bench = bench();
    let path = bench.path();
    fs::write(path.with_extension("new"), "half a key").unwrap();
    bench.ring.extend(&path, (Family::Authority, 2), &SystemEntropy).unwrap();
    assert!(Keyring::open(&path, &bench.slot).unwrap().signing(Family::Authority, 2).is_ok());
}

#[test]
fn of_creations_at_once_one_wins_and_the_file_is_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let slot = SlotKey::create_file(&directory.path().join("root.key"), &SystemEntropy).unwrap();
    let path = directory.path().join("keyring");
    let results: Vec<_> = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| Keyring::create(&path, std::slice::from_ref(&slot), NOW, &SystemEntropy)))
            .collect();
        tries.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let (made, refused): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert_eq!(made.len(), 1);
    assert!(refused.iter().all(|one| matches!(one, Err(KeyringError::Exists(_)))), "{refused:?}");
    let ring = made.into_iter().next().unwrap().unwrap();
    assert_eq!(Keyring::open(&path, &slot).unwrap().ledger(), ring.ledger());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "nothing temporary stays");
}

#[test]
fn every_altered_byte_is_noticed() {
    let bench = bench();
    let good = fs::read(bench.path()).unwrap();
    for at in 0..good.len() {
        for bit in [1, 0x20, 0x80] {
            let mut bad = good.clone();
            bad[at] ^= bit;
            fs::write(bench.path(), &bad).unwrap();
            let error = Keyring::open(&bench.path(), &bench.slot).unwrap_err();
            let named =
                matches!(error, KeyringError::Altered(_) | KeyringError::Newer(_) | KeyringError::WrongKey);
            assert!(named, "byte {at}, bit {bit}: {error}");
        }
    }
    for cut in [0, 1, good.len() / 2, good.len() - 1] {
        fs::write(bench.path(), &good[..cut]).unwrap();
        assert!(Keyring::open(&bench.path(), &bench.slot).is_err(), "cut at {cut}");
    }
}

/// Hazard OPS-07.
#[test]
fn a_second_creation_never_overwrites() {
    let bench = bench();
    let before = fs::read(bench.path()).unwrap();
    let again = Keyring::create(&bench.path(), std::slice::from_ref(&bench.slot), NOW, &SystemEntropy);
    assert!(matches!(again, Err(KeyringError::Exists(_))));
    assert_eq!(fs::read(bench.path()).unwrap(), before);
    assert!(SlotKey::create_file(&bench.directory.path().join("root.key"), &SystemEntropy).is_err());
}

/// Hazard STO-19.
#[test]
fn files_are_for_their_owner_alone_and_hold_no_key_in_clear() {
    let bench = bench();
    for name in ["keyring", "root.key"] {
        let mode = fs::metadata(bench.directory.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let text = fs::read_to_string(bench.path()).unwrap();
    let (root, _) = bench.opened();
    let symmetric = bench.ring.symmetric.values().chain([&root]).map(|key| key.expose().to_vec());
    let signing = bench.ring.signing.values().map(|key| key.expose().clone());
    let keys: Vec<Vec<u8>> = symmetric.chain(signing).collect();
    assert_eq!(keys.len(), Family::ALL.len() + 1, "one of each family, and the root key");
    let slot = fs::read_to_string(bench.directory.path().join("root.key")).unwrap();
    assert!(!text.contains(slot.trim_end().rsplit(':').next().unwrap()));
    for key in keys {
        // A piece at a multiple of three bytes reads in base64 as it does within the whole.
        for part in key.chunks_exact(24) {
            assert!(!text.contains(&base64url(part)) && !text.contains(&hex(part)));
            assert!(!text.as_bytes().windows(part.len()).any(|window| window == part));
        }
    }
}

#[test]
fn a_key_file_that_others_can_read_is_refused() {
    let bench = bench();
    let path = bench.directory.path().join("root.key");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let error = SlotKey::from_file(&path).unwrap_err().to_string();
    assert!(error.contains("chmod 600"), "{error}");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&path, "keyward-slot-key-1:CNRY").unwrap();
    let error = SlotKey::from_file(&path).unwrap_err().to_string();
    assert!(error.contains("holds no slot key") && !error.contains("CNRY"), "{error}");
}

#[test]
fn each_write_of_the_file_is_a_revision_that_its_mac_covers() {
    let mut bench = bench();
    let path = bench.path();
    let written = |path: &std::path::Path| file::read(path).unwrap().body.revision;
    assert_eq!((bench.ring.revision(), written(&path)), (1, 1));
    bench.ring.extend(&path, (Family::Delta, 2), &SystemEntropy).unwrap();
    assert_eq!((bench.ring.revision(), written(&path)), (2, 2));
    bench.ring.extend(&path, (Family::Delta, 2), &SystemEntropy).unwrap();
    assert_eq!(bench.ring.revision(), 2, "it was there already");
    bench.ring.shed(&path, Family::Delta, |generation| generation < 2).unwrap();
    let slot = SlotKey::create_file(&bench.directory.path().join("next.key"), &SystemEntropy).unwrap();
    bench.ring.add_slot(&path, &slot, NOW, &SystemEntropy).unwrap();
    assert_eq!((bench.ring.revision(), written(&path)), (4, 4));
    assert_eq!(Keyring::open(&path, &slot).unwrap().revision(), 4);

    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"revision\":4", "\"revision\":5")).unwrap();
    assert!(matches!(Keyring::open(&path, &slot), Err(KeyringError::Altered(_))));
}

/// A file of format 1 has no revision, and its HMAC covers the bytes that it has.
#[test]
fn a_keyring_of_the_first_format_opens_and_is_written_as_the_second() {
    let mut bench = bench();
    let path = bench.path();
    let text = fs::read_to_string(&path).unwrap();
    let line = text.lines().next().unwrap();
    let line = line.replace("\"version\":2", "\"version\":1").replace("\"revision\":1,", "");
    let mac = crate::keyring::root::mac_key(&bench.ring.root).tag(line.as_bytes());
    fs::write(&path, format!("{line}\n{mac}\n")).unwrap();
    bench.ring = Keyring::open(&path, &bench.slot).unwrap();
    assert_eq!(bench.ring.revision(), 0);
    bench.ring.extend(&path, (Family::Token, 2), &SystemEntropy).unwrap();
    let written = file::read(&path).unwrap().body;
    assert_eq!((written.version, written.revision), (2, 1));
    assert!(Keyring::open(&path, &bench.slot).is_ok());
}

#[test]
fn a_keyring_is_written_up_to_its_limit_and_not_beyond() {
    let bench = bench();
    let (root, mut body) = bench.opened();
    body.revision = KEYRING_WRITES_MAX - 1;
    let mut ring = bench.reopened(&body, &root).unwrap();
    ring.extend(&bench.path(), (Family::Value, 2), &SystemEntropy).unwrap();
    assert_eq!(ring.revision(), KEYRING_WRITES_MAX);
    let before = bench.files();
    let refused = ring.extend(&bench.path(), (Family::Value, 3), &SystemEntropy);
    assert!(matches!(refused, Err(KeyringError::Exhausted)), "{refused:?}");
    assert!(ring.current(Family::Value).unwrap().0.generation == 2 && bench.files() == before);
}

#[test]
fn a_keyring_that_no_start_would_read_is_not_written() {
    let bench = bench();
    let (root, mut body) = bench.opened();
    assert!(file::KeyringText::of(body.clone(), &root).is_ok());
    let keys = 16 * 1024 * 1024 / body.keys[0].wrapped.len();
    body.keys.extend(std::iter::repeat_n(body.keys[0].clone(), keys));
    let refused = file::KeyringText::of(body, &root);
    assert!(matches!(refused, Err(KeyringError::TooLarge)), "{refused:?}");
}

#[test]
fn sealing_keys_are_rotated_in_one_write() {
    let mut bench = bench();
    let (path, revision) = (bench.path(), bench.ring.revision());
    assert_eq!(bench.ring.rotate_sealing_keys(&path, &SystemEntropy).unwrap(), [2, 2, 2]);
    assert_eq!(bench.ring.revision(), revision + 1);
    let opened = Keyring::open(&path, &bench.slot).unwrap();
    for family in [Family::Delta, Family::Index, Family::Digest] {
        let all: Vec<u32> = opened.generations(family).map(|(generation, _)| generation).collect();
        assert_eq!(all, [1, 2], "{family:?}");
        let keys: Vec<_> = opened.generations(family).map(|(_, key)| key.expose()).collect();
        assert_ne!(keys[0], keys[1], "{family:?}");
    }
    assert_eq!(opened.current(Family::Value).unwrap().0.generation, 1);
}
