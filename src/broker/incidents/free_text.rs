//! Texts that operators write into the record of an incident: the ledger keeps them for ever, so they may not contain a
//! secret.

use std::collections::BTreeSet;

use tokio::runtime::Handle;

use super::known_values::candidates;
use crate::base::limits::{TEXT_WORDS_MAX, WORD_BYTES_MIN};
use crate::base::{Cancellation, Reason, Sensitive, code, has_secret_form};
use crate::broker::administration::heavy::Priority;
use crate::broker::caller_services::AdminServices;
use crate::broker::failure::Failure;
use crate::policy::{Authorised, HandleIncidents};

impl AdminServices {
    /// Refuses texts that contain a token, an enrolment code, a value of a secret or the password of a lease. Values are
    /// compared by their keyed digests, with at most `TEXT_WORDS_MAX` words.
    ///
    /// # Errors
    /// [`Failure`]; it does not repeat the text.
    pub(super) async fn refuse_secrets(
        &self,
        by: &Authorised<HandleIncidents>,
        texts: impl IntoIterator<Item = &Reason>,
    ) -> Result<(), Failure> {
        let mut words = BTreeSet::new();
        for text in texts {
            if has_secret_form(text.as_str()) {
                return Err(refused("a word with the form of a token or an enrolment code"));
            }
            words.extend(words_of(text.as_str()));
        }
        if words.is_empty() {
            return Ok(());
        }
        let all: Vec<Sensitive<Vec<u8>>> = words
            .into_iter()
            .take(TEXT_WORDS_MAX)
            .flat_map(|word| candidates(&Sensitive::new(word.to_owned())))
            .collect();
        let heavy = self.heavy(by)?;
        let (services, runtime) = (self.clone(), Handle::current());
        // On a thread of its own: the threads that answer are for orders to contain and to freeze.
        let compare = move |work: &Cancellation| runtime.block_on(services.has_known_value(&all, work));
        if heavy.run(Priority::Ordinary, compare).await? {
            return Err(refused("the value of a secret, or the password of a lease"));
        }
        Ok(())
    }

    async fn has_known_value(
        &self,
        texts: &[Sensitive<Vec<u8>>],
        work: &Cancellation,
    ) -> Result<bool, Failure> {
        let (login, _) = self.0.known_login(texts, work)?;
        Ok(login.is_some() || !self.0.known_versions(texts, work).await?.0.is_empty())
    }
}

fn refused(what: &str) -> Failure {
    Failure::new(code::TEXT_CONTAINS_SECRET).because(format!("the text contains {what}"))
}

/// The parts of `text` that may be values: the whole text, its words as they stand between spaces, and these without
/// quotation marks, punctuation and the name of a field.
fn words_of(text: &str) -> impl Iterator<Item = &str> {
    let parts = text.split_whitespace().flat_map(|word| {
        let bare = word.split(['=', ':', '"', '\'', '`', ',', ';']).chain([word]);
        bare.flat_map(|part| [part, part.trim_matches(|c: char| c.is_ascii_punctuation())])
    });
    [text].into_iter().chain(parts.chain(text.split_whitespace())).filter(|word| word.len() >= WORD_BYTES_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_between_quotation_marks_and_after_a_name() {
        for text in
            ["hunter22", "in a log: hunter22.", "pw=hunter22", "(\"hunter22\")", "key:'hunter22', see"]
        {
            assert!(words_of(text).any(|word| word == "hunter22"), "{text}");
        }
        assert!(words_of("a pass phrase").any(|word| word == "a pass phrase"));
        assert!(words_of("seven77 it").all(|word| word.len() >= WORD_BYTES_MIN));
    }
}
