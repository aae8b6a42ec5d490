use std::iter::Peekable;
use std::str::CharIndices;

/// An upper bound of the depth of the expressions in a rule: operators that follow each other nest as brackets do. It is
/// counted before the rule is parsed, so that no text makes the parser or an evaluation use much of the stack.
pub(super) fn nesting(text: &str) -> usize {
    let mut levels = vec![Level::default()];
    let mut deepest = 0;
    for token in Tokens(text.char_indices().peekable()) {
        match token {
            Token::Open => levels.push(Level::default()),
            Token::Close if levels.len() > 1 => drop(levels.pop()),
            Token::Close => {}
            Token::Comma | Token::Operator | Token::Part => {
                levels.last_mut().into_iter().for_each(|level| level.take(&token));
            }
        }
        let depth = levels.iter().map(Level::depth).fold(levels.len(), usize::saturating_add);
        deepest = deepest.max(depth);
    }
    deepest
}

/// What was read between two brackets.
#[derive(Clone, Copy, Default)]
struct Level {
    /// Operators that combine conditions.
    operators: usize,
    /// Parts of the present condition: fields, comparisons.
    parts: usize,
}

impl Level {
    const fn depth(&self) -> usize {
        self.operators.saturating_add(self.parts)
    }

    const fn take(&mut self, token: &Token) {
        match token {
            Token::Comma => *self = Self { operators: 0, parts: 0 },
            Token::Operator => *self = Self { operators: self.operators.saturating_add(1), parts: 0 },
            Token::Part => self.parts = self.parts.saturating_add(1),
            Token::Open | Token::Close => {}
        }
    }
}

enum Token {
    Open,
    Close,
    Comma,
    Operator,
    Part,
}

/// The tokens of a rule that nest, without texts and comments.
struct Tokens<'a>(Peekable<CharIndices<'a>>);

impl Tokens<'_> {
    fn take(&mut self, wanted: char) -> bool {
        self.0.next_if(|(_, next)| *next == wanted).is_some()
    }

    fn skip_text(&mut self) {
        while let Some((_, character)) = self.0.next() {
            match character {
                '\\' => drop(self.0.next()),
                '"' => return,
                _ => {}
            }
        }
    }

    fn word(&mut self, first: char) -> String {
        let mut word = String::from(first);
        while let Some((_, next)) = self.0.next_if(|(_, next)| next.is_alphanumeric() || *next == '_') {
            word.push(next);
        }
        word
    }
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        loop {
            let (_, character) = self.0.next()?;
            let token = match character {
                '"' => {
                    self.skip_text();
                    continue;
                }
                '/' if self.take('/') => {
                    while self.0.next_if(|(_, next)| *next != '\n').is_some() {}
                    continue;
                }
                '(' | '[' | '{' => Token::Open,
                ')' | ']' | '}' => Token::Close,
                ',' | ';' => Token::Comma,
                '&' | '|' if self.take(character) => Token::Operator,
                '+' | '-' | '*' => Token::Operator,
                '!' if self.take('=') => Token::Part,
                '!' => Token::Operator,
                '.' | '<' | '>' => Token::Part,
                '=' if self.take('=') => Token::Part,
                first if first.is_alphabetic() || first == '_' => match &*self.word(first) {
                    "if" | "then" | "else" => Token::Operator,
                    "has" | "like" | "in" | "is" => Token::Part,
                    _ => continue,
                },
                _ => continue,
            };
            return Some(token);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_and_brackets_nest() {
        for (text, depth) in [
            ("", 0),
            ("a", 0),
            ("(a)", 2),
            ("((a))", 3),
            ("a && b || c", 3),
            ("(a && b) && (c && d)", 4),
            ("a.b.c", 3),
            ("a.b == c && d.e == f", 4),
            ("f(a, b, c)", 2),
            ("!!a", 3),
            ("if a then b else c", 4),
            ("\"((( && \\\" (((\"", 0),
            ("// ((((\n(a)", 2),
            (")))(a)", 2),
        ] {
            assert_eq!(nesting(text), depth, "{text}");
        }
    }
}
