use std::fmt;

use super::tree::Tree;
use crate::base::encoding::{base64, from_base64, hex};
use crate::crypto::{Digest, Ed25519Key, sha256, verify_ed25519};

/// The state of a ledger at one moment: number of entries and root (C2SP tlog-checkpoint).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Checkpoint {
    /// The ledger.
    pub origin: String,
    /// The number of entries.
    pub size: u64,
    /// The root of the tree over them.
    pub root: Digest,
}

/// The text is not a checkpoint, or not one that this key signed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// Not a signed note with a checkpoint in it.
    #[error("this is not a signed checkpoint")]
    Form,
    /// The signature of the key does not fit the text.
    #[error("the text was changed after it was signed")]
    Signature,
    /// Signed by other keys of the ledger only.
    #[error(
        "it is signed by the key with the hash {}, and the trusted key of this ledger has the hash {}",
        hex(signed_by),
        hex(trusted)
    )]
    OtherKey {
        /// The hash of the key, as the signature names it.
        signed_by: [u8; 4],
        /// The hash of the trusted key.
        trusted: [u8; 4],
    },
    /// Signed for another ledger only.
    #[error("it is signed for another ledger than the one that the trusted key names")]
    OtherLedger,
    /// Signed by a key after another one took over from it.
    #[error(
        "the checkpoint of {size} entries is signed by a key that was retired by entry {until}: it counts up to there"
    )]
    Retired {
        /// The entry that announced the key's successor.
        until: u64,
        /// The size of the checkpoint.
        size: u64,
    },
    /// Not a verifier key in the form of signed notes.
    #[error("this is not a verifier key: `NAME+HASH+KEY`")]
    Key,
}

/// Ed25519 in signed notes (C2SP signed-note).
const ED25519: u8 = 1;

impl Checkpoint {
    /// The note's text: three lines.
    fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, base64(self.root.as_bytes()))
    }

    /// The checkpoint that `note` claims to be, with any signer.
    ///
    /// # Errors
    /// [`CheckpointError::Form`].
    pub fn claimed(note: &str) -> Result<Self, CheckpointError> {
        Self::parse(&split(note)?.0)
    }

    fn parse(text: &str) -> Result<Self, CheckpointError> {
        let mut lines = text.lines();
        let mut line = || lines.next().ok_or(CheckpointError::Form);
        let (origin, size, root) = (line()?.to_owned(), line()?, line()?);
        let size_number: u64 = size.parse().map_err(|_| CheckpointError::Form)?;
        let root = from_base64(root).and_then(|root| <[u8; 32]>::try_from(root).ok());
        let root = Digest::from_bytes(root.ok_or(CheckpointError::Form)?);
        // One spelling: what follows the third line, or `007`, is not ours.
        let read = Self { origin, size: size_number, root };
        if read.text() == text { Ok(read) } else { Err(CheckpointError::Form) }
    }
}

/// What the second line of an announcement says: no checkpoint reads like it.
const TAKES_OVER: &str = "checkpoint key takes over";

/// What the second line of a signed manifest says: no checkpoint and no announcement reads like it.
const MANIFEST: &str = "keyward evidence 1";

/// A signed note's text, and its signatures.
fn split(note: &str) -> Result<(String, &str), CheckpointError> {
    let (text, signatures) = note.split_once("\n\n").ok_or(CheckpointError::Form)?;
    Ok((format!("{text}\n"), signatures))
}

/// The public half of a [`Notary`]: what verifies its checkpoints.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NoteVerifier {
    name: String,
    public: Vec<u8>,
}

impl NoteVerifier {
    fn hash(&self) -> [u8; 4] {
        let named = [self.name.as_bytes(), b"\n", &[ED25519], &self.public].concat();
        let [a, b, c, d, ..] = *sha256(&named).as_bytes();
        [a, b, c, d]
    }

