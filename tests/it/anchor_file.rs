//! The anchor file on a disk that fails at any step and forgets what was not synced.

use keyward::base::{SystemEntropy, Timestamp};
use keyward::keyring::{Keyring, SlotKey};
use keyward::ledger::Tree;
use keyward::store::{AnchorFile, AnchorKeys};

use crate::support::unsynced::{Disk, Fault, How};

const ANCHORS: u64 = 4;

fn keys(dir: &std::path::Path) -> AnchorKeys {
    let slot = SlotKey::create_file(&dir.join("k"), &SystemEntropy).unwrap();
    let slots = std::slice::from_ref(&slot);
    let ring = Keyring::create(&dir.join("keyring"), slots, Timestamp::from_s(1), &SystemEntropy).unwrap();
    AnchorKeys::of(&ring).unwrap()
}

/// Keeps anchors of trees that grow, and gives the newest one that was acknowledged.
fn keep_all(disk: &Disk, keys: &AnchorKeys) -> u64 {
    let (mut file, _) = AnchorFile::open(disk.layer(), keys).unwrap();
    let (mut tree, mut acknowledged) = (Tree::new(), 0);
    for seq in 1..=ANCHORS {
        tree.append(b"entry");
        if file.keep(&keys.anchor(&tree), keys).is_ok() {
            acknowledged = seq;
        }
    }
    acknowledged
}

#[test]
fn an_acknowledged_anchor_is_there_after_any_fault_and_power_cut() {
    let dir = tempfile::tempdir().unwrap();
    let keys = keys(dir.path());
    let mut struck = 0;
    for how in [How::Before, How::Half, How::After, How::PowerCut] {
        for step in 1.. {
            let disk = Disk::default();
            disk.set_fault(Some(Fault { step, how }));
            let acknowledged = keep_all(&disk, &keys);
            let has_struck = disk.has_tripped();
            for seed in 0..20 {
                let disk = disk.copy();
                disk.crash(seed);
                let (_, newest) = AnchorFile::open(disk.layer(), &keys)
                    .unwrap_or_else(|error| panic!("{how:?} at step {step}, seed {seed}: {error}"));
                let newest = newest.map_or(0, |anchor| anchor.seq());
                assert!(
                    (acknowledged..=ANCHORS).contains(&newest),
                    "{how:?} at step {step}, seed {seed}: {newest}, and {acknowledged} was acknowledged"
                );
            }
            if !has_struck {
                break;
            }
            struck += 1;
        }
    }
    assert!(struck > 40, "{struck} faults");
}

#[test]
fn a_full_disk_takes_the_next_anchor() {
    let dir = tempfile::tempdir().unwrap();
    let keys = keys(dir.path());
    let disk = Disk::default();
    let (mut file, _) = AnchorFile::open(disk.layer(), &keys).unwrap();
    let mut tree = Tree::new();
    tree.append(b"entry");
    file.keep(&keys.anchor(&tree), &keys).unwrap();
    disk.set_full(true);
    tree.append(b"entry");
    file.keep(&keys.anchor(&tree), &keys).unwrap();
    disk.crash(1);
    let (_, newest) = AnchorFile::open(disk.layer(), &keys).unwrap();
    assert_eq!(newest.unwrap().seq(), 2);
}
