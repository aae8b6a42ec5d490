/// What is wrong in a TOML text, without the value that the parser quotes.
#[must_use]
pub(super) fn toml_message(error: &toml::de::Error) -> String {
    without_values(error.message())
}

/// What a parser says is wrong, without the value that it quotes.
#[must_use]
pub fn without_values(message: &str) -> String {
    // A place in JSON is none in the file that it was made of.
    let place = message.rsplit_once(" at line ").filter(|(_, place)| place.contains(" column "));
    let message = place.map_or(message, |(message, _)| message);
    for kind in ["invalid type: ", "invalid value: "] {
        if let Some(rest) = message.strip_prefix(kind) {
            let expected = rest.rsplit_once(", expected ").map_or("something else", |(_, expected)| expected);
            return format!("{}expected {expected}", kind.replace(": ", ", "));
        }
    }
    // From the end: the word itself may be anything.
    if let Some((_, expected)) = message.rsplit_once("`, expected ")
        && message.starts_with("unknown variant")
    {
        return format!("unknown word, expected {expected}");
    }
    message.lines().next().unwrap_or_default().to_owned()
}

/// Line and column, from 1, of a byte offset; columns count characters.
#[must_use]
pub(super) fn toml_place(text: &str, offset: usize) -> (usize, usize) {
    Positions::of(text).at(offset)
}

/// Turns ascending byte offsets of a text into lines and columns. Each byte is looked at once, however many
/// offsets there are.
pub(super) struct Positions<'a> {
    rest: &'a str,
    passed: usize,
    line: usize,
    column: usize,
}

impl<'a> Positions<'a> {
    /// At the beginning of `text`.
    pub(super) const fn of(text: &'a str) -> Self {
        Self { rest: text, passed: 0, line: 1, column: 1 }
    }

    /// Line and column of `offset`: of the end of the text when it is beyond it, and of the furthest one that was
    /// asked for when it comes before that.
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

/// The last boundary of a character in `text` up to `offset`.
fn char_boundary(text: &str, offset: usize) -> usize {
    (0..=offset.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_walk_a_text_once_whatever_is_asked_for() {
        let text = "ab\nç d\n\nx";
        let mut walk = Positions::of(text);
        for offset in 0..=text.len() + 1 {
            let before = text.get(..char_boundary(text, offset)).unwrap();
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap().chars().count() + 1;
            assert_eq!(walk.at(offset), (line, column), "{offset}");
            assert_eq!(
                walk.rest.len(),
                text.len() - before.len(),
                "what was passed is never looked at again"
            );
        }
        assert_eq!(walk.at(0), (4, 2));
    }
}
