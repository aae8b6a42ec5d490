//! Free text of other people, as an approver sees it: no character hides, moves or imitates another one.

use std::fmt::Write as _;

use crate::base::is_invisible;
use crate::crypto::sha256;

/// `text` on one line: characters that cannot be seen are spelled `<U+200B>`, letters that look like others are followed by
/// their number (`а<U+0430>`), and beyond `chars_max` characters the text is cut, with its length and SHA-256.
#[must_use]
pub(crate) fn visible(text: &str, chars_max: usize) -> String {
    let shown: String = text.chars().take(chars_max).collect();
    let mut out = String::with_capacity(shown.len());
    for word in words(&shown) {
        if word.len() >= SPACES_SPELLED && word.trim_matches(' ').is_empty() {
            let _written = write!(out, "<{} spaces>", word.len());
            continue;
        }
        let doubtful = is_doubtful(word);
        for c in word.chars() {
            if is_unseen(c) {
                spell(c, &mut out);
            } else {
                out.push(c);
                if is_disguised(c) || (doubtful && is_look_alike(c)) {
                    spell(c, &mut out);
                }
            }
        }
    }
    let count = text.chars().count();
    if count > chars_max {
        // Writing to a string does not fail.
        let _written = write!(out, "… (cut: {count} characters, SHA-256 {})", sha256(text.as_bytes()).hex());
    }
    out
}

/// From this number on, spaces in a row are counted: with them, a text could look like the next line.
const SPACES_SPELLED: usize = 3;

fn spell(c: char, out: &mut String) {
    let _written = write!(out, "<U+{:04X}>", u32::from(c));
}

/// The parts of `text`, each of characters of words, of spaces or of others.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    let kind = |c: char| (c.is_alphanumeric(), c == ' ');
    std::iter::from_fn(move || {
        let first = kind(rest.chars().next()?);
        let end = rest.find(|c: char| kind(c) != first).unwrap_or(rest.len());
        let (word, after) = rest.split_at_checked(end)?;
        rest = after;
        Some(word)
    })
}

/// Whether a letter of the word can be taken for another one: it is among Latin letters, or all letters of the word look
/// like Latin ones.
fn is_doubtful(word: &str) -> bool {
    let has_latin = word.chars().any(|c| c.is_ascii_alphanumeric());
    has_latin || word.chars().all(is_imitation)
}

/// Whether a character is a letter of an alphabet with letters that look like Latin ones.
const fn is_look_alike(c: char) -> bool {
    matches!(
        c,
        // IPA and modifiers; Greek and Coptic; Cyrillic; Armenian; Cherokee; Coptic; Lisu.
        '\u{250}'..='\u{2ff}' | '\u{370}'..='\u{3ff}' | '\u{400}'..='\u{52f}' | '\u{531}'..='\u{587}'
            | '\u{13a0}'..='\u{13ff}' | '\u{1c80}'..='\u{1c8f}' | '\u{1d00}'..='\u{1dbf}' | '\u{2c80}'..='\u{2cff}'
            | '\u{2de0}'..='\u{2dff}' | '\u{a4d0}'..='\u{a4ff}' | '\u{a640}'..='\u{a69f}' | '\u{ab30}'..='\u{abbf}'
            // Dotless i, long s, clicks.
            | '\u{131}' | '\u{17f}' | '\u{1c0}'..='\u{1c3}'
    )
}

/// Whether a letter looks like a Latin letter or a digit.
fn is_imitation(c: char) -> bool {
    IMITATIONS.contains(c)
}

/// Letters of other scripts that look like a Latin letter or a digit.
const IMITATIONS: &str = "авекмнорстухѕіјһԁԛԝАВЕКМНОРСТУХЅІЈԀԌԚԜαικνορτυχΑΒΕΖΗΙΚΜΝΟΡΤΥΧօոսցհՏՍՕ";

/// Whether a character is another one in a form of its own: full-width, mathematical, enclosed, superscript.
const fn is_disguised(c: char) -> bool {
    matches!(
        c,
        '\u{2070}'..='\u{209f}' | '\u{2100}'..='\u{214f}' | '\u{2160}'..='\u{2188}' | '\u{2460}'..='\u{24ff}'
            | '\u{ff01}'..='\u{ff5e}' | '\u{1d400}'..='\u{1d7ff}' | '\u{1f100}'..='\u{1f1ff}' | '\u{1fbf0}'..='\u{1fbf9}'
            // Strokes and dots that look like ASCII punctuation, e.g. in an address.
            | '\u{2010}'..='\u{2015}' | '\u{2024}'..='\u{2025}' | '\u{2044}' | '\u{2215}' | '\u{2236}' | '\u{29f8}' | '\u{3002}'
            | '\u{589}' | '\u{5c3}' | '\u{2212}' | '\u{fe52}' | '\u{fe55}' | '\u{fe68}'
    )
}

/// Whether a character has no shape of its own, or moves others.
fn is_unseen(c: char) -> bool {
    let is_formatting = matches!(
        c,
        '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{2800}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{fff0}'..='\u{ffff}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
            // Private use.
            | '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10ffff}'
            // Marks that are drawn onto the character before.
            | '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}'
            | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}'
    );
    is_invisible(c) || is_formatting || c.is_control() || (c.is_whitespace() && c != ' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_hide_or_imitate_others_are_spelled() {
        for (given, shown) in [
            ("release 7 – ünïcode 日本", "release 7 –<U+2013> ünïcode 日本"),
            ("a\u{1b}[2Jb\nc", "a<U+001B>[2Jb<U+000A>c"),
            ("abc\u{202e}fed", "abc<U+202E>fed"),
            ("zero\u{200b}width\u{a0}space", "zero<U+200B>width<U+00A0>space"),
            ("p\u{430}yments", "p\u{430}<U+0430>yments"),
            // All letters look like Latin ones
            ("\u{440}\u{430}\u{443}", "\u{440}<U+0440>\u{430}<U+0430>\u{443}<U+0443>"),
            // A word of another language is a word
            ("развёртывание", "развёртывание"),
            ("ｐａｙ", "ｐ<U+FF50>ａ<U+FF41>ｙ<U+FF59>"),
            ("e\u{301}", "e<U+0301>"),
            ("a  b   c", "a  b<3 spaces>c"),
            ("ok.          use  once", "ok.<10 spaces>use  once"),
            ("\u{e0041}x", "<U+E0041>x"),
        ] {
            assert_eq!(visible(given, 300), shown);
        }
    }

    #[test]
    fn long_text_is_cut_with_its_hash() {
        assert_eq!(visible(&"x".repeat(10), 10), "x".repeat(10));
        let long = "x".repeat(11);
        let hash = sha256(long.as_bytes()).hex();
        assert_eq!(visible(&long, 10), format!("xxxxxxxxxx… (cut: 11 characters, SHA-256 {hash})"));
    }
}
