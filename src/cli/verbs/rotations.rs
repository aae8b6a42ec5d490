use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::base::code::{self, Code};
use crate::base::limits::CALENDAR_LINES_MAX;
use crate::base::{Clock, SecretName, SystemClock, Timestamp};
use crate::cli::client::Client;
use crate::cli::identity::Kind;
use crate::cli::nouns::RotationCommand;
use crate::cli::verbs::agents::{canonical, cell};
use crate::console::{Console, Failure};
use crate::rotation::length_s;
use crate::upstream::Explained;

/// `keyward rotation …`
pub(in crate::cli) async fn rotation(
    home: &Path,
    command: &RotationCommand,
    console: &Console,
) -> Result<(), Failure> {
    match command {
        RotationCommand::List => list(home, console).await,
        RotationCommand::Show { name } => {
            let client = Client::of(home, Kind::Operator).await?;
            console.json(&client.get(&path("rotations", name)?).await?.json()?);
            Ok(())
        }
        RotationCommand::Calendar { next, ical } => calendar(home, next, *ical, console).await,
        RotationCommand::Pause { name } => act(home, name, ("pause", "paused"), console).await,
        RotationCommand::Resume { name } => act(home, name, ("resume", "resumed"), console).await,
        RotationCommand::Retry { name } => act(home, name, ("retry", "tried again"), console).await,
        RotationCommand::Check { name } => {
            let client = Client::of(home, Kind::Operator).await?;
            let checked = client.post_json(&path("rotation-checks", name)?, &json!({})).await?.json()?;
            if console.is_json() {
                console.json(&checked);
            }
            conclude(&[checked], console)
        }
        RotationCommand::Adopt { name, number, unverified } => {
            let asked = json!({ "version": number, "unverified": unverified });
            let client = Client::of(home, Kind::Operator).await?;
            let adopted = client.post_json(&path("rotation-adoptions", name)?, &asked).await?.json()?;
            if console.is_json() {
                console.json(&adopted);
            } else {
                let (version, seq) = (cell(adopted.get("version")), cell(adopted.get("seq")));
                console.line(&format!("{name}: version {version} is handed out (entry {seq})"));
            }
            Ok(())
        }
        RotationCommand::RevokePrevious { name } => {
            act(home, name, ("revoke-previous", "the old value ends now"), console).await
        }
        RotationCommand::ClearOrphans { name } => {
            act(home, name, ("clear-orphans", "no orphans any more"), console).await
        }
    }
}

fn path(below: &str, name: &str) -> Result<String, Failure> {
    Ok(format!("/v1/{below}/{}", canonical::<SecretName>(name)?))
}

/// Tries the upstreams of the rotations that `changes` declare in `files`.
pub(in crate::cli) async fn check_planned(
    client: &Client,
    files: &[Value],
    changes: &[Value],
    console: &Console,
) -> Result<(), Failure> {
    let mut checked = Vec::new();
    for change in changes {
        let at = |name: &str| change.get(name).and_then(Value::as_str).unwrap_or_default();
        if at("kind") == "rotation" && at("action") != "remove" {
            let asked = json!({ "files": files });
            checked.push(client.post_json(&path("plan-checks", at("name"))?, &asked).await?.json()?);
        }
    }
    if console.is_json() {
        console.json(&json!({ "changes": changes, "checks": checked }));
    }
    conclude(&checked, console)
}

/// Prints what was found when upstreams were tried; fails when something is missing.
fn conclude(checked: &[Value], console: &Console) -> Result<(), Failure> {
    let (mut all, mut missing) = (0_u32, 0_u32);
    for check in checked {
        let secret = cell(check.get("secret"));
        for finding in check.get("findings").and_then(Value::as_array).into_iter().flatten() {
            let field = |name: &str| cell(finding.get(name));
            let is_ok = finding.get("ok").and_then(Value::as_bool) == Some(true);
            all = all.saturating_add(1);
            missing = missing.saturating_add(u32::from(!is_ok));
            if console.is_json() {
                continue;
            }
            let verdict = if is_ok { "ok  " } else { "FAIL" };
            console.line(&format!("{verdict} {secret} {}: {}", field("what"), field("says")));
            if !is_ok {
                console.line(&format!("     fix: {}", field("fix")));
            }
        }
    }
    if missing == 0 {
        return Ok(());
    }
    Err(Failure::new(code::UPSTREAM_CHECK_FAILED).because(format!("{missing} of {all} checks failed")))
}

