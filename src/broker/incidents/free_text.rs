//! Texts that operators write into the record of an incident: the ledger keeps them for ever, so they may not contain a
//! secret.

use std::collections::BTreeSet;

use tokio::runtime::Handle;

use super::known_values::{Comparison, Covered, candidates};
use crate::authn::OperatorPrincipal;
use crate::base::limits::{TEXT_RUN_WORDS_MAX, TEXT_WORDS_MAX, WORD_BYTES_MIN};
use crate::base::{Cancellation, IncidentId, Reason, Scope, Sensitive, Stopwatch, code, has_secret_form};
use crate::broker::administration::heavy::Priority;
use crate::broker::caller_services::AdminServices;
use crate::broker::failure::Failure;
use crate::incidents::TextRefused;
use crate::policy::{Authorised, HandleIncidents};

/// How much of the stored values a text was compared with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TextComparison {
    /// All of them.
    Whole,
    /// A part: there are more than are compared, or one could not be read.
    Part,
}

impl TextComparison {
    /// # Errors
    /// [`Failure`] if the time was over before.
    fn of(covered: Covered) -> Result<Self, Failure> {
        match covered {
            Covered::All => Ok(Self::Whole),
            Covered::Some => Ok(Self::Part),
            Covered::Late => Err(Failure::new(code::HEAVY_TIMEOUT)),
        }
    }

    /// Whether the text was compared with a part of the values only.
    #[must_use]
    pub fn is_part(self) -> bool {
        self == Self::Part
    }
}

impl AdminServices {
    /// Refuses texts that contain a token, an enrolment code, a value of a secret or the password of a lease within the
    /// operator's scope. Values are compared by their keyed digests. Each refusal counts as a check of a value, so that
    /// nobody guesses values with texts, and has an entry.
    ///
    /// # Errors
    /// [`Failure`]; it does not repeat the text. It also fails if not everything was compared in time.
    pub(super) async fn refuse_secrets(
        &self,
        by: &Authorised<HandleIncidents>,
        incident: Option<IncidentId>,
        texts: impl IntoIterator<Item = &Reason>,
    ) -> Result<TextComparison, Failure> {
        let (operator, texts) = (by.operator(), texts.into_iter().collect::<Vec<_>>());
        if texts.iter().any(|text| has_secret_form(text.as_str())) {
            return Err(self.refused(operator, incident, "form").await);
        }
        let words: BTreeSet<&str> = texts.iter().flat_map(|text| words_of(text.as_str())).collect();
        if words.len() > TEXT_WORDS_MAX {
            return Err(Failure::new(code::TEXT_TOO_MANY_WORDS));
        }
        let whole = texts.iter().map(|text| text.as_str());
        let runs = texts.iter().flat_map(|text| runs_of(text.as_str()));
        let parts: BTreeSet<&str> = whole.chain(words).chain(runs).flat_map(parts_of).collect();
        if parts.is_empty() {
            return Ok(TextComparison::Whole);
        }
        let all: Vec<Sensitive<Vec<u8>>> =
            parts.into_iter().flat_map(|part| candidates(&Sensitive::new(part.to_owned()))).collect();
        let heavy = self.heavy(by)?;
        self.0.values.checks.may_compare(&operator.id())?;
        let (services, scope, runtime) = (self.clone(), operator.scope().clone(), Handle::current());
        // On a thread of its own: the threads that answer are for orders to contain and to freeze.
        let compare = move |work: &Cancellation| runtime.block_on(services.compared(&all, &scope, work));
        if let Some(comparison) = heavy.run(Priority::Ordinary, compare).await? {
            return Ok(comparison);
        }
        let refused = self.refused(operator, incident, "value").await;
        self.0.values.checks.hit(&operator.id())?;
        Err(refused)
    }

    /// How much was compared; none if a text has a known value.
    ///
    /// # Errors
    /// [`Failure`] if the time was over before everything was compared.
    async fn compared(
        &self,
        texts: &[Sensitive<Vec<u8>>],
        scope: &Scope,
        work: &Cancellation,
    ) -> Result<Option<TextComparison>, Failure> {
        let comparison = Comparison { texts, scope, work, begun: Stopwatch::start() };
        let (login, of_logins) = self.0.known_login(&comparison)?;
        let (versions, of_versions) = self.0.known_versions(&comparison).await?;
        if login.is_some() || !versions.is_empty() {
            return Ok(None);
        }
        TextComparison::of(of_logins.max(of_versions)).map(Some)
    }

    /// Records that a text was refused; the failure for its operator.
    async fn refused(
        &self,
        by: &OperatorPrincipal,
        incident: Option<IncidentId>,
        found: &'static str,
    ) -> Failure {
        let event = TextRefused { by: by.name().as_str(), incident, found };
        if let Err(error) = self.0.state.record_request(&event, by.connection()).await {
            tracing::error!(%error, "the refusal of a text could not be recorded");
            return error.into();
        }
        let why = match found {
            "form" => "the text contains a word with the form of a token or an enrolment code",
            _ => "the text contains the value of a secret, or the password of a lease",
        };
        Failure::new(code::TEXT_CONTAINS_SECRET).because(why)
    }
}

