//! The keyring of the specification, docs/reference/keyring-format.md.

use std::fs;

use serde::Deserialize;

use super::*;
use crate::base::encoding::hex;
use crate::keyring::{Passphrase, Share, Shares};

#[derive(Deserialize)]
struct Vectors {
    keyring: String,
    key_file: String,
    passphrase: String,
    shares: Vec<String>,
    opens: Opens,
}

#[derive(Deserialize)]
struct Opens {
    root: String,
    root_id: String,
    earlier_root_ids: Vec<String>,
    keys: Vec<VectorKey>,
}

#[derive(Deserialize)]
struct VectorKey {
    family: u8,
    generation: u32,
    key: String,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../../docs/reference/keyring-vectors.json")).unwrap()
}

fn share(text: &str) -> Share {
    Share::read(&Sensitive::new(text.as_bytes().to_vec())).unwrap().pop().unwrap()
}

#[test]
fn the_vectors_of_the_specification_open_by_each_slot() {
    let vectors = vectors();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keyring");
    fs::write(&path, &vectors.keyring).unwrap();
    let words = Sensitive::new(vectors.passphrase.clone().into_bytes());
    let shares = [&vectors.shares[0], &vectors.shares[2]].map(|text| share(text));
    let keys = [
        SlotKey::parse(&vectors.key_file).unwrap(),
        SlotKey::Passphrase(Passphrase::entered(&words).unwrap()),
        SlotKey::Shares(Shares::together(shares.into()).unwrap()),
    ];
    for key in keys {
        let ring = Keyring::open(&path, &key).unwrap();
        assert_eq!(hex(ring.root.expose()), vectors.opens.root, "{:?}", key.kind());
        assert_eq!(ring.root_id().to_string(), vectors.opens.root_id);
        let earlier: Vec<String> = ring.earlier.iter().map(|mark| mark.id().to_string()).collect();
        assert_eq!(earlier, vectors.opens.earlier_root_ids);
        let symmetric = ring.symmetric.iter().map(|(id, key)| (*id, hex(key.expose())));
        let signing = ring.signing.iter().map(|(id, key)| (*id, hex(key.expose())));
        let held: BTreeMap<_, _> = symmetric.chain(signing).collect();
        assert_eq!(held.len(), vectors.opens.keys.len());
        for expected in &vectors.opens.keys {
            let family = Family::ALL.into_iter().find(|family| family.number() == expected.family).unwrap();
            assert_eq!(held[&(family, expected.generation)], expected.key, "{family:?}");
        }
    }
}
