//! Words that have the form of a credential. A text with one of them does not belong into the ledger, which keeps it for
//! ever.

use std::ops::Range;

use super::encoding::from_base64url;

/// The first part of every enrolment code.
const ENROLMENT_CODE: &str = "keyward-enrol-";
/// The shortest word that is taken for a credential: longer than what takes its place.
const FORM_BYTES_MIN: usize = 40;
/// What takes the place of such a word.
const REMOVED: &str = "[removed: looks like a secret]";

/// Whether a word of `text` has the form of a token (JWT) or an enrolment code.
#[must_use]
pub fn has_secret_form(text: &str) -> bool {
    next_secret(text).is_some()
}

/// `text` with another text in the place of each word that has the form of a token or an enrolment code. It is not longer
/// than `text`.
#[must_use]
pub fn without_secret_forms(text: &str) -> String {
    let (mut kept, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(Range { start, end }) = next_secret(rest) {
        let (before, after) = (rest.get(..start).unwrap_or_default(), rest.get(end..).unwrap_or_default());
        kept.push_str(before);
        kept.push_str(REMOVED);
        rest = after;
    }
    kept.push_str(rest);
    kept
}

/// The words of `text` that have the form of a token or an enrolment code, without marks around them.
pub fn words_of_secret_form(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let Range { start, end } = next_secret(rest)?;
        let word = rest.get(start..end)?;
        rest = rest.get(end..)?;
        Some(word.trim_matches(['-', '_', '.']))
    })
}

/// The first word with such a form.
fn next_secret(text: &str) -> Option<Range<usize>> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let mut from = 0;
    while let Some(rest) = text.get(from..).filter(|rest| !rest.is_empty()) {
        let start = from.saturating_add(rest.find(is_part)?);
        let word = text.get(start..)?;
        let end = start.saturating_add(word.find(|c| !is_part(c)).unwrap_or(word.len()));
        if is_secret(text.get(start..end)?) {
            return Some(start..end);
        }
        from = end;
    }
    None
}

fn is_secret(word: &str) -> bool {
    word.len() >= FORM_BYTES_MIN && (word.contains(ENROLMENT_CODE) || has_token(word))
}

/// Whether two parts of the word that follow each other are the header and the claims of a JWT: with or without a
/// signature, and between marks such as those of Markdown.
fn has_token(word: &str) -> bool {
    let parts: Vec<&str> = word.split('.').collect();
    parts.windows(2).any(|pair| matches!(pair, [header, claims] if is_object(header) && is_object(claims)))
}

/// Whether the part is a JSON object in base64url.
fn is_object(part: &str) -> bool {
    let is_it = |text: &str| {
        let bytes = from_base64url(text);
        bytes.is_some_and(|bytes| bytes.starts_with(b"{") && bytes.ends_with(b"}"))
    };
    is_it(part) || is_it(part.trim_matches(['-', '_']))
}

#[cfg(test)]
mod tests {
    use super::super::encoding::base64url;
    use super::*;

    fn token() -> String {
        let part = |text: &str| base64url(text.as_bytes());
        format!(
            "{}.{}.{}",
            part("{\"alg\":\"ES256\"}"),
            part("{\"sub\":\"agent\",\"aud\":\"x\"}"),
            part("signature")
        )
    }

    #[test]
    fn words_with_the_form_of_a_credential_are_found_and_replaced() {
        let token = token();
        let code = format!("keyward-enrol-2.{0}.{0}.{0}.code_1.{0}", base64url(&[7; 32]));
        for secret in [&token, &code] {
            for (before, after) in [("", ""), ("leaked: ", ", see the log"), ("token=\"", "\"."), ("(", ").")]
            {
                let text = format!("{before}{secret}{after}");
                assert!(has_secret_form(&text), "{text}");
                assert!(!without_secret_forms(&text).contains(&secret[..20]), "{text}");
            }
            let twice = without_secret_forms(&format!("{secret} und é {secret}"));
            assert_eq!(twice, format!("{REMOVED} und é {REMOVED}"));
            assert!(secret.len() >= FORM_BYTES_MIN && REMOVED.len() < FORM_BYTES_MIN);
        }
    }

    #[test]
    fn a_token_is_found_between_marks_and_without_its_signature() {
        let token = token();
        let (unsigned, _) = token.rsplit_once('.').unwrap();
        for text in [
            format!("__{token}__"),
            format!("{token}.more"),
            format!("-{unsigned}."),
            format!("..{unsigned}"),
        ] {
            assert!(has_secret_form(&text), "{text}");
            assert!(!without_secret_forms(&text).contains(&unsigned[..20]), "{text}");
        }
    }

    #[test]
    fn other_words_stay() {
        let digest = "a".repeat(64);
        for text in [
            "ticket 4711: strange queries of orders-bot",
            "see https://wiki.example.com/incidents/a.b.c",
            "token tok_06fsk3gw8s0c7q2v5n1x9r4m2t in a log",
            "entry 12, inc_06fsk3gw8s0c7q2v5n1x9r4m2t, éé",
            &digest,
            "",
        ] {
            assert!(!has_secret_form(text), "{text}");
            assert_eq!(without_secret_forms(text), text);
        }
    }
}