async fn list(home: &Path, console: &Console) -> Result<(), Failure> {
    let items = Client::of(home, Kind::Operator).await?.list("/v1/rotations").await?;
    if console.is_json() {
        console.json(&json!({ "items": items }));
        return Ok(());
    }
    let row = |item: &Value| {
        let field = |name: &str| cell(item.get(name));
        let schedule = item.get("schedule").and_then(Value::as_str).unwrap_or("by hand");
        vec![field("secret"), field("upstream"), schedule.to_owned(), field("next"), state(item)]
    };
    console.table(
        &["SECRET", "UPSTREAM", "SCHEDULE", "NEXT", "STATE"],
        &items.iter().map(row).collect::<Vec<_>>(),
    );
    Ok(())
}

/// How a rotation stands, in a word or two.
fn state(item: &Value) -> String {
    let at = |path: &str| item.pointer(path).and_then(Value::as_str);
    let stage = at("/run/stage");
    let orphans = item.get("orphans").and_then(Value::as_array).map_or(0, Vec::len);
    let left = if orphans > 0 { format!("; orphans: {orphans}") } else { String::new() };
    let state = match (stage, at("/run/trouble/code")) {
        (Some(stage), Some(code)) if at("/run/trouble/retry_at").is_none() => {
            format!("dead letter at {stage}: {code}")
        }
        (Some(stage), Some(code)) => format!("{stage}, tried again: {code}"),
        (Some(stage), None) => stage.to_owned(),
        (None, _) if item.get("paused_at").is_some_and(Value::is_string) => "paused".to_owned(),
        (None, _) if item.get("overdue").and_then(Value::as_bool) == Some(true) => "overdue".to_owned(),
        (None, _) => "idle".to_owned(),
    };
    state + &left
}

async fn act(
    home: &Path,
    name: &str,
    (action, done): (&str, &str),
    console: &Console,
) -> Result<(), Failure> {
    let client = Client::of(home, Kind::Operator).await?;
    let answer = client.post_json(&path("rotations", name)?, &json!({ "action": action })).await?.json()?;
    if console.is_json() {
        console.json(&answer);
    } else {
        console.line(&format!("{name}: {done}"));
    }
    Ok(())
}

async fn calendar(home: &Path, next: &str, ical: bool, console: &Console) -> Result<(), Failure> {
    let span = length_s("--next", next)
        .map_err(|error| Failure::usage(&error.to_string(), "say it as `30d` or `12h`"))?;
    let until = SystemClock::new().now().plus_s(i64::from(span)).to_string();
    let answer = Client::of(home, Kind::Operator).await?.get("/v1/rotation-calendar").await?.json()?;
    let items = answer.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
    // RFC 3339 in UTC with one length: the order of the texts is that of the moments.
    let within = |item: &Value| item.get("at").and_then(Value::as_str).is_some_and(|at| at <= until.as_str());
    let is_cut = items.len() >= CALENDAR_LINES_MAX && items.iter().all(within);
    let items: Vec<Value> = items.into_iter().filter(within).collect();
    if is_cut {
        console.say(&format!("no more than {CALENDAR_LINES_MAX} are told: later ones are left out"));
    }
    if ical {
        console.bytes(icalendar(&items, SystemClock::new().now()).as_bytes());
    } else if console.is_json() {
        console.json(&json!({ "items": items }));
    } else {
        let row = |item: &Value| {
            let overdue = item.get("overdue").and_then(Value::as_bool) == Some(true);
            let note = if overdue { "overdue" } else { "" };
            vec![cell(item.get("at")), cell(item.get("secret")), note.to_owned()]
        };
        console.table(&["AT", "SECRET", ""], &items.iter().map(row).collect::<Vec<_>>());
    }
    Ok(())
}

/// The lines of a calendar as iCalendar (RFC 5545).
fn icalendar(items: &[Value], now: Timestamp) -> String {
    // 2026-01-31T12:00:00.000Z is 20260131T120000Z there.
    let stamp = |text: &str| {
        let digits: String =
            text.split('.').next().unwrap_or_default().chars().filter(|c| !"-:".contains(*c)).collect();
        format!("{digits}Z")
    };
    let mut text =
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//keyward//rotation calendar//EN\r\n".to_owned();
    for item in items {
        let (secret, at) = (cell(item.get("secret")), stamp(&cell(item.get("at"))));
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
            // A content line has at most 75 bytes; what is longer goes on behind a space.
            let bytes: Vec<char> = line.chars().collect();
            let folded: Vec<String> = bytes.chunks(70).map(|part| part.iter().collect()).collect();
            text.push_str(&folded.join("\r\n "));
            text.push_str("\r\n");
        }
    }
    text.push_str("END:VCALENDAR\r\n");
    text
}

/// How long a rotation is waited for, in looks a second apart.
const LOOKS: u32 = 120;

