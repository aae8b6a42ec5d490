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
    let before = text.get(..offset).unwrap_or(text);
    let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count());
    (before.matches('\n').count().saturating_add(1), column.saturating_add(1))
}
