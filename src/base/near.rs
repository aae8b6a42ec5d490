//! Texts that a person may have meant by a misspelt one.

/// Those of `known` that differ from `text` in one or two characters, the most similar first.
pub fn near_texts<'a>(text: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    // Of short texts, everything is similar.
    let is_near = |distance: usize, known: &str| distance <= 2 && distance.saturating_mul(2) < known.len();
    let is_as_long = |known: &&str| known.len().abs_diff(text.len()) <= 2;
    let measured = known.into_iter().filter(is_as_long).map(|known| (distance(text, known), known));
    let mut near: Vec<(usize, &str)> =
        measured.filter(|(distance, known)| is_near(*distance, known)).collect();
    near.sort_unstable();
    near.dedup();
    near.into_iter().map(|(_, known)| known).collect()
}

/// Most similar names that a question has.
const NEAR_NAMES_MAX: usize = 3;

/// Most names that are compared with an unknown one.
pub const NAMES_COMPARED_MAX: usize = 10_000;

/// The end of a message about the unknown name `text`: the similar ones of `known`, or nothing.
pub fn did_you_mean<'a>(text: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let others = known.into_iter().filter(|known| *known != text);
    let near = near_texts(text, others.take(NAMES_COMPARED_MAX));
    let near: Vec<String> = near.into_iter().take(NEAR_NAMES_MAX).map(|near| format!("`{near}`")).collect();
    if near.is_empty() { String::new() } else { format!("; did you mean {}?", near.join(" or ")) }
}

/// The similar names for the first unknown names of many: a comparison with all known names takes time.
#[derive(Debug)]
pub struct NearNames {
    left: usize,
}

impl Default for NearNames {
    fn default() -> Self {
        Self { left: 20 }
    }
}

impl NearNames {
    /// The end of a message about the unknown name `text`.
    pub fn of<'a>(&mut self, text: &str, known: impl IntoIterator<Item = &'a str>) -> String {
        if self.left == 0 {
            return String::new();
        }
        self.left = self.left.saturating_sub(1);
        did_you_mean(text, known)
    }
}

/// The number of characters to add, remove or replace to turn `one` into `other`.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (number, char) in one.chars().enumerate() {
        let mut diagonal = number;
        let mut left = number.saturating_add(1);
        let mut next = vec![left];
        for (above, known) in row.iter().skip(1).zip(&other) {
            let replaced = diagonal.saturating_add(usize::from(char != *known));
            left = replaced.min(above.saturating_add(1)).min(left.saturating_add(1));
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_unknown_names_get_a_question() {
        let known = ["report-bot", "research-bot"];
        assert_eq!(did_you_mean("report-bott", known), "; did you mean `report-bot`?");
        assert_eq!(did_you_mean("cd", known), "");
        let mut near = NearNames::default();
        let asked = (0..30).filter(|_| !near.of("report-bott", known).is_empty()).count();
        assert_eq!(asked, 20);
    }

    #[test]
    fn similar_texts_are_found_the_most_similar_first() {
        let known = ["report-bots", "research-bot", "report-bot", "ci"];
        assert_eq!(near_texts("reprot-bots", known), ["report-bots"]);
        assert_eq!(near_texts("report-bott", known), ["report-bot", "report-bots"]);
        assert_eq!(
            (distance("jittr", "jitter"), distance("", "ab"), distance("secret", "secret")),
            (1, 2, 0)
        );
        assert!(near_texts("cd", known).is_empty(), "everything is similar to a short text");
    }
}
