use super::color::Style;

/// A table whose cells contain no line breaks.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) head: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
}

/// A line of a printed table.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct TableLine {
    pub(super) text: String,
    pub(super) style: Style,
}

/// The space between two columns.
const GAP: &str = "  ";
/// The least width that the last column needs beside the others.
const LAST_MIN: usize = 12;

impl Table {
    /// The lines for a terminal of this width; without a width each row is one line. Cells are wrapped after spaces and
    /// commas, and no word is divided: only a long word of the last column continues on the next line of the terminal.
    /// If the words of a row are too long to stand side by side, each row is a block with one field per line.
    pub(super) fn lines(&self, width: Option<usize>) -> Vec<TableLine> {
        let wanted = self.widths(length);
        let Some(width) = width.filter(|width| total(&wanted) > *width) else { return self.aligned(&wanted) };
        let floor = self.widths(longest_word);
        if total(&floor) <= width {
            return self.aligned(&shrunk(wanted, &floor, width));
        }
        // Without the width of the last column beyond the least one.
        let cut = |widths: &[usize]| -> Vec<usize> {
            let last = widths.len().saturating_sub(1);
            let cut = |(at, width): (usize, &usize)| if at == last { (*width).min(LAST_MIN) } else { *width };
            widths.iter().enumerate().map(cut).collect()
        };
        let least = cut(&floor);
        // Two columns are one field per line already.
        if total(&least) > width && self.head.len() > 2 {
            return self.blocks(width);
        }
        let mut widths = shrunk(cut(&wanted), &least, width);
        if let (Some(last), Some(floor)) = (widths.last_mut(), floor.last()) {
            *last = *floor;
        }
        self.aligned(&widths)
    }

    /// The width of each column, if a cell is as wide as `of` says.
    fn widths(&self, of: fn(&str) -> usize) -> Vec<usize> {
        let mut widths: Vec<usize> = self.head.iter().map(|cell| of(cell)).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(of(cell));
            }
        }
        widths
    }

    fn aligned(&self, widths: &[usize]) -> Vec<TableLine> {
        let heads = std::iter::once((&self.head, Style::Head));
        let rows = heads.chain(self.rows.iter().map(|row| (row, Style::Plain)));
        rows.flat_map(|(row, style)| {
            row_lines(row, widths).into_iter().map(move |text| TableLine { text, style })
        })
        .collect()
    }

    fn blocks(&self, width: usize) -> Vec<TableLine> {
        let names = self.head.iter().map(|head| length(head)).max().unwrap_or_default();
        let widths = [names, width.saturating_sub(names).saturating_sub(GAP.len())];
        let mut lines = Vec::new();
        for row in &self.rows {
            if !lines.is_empty() {
                lines.push(TableLine { text: String::new(), style: Style::Plain });
            }
            for (name, cell) in self.head.iter().zip(row) {
                let cell = if cell.is_empty() { "-" } else { cell };
                let field = [name.clone(), cell.to_owned()];
                lines.extend(
                    row_lines(&field, &widths)
                        .into_iter()
                        .map(|text| TableLine { text, style: Style::Plain }),
                );
            }
        }
        lines
    }
}

/// The lines of a row, whose cells are wrapped at these widths.
fn row_lines(row: &[String], widths: &[usize]) -> Vec<String> {
    let cells: Vec<Vec<String>> = row.iter().zip(widths).map(|(cell, width)| wrapped(cell, *width)).collect();
    let height = cells.iter().map(Vec::len).max().unwrap_or_default();
    let line = |at: usize| {
        let part = |(cell, width): (&Vec<String>, &usize)| {
            let text = cell.get(at).map(String::as_str).unwrap_or_default();
            format!("{text:width$}", width = *width)
        };
        let parts: Vec<String> = cells.iter().zip(widths).map(part).collect();
        parts.join(GAP).trim_end().to_owned()
    };
    (0..height).map(line).collect()
}

/// Takes width from the widest columns, but from none more than down to its floor, until all fit.
fn shrunk(mut widths: Vec<usize>, floor: &[usize], width: usize) -> Vec<usize> {
    while total(&widths) > width {
        let can_shrink = widths.iter_mut().zip(floor).filter(|(width, floor)| **width > **floor);
        let Some((widest, _)) = can_shrink.max_by_key(|(width, _)| **width) else { break };
        *widest = widest.saturating_sub(1);
    }
    widths
}

/// The width of a line with columns of these widths.
fn total(widths: &[usize]) -> usize {
    let gaps = widths.len().saturating_sub(1).saturating_mul(GAP.len());
    widths.iter().fold(gaps, |sum, width| sum.saturating_add(*width))
}

fn length(text: &str) -> usize {
    text.chars().count()
}

fn longest_word(text: &str) -> usize {
    words(text).map(|word| length(word.trim_end())).max().unwrap_or_default()
}

/// The parts of a text after which a line can end.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive([' ', ','])
}

/// A text in lines of at most `width` characters, if its words are not longer.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    if length(text) <= width {
        return vec![text.to_owned()];
    }
    let (mut lines, mut line) = (Vec::new(), String::new());
    for word in words(text) {
        if !line.is_empty() && length(&line).saturating_add(length(word.trim_end())) > width {
            lines.push(std::mem::take(&mut line).trim_end().to_owned());
        }
        line.push_str(word);
    }
    lines.push(line.trim_end().to_owned());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        Table {
            head: row(["NAME", "ROLES", "WHY"]),
            rows: vec![row(["a", "reader,writer,publisher", "of today"]), row(["long-name", "", ""])],
        }
    }

    fn shown(table: &Table, width: Option<usize>) -> Vec<String> {
        table.lines(width).into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn rows_are_lines_where_they_fit_or_no_terminal_is_there() {
        let lines = [
            "NAME       ROLES                    WHY",
            "a          reader,writer,publisher  of today",
            "long-name",
        ];
        assert_eq!(shown(&table(), None), lines);
        assert_eq!(shown(&table(), Some(44)), lines);
        assert_eq!(table().lines(None)[0].style, Style::Head);
    }

    #[test]
    fn cells_are_wrapped_between_words() {
        let lines = [
            "NAME       ROLES           WHY",
            "a          reader,writer,  of today",
            "           publisher",
            "long-name",
        ];
        assert_eq!(shown(&table(), Some(35)), lines);
        assert!(shown(&table(), Some(30)).iter().all(|line| length(line) <= 30));
    }

    #[test]
    fn rows_are_blocks_where_words_do_not_fit() {
        let lines = [
            "NAME   a",
            "ROLES  reader,writer,",
            "       publisher",
            "WHY    of today",
            "",
            "NAME   long-name",
            "ROLES  -",
            "WHY    -",
        ];
        assert_eq!(shown(&table(), Some(22)), lines);
        let mut last = table();
        last.rows[0][2] = "https://reports.example.com".to_owned();
        let shown_last = shown(&last, Some(39));
        assert_eq!(
            shown_last[1..3],
            ["a          reader,writer,  https://reports.example.com", "           publisher"]
        );
        let fields = Table {
            head: vec!["FIELD".to_owned(), "VALUE".to_owned()],
            rows: vec![vec!["id".to_owned(), "x".repeat(30)]],
        };
        assert_eq!(shown(&fields, Some(20))[1], format!("id     {}", "x".repeat(30)), "no word is divided");
    }
}
