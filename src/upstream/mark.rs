use std::fmt;

use crate::base::{LedgerId, Timestamp};

/// The mark that a broker writes at an upstream when it acts there: ledger id, sequence and time of the entry. Another
/// copy of the broker, e.g. a clone of its virtual machine, finds an entry that its ledger does not have, and does not
/// act.
#[derive(Clone, Copy)]
pub struct Mark<'a> {
    ledger: LedgerId,
    entry: MarkedEntry,
    knows: &'a EntryLookup<'a>,
}

/// The entry that a mark names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MarkedEntry {
    /// Its sequence.
    pub seq: u64,
    /// Its time.
    pub time: Timestamp,
}

/// Whether the ledger has an entry with this sequence and this time, or may ignore it because every other copy
/// has stopped since.
pub type EntryLookup<'a> = dyn Fn(MarkedEntry) -> bool + Send + Sync + 'a;

/// The beginning of a mark: `[keyward LEDGER SEQUENCE MILLISECONDS]`.
const START: &str = "[keyward ";

impl<'a> Mark<'a> {
    /// The mark of the broker with `ledger` for the entry `seq` of this time.
    #[must_use]
    pub const fn new(ledger: LedgerId, entry: MarkedEntry, knows: &'a EntryLookup<'a>) -> Self {
        Self { ledger, entry, knows }
    }

    /// The mark of another copy of this broker in `comment`, in words.
    pub(super) fn foreign(&self, comment: &str) -> Option<String> {
        let foreign = self.marks(comment).find(|mark| !(self.knows)(mark.entry));
        foreign.map(|mark| mark.entry.to_string())
    }

    /// `comment` with this mark instead of the former one, or at the end.
    pub(super) fn within(&self, comment: &str) -> String {
        let mark = self.to_string();
        let mut before = self.marks(comment).map(|mark| mark.text);
        if let Some(first) = before.next() {
            return before
                .fold(comment.replacen(first, &mark, 1), |comment, other| comment.replace(other, ""));
        }
        if comment.is_empty() { mark } else { format!("{comment} {mark}") }
    }

    /// The marks of this ledger. Those of other ledgers are not this broker's.
    fn marks<'c>(&self, comment: &'c str) -> impl Iterator<Item = FoundMark<'c>> {
        let ledger = self.ledger.to_string();
        comment.match_indices(START).filter_map(move |(at, _)| {
            let rest = comment.get(at..)?;
            let text = rest.get(..=rest.find(']')?)?;
            let mut words = text.strip_prefix(START)?.strip_suffix(']')?.split(' ');
            let is_own = words.next() == Some(ledger.as_str());
            let (seq, time) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
            let entry = MarkedEntry { seq, time: Timestamp::from_ms(time) };
            (is_own && words.next().is_none()).then_some(FoundMark { text, entry })
        })
    }
}

struct FoundMark<'c> {
    text: &'c str,
    entry: MarkedEntry,
}

/// For messages to operators.
impl fmt::Display for MarkedEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry {} of {}", self.seq, self.time)
    }
}

impl fmt::Display for Mark<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{START}{} {} {}]", self.ledger, self.entry.seq, self.entry.time.ms())
    }
}

impl fmt::Debug for Mark<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mark({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SystemEntropy;

    #[test]
    fn a_mark_is_found_and_replaced_and_everything_else_stays() {
        let (own, other) = (
            LedgerId::mint(Timestamp::from_s(1), &SystemEntropy),
            LedgerId::mint(Timestamp::from_s(2), &SystemEntropy),
        );
        let knows = |entry: MarkedEntry| entry.seq <= 7;
        let mark = |ledger, seq| Mark::new(ledger, MarkedEntry { seq, time: Timestamp::from_ms(5) }, &knows);
        for comment in ["", "the orders team's, ask 'them'", "[keyward x 1 2] [keyward", "[keyward ] 9"] {
            let marked = mark(own, 7).within(comment);
            assert!(marked.starts_with(comment) && marked.ends_with(&format!("{own} 7 5]")), "{marked}");
            let again = mark(own, 8).within(&marked);
            assert_eq!(again, marked.replace(&format!("{own} 7"), &format!("{own} 8")));
            assert_eq!(mark(own, 9).foreign(&marked), None);
            assert_eq!(mark(own, 9).foreign(&again).unwrap(), "entry 8 of 1970-01-01T00:00:00.005Z");
            let both = mark(other, 9).within(&again);
            assert!(both.starts_with(&again), "another broker's stays: {both}");
        }
        let twice = format!("{} and {}", mark(own, 1), mark(own, 2));
        assert_eq!(mark(own, 3).within(&twice), format!("{} and ", mark(own, 3)));
    }
}
