use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::error::{KeyringError, ShareError};
use crate::base::encoding::{base64url, from_handwritten, handwritten};
use crate::base::limits::{SHARES_MAX, THRESHOLD_MIN};
use crate::base::{Entropy, Sensitive, SlotId, io_reason};
use crate::crypto::{combine, derive_key, matches, split};
use crate::files;

/// Number of shares, and threshold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ShareSplit {
    threshold: u8,
    of: u8,
}

impl ShareSplit {
    /// Any `threshold` of `of` shares.
    ///
    /// # Errors
    /// [`ShareError::Bounds`].
    pub fn new(threshold: u8, of: u8) -> Result<Self, ShareError> {
        let within = THRESHOLD_MIN <= threshold && threshold <= of && of <= SHARES_MAX;
        if within { Ok(Self { threshold, of }) } else { Err(ShareError::Bounds) }
    }

    /// The threshold.
    #[must_use]
    pub const fn threshold(self) -> u8 {
        self.threshold
    }

    /// The number of shares.
    #[must_use]
    pub const fn of(self) -> u8 {
        self.of
    }
}

/// One of the shares of a slot's key. Alone it opens nothing.
pub struct Share {
    slot: SlotId,
    split: ShareSplit,
    number: u8,
    point: Sensitive<[u8; 32]>,
}

impl Share {
    /// Splits a fresh key of slot `slot`, and drops it: nobody has it from here on but those who bring
    /// enough shares together.
    pub(super) fn deal(slot: SlotId, split_by: ShareSplit, entropy: &dyn Entropy) -> Vec<Self> {
        let key = Sensitive::<[u8; 32]>::filled(|key| entropy.fill(key));
        let points = split(&key, split_by.threshold, split_by.of, entropy);
        (1..).zip(points).map(|(number, point)| Self { slot, split: split_by, number, point }).collect()
    }

    /// Reads shares, one a line; empty lines and those that begin with `#` are passed over.
    ///
    /// # Errors
    /// [`ShareError::NoShare`], [`ShareError::Checksum`].
    pub fn read(text: &Sensitive<Vec<u8>>) -> Result<Vec<Self>, ShareError> {
        let lines = text.expose().split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with(b"#"));
        (1..).zip(lines).map(|(place, line)| Self::parse(line, place)).collect()
    }

    fn parse(line: &[u8], place: usize) -> Result<Self, ShareError> {
        let bytes = std::str::from_utf8(line).ok().and_then(letters).and_then(from_handwritten);
        let share = bytes.as_deref().and_then(|bytes| {
            let (checksum, rest) = bytes.split_last_chunk().map(|(rest, checksum)| (checksum, rest))?;
            let (slot, rest) = rest.split_first_chunk()?;
            let ([threshold, of, number], point) = rest.split_first_chunk()?;
            let point: &[u8; 32] = point.try_into().ok()?;
            let point = Sensitive::filled(|to: &mut [u8; 32]| to.copy_from_slice(point));
            let split = ShareSplit { threshold: *threshold, of: *of };
            Some((Self { slot: SlotId::from_bytes(*slot), split, number: *number, point }, checksum))
        });
        let (share, checksum): (Self, &[u8; CHECKSUM_BYTES]) = share.ok_or(ShareError::NoShare(place))?;
        if !matches(&share.checksum(), checksum) {
            return Err(ShareError::Checksum(place));
        }
        let split = ShareSplit::new(share.split.threshold, share.split.of);
        let sound = split.is_ok() && (1..=share.split.of).contains(&share.number);
        // What stands before the letters is for people, and has to tell them the truth.
        let is_labelled = std::str::from_utf8(line).is_ok_and(|line| line.starts_with(&share.label()));
        if sound && is_labelled { Ok(share) } else { Err(ShareError::NoShare(place)) }
    }

    /// Writes it to a file of its own in `directory`, for the owner alone; nothing is written over.
    ///
    /// # Errors
    /// [`KeyringError::SlotFile`].
    pub(super) fn create_file(&self, directory: &Path) -> Result<PathBuf, KeyringError> {
        let path = directory.join(format!("{}-share-{}.txt", self.slot, self.number));
        let ShareSplit { threshold, of } = self.split;
        let line = self.text();
        let text = Zeroizing::new(format!(
            "# Share {} of {of} of key slot {}: any {threshold} of them open it together.\n\
             # Keep it away from the other shares, and from the machine.\n{}\n",
            self.number,
            self.slot,
            line.expose()
        ));
        files::create(&path, text.as_bytes()).map_err(KeyringError::slot_file(&path))?;
        Ok(path)
    }

    /// Reads the one share in a file that [`Share::create_file`] wrote.
    pub(super) fn from_file(path: &Path) -> Result<Self, KeyringError> {
        let refuse = |why: String| KeyringError::SlotFile { path: path.to_owned(), why };
        let text = fs::read(path).map_err(|error| refuse(io_reason(&error)))?;
        let mut shares = Self::read(&Sensitive::new(text)).map_err(|error| refuse(error.to_string()))?;
        shares.pop().ok_or_else(|| refuse("the file holds no share".to_owned()))
    }

    /// The number of shares of its slot, and the threshold.
    #[must_use]
    pub const fn split(&self) -> ShareSplit {
        self.split
    }

    /// The share as one line of text: for people how many there are and which one this is, then all of it
    /// in letters that are hard to mistake, with a checksum.
    #[must_use]
    pub fn text(&self) -> Sensitive<String> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(64));
        bytes.extend_from_slice(&self.head());
        bytes.extend_from_slice(self.point.expose());
        bytes.extend_from_slice(&self.checksum());
        Sensitive::new(format!("{}{}", self.label(), *handwritten(&bytes)))
    }

    /// Checks that the share is another one of the same slot than those `before` it.
    ///
    /// # Errors
    /// [`ShareError::Mixed`], [`ShareError::Twice`].
    pub fn check_beside(&self, before: &[Self]) -> Result<(), ShareError> {
        let other = before.first().map(|first| first.slot).filter(|slot| *slot != self.slot);
        if let Some(slot) = other {
            return Err(ShareError::Mixed(slot, self.slot));
        }
        if before.iter().any(|before| before.number == self.number) {
            return Err(ShareError::Twice(self.number));
        }
        Ok(())
    }

    fn label(&self) -> String {
        format!("{PREFIX}{}-of-{}:{}:", self.split.threshold, self.split.of, self.number)
    }

    /// All of it that is no secret.
    fn head(&self) -> Vec<u8> {
        let of = [self.split.threshold, self.split.of, self.number];
        [self.slot.as_bytes().as_slice(), &of].concat()
    }

    fn checksum(&self) -> [u8; CHECKSUM_BYTES] {
        let whole = derive_key(&self.point, &self.head(), "keyward/keyring/share/checksum");
        std::array::from_fn(|at| whole.expose().get(at).copied().unwrap_or_default())
    }

    /// What a share is known again by, and nobody can make it from.
    fn mark(&self) -> String {
        base64url(derive_key(&self.point, &self.head(), "keyward/keyring/share/mark").expose())
    }
}

