//! A timeline as Markdown, and as one HTML page without scripts, links and requests.

use super::timeline::{Timeline, TimelineRow};

/// The style of the page. Nothing is loaded: the policy forbids it.
const HEAD: &str = r#"<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #1b1f24; background: #fff }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1.5rem }
dt { font-weight: 600 } dd { margin: 0 }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .35rem .8rem .35rem 0; border-bottom: 1px solid #d0d7de }
td { overflow-wrap: anywhere } td.time, td.seq { white-space: nowrap; font-variant-numeric: tabular-nums }
code { display: block; font: 12px/1.4 ui-monospace, monospace } label { color: #57606a }
footer { margin-top: 2rem; color: #57606a }
@media (prefers-color-scheme: dark) { body { color: #e6edf3; background: #0d1117 } th, td { border-color: #30363d } label, footer { color: #8b949e } }
@media screen { input:not(:checked) ~ code { display: none } }
@media print { body { color: #000; background: #fff; margin: 0; max-width: none } label, input { display: none } tr { break-inside: avoid } }
</style>
"#;

/// What a reader of the page can rely on.
const FOOTER: &str = "This page is part of an evidence bundle. Its hash is in the bundle's signed manifest. The entries and \
                      their proofs are in entries.jsonl; `keyward verify` checks them on any machine.";

/// One page.
pub(super) fn html(timeline: &Timeline) -> String {
    let mut out = String::from("<!doctype html>\n<html lang=\"en\">\n");
    out.push_str(HEAD);
    let title = text(&timeline.title);
    put(&mut out, format_args!("<title>{title}</title>\n<h1>{title}</h1>\n<dl>\n"));
    for (label, fact) in &timeline.facts {
        put(&mut out, format_args!("<dt>{}</dt><dd>{}</dd>\n", text(label), text(fact)));
    }
    out.push_str(
        "</dl>\n<h2>Timeline</h2>\n<table>\n<tr><th>Entry<th>Time (UTC)<th>Event<th>Who<th>On</tr>\n",
    );
    for row in &timeline.rows {
        html_row(&mut out, row);
    }
    put(&mut out, format_args!("</table>\n<footer>{}</footer>\n</html>\n", text(FOOTER)));
    out
}

fn html_row(out: &mut String, row: &TimelineRow) {
    let (seq, time, what) = (row.seq, text(&row.time), text(&row.what));
    let (who, on, event) = (text(&row.who), text(&row.on), text(&row.event));
    put(out, format_args!("<tr><td class=\"seq\">{seq}<td class=\"time\">{time}<td>{what}<td>{who}<td>{on}"));
    if !row.reason.is_empty() {
        put(out, format_args!("<br>Reason: {}", text(&row.reason)));
    }
    if !row.stated.is_empty() {
        put(out, format_args!("<br>Stated: {}", text(&row.stated)));
    }
    // A printed page shows all fields: browsers print closed `<details>` without their content.
    put(
        out,
        format_args!(
            "<br><input type=\"checkbox\" id=\"e{seq}\"><label for=\"e{seq}\">all fields</label><code>{event}</code></tr>\n"
        ),
    );
}

/// The same in Markdown.
pub(super) fn markdown(timeline: &Timeline) -> String {
    let mut out = format!("# {}\n\n", plain(&timeline.title));
    for (label, fact) in &timeline.facts {
        put(&mut out, format_args!("- **{}**: {}\n", plain(label), plain(fact)));
    }
    out.push_str("\n| entry | time (UTC) | event | who | on | reason, and what was stated |\n|---|---|---|---|---|---|\n");
    for row in &timeline.rows {
        let said = [row.reason.as_str(), row.stated.as_str()].into_iter().filter(|text| !text.is_empty());
        let said = said.collect::<Vec<_>>().join("; ");
        let cells = [&row.time, &row.what, &row.who, &row.on, &said].map(|cell| plain(cell));
        put(&mut out, format_args!("| {} | {} |\n", row.seq, cells.join(" | ")));
    }
    put(&mut out, format_args!("\n{FOOTER}\n"));
    out
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.push_str(&text.to_string());
}

/// `raw` as text in HTML.
fn text(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    for c in raw.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if is_invisible(c) => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// `raw` as text in a cell of a Markdown table.
fn plain(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    for c in raw.chars() {
        match c {
            '\\' | '|' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '#' | '&' | '!' => out.extend(['\\', c]),
            c if is_invisible(c) => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// Whether a character could break a line or reorder the text around it.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_reasons_stay_text() {
        let hostile = "<script>alert(1)</script>|`x`\n\u{202e}\"'&";
        let row = TimelineRow {
            seq: 7,
            time: "2026-11-30T00:00:00.000Z".to_owned(),
            what: "token.minted".to_owned(),
            who: hostile.to_owned(),
            on: hostile.to_owned(),
            event: hostile.to_owned(),
            reason: hostile.to_owned(),
            stated: hostile.to_owned(),
        };
        let facts = vec![(hostile.to_owned(), hostile.to_owned())];
        let timeline = Timeline { title: hostile.to_owned(), facts, rows: vec![row] };
        let page = html(&timeline);
        assert!(!page.contains("<script") && !page.contains('\u{202e}'), "{page}");
        for outside in ["http://", "https://", "src=", "href=", "url("] {
            assert!(!page.contains(outside), "the page loads nothing: {outside}");
        }
        let markdown = markdown(&timeline);
        let rows: Vec<&str> = markdown.lines().filter(|line| line.starts_with("| 7")).collect();
        let [row] = rows[..] else { panic!("{markdown}") };
        assert_eq!(row.replace("\\|", "").matches('|').count(), 7, "{row}");
    }
}
