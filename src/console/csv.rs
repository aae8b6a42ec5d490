//! Rows in CSV (RFC 4180), for spreadsheets.

use super::printable::{Breaks, printable};

/// The line of a row, with its end. A cell that a spreadsheet would take for a formula gets an apostrophe in front, which
/// marks it as text. Control characters are escaped.
pub(super) fn line(row: &[String]) -> String {
    let mut line = row.iter().map(|text| cell(text)).collect::<Vec<_>>().join(",");
    line.push_str("\r\n");
    line
}

/// The last four are the full-width forms of the first four.
const FORMULA_BEGINS: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];

fn cell(text: &str) -> String {
    let is_formula = text.starts_with(FORMULA_BEGINS);
    let text = printable(text, Breaks::Keep);
    let text = if is_formula { format!("'{text}") } else { text.into_owned() };
    // Some spreadsheets separate cells by semicolons or tabs.
    if text.contains([',', ';', '"', '\t', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_where_it_is_needed_and_are_no_formulas() {
        for (text, shown) in [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"a\"", "\"say \"\"a\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "\"'\t=1\""),
            ("＝1+1", "'＝1+1"),
            ("a;=1+1", "\"a;=1+1\""),
            ("a\u{1b}[2J\u{7}", "a\\u001b[2J\\u0007"),
            ("=A1,\"B\"", "\"'=A1,\"\"B\"\"\""),
        ] {
            assert_eq!(cell(text), shown);
        }
        assert_eq!(line(&["1".to_owned(), "a,b".to_owned()]), "1,\"a,b\"\r\n");
    }
}