    /// Reads a verifier key, `NAME+HASH+KEY`, as [`NoteVerifier`] prints it.
    ///
    /// # Errors
    /// [`CheckpointError::Key`].
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let mut parts = text.trim().splitn(3, '+');
        let (Some(name), Some(_), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(CheckpointError::Key);
        };
        let key = from_base64(key).ok_or(CheckpointError::Key)?;
        let public =
            key.strip_prefix(&[ED25519]).filter(|key| key.len() == 32).ok_or(CheckpointError::Key)?;
        let read = Self { name: name.to_owned(), public: public.to_vec() };
        if read.to_string() == text.trim() { Ok(read) } else { Err(CheckpointError::Key) }
    }

    /// The checkpoint in `note`, if this key signed it.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn open(&self, note: &str) -> Result<Checkpoint, CheckpointError> {
        let checkpoint = Checkpoint::claimed(note)?;
        self.check(note)?;
        if checkpoint.origin == self.name { Ok(checkpoint) } else { Err(CheckpointError::OtherLedger) }
    }

    /// The two keys of an announcement for this key's ledger that the second one takes over from the first, if both
    /// of them signed it.
    #[must_use]
    pub fn takeover(&self, note: &str) -> Option<(Self, Self)> {
        let (text, _) = split(note).ok()?;
        let mut lines = text.lines();
        let (origin, what) = (lines.next()?, lines.next()?);
        let (before, after) = (Self::parse(lines.next()?).ok()?, Self::parse(lines.next()?).ok()?);
        let is_ours = origin == self.name && before.name == self.name && after.name == self.name;
        let is_signed = what == TAKES_OVER && before.check(note).and(after.check(note)).is_ok();
        (is_ours && is_signed).then_some((before, after))
    }

    /// The lines of the manifest in `note`, if this key signed it, and nobody else: a manifest has one form.
    ///
    /// # Errors
    /// [`CheckpointError::Form`] or [`CheckpointError::Signature`].
    pub fn manifest<'a>(&self, note: &'a str) -> Result<&'a str, CheckpointError> {
        let (text, signatures) = note.split_once("\n\n").ok_or(CheckpointError::Form)?;
        let (origin, rest) = text.split_once('\n').ok_or(CheckpointError::Form)?;
        let (what, lines) = rest.split_once('\n').ok_or(CheckpointError::Form)?;
        let is_one_line = signatures.strip_suffix('\n').is_some_and(|line| !line.contains('\n'));
        if what != MANIFEST || !is_one_line {
            return Err(CheckpointError::Form);
        }
        self.check(note)?;
        if origin == self.name { Ok(lines) } else { Err(CheckpointError::OtherLedger) }
    }

    /// Whether this key signed `note`.
    fn check(&self, note: &str) -> Result<(), CheckpointError> {
        let (text, signatures) = split(note)?;
        let all = signatures.lines().filter_map(|line| line.strip_prefix("\u{2014} ")?.split_once(' '));
        let ours: Vec<Vec<u8>> = all
            .filter(|(name, _)| *name == self.name)
            .filter_map(|(_, signature)| from_base64(signature))
            .collect();
        let trusted = self.hash();
        let mut of_this_key = ours.iter().filter_map(|one| one.strip_prefix(&trusted)).peekable();
        let is_ours = of_this_key.peek().is_some();
        if of_this_key.any(|signature| verify_ed25519(&self.public, text.as_bytes(), signature)) {
            return Ok(());
        }
        let other = ours.iter().find_map(|one| one.first_chunk::<4>().copied());
        Err(match other {
            _ if is_ours => CheckpointError::Signature,
            Some(signed_by) => CheckpointError::OtherKey { signed_by, trusted },
            None => CheckpointError::OtherLedger,
        })
    }
}

/// `NAME+HASH+KEY` (C2SP signed-note).
impl fmt::Display for NoteVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [&[ED25519], self.public.as_slice()].concat();
        write!(f, "{}+{}+{}", self.name, hex(&self.hash()), base64(&key))
    }
}

/// A checkpoint key, and the entry that announced its successor: it counts for no more entries than these.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CheckpointKeyTerm {
    /// The key.
    pub key: NoteVerifier,
    /// The entry; none while it signs.
    pub until: Option<u64>,
}

