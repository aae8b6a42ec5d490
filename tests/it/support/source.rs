//! Source text with what is not code taken out, so that rules about code can be plain text searches.
//!
//! Everything that is taken out is replaced by spaces: places and line numbers stay true.

use std::path::{Path, PathBuf};

/// One source file.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// From the package's root, e.g. `src/base/clock.rs`.
    pub(crate) path: String,
    /// As it stands.
    pub(crate) raw: String,
    /// Without comments and test modules.
    pub(crate) text: String,
    /// Without comments, test modules and the insides of strings.
    pub(crate) code: String,
    /// Test modules, without comments.
    pub(crate) tests: String,
}

impl Source {
    pub(crate) fn new(path: &str, raw: &str) -> Self {
        let (text, code) = without_comments(raw);
        let tests = if path.ends_with("tests.rs") { vec![(0, code.len())] } else { test_items(&code) };
        let tested = tests.iter().map(|(from, to)| &text[*from..*to]).collect();
        let (text, code) = (blanked(&text, &tests), blanked(&code, &tests));
        Self { path: path.to_owned(), raw: raw.to_owned(), text, code, tests: tested }
    }

    /// The room that the file is in; `None` for the roots of library and binary.
    pub(crate) fn room(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        inside.split_once('/').map(|(room, _)| room)
    }

    /// `path:line: what`.
    pub(crate) fn finding(&self, offset: usize, what: &str) -> String {
        let line = self.raw.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("{}:{line}: {what}", self.path)
    }
}

/// Every `.rs` file below `folder` of the package.
pub(crate) fn sources(folder: &str) -> Vec<Source> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(read(&root, &path));
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!found.is_empty(), "{folder} has no source files");
    found
}

fn read(root: &Path, path: &Path) -> Source {
    let name = path.strip_prefix(root).unwrap().to_str().unwrap();
    Source::new(name, &std::fs::read_to_string(path).unwrap())
}

/// Where `needle` stands in `text` as a word of its own.
pub(crate) fn words<'a>(text: &'a str, needle: &'a str) -> impl Iterator<Item = usize> + 'a {
    text.match_indices(needle).map(|(at, _)| at).filter(move |at| {
        let before = text[..*at].chars().next_back();
        let after = text[at + needle.len()..].chars().next();
        let within = |next: Option<char>| next.is_some_and(is_word);
        !(needle.starts_with(is_word) && within(before) || needle.ends_with(is_word) && within(after))
    })
}

pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The identifier that `text` begins with; empty when it begins otherwise.
pub(crate) fn identifier(text: &str) -> &str {
    &text[..text.find(|c| !is_word(c)).unwrap_or(text.len())]
}

/// `raw` without comments, and `raw` without comments and the insides of strings and characters.
fn without_comments(raw: &str) -> (String, String) {
    let (mut text, mut code) = (raw.as_bytes().to_vec(), raw.as_bytes().to_vec());
    let blank = |bytes: &mut [u8], from: usize, to: usize| {
        for byte in &mut bytes[from..to] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
    };
    let mut at = 0;
    while at < raw.len() {
        let rest = &raw.as_bytes()[at..];
        if !raw.is_char_boundary(at) {
            at += 1;
        } else if rest.starts_with(b"//") || rest.starts_with(b"/*") {
            let end = at + comment(rest);
            blank(&mut text, at, end);
            blank(&mut code, at, end);
            at = end;
        } else if let Some((open, length)) = literal(raw, at) {
            blank(&mut code, at + open, at + length);
            at += length;
        } else {
            at += 1;
        }
    }
    (String::from_utf8(text).unwrap(), String::from_utf8(code).unwrap())
}

fn comment(rest: &[u8]) -> usize {
    if rest.starts_with(b"//") {
        return rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    }
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += 1;
        }
    }
    at
}

/// A string or character that begins at `at`: the length of what opens it, and its whole length.
fn literal(raw: &str, at: usize) -> Option<(usize, usize)> {
    let rest = &raw[at..];
    if rest.starts_with('"') {
        return Some((1, quoted(rest, '"')));
    }
    let before = raw[..at].chars().next_back();
    if rest.starts_with('r') && !before.is_some_and(|c| is_word(c) && c != 'b' && c != 'c') {
        let hashes = rest[1..].bytes().take_while(|byte| *byte == b'#').count();
        if rest[1 + hashes..].starts_with('"') {
            let close = format!("\"{}", "#".repeat(hashes));
            let inside = &rest[hashes + 2..];
            let length = inside.find(&close).map_or(inside.len(), |end| end + close.len());
            return Some((hashes + 2, hashes + 2 + length));
        }
    }
    let inside = rest.strip_prefix('\'')?;
    // `'a'` and `'\n'` are characters, `'a` is a lifetime.
    let width = inside.chars().next().map_or(0, char::len_utf8);
    (inside.starts_with('\\') || inside[width..].starts_with('\'')).then(|| (1, quoted(rest, '\'')))
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == quote {
            return at + quote.len_utf8();
        }
    }
    rest.len()
}

/// Where items under `#[cfg(test)]` stand.
fn test_items(code: &str) -> Vec<(usize, usize)> {
    const MARK: &str = "#[cfg(test)]";
    let mut found = Vec::new();
    for (at, _) in code.match_indices(MARK) {
        let body = at + MARK.len();
        let Some(opens) = code[body..].find(['{', ';']) else { continue };
        let mut end = body + opens + 1;
        if code[body + opens..].starts_with('{') {
            let mut depth = 1;
            for byte in &code.as_bytes()[end..] {
                end += 1;
                match byte {
                    b'{' => depth += 1,
                    b'}' => depth -= 1,
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
            }
        }
        found.push((at, end));
    }
    found
}

fn blanked(text: &str, ranges: &[(usize, usize)]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for (from, to) in ranges {
        for byte in &mut bytes[*from..*to] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
    }
    String::from_utf8(bytes).unwrap()
}

#[test]
fn what_is_not_code_is_taken_out_and_lines_stay() {
    let source = Source::new(
        "src/base/x.rs",
        concat!(
            "// crate::a\nuse crate::b; /* crate::c /* crate::d */ crate::e */\n",
            "let s = \"crate::f \\\" crate::g\"; let r = r#\"crate::h \" crate::i\"#; let c = '\"';\n",
            "fn f<'a>(x: &'a str) { crate::j }\n",
            "#[cfg(test)]\nmod tests {\n    fn g() { crate::k }\n}\nuse crate::l;\n",
        ),
    );
    let found: Vec<&str> =
        source.code.match_indices("crate::").map(|(at, _)| identifier(&source.code[at + 7..])).collect();
    assert_eq!(found, ["b", "j", "l"]);
    assert!(source.text.contains("crate::i") && !source.text.contains("crate::a"));
    assert_eq!(source.code.lines().count(), source.raw.lines().count());
    assert_eq!(source.finding(source.code.find("crate::l").unwrap(), "here"), "src/base/x.rs:9: here");
    assert_eq!(words("assert(x); a.ass(y); ass(z)", "ass(").count(), 2);
}
