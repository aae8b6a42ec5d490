use std::collections::HashMap;

use super::keys::Term;

/// The terms that were made lately, up to about twice [`GENERATION`]: most entries have texts that others before them had,
/// and a lookup takes a tenth of the time of an HMAC.
#[derive(Debug, Default)]
pub(super) struct RecentTerms {
    newer: Generation,
    /// What was used before the newer ones, and not since.
    older: Generation,
}

/// Terms of one generation.
const GENERATION: usize = 4096;

/// By field and text.
#[derive(Debug, Default)]
struct Generation {
    terms: HashMap<&'static str, HashMap<String, Term>>,
    count: usize,
}

impl Generation {
    fn get(&self, field: &'static str, text: &str) -> Option<Term> {
        self.terms.get(field)?.get(text).copied()
    }

    fn put(&mut self, field: &'static str, text: String, term: Term) {
        self.terms.entry(field).or_default().insert(text, term);
        self.count = self.count.saturating_add(1);
    }
}

impl RecentTerms {
    /// The term of `text` in `field`: a recent one, or the one that `make` returns.
    pub(super) fn get_or(
        &mut self,
        field: &'static str,
        text: String,
        make: impl FnOnce(&str) -> Option<Term>,
    ) -> Option<Term> {
        if let Some(term) = self.newer.get(field, &text) {
            return Some(term);
        }
        let term = self.older.get(field, &text).or_else(|| make(&text))?;
        if self.newer.count >= GENERATION {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.put(field, text, term);
        Some(term)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn term_of(text: &str) -> Option<Term> {
        let mut bytes = [0; Term::BYTES];
        bytes.iter_mut().zip(text.bytes()).for_each(|(to, from)| *to = from);
        Some(Term::from_bytes(bytes))
    }

    #[test]
    fn a_recent_term_is_not_made_again() {
        let mut recent = RecentTerms::default();
        assert_eq!(recent.get_or("agent", "a".to_owned(), term_of), term_of("a"));
        assert_eq!(recent.get_or("agent", "a".to_owned(), |_| None), term_of("a"));
        assert_eq!(recent.get_or("operator", "a".to_owned(), |_| None), None, "of another field");
    }

    #[test]
    fn a_term_in_use_stays_while_others_come_and_go() {
        let mut recent = RecentTerms::default();
        for n in 0..GENERATION * 4 {
            assert!(recent.get_or("token", n.to_string(), term_of).is_some());
            let made = recent.get_or("kind", "token.minted".to_owned(), |text| {
                assert_eq!(n, 0, "{text} is made again");
                term_of(text)
            });
            assert!(made.is_some());
        }
        assert!(recent.newer.count <= GENERATION && recent.older.count <= GENERATION);
        assert_eq!(recent.get_or("token", "0".to_owned(), |_| None), None, "the first one has gone");
    }
}