/// The words of `text` that may be or contain a value.
fn words_of(text: &str) -> impl Iterator<Item = &str> {
    text.split_whitespace().filter(|word| word.len() >= WORD_BYTES_MIN)
}

/// The runs of at least two words of `text`, which may be or contain a value with spaces.
fn runs_of(text: &str) -> impl Iterator<Item = &str> {
    let starts: Vec<usize> = text
        .char_indices()
        .scan(true, |after_space, (at, c)| {
            let begins = std::mem::replace(after_space, c.is_whitespace()) && !c.is_whitespace();
            Some(begins.then_some(at))
        })
        .flatten()
        .collect();
    (0..starts.len()).flat_map(move |first| {
        // A run ends before the next word begins, or with the text.
        let ends = starts.iter().copied().skip(first.saturating_add(2)).chain([text.len()]);
        let ends: Vec<usize> = ends.take(TEXT_RUN_WORDS_MAX.saturating_sub(1)).collect();
        let start = starts.get(first).copied();
        ends.into_iter().filter_map(move |end| text.get(start?..end)).map(str::trim_end)
    })
}

/// The parts of a word, or of a run of words, that may be values: between punctuation that separates fields, after the name
/// of a field, and without what is around them.
fn parts_of(word: &str) -> impl Iterator<Item = &str> {
    let pieces = word.split(is_separator).chain([word]);
    let pieces = pieces.flat_map(|piece| {
        let value = piece.split_once(['=', ':']).map(|(_, value)| value);
        [Some(piece), value].into_iter().flatten()
    });
    pieces.flat_map(trimmed).filter(|part| part.len() >= WORD_BYTES_MIN)
}

/// Whether the character separates fields, and is in no value in base64, base64url or hex.
const fn is_separator(c: char) -> bool {
    c.is_ascii_punctuation() && !matches!(c, '-' | '_' | '.' | '+' | '/' | '=')
}

/// Punctuation at each end of a part that may belong to the value or not.
const AROUND_MAX: usize = 4;

/// `part` without each number of punctuation marks at its beginning and its end.
fn trimmed(part: &str) -> impl Iterator<Item = &str> {
    let is_around = |c: &char| !c.is_alphanumeric();
    let before = part
        .char_indices()
        .take_while(move |(_, c)| is_around(c))
        .map(|(at, c)| at.saturating_add(c.len_utf8()));
    let starts: Vec<usize> = [0].into_iter().chain(before.take(AROUND_MAX)).collect();
    let after = part.char_indices().rev().take_while(move |(_, c)| is_around(c)).map(|(at, _)| at);
    let ends: Vec<usize> = [part.len()].into_iter().chain(after.take(AROUND_MAX)).collect();
    starts
        .into_iter()
        .flat_map(move |start| ends.clone().into_iter().filter_map(move |end| part.get(start..end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_however_it_is_written() {
        for (text, value) in [
            ("hunter22", "hunter22"),
            ("in a log: hunter22.", "hunter22"),
            ("pw=hunter22", "hunter22"),
            ("(\"hunter22\")", "hunter22"),
            ("key:'hunter22', see", "hunter22"),
            ("pw=c2VjcmV0cw==", "c2VjcmV0cw=="),
            ("\"c2VjcmV0cw==\",", "c2VjcmV0cw=="),
            ("key=a:b;c,d=e", "a:b;c,d=e"),
            ("db://app:hunter22@orders/x", "hunter22"),
            ("https://x.example/?token=hunter22&x=1", "hunter22"),
            ("<password>hunter22</password>", "hunter22"),
            ("\u{201c}hunter22\u{201d}", "hunter22"),
            ("it was hunter22\u{2026}", "hunter22"),
            ("\"pass!word?\"", "pass!word?"),
            ("a pass phrase", "a pass phrase"),
        ] {
            let words = [text].into_iter().chain(words_of(text));
            assert!(words.flat_map(parts_of).any(|part| part == value), "{text}");
        }
        for (text, value) in [
            ("in the log it was the upstream password, see", "the upstream password"),
            ("pw=the upstream password", "the upstream password"),
            ("\"the upstream  password\" was in a log", "the upstream  password"),
            ("one two three four five six seven eight nine", "two three four five six seven eight nine"),
            ("one two three four five six seven eight nine", "one two three four five six seven eight"),
        ] {
            assert!(runs_of(text).flat_map(parts_of).any(|part| part == value), "{text}");
        }
        let nine = "one two three four five six seven eight nine";
        assert!(runs_of(nine).all(|run| run != nine) && runs_of("word ").all(|run| run == "word"));
        assert!(words_of("seven77 it").all(|word| word.len() >= WORD_BYTES_MIN));
        assert!(parts_of("pw=seven77").all(|part| part.len() >= WORD_BYTES_MIN));
    }

    #[test]
    fn a_text_that_was_compared_in_part_is_said_to_be_so() {
        let part = |covered| TextComparison::of(covered).map(TextComparison::is_part);
        assert!(!part(Covered::All).unwrap());
        assert!(part(Covered::Some).unwrap());
        assert_eq!(part(Covered::Late).unwrap_err().code, code::HEAVY_TIMEOUT);
        // With a value that could not be read, and more leases than are compared
        assert_eq!(Covered::All.max(Covered::Some), Covered::Some);
    }
}
