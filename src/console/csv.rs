//! Rows in CSV (RFC 4180), for spreadsheets.

/// The line of a row, with its end. A cell that a spreadsheet would take for a formula gets an apostrophe in front, which
/// marks it as text.
pub(super) fn line(row: &[String]) -> String {
    let mut line = row.iter().map(|text| cell(text)).collect::<Vec<_>>().join(",");
    line.push_str("\r\n");
    line
}

fn cell(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    let text = if is_formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
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
            ("\t=1", "'\t=1"),
            ("=A1,\"B\"", "\"'=A1,\"\"B\"\"\""),
        ] {
            assert_eq!(cell(text), shown);
        }
        assert_eq!(line(&["1".to_owned(), "a,b".to_owned()]), "1,\"a,b\"\r\n");
    }
}
