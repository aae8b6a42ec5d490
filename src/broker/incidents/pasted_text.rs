//! A leaked text as a person pastes it: a line of a log, an environment variable, a header, a URL or a field of JSON. Its
//! parts may be tokens, enrolment codes and values.

use crate::base::limits::{VALUE_CHECK_TEXTS_MAX, WORD_BYTES_MIN};
use crate::base::{Sensitive, has_secret_form, words_of_secret_form};

/// Shorter parts beside a name or in a URL are not compared.
const VALUE_BYTES_MIN: usize = 4;
/// Longer texts before `=` or `:` are no names.
const NAME_BYTES_MAX: usize = 64;
const QUOTES: [char; 3] = ['"', '\'', '`'];
/// Between fields of JSON and of forms.
const BETWEEN_FIELDS: [char; 7] = [',', ';', '&', '{', '}', '[', ']'];

/// The parts of a pasted text.
pub(super) struct PastedText {
    /// The text itself, then its parts that may be values, each once.
    pub(super) values: Vec<Sensitive<String>>,
    /// Words with the form of a token or an enrolment code. They are long enough that no one guesses them.
    pub(super) credentials: Vec<Sensitive<String>>,
    /// Whether these are all parts.
    pub(super) is_whole: bool,
}

impl PastedText {
    pub(super) fn of(text: &Sensitive<String>) -> Self {
        let text = text.expose().as_str();
        let mut parts = Parts::of(text);
        text.lines().for_each(|line| parts.fields_of_line(line));
        text.lines().for_each(|line| parts.words_of_line(line));
        let mut words = words_of_secret_form(text);
        let sensitive = |word: &str| Sensitive::new(word.to_owned());
        let credentials = words.by_ref().take(VALUE_CHECK_TEXTS_MAX).map(sensitive).collect();
        Self { values: parts.found, credentials, is_whole: !parts.has_more && words.next().is_none() }
    }

    /// The number of values that are compared, each of which is a guess.
    pub(super) fn guesses(&self) -> u32 {
        u32::try_from(self.values.len()).unwrap_or(u32::MAX)
    }
}

/// Words between `Authorization:` and the credential.
const SCHEMES: [&str; 3] = ["basic", "bearer", "token"];

struct Parts {
    found: Vec<Sensitive<String>>,
    has_more: bool,
}

impl Parts {
    /// The text itself.
    fn of(text: &str) -> Self {
        Self { found: vec![Sensitive::new(text.to_owned())], has_more: false }
    }

    fn add(&mut self, part: &str) {
        let is_same = |one: &Sensitive<String>| one.expose().trim_end_matches(['\r', '\n']) == part;
        // A token or a code is recognised by itself.
        if part.is_empty() || has_secret_form(part) || self.found.iter().any(is_same) {
            return;
        }
        if self.found.len() < VALUE_CHECK_TEXTS_MAX {
            self.found.push(Sensitive::new(part.to_owned()));
        } else {
            self.has_more = true;
        }
    }

    fn add_unquoted(&mut self, part: &str) {
        let value = unquoted(part);
        if value.expose().len() >= VALUE_BYTES_MIN {
            self.add(value.expose());
        }
    }

    /// The value of the line, and those of the fields in it.
    fn fields_of_line(&mut self, line: &str) {
        let line = line.trim();
        self.add_unquoted(line);
        if let Some(value) = after_name(line) {
            self.add_unquoted(value);
        }
        for word in line.split_whitespace() {
            self.fields_of_word(word);
        }
        self.spaced_fields_of_line(line);
        quoted_values(line).for_each(|value| self.add_unquoted(value));
    }

    /// Values with a space before them: `failed, password: hunter2 user = app`.
    fn spaced_fields_of_line(&mut self, line: &str) {
        let mut is_after_name = false;
        for word in line.split_whitespace() {
            let is_scheme = SCHEMES.iter().any(|scheme| word.eq_ignore_ascii_case(scheme));
            if is_after_name && !is_scheme && !["=", ":"].contains(&word) {
                self.add_unquoted(bare(word));
                self.add_unquoted(bare(word).trim_end_matches(['.', '!', '?']));
            }
            is_after_name = word.ends_with(['=', ':']) || (is_after_name && is_scheme);
        }
    }