/// Any number of shares of one slot, enough to open it.
pub struct Shares {
    slot: SlotId,
    shares: Vec<Share>,
    key: Sensitive<[u8; 32]>,
}

impl Shares {
    /// Puts shares together.
    ///
    /// # Errors
    /// [`ShareError`] when they are of different slots, too few, or one of them came twice.
    pub fn together(shares: Vec<Share>) -> Result<Self, ShareError> {
        let first = shares.first().ok_or(ShareError::NoShare(1))?;
        let (slot, threshold) = (first.slot, first.split.threshold);
        for (at, share) in shares.iter().enumerate() {
            share.check_beside(shares.get(..at).unwrap_or_default())?;
        }
        let given = u8::try_from(shares.len()).unwrap_or(u8::MAX);
        let few = ShareError::TooFew { given, threshold };
        if given < threshold {
            return Err(few);
        }
        let points: Vec<_> = shares.iter().map(|share| (share.number, &share.point)).collect();
        let key = combine(&points).ok_or(few)?;
        Ok(Self { slot, shares, key })
    }

    /// The slot that they are of, as they say.
    #[must_use]
    pub const fn slot(&self) -> SlotId {
        self.slot
    }

    /// The key that was split, if each of them is what was dealt.
    pub(super) fn key(&self, sharing: &Sharing) -> Result<&Sensitive<[u8; 32]>, ShareError> {
        match self.shares.iter().find(|share| !sharing.dealt(share)) {
            None => Ok(&self.key),
            Some(share) => Err(ShareError::Wrong(share.number)),
        }
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Share([redacted])")
    }
}

impl fmt::Debug for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shares([redacted])")
    }
}

/// The keyring's record of a slot's shares.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sharing {
    threshold: u8,
    /// One for each share, in order.
    marks: Vec<String>,
}

impl Sharing {
    pub(super) fn of(split: ShareSplit, shares: &[Share]) -> Self {
        Self { threshold: split.threshold, marks: shares.iter().map(Share::mark).collect() }
    }

    pub(super) fn split(&self) -> Result<ShareSplit, ShareError> {
        ShareSplit::new(self.threshold, u8::try_from(self.marks.len()).unwrap_or(u8::MAX))
    }

    fn dealt(&self, share: &Share) -> bool {
        let mark = usize::from(share.number).checked_sub(1).and_then(|at| self.marks.get(at));
        // Its threshold is in its mark, so that nobody can talk it down.
        mark.is_some_and(|mark| matches(mark.as_bytes(), share.mark().as_bytes()))
    }
}

/// The letters of a share, behind what is for people.
fn letters(line: &str) -> Option<&str> {
    line.strip_prefix(PREFIX)?.splitn(3, ':').nth(2)
}

const PREFIX: &str = "keyward-share-1:";
/// Lets one slip of the pen in four thousand million through; the marks in the keyring stop that one.
const CHECKSUM_BYTES: usize = 4;

#[cfg(test)]
#[path = "share_tests.rs"]
mod tests;
