use crate::base::near_texts;

#[must_use]
pub(super) fn toml_message(error: &toml::de::Error) -> String {
    without_values(error.message())
}

/// A parser's message without the values that it quotes, which may be secrets.
#[must_use]
pub fn without_values(message: &str) -> String {
    // The parser's place is one in JSON that was made from the file: it would mislead.
    let place = message.rsplit_once(" at line ").filter(|(_, place)| place.contains(" column "));
    let message = place.map_or(message, |(message, _)| message);
    for kind in ["invalid type: ", "invalid value: "] {
        if let Some(rest) = message.strip_prefix(kind) {
            let expected = rest.rsplit_once(", expected ").map_or("another type", |(_, expected)| expected);
            return format!("{}expected {}", kind.replace(": ", ", "), plain(expected));
        }
    }
    // Search from the end: the quoted word may contain the same text.
    if let Some((_, expected)) = message.rsplit_once("`, expected ")
        && message.starts_with("unknown variant")
    {
        return format!("unknown word, expected {expected}");
    }
    let message = message.lines().next().unwrap_or_default();
    near_field(message).unwrap_or_else(|| message.to_owned())
}

/// A parser's word for a type, for people.
fn plain(expected: &str) -> &str {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" | "i8" | "i16" | "i32" | "i64" | "isize" => {
            "a whole number without quotes and unit; fields whose name ends in `_s` are in seconds"
        }
        other => other,
    }
}

/// The message about an unknown field with the most similar known field, if there is a similar one.
fn near_field(message: &str) -> Option<String> {
    let (field, rest) = message.strip_prefix("unknown field `")?.split_once('`')?;
    let known = rest.split('`').skip(1).step_by(2);
    let near = *near_texts(field, known).first()?;
    Some(format!("unknown field `{field}`: did you mean `{near}`?{}", rest.replacen(", e", " E", 1)))
}

/// The setting whose value contains `offset`, e.g. `tokens.life_s`, or the table that begins there. `None` where the
/// place is a setting's own name, which the parser's message repeats.
#[must_use]
pub(super) fn setting_at(text: &str, offset: usize) -> Option<String> {
    let before = text.get(..char_boundary(text, offset))?;
    let (above, line) = before.rsplit_once('\n').unwrap_or(("", before));
    let table = |line: &str| line.trim().strip_prefix('[')?.split(']').next().map(str::to_owned);
    if line.trim().is_empty() && !text.get(before.len()..)?.starts_with(['"', '\'', '{']) {
        return table(text.get(before.len()..)?.lines().next()?);
    }
    let name = std::iter::once(line).chain(above.lines().rev()).find_map(|line| {
        let name = line.split_once('=')?.0.trim();
        let is_plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        is_plain.then_some(name)
    })?;
    let table = above.lines().rev().find_map(table);
    Some(table.map_or_else(|| name.to_owned(), |table| format!("{table}.{name}")))
}

/// Line and column, from 1, of a byte offset; columns count characters.
#[must_use]
pub(super) fn toml_place(text: &str, offset: usize) -> (usize, usize) {
    Positions::of(text).at(offset)
}

/// Turns ascending byte offsets of a text into lines and columns, in one pass over the text.
pub(super) struct Positions<'a> {
    rest: &'a str,
    passed: usize,
    line: usize,
    column: usize,
}

impl<'a> Positions<'a> {
    pub(super) const fn of(text: &'a str) -> Self {
        Self { rest: text, passed: 0, line: 1, column: 1 }
    }

    /// Line and column of `offset`. An offset beyond the text counts as its end, and one before an earlier call's as
    /// that one.
    pub(super) fn at(&mut self, offset: usize) -> (usize, usize) {
        let step = char_boundary(self.rest, offset.saturating_sub(self.passed));
        let (walked, rest) = self.rest.split_at(step);
        let (newlines, last_line) = match walked.rsplit_once('\n') {
            Some((before, last)) => (before.matches('\n').count().saturating_add(1), last),
            None => (0, walked),
        };
        if newlines > 0 {
            self.line = self.line.saturating_add(newlines);
            self.column = 1;
        }
        self.column = self.column.saturating_add(last_line.chars().count());
        self.rest = rest;
        self.passed = self.passed.saturating_add(step);
        (self.line, self.column)
    }
}

/// The last character boundary in `text` up to `offset`.
fn char_boundary(text: &str, offset: usize) -> usize {
    (0..=offset.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_names_its_setting() {
        let text = "a = 1\n[t]\nnames = [\n  \"x\",\n  \"y\"]\nb = 2\n";
        let at = |what: &str| setting_at(text, text.find(what).unwrap());
        for (place, setting) in [
            ("1", Some("a")),
            ("[t]", Some("t")),
            ("\"y", Some("t.names")),
            ("2", Some("t.b")),
            ("b =", None),
        ] {
            assert_eq!(at(place).as_deref(), setting, "{place}");
        }
        assert_eq!((setting_at("", 0), setting_at("a = 1", 0)), (None, None));
    }

    #[test]
    fn similar_field_is_suggested() {
        let unknown = |field: &str| {
            without_values(&format!("unknown field `{field}`, expected one of `secret`, `jitter`"))
        };
        assert_eq!(
            unknown("jittr"),
            "unknown field `jittr`: did you mean `jitter`? Expected one of `secret`, `jitter`"
        );
        assert_eq!(unknown("owner"), "unknown field `owner`, expected one of `secret`, `jitter`");
        assert!(
            without_values("invalid type: string \"5m\", expected i64")
                .contains("whole number without quotes")
        );
    }

    #[test]
    fn positions_walk_a_text_once() {
        let text = "ab\nç d\n\nx";
        let mut walk = Positions::of(text);
        for offset in 0..=text.len() + 1 {
            let before = text.get(..char_boundary(text, offset)).unwrap();
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap().chars().count() + 1;
            assert_eq!(walk.at(offset), (line, column), "{offset}");
            assert_eq!(walk.rest.len(), text.len() - before.len(), "one pass over the text");
        }
        assert_eq!(walk.at(0), (4, 2));
    }
}