    fn fields_of_word(&mut self, word: &str) {
        if let Some((_, address)) = word.split_once("://") {
            self.values_of_url(address);
            return;
        }
        for field in word.split(BETWEEN_FIELDS) {
            after_name(field).into_iter().for_each(|value| self.add_unquoted(value));
        }
    }

    /// The password and the values of the query.
    fn values_of_url(&mut self, address: &str) {
        let address = bare(address);
        let (path, query) = address.split_once('?').unwrap_or((address, ""));
        let authority = path.split('/').next().unwrap_or_default();
        // A password may have a slash that is not escaped.
        for before_host in [authority, path] {
            let user = before_host.rsplit_once('@').map_or("", |(user, _)| user);
            user.split_once(':').into_iter().for_each(|(_, password)| self.add_value_of_url(password));
        }
        for field in query.split('&') {
            after_name(field).into_iter().for_each(|value| self.add_value_of_url(value));
        }
    }

    fn add_value_of_url(&mut self, value: &str) {
        if value.len() >= VALUE_BYTES_MIN {
            self.add(value);
            percent_decoded(value).iter().for_each(|decoded| self.add(decoded.expose()));
        }
    }

    /// Words without fields, and URLs.
    fn words_of_line(&mut self, line: &str) {
        for word in line.split_whitespace() {
            let core = bare(word);
            let has_fields =
                !word.contains("://") && word.split(BETWEEN_FIELDS).any(|one| after_name(one).is_some());
            if core.len() >= WORD_BYTES_MIN && !core.ends_with(':') && !has_fields {
                self.add(core);
                self.add(core.trim_end_matches(['.', '!', '?', ':']));
            }
        }
    }
}

/// The quoted texts after `=` or `:` in a line, with their quotes: `user=app password="a pass phrase" host=db`.
fn quoted_values(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices(['=', ':']).filter_map(|(at, sign)| {
        let rest = line.get(at.saturating_add(sign.len())..)?.trim_start();
        let quote = rest.chars().next().filter(|first| QUOTES.contains(first))?;
        let mut is_escaped = false;
        let end = rest.char_indices().skip(1).find(|(_, c)| {
            let is_end = *c == quote && !is_escaped;
            is_escaped = *c == '\\' && !is_escaped;
            is_end
        });
        end.and_then(|(end, _)| rest.get(..=end))
    })
}

/// The text after the name of a field: `KEY=value`, `key: value`, `"key": "value"`.
fn after_name(text: &str) -> Option<&str> {
    let (name, value) = text.split_once(['=', ':'])?;
    let is_of_name =
        |c: char| c.is_alphanumeric() || QUOTES.contains(&c) || matches!(c, '_' | '-' | '.' | ' ');
    let is_name = !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.chars().all(is_of_name);
    let value = value.trim();
    // Not the end of base64, and not the address of a URL.
    let is_value =
        !value.starts_with('=') && !value.starts_with("//") && value.contains(char::is_alphanumeric);
    (is_name && is_value).then_some(value)
}

/// `text` without the punctuation of a list and quotes around it; of a JSON string also with its escapes resolved.
fn unquoted(text: &str) -> Sensitive<String> {
    let text = text.trim_end_matches([',', ';']);
    if let Ok(value) = serde_json::from_str::<String>(text) {
        return Sensitive::new(value);
    }
    let inner = QUOTES.iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote));
    Sensitive::new(inner.unwrap_or(text).to_owned())
}

/// A word without the quotes, brackets and commas around it.
fn bare(word: &str) -> &str {
    word.trim_matches(|c| {
        QUOTES.contains(&c) || BETWEEN_FIELDS.contains(&c) || matches!(c, '(' | ')' | '<' | '>')
    })
}

