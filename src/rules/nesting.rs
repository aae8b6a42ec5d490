use std::iter::Peekable;
use std::str::CharIndices;

/// An upper bound of the depth of the expressions in a rule: operators that follow each other nest as brackets do. It is
/// counted before the rule is parsed, so that no text makes the parser or an evaluation use much of the stack.
pub(super) fn nesting(text: &str) -> usize {
    let mut levels = vec![Level::default()];
    let mut deepest = 0;
    for token in Tokens::of(text) {
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
struct Tokens<'a> {
    characters: Peekable<CharIndices<'a>>,
    /// Whether a value ends here, so that a bracket which follows is an index: a part that stays.
    is_after_value: bool,
    /// Whether the bracket of an index comes next.
    opens_index: bool,
}

impl<'a> Tokens<'a> {
    fn of(text: &'a str) -> Self {
        Self { characters: text.char_indices().peekable(), is_after_value: false, opens_index: false }
    }

    fn take(&mut self, wanted: char) -> bool {
        self.characters.next_if(|(_, next)| *next == wanted).is_some()
    }

    fn skip_text(&mut self) {
        while let Some((_, character)) = self.characters.next() {
            match character {
                '\\' => drop(self.characters.next()),
                '"' => return,
                _ => {}
            }
        }
    }

    fn word(&mut self, first: char) -> String {
        let mut word = String::from(first);
        while let Some((_, next)) =
            self.characters.next_if(|(_, next)| next.is_alphanumeric() || *next == '_')
        {
            word.push(next);
        }
        word
    }
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        if std::mem::take(&mut self.opens_index) {
            return Some(Token::Open);
        }
        loop {
            let (_, character) = self.characters.next()?;
            if character.is_whitespace() {
                continue;
            }
            let follows_value = std::mem::take(&mut self.is_after_value);
            let token = match character {
                '"' => {
                    self.skip_text();
                    self.is_after_value = true;
                    continue;
                }
                '/' if self.take('/') => {
                    // As Cedar's own lexer ends a comment.
                    while self.characters.next_if(|(_, next)| !matches!(next, '\n' | '\r')).is_some() {}
                    self.is_after_value = follows_value;
                    continue;
                }
                '[' if follows_value => {
                    self.opens_index = true;
                    Token::Part
                }
                '(' | '[' | '{' => Token::Open,
                ')' | ']' | '}' => {
                    self.is_after_value = true;
                    Token::Close
                }
                ',' | ';' => Token::Comma,
                '&' | '|' if self.take(character) => Token::Operator,
                '+' | '-' | '*' => Token::Operator,
                '!' if self.take('=') => Token::Part,
                '!' => Token::Operator,
                '.' | '<' | '>' => Token::Part,
                '=' if self.take('=') => Token::Part,
                first if first.is_alphabetic() || first == '_' => match &*self.word(first) {
                    "if" | "then" | "else" | "when" | "unless" => Token::Operator,
                    "has" | "like" | "in" | "is" => Token::Part,
                    _ => {
                        self.is_after_value = true;
                        continue;
                    }
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
            ("//\r((a))", 3),
            ("a[\"x\"][\"y\"]", 4),
            ("a[\"x\"] // [\n [\"y\"]", 4),
            ("[a, [b]]", 3),
            ("when { a } unless { b }", 4),
            (")))(a)", 2),
        ] {
            assert_eq!(nesting(text), depth, "{text}");
        }
    }
}