impl CheckpointKeyTerm {
    /// The keys that lead to or from the `trusted` one by `announced`, entries and their announcements in order:
    /// forwards to those that took over from it, backwards to those that it took over from.
    #[must_use]
    pub fn of(trusted: &NoteVerifier, announced: &[(u64, String)]) -> Vec<Self> {
        let takeovers = announced.iter().filter_map(|(seq, note)| Some((*seq, trusted.takeover(note)?)));
        let takeovers: Vec<_> = takeovers.collect();
        let mut current = Self { key: trusted.clone(), until: None };
        let mut all = Vec::new();
        for (seq, (before, after)) in &takeovers {
            if *before == current.key {
                all.push(Self { key: current.key, until: Some(*seq) });
                current = Self { key: after.clone(), until: None };
            }
        }
        all.push(current);
        let mut first = trusted;
        for (seq, (before, after)) in takeovers.iter().rev() {
            if after == first {
                all.push(Self { key: before.clone(), until: Some(*seq) });
                first = before;
            }
        }
        all
    }

    /// The checkpoint in `note`, if the key signed it while it was its turn.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn open(&self, note: &str) -> Result<Checkpoint, CheckpointError> {
        let checkpoint = self.key.open(note)?;
        match self.until {
            Some(until) if checkpoint.size > until => {
                Err(CheckpointError::Retired { until, size: checkpoint.size })
            }
            Some(_) | None => Ok(checkpoint),
        }
    }
}

/// Signs checkpoints of one ledger. The private key is a field of it and goes nowhere.
#[derive(Debug)]
pub struct Notary {
    key: Ed25519Key,
    verifier: NoteVerifier,
}

impl Notary {
    /// Takes `key` into use for the ledger called `origin`.
    #[must_use]
    pub fn new(origin: String, key: Ed25519Key) -> Self {
        let verifier = NoteVerifier { name: origin, public: key.public() };
        Self { key, verifier }
    }

    /// Wipes the private key in place: it signs nothing any more.
    pub fn forget(&self) {
        self.key.forget();
    }

    /// The public half.
    #[must_use]
    pub const fn verifier(&self) -> &NoteVerifier {
        &self.verifier
    }

    /// A signed checkpoint of `tree`.
    #[must_use]
    pub fn sign(&self, tree: &Tree) -> String {
        let origin = self.verifier.name.clone();
        let text = Checkpoint { origin, size: tree.size(), root: tree.root() }.text();
        format!("{text}\n{}", self.signature(&text))
    }

    /// Says that `next` takes over, signed by both: [`NoteVerifier::takeover`] reads it.
    #[must_use]
    pub fn announce(&self, next: &Self) -> String {
        let origin = &self.verifier.name;
        let text = format!("{origin}\n{TAKES_OVER}\n{}\n{}\n", self.verifier, next.verifier);
        format!("{text}\n{}{}", self.signature(&text), next.signature(&text))
    }

    /// A signed manifest with these lines, of which none is empty: [`NoteVerifier::manifest`] reads it.
    #[must_use]
    pub fn sign_manifest(&self, lines: &[String]) -> String {
        let text = format!("{}\n{MANIFEST}\n{}\n", self.verifier.name, lines.join("\n"));
        format!("{text}\n{}", self.signature(&text))
    }

