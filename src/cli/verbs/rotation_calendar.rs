use crate::base::limits::CALENDAR_LINES_MAX;
use crate::base::{Clock, SystemClock, Timestamp};
use crate::cli::client::Received;
use crate::cli::session::VerbSession;
use crate::cli::table::columns;
use crate::console::CommandFailure;
use crate::wire::{LIST_ROTATIONS_DUE, RotationDueAnswer};

/// `keyward rotation calendar`
pub(super) async fn print_calendar(
    session: VerbSession<'_>,
    next_s: u32,
    ical: bool,
) -> Result<(), CommandFailure> {
    let now = SystemClock::new().now();
    let until = now.plus_s(i64::from(next_s)).to_string();
    let client = session.operator().await?;
    let mut items = client.items(LIST_ROTATIONS_DUE).await?;
    let listed = items.len();
    // Times in RFC 3339, UTC and of one length sort like text.
    items.retain(|due| due.at <= until);
    if listed >= CALENDAR_LINES_MAX && items.len() == listed {
        let said = format!("only the first {CALENDAR_LINES_MAX} rotations are listed");
        session.console.say(&said);
    }
    if ical {
        session.console.bytes(icalendar(&items, now).as_bytes());
    } else {
        session.print_rows(&client, &items).await;
    }
    Ok(())
}

columns!(RotationDueAnswer "rotations due": at, secret, ("", note));

fn note(due: &RotationDueAnswer) -> String {
    if due.overdue { "overdue".to_owned() } else { String::new() }
}

/// The lines of a calendar as iCalendar (RFC 5545).
fn icalendar(items: &[Received<RotationDueAnswer>], now: Timestamp) -> String {
    // 2026-01-31T12:00:00.000Z becomes 20260131T120000Z.
    let stamp = |text: &str| {
        let digits: String =
            text.split('.').next().unwrap_or_default().chars().filter(|c| !"-:".contains(*c)).collect();
        format!("{digits}Z")
    };
    let mut text =
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//keyward//rotation calendar//EN\r\n".to_owned();
    for due in items {
        let (secret, at) = (due.secret.to_string(), stamp(&due.at));
        let made = stamp(&now.to_string());
        for line in [
            "BEGIN:VEVENT".to_owned(),
            format!("UID:{at}-{}@keyward", secret.replace('/', ".")),
            format!("DTSTAMP:{made}"),
            format!("DTSTART:{at}"),
            format!("SUMMARY:Rotation of {secret}"),
            "TRANSP:TRANSPARENT".to_owned(),
            "END:VEVENT".to_owned(),
        ] {
            // A content line has at most 75 bytes; a longer one continues after a line break and a space.
            let bytes: Vec<char> = line.chars().collect();
            let folded: Vec<String> = bytes.chunks(70).map(|part| part.iter().collect()).collect();
            text.push_str(&folded.join("\r\n "));
            text.push_str("\r\n");
        }
    }
    text.push_str("END:VCALENDAR\r\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_calendar_program_reads_the_calendar() {
        let items = r#"[{ "secret": "orders-db/app", "at": "2026-01-31T12:00:00.000Z", "overdue": false }]"#;
        let items: Vec<Received<RotationDueAnswer>> = serde_json::from_str(items).unwrap();
        let text = icalendar(&items, Timestamp::from_s(0));
        assert!(
            text.starts_with("BEGIN:VCALENDAR\r\nVERSION:2.0\r\n") && text.ends_with("END:VCALENDAR\r\n")
        );
        assert!(text.contains("\r\nDTSTART:20260131T120000Z\r\n"), "{text}");
        assert!(text.contains("\r\nDTSTAMP:19700101T000000Z\r\n"), "{text}");
        assert!(text.split("\r\n").all(|line| line.len() <= 75 && !line.contains('\n')));
    }
}