/// The text with its percent escapes resolved; none without one, or if this gives no text.
fn percent_decoded(text: &str) -> Option<Sensitive<String>> {
    let mut bytes = zeroize::Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        let digits = after.get(..2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = after.get(2..)?;
    }
    bytes.extend_from_slice(rest.as_bytes());
    let decoded = std::str::from_utf8(&bytes).ok().filter(|decoded| *decoded != text)?;
    Some(Sensitive::new(decoded.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::limits::VALUE_CHECKS_PER_MINUTE;

    fn pasted(text: &str) -> PastedText {
        PastedText::of(&Sensitive::new(text.to_owned()))
    }

    #[test]
    fn a_value_is_found_in_a_pasted_line() {
        for (text, value) in [
            ("hunter2", "hunter2"),
            ("hunter2\n", "hunter2\n"),
            ("  hunter2 ", "hunter2"),
            ("\"hunter2\",", "hunter2"),
            ("'hunter2';", "hunter2"),
            ("DB_PASSWORD=hunter2", "hunter2"),
            ("export DB_PASSWORD='hunter2'", "hunter2"),
            ("password: hunter2", "hunter2"),
            ("  \"password\": \"hunter2\",", "hunter2"),
            ("\"password\": \"a \\\"pass\\\" phrase\",", "a \"pass\" phrase"),
            ("{\"user\":\"app\",\"password\":\"hunter2\"}", "hunter2"),
            ("db://app:hunter2@db.example/orders", "hunter2"),
            ("url = \"db://app:hunter2@db.example:5432/orders?sslmode=require\"", "hunter2"),
            ("db://app:p%40ss@db.example/orders", "p@ss"),
            ("db://app:p@ss/word@db.example/orders", "p@ss/word"),
            ("DSN=db://app:hunter2@db.example/orders", "db://app:hunter2@db.example/orders"),
            ("https://x.example/?token=hunter22&x=1", "hunter22"),
            ("https://hooks.example/services/T0/XYZ,", "https://hooks.example/services/T0/XYZ"),
            ("X-Api-Key: hunter2", "hunter2"),
            ("the key c2VjcmV0cw== leaked", "c2VjcmV0cw=="),
            ("it was hunter22.", "hunter22"),
            ("key=c2VjcmV0cw==", "c2VjcmV0cw=="),
            ("user=app&password=hunter2", "hunter2"),
            ("2026-11-30 ERROR login failed password=hunter2 user=app", "hunter2"),
            ("2026-11-30 ERROR: login failed, password: hunter2 user: app", "hunter2"),
            ("connecting with user = app password = hunter2.", "hunter2"),
            ("got {\"user\": \"app\", \"password\": \"hunter2\"} from the client", "hunter2"),
            ("user=app password=\"a pass phrase\" host=db", "a pass phrase"),
            ("login: password: 'a \\'b\\' c' refused", "a \\'b\\' c"),
            ("> Authorization: Basic YXBwOng= was sent", "YXBwOng="),
        ] {
            let found = pasted(text);
            assert!(found.values.iter().any(|one| one.expose() == value), "{text}");
            assert!(found.values.len() <= VALUE_CHECK_TEXTS_MAX && found.is_whole, "{text}");
        }
    }

    #[test]
    fn a_token_costs_no_more_guesses_in_a_line_than_alone() {
        let part = |text: &str| crate::base::encoding::base64url(text.as_bytes());
        let token =
            format!("{}.{}.{}", part("{\"alg\":\"ES256\"}"), part("{\"sub\":\"a\"}"), part("signature"));
        for text in [token.clone(), format!("Authorization: Bearer {token}"), format!("TOKEN={token}.")] {
            let found = pasted(&text);
            assert_eq!((found.guesses(), found.credentials.len()), (1, 1), "{}", text.len());
            assert_eq!(*found.credentials[0].expose(), token);
        }
    }

    #[test]
    fn a_text_with_many_parts_is_not_wholly_compared() {
        let text: Vec<String> = (0..100).map(|number| format!("KEY_{number}=value-{number}")).collect();
        let found = pasted(&text.join("\n"));
        assert_eq!((found.values.len(), found.is_whole), (VALUE_CHECK_TEXTS_MAX, false));
        const { assert!(VALUE_CHECK_TEXTS_MAX <= VALUE_CHECKS_PER_MINUTE as usize) };
    }
}