    /// The line below a note that says that this key signed `text`.
    fn signature(&self, text: &str) -> String {
        let signature = [&self.verifier.hash()[..], &self.key.sign(text.as_bytes())].concat();
        format!("\u{2014} {} {}\n", self.verifier.name, base64(&signature))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notary() -> Notary {
        let key = Ed25519Key::from_pkcs8(&Ed25519Key::generate().unwrap()).unwrap();
        Notary::new("keyward.test/ledger_1".to_owned(), key)
    }

    fn tree() -> Tree {
        let mut tree = Tree::new();
        tree.append(b"one");
        tree.append(b"two");
        tree
    }

    #[test]
    fn a_checkpoint_opens_under_its_key_and_reads_back() {
        let (notary, tree) = (notary(), tree());
        let note = notary.sign(&tree);
        let verifier = NoteVerifier::parse(&notary.verifier().to_string()).unwrap();
        let read = verifier.open(&note).unwrap();
        assert_eq!((read.size, read.root, read.origin.as_str()), (2, tree.root(), "keyward.test/ledger_1"));
    }

    #[test]
    fn an_announcement_names_two_keys_that_both_signed_it() {
        let (old, new, other) = (notary(), notary(), notary());
        let note = old.announce(&new);
        let both = Some((old.verifier().clone(), new.verifier().clone()));
        assert_eq!((old.verifier().takeover(&note), new.verifier().takeover(&note)), (both.clone(), both));
        assert_eq!(old.verifier().open(&note), Err(CheckpointError::Form), "no checkpoint");
        assert_eq!(old.verifier().takeover(&old.sign(&tree())), None, "no announcement");
        // A holder of only one of the keys cannot announce another.
        let (text, signatures) = note.split_once("\n\n").unwrap();
        for one in signatures.lines() {
            assert_eq!(old.verifier().takeover(&format!("{text}\n\n{one}\n")), None);
        }
        let named = note.replace(&new.verifier().to_string(), &other.verifier().to_string());
        assert_eq!(old.verifier().takeover(&named), None);
    }

    #[test]
    fn a_retired_key_counts_up_to_the_entry_that_announced_its_successor() {
        let keys = [notary(), notary(), notary(), notary()];
        let announced: Vec<_> =
            keys.windows(2).zip([2, 5, 9]).map(|(two, seq)| (seq, two[0].announce(&two[1]))).collect();
        let of = |size: u64| {
            let mut tree = Tree::new();
            (0..size).for_each(|at| tree.append(&at.to_be_bytes()));
            tree
        };
        for trusted in &keys {
            let tenures = CheckpointKeyTerm::of(trusted.verifier(), &announced);
            for (key, until) in keys.iter().zip([Some(2), Some(5), Some(9), None]) {
                let tenure = tenures.iter().find(|one| one.key == *key.verifier()).unwrap();
                assert_eq!(tenure.until, until, "whichever key is trusted");
                let last = until.unwrap_or(20);
                assert_eq!(tenure.open(&key.sign(&of(last))).unwrap().size, last);
                if let Some(until) = until {
                    let refused = tenure.open(&key.sign(&of(until + 1)));
                    assert_eq!(refused, Err(CheckpointError::Retired { until, size: until + 1 }));
                }
            }
        }
        let of_a_stranger = CheckpointKeyTerm::of(notary().verifier(), &announced);
        assert_eq!(of_a_stranger.len(), 1, "a stranger leads nowhere");
    }

    #[test]
    fn altered_notes_and_other_keys_are_refused() {
        let notary = notary();
        let note = notary.sign(&tree());
        let verifier = notary.verifier();
        let other = self::notary();
        let (signed_by, trusted) = (verifier.hash(), other.verifier().hash());
        assert_eq!(other.verifier().open(&note), Err(CheckpointError::OtherKey { signed_by, trusted }));
        let of_another_ledger = NoteVerifier { name: "other".to_owned(), ..verifier.clone() };
        assert_eq!(of_another_ledger.open(&note), Err(CheckpointError::OtherLedger));
        assert_eq!(verifier.open(&note.replacen("\n2\n", "\n3\n", 1)), Err(CheckpointError::Signature));
        assert_eq!(verifier.open(&note.replacen("\n2\n", "\n02\n", 1)), Err(CheckpointError::Form));
        assert_eq!(verifier.open(""), Err(CheckpointError::Form));
        for at in 0..note.len() {
            let mut bytes = note.clone().into_bytes();
            bytes[at] ^= 1;
            if let Ok(altered) = String::from_utf8(bytes) {
                assert!(verifier.open(&altered).is_err(), "byte {at}");
            }
        }
        assert!(NoteVerifier::parse("x+y").is_err());
        assert!(NoteVerifier::parse(&verifier.to_string().replacen("keyward", "seyward", 1)).is_err());
    }
}