/// `keyward secret rotate`: begins it, and waits until the new value is handed out.
pub(in crate::cli) async fn rotate(
    home: &Path,
    name: &str,
    wait: Wait,
    console: &Console,
) -> Result<(), Failure> {
    let client = Client::of(home, Kind::Operator).await?;
    let rotation = path("rotations", name)?;
    let begun = client.post_json(&rotation, &json!({ "action": "rotate" })).await?.json()?;
    let id = cell(begun.get("rotation"));
    if begun.get("begun").and_then(Value::as_bool) == Some(false) {
        console.say("a rotation is under way already: this is that one");
    }
    if wait == Wait::No {
        if console.is_json() {
            console.json(&begun)
        } else {
            console.line(&id)
        }
        return Ok(());
    }
    for _ in 0..LOOKS {
        let shown = client.get(&rotation).await?.json()?;
        let at = |path: &str| shown.pointer(path).and_then(Value::as_str);
        let is_over = at("/run/id") != Some(&id) || at("/run/stage") == Some("grace");
        if is_over {
            if console.is_json() {
                console.json(&shown)
            } else {
                console.line(&format!("{name} rotated: {id}"))
            }
            return Ok(());
        }
        if let Some(trouble) = at("/run/trouble/code") {
            let code = trouble.parse::<Code>().unwrap_or(code::INTERNAL);
            let stage = at("/run/stage").unwrap_or_default();
            let again = at("/run/trouble/retry_at").map_or_else(
                || "it is a dead letter now".to_owned(),
                |at| format!("it is tried again at {at}"),
            );
            let reason = at("/run/trouble/reason").unwrap_or(code.meaning());
            let why = format!("{reason}; the rotation stays at `{stage}`, {again}");
            let fix = Explained::of(code, at("/run/trouble/detail")).fix;
            return Err(Failure::new(code).because(why).mended_by(fix));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    console.say("it is still under way: `keyward rotation show` says how far it has come");
    Ok(())
}

/// Whether `secret rotate` waits for the end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::cli) enum Wait {
    Yes,
    No,
}

/// `keyward secret rotate --plan`
pub(in crate::cli) async fn plan(home: &Path, name: &str, console: &Console) -> Result<(), Failure> {
    let client = Client::of(home, Kind::Operator).await?;
    let plan = client.get(&path("rotation-plans", name)?).await?.json()?;
    if console.is_json() {
        console.json(&plan);
        return Ok(());
    }
    let list = |field: &str| plan.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
    console.line(&format!("{name}: what a rotation would do; nothing was touched"));
    console.line(&format!("  sensitivity: {}", cell(plan.get("sensitivity"))));
    for call in list("calls") {
        console.line(&format!("  {}", cell(Some(&call))));
    }
    match plan.get("overlap_s").and_then(Value::as_u64) {
        Some(overlap) if overlap > 0 => {
            console.line(&format!("  old and new work side by side for {overlap} s"))
        }
        _ => console.line("  the old value ends when upstream takes the new one"),
    }
    for one in list("consumers") {
        let field = |name: &str| cell(one.get(name));
        if one.get("cut_off").and_then(Value::as_bool) == Some(true) {
            console.line(&format!("  {} does not reach it: it is another owner's", field("capability")));
            continue;
        }
        console.line(&format!(
            "  {} is read by {}: {} live instances, tokens of up to {} s",
            field("capability"),
            field("agents"),
            field("live_instances"),
            field("token_life_s")
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_calendar_is_one_that_a_calendar_program_reads() {
        let items =
            [json!({ "secret": "orders-db/app", "at": "2026-01-31T12:00:00.000Z", "overdue": false })];
        let text = icalendar(&items, Timestamp::from_s(0));
        assert!(
            text.starts_with("BEGIN:VCALENDAR\r\nVERSION:2.0\r\n") && text.ends_with("END:VCALENDAR\r\n")
        );
        assert!(text.contains("\r\nDTSTART:20260131T120000Z\r\n"), "{text}");
        assert!(text.contains("\r\nDTSTAMP:19700101T000000Z\r\n"), "{text}");
        assert!(text.split("\r\n").all(|line| line.len() <= 75 && !line.contains('\n')));
    }

    #[test]
    fn a_state_is_said_in_a_word_or_two() {
        assert_eq!(state(&json!({ "run": null, "overdue": false })), "idle");
        assert_eq!(state(&json!({ "run": null, "overdue": true })), "overdue");
        assert_eq!(state(&json!({ "run": null, "paused_at": "x", "overdue": true })), "paused");
        assert_eq!(state(&json!({ "run": null, "orphans": [{}, {}] })), "idle; orphans: 2");
        let trouble = json!({ "run": { "stage": "prepared", "trouble": { "code": "c", "retry_at": null } } });
        assert_eq!(state(&trouble), "dead letter at prepared: c");
    }
}
