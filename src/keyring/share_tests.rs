use super::*;
use crate::base::{SystemEntropy, Timestamp};

const NOW: Timestamp = Timestamp::from_s(1_800_000_000);

fn dealt(threshold: u8, of: u8) -> Vec<Share> {
    let slot = SlotId::mint(NOW, &SystemEntropy);
    Share::deal(slot, ShareSplit::new(threshold, of).unwrap(), &SystemEntropy)
}

fn read(text: &str) -> Result<Vec<Share>, ShareError> {
    Share::read(&Sensitive::new(text.as_bytes().to_vec()))
}

/// Again what is on paper: there is no other way to have a share twice.
fn again(share: &Share) -> Share {
    read(share.text().expose()).unwrap().remove(0)
}

fn together(shares: &[&Share]) -> Result<Shares, ShareError> {
    Shares::together(shares.iter().map(|share| again(share)).collect())
}

#[test]
fn a_share_is_read_back_from_its_text_however_it_was_typed() {
    for share in dealt(2, 16) {
        let text = share.text();
        let (label, letters) = text.expose().rsplit_once(':').unwrap();
        assert_eq!(label, format!("keyward-share-1:2-of-16:{}", share.number));
        assert!(letters.split('-').all(|group| group.len() == 4), "{letters}");
        let mistaken = letters.replace('O', "0").replace('I', "1").replace('B', "8");
        for typed in [
            letters.to_owned(),
            letters.to_lowercase(),
            letters.replace('-', ""),
            letters.replace('-', " "),
            mistaken,
        ] {
            let read = read(&format!("# a note\n\n  {label}:{typed}\r\n")).unwrap();
            assert_eq!(read[0].mark(), share.mark(), "{typed}");
            assert_eq!((read.len(), read[0].slot, read[0].split), (1, share.slot, share.split));
        }
    }
}

#[test]
fn a_letter_that_is_another_one_is_noticed_wherever_it_is() {
    let shares = dealt(2, 3);
    let text = shares[1].text().expose().clone();
    let from = text.rfind(':').unwrap() + 1;
    for at in from..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[at] = match bytes[at] {
            b'-' => continue,
            b'Q' => b'R',
            _ => b'Q',
        };
        let refused = read(&String::from_utf8(bytes).unwrap()).unwrap_err();
        assert!(matches!(refused, ShareError::Checksum(1)), "at {at}: {refused}");
    }
}

#[test]
fn what_is_no_share_is_refused_by_its_place_and_not_repeated() {
    let shares = dealt(3, 5);
    let good = shares[0].text().expose().clone();
    let letters = good.rsplit(':').next().unwrap();
    for bad in [
        "CNRY",
        "keyward-share-1:",
        "keyward-slot-key-1:AAAA",
        &good[..good.len() - 5],
        &good[1..],
        &format!("{good}-QQQQ"),
        &format!("{good} {good}"),
        &format!("keyward-share-2:3-of-5:1:{letters}"),
        // A label that says something else than the share.
        &format!("keyward-share-1:2-of-5:1:{letters}"),
        &format!("keyward-share-1:3-of-5:2:{letters}"),
        &format!("keyward-share-1:3-of-4:1:{letters}"),
        "\u{e4}\u{f6}",
    ] {
        let refused = read(&format!("{good}\n{bad}\n")).unwrap_err();
        assert_eq!(refused, ShareError::NoShare(2), "{bad}");
        assert!(!refused.to_string().contains("CNRY"));
    }
    assert_eq!(read("").unwrap().len(), 0);
    assert_eq!(Share::read(&Sensitive::new(vec![0xff; 60])).unwrap_err(), ShareError::NoShare(1));
}

#[test]
fn enough_shares_of_one_slot_make_its_key_and_faults_are_named() {
    let (shares, others) = (dealt(3, 5), dealt(3, 5));
    let [one, two, three, four, five] = &shares[..] else { panic!("five") };
    let sharing = Sharing::of(one.split, &shares);
    let key = |shares: &[&Share]| *together(shares).unwrap().key(&sharing).unwrap().expose();
    assert_eq!(key(&[one, two, three]), key(&[five, three, four]));
    assert_eq!(key(&[one, two, three]), key(&[one, two, three, four, five]));
    let refused = |shares: &[&Share]| together(shares).unwrap_err();
    assert_eq!(refused(&[]), ShareError::NoShare(1));
    assert_eq!(refused(&[one, two]), ShareError::TooFew { given: 2, threshold: 3 });
    assert_eq!(refused(&[one, two, one]), ShareError::Twice(1));
    assert_eq!(refused(&[one, two, &others[2]]), ShareError::Mixed(one.slot, others[2].slot));
}

#[test]
fn a_share_that_was_made_up_is_named() {
    let shares = dealt(2, 3);
    let sharing = Sharing::of(shares[0].split, &shares);
    let (slot, split) = (shares[0].slot, shares[0].split);
    let point = || Sensitive::new([7; 32]);
    let forged = Share { slot, split, number: 2, point: point() };
    let refused = together(&[&shares[0], &forged]).unwrap();
    assert_eq!(refused.key(&sharing).unwrap_err(), ShareError::Wrong(2));
    // A number beyond the shares, and a lower threshold.
    let beyond = Share { slot, split: ShareSplit { threshold: 2, of: 4 }, number: 4, point: point() };
    let refused = together(&[&shares[0], &beyond]).unwrap();
    assert_eq!(refused.key(&sharing).unwrap_err(), ShareError::Wrong(4));
    let eager = ShareSplit { threshold: 2, of: 4 };
    let of_three = dealt(3, 4);
    let sharing = Sharing::of(of_three[0].split, &of_three);
    let talked_down = of_three.iter().take(2).map(|share| {
        let point = Sensitive::new(*share.point.expose());
        Share { slot: share.slot, split: eager, number: share.number, point }
    });
    let talked_down = Shares::together(talked_down.collect()).unwrap();
    assert_eq!(talked_down.key(&sharing).unwrap_err(), ShareError::Wrong(1));
}

#[test]
fn a_key_is_split_within_bounds_and_not_beyond() {
    let max = SHARES_MAX;
    let min = THRESHOLD_MIN;
    for (threshold, of) in [(min, min), (min, max), (max, max), (3, 5)] {
        assert!(ShareSplit::new(threshold, of).is_ok(), "{threshold} of {of}");
    }
    for (threshold, of) in
        [(0, 0), (0, 2), (min - 1, 1), (min - 1, 3), (3, 2), (2, max + 1), (max + 1, max + 1)]
    {
        assert_eq!(ShareSplit::new(threshold, of), Err(ShareError::Bounds), "{threshold} of {of}");
    }
    assert_eq!(dealt(max, max).len(), usize::from(max));
}

#[test]
fn nothing_shows_a_share() {
    let shares = dealt(2, 2);
    assert_eq!(format!("{:?}", shares[0]), "Share([redacted])");
    assert_eq!(format!("{:?}", Shares::together(shares).unwrap()), "Shares([redacted])");
}
