use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether line breaks and tabs are part of the layout, or of a value.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Breaks {
    Keep,
    Escape,
}

/// One line of text for a terminal, as every output of a command escapes it.
#[must_use]
pub(crate) fn escaped_line(text: &str) -> Cow<'_, str> {
    printable(text, Breaks::Escape)
}

/// `text` without characters that a terminal acts upon or that reorder what is shown: each is spelled
/// `\uXXXX`, which is also its spelling in a JSON string.
pub(super) fn printable(text: &str, breaks: Breaks) -> Cow<'_, str> {
    let is_kept = |c: char| match c {
        '\n' | '\t' => breaks == Breaks::Keep,
        // Bidirectional marks, embeddings, overrides and isolates; line and paragraph separators.
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => false,
        c => !c.is_control(),
    };
    if text.chars().all(is_kept) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len().saturating_add(16));
    for c in text.chars() {
        if is_kept(c) {
            escaped.push(c);
        } else {
            // Writing to a string does not fail.
            let _written = write!(escaped, "\\u{:04x}", u32::from(c));
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_text_is_kept() {
        for (given, shown) in [
            ("plain — ünïcode 日本", "plain — ünïcode 日本"),
            ("\u{1b}]52;c;eA==\u{7}", "\\u001b]52;c;eA==\\u0007"),
            ("a\u{9b}2Jb\u{7f}", "a\\u009b2Jb\\u007f"),
            ("safe\r\nfix: no", "safe\\u000d\\u000afix: no"),
            ("abc\u{202e}def\u{2066}", "abc\\u202edef\\u2066"),
        ] {
            assert_eq!(printable(given, Breaks::Escape), shown);
        }
        assert_eq!(printable("a\n\tb\u{1b}", Breaks::Keep), "a\n\tb\\u001b");
    }
}
