use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use toml::Spanned;

use super::schedule::{Schedule, ScheduleText, field_s};
use crate::base::SecretName;
use crate::base::limits::{FAULTS_LISTED_MAX, GRACE_MAX_S};
use crate::config::{FaultList, Faults, FieldOffsets, SourcePosition, Tables};

/// The grace of a replaced value that was declared without one, in seconds.
const GRACE_S: u32 = 3600;

/// One `[[rotation]]` as it was read; its upstream is checked by the driver.
#[derive(Clone, Debug)]
pub struct RotationDeclaration {
    /// When.
    pub schedule: Option<Schedule>,
    /// The grace of a replaced value, in seconds.
    pub grace_s: u32,
    /// The table `upstream`, as its driver reads it.
    pub upstream: serde_json::Map<String, serde_json::Value>,
    /// Where it was declared.
    pub place: SourcePosition,
    /// Where its upstream was.
    pub upstream_place: SourcePosition,
    /// Where in the file the fields of that were.
    fields: FieldOffsets,
}

impl RotationDeclaration {
    /// Where the field of the upstream was to which these names lead, joined by dots: where the last one
    /// was that is there.
    #[must_use]
    pub fn place_of(&self, field: &str) -> SourcePosition {
        let ways = std::iter::successors(Some(field), |way| way.rsplit_once('.').map(|(way, _)| way));
        let offset = ways.into_iter().find_map(|way| self.fields.get(&format!("upstream.{way}")));
        offset.map_or(self.upstream_place, |offset| SourcePosition { offset: *offset, ..self.upstream_place })
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawRotation {
    /// The secret whose value is rotated.
    #[schemars(with = "SecretName")]
    secret: Spanned<String>,
    /// The interval between rotations, e.g. `30d`; not together with `cron`.
    #[schemars(with = "Option<String>")]
    every: Option<Spanned<String>>,
    /// Minute, hour, day of month, month, day of week; not together with `every`.
    #[schemars(with = "Option<String>")]
    cron: Option<Spanned<String>>,
    /// The IANA time zone of `cron`, `window` and `blackout`; `UTC` by default.
    #[schemars(with = "Option<String>")]
    zone: Option<Spanned<String>>,
    /// The time of day in which rotations begin, e.g. `01:00-05:00`.
    #[schemars(with = "Option<String>")]
    window: Option<Spanned<String>>,
    /// Days on which no rotation begins, e.g. `2026-12-24` or `2026-12-24/2026-12-26`.
    #[schemars(with = "Option<Vec<String>>", length(max = 64))]
    #[serde(default)]
    blackout: Option<Spanned<Vec<String>>>,
    /// A delay of up to this time.
    #[schemars(with = "Option<String>")]
    jitter: Option<Spanned<String>>,
    /// How long the previous version works at an upstream that accepts two values; `1h` by default.
    #[schemars(with = "Option<String>")]
    grace: Option<Spanned<String>>,
    /// Where the value is changed.
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    upstream: Spanned<serde_json::Map<String, serde_json::Value>>,
}

/// The tables of declaration files that this room reads.
pub const TABLES: &[&str] = &["rotation"];

/// Reads the room's `tables`.
///
/// # Errors
/// The faults that were found.
pub fn parse(tables: &mut Tables<'_>) -> Result<BTreeMap<SecretName, RotationDeclaration>, FaultList> {
    let mut reader = Reader { declared: BTreeMap::new(), faults: tables.faults() };
    for (place, raw, fields) in tables.take_with_offsets("rotation", &mut reader.faults) {
        // A pattern that never comes due is searched for centuries ahead: no more of them than are listed.
        if reader.faults.found() < FAULTS_LISTED_MAX {
            reader.rotation(place, &raw, fields);
        }
    }
    reader.faults.or(reader.declared)
}

/// The schemas of the tables that this room reads, by name.
pub fn table_schemas(generator: &mut SchemaGenerator) -> Vec<(&'static str, Schema)> {
    vec![("rotation", RawRotation::json_schema(generator))]
}

struct Reader<'a> {
    declared: BTreeMap<SecretName, RotationDeclaration>,
    faults: Faults<'a>,
}

impl Reader<'_> {
    fn rotation(&mut self, place: SourcePosition, raw: &RawRotation, fields: FieldOffsets) {
        let secret = match raw.secret.get_ref().parse::<SecretName>() {
            Ok(secret) => Some(secret),
            Err(error) => {
                self.faults.tell(place.of(&raw.secret), error.to_string());
                None
            }
        };
        let schedule = self.schedule(place, raw);
        let grace_s = raw.grace.as_ref().map_or(Ok(GRACE_S), |text| field_s("grace", text.get_ref()));
        let grace_at = raw.grace.as_ref().map_or(place, |text| place.of(text));
        match grace_s {
            Err(error) => self.faults.tell(grace_at, error.to_string()),
            Ok(grace) if grace > GRACE_MAX_S => {
                self.faults.tell(grace_at, "`grace` must be at most 90 days");
            }
            Ok(_) => {}
        }
        let (Some(secret), Ok(grace_s)) = (secret, grace_s) else { return };
        let upstream = raw.upstream.get_ref().clone();
        let upstream_place = place.of(&raw.upstream);
        let declared = RotationDeclaration { schedule, grace_s, upstream, place, upstream_place, fields };
        if self.declared.insert(secret, declared).is_some() {
            self.faults.tell(place.of(&raw.secret), "the rotation of this secret is declared twice");
        }
    }

    /// The schedule, none for a rotation by hand alone, and none for one with a fault, which is told.
    fn schedule(&mut self, place: SourcePosition, raw: &RawRotation) -> Option<Schedule> {
        let fields = [
            ("every", raw.every.as_ref()),
            ("cron", raw.cron.as_ref()),
            ("zone", raw.zone.as_ref()),
            ("window", raw.window.as_ref()),
            ("jitter", raw.jitter.as_ref()),
        ];
        let text = |field: Option<&'_ Spanned<String>>| field.map(|text| text.get_ref().clone());
        let [every, cron, zone, window, jitter] = fields.map(|(_, field)| text(field));
        let blackout = raw.blackout.as_ref();
        let any = fields.iter().any(|(_, field)| field.is_some()) || blackout.is_some();
        if !any {
            return None;
        }
        let written = ScheduleText {
            every: every.as_deref(),
            cron: cron.as_deref(),
            zone: zone.as_deref(),
            window: window.as_deref(),
            blackout: blackout.into_iter().flat_map(|days| days.get_ref()).map(String::as_str).collect(),
            jitter: jitter.as_deref(),
        };
        match Schedule::read(&written) {
            Ok(schedule) => Some(schedule),
            Err(error) => {
                let field = fields.iter().find(|(name, _)| *name == error.field);
                let offset = field.and_then(|(_, text)| text.map(|text| text.span().start));
                let offset = offset
                    .or_else(|| blackout.filter(|_| error.field == "blackout").map(|days| days.span().start));
                let place = offset.map_or(place, |offset| SourcePosition { offset, ..place });
                self.faults.tell(place, error.to_string());
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Cancellation;
    use crate::config::{Fault, SourceFile};

    const GOOD: &str = r#"
[[agent]]
name = "someone-elses"

[[rotation]]
secret = "orders-db/app"
every = "30d"
window = "01:00-05:00"
zone = "Europe/Berlin"
blackout = ["2026-12-24/2026-12-26"]
jitter = "1h"
grace = "2h"
[rotation.upstream]
driver = "generate"
length = 32
"#;

    fn read(text: &str) -> Result<BTreeMap<SecretName, RotationDeclaration>, Vec<Fault>> {
        let files = [SourceFile { name: "a.toml".to_owned(), text: text.to_owned() }];
        let work = Cancellation::new();
        let tables = Tables::parse(&files, &["agent", "rotation"], &work);
        tables.and_then(|mut tables| parse(&mut tables)).map_err(|list| list.faults)
    }

    fn refuse(text: &str, line: usize, says: &str) {
        let faults = read(text).unwrap_err();
        assert_eq!(faults[0].line, line, "{faults:?}");
        assert!(faults[0].message.contains(says), "{faults:?}");
        assert!(!format!("{faults:?}").contains("CNRY"), "{faults:?}");
    }

    #[test]
    fn a_rotation_is_read_and_the_rest_left_to_others() {
        let read = read(GOOD).unwrap();
        let declared = &read[&"orders-db/app".parse().unwrap()];
        assert_eq!((declared.grace_s, declared.upstream["length"].as_i64()), (7200, Some(32)));
        let words = declared.schedule.as_ref().unwrap().describe();
        assert!(words.contains("every 30d") && words.contains("Europe/Berlin"), "{words}");
    }

    #[test]
    fn without_any_time_it_is_by_hand_alone() {
        let text = "[[rotation]]\nsecret = \"a\"\nupstream = { driver = \"generate\" }\n";
        let read = read(text).unwrap();
        assert!(read[&"a".parse().unwrap()].schedule.is_none());
    }

    #[test]
    fn faults_have_their_places_and_repeat_nothing() {
        refuse(&GOOD.replace("\"orders-db/app\"", "\"CNRY\""), 6, "not a canonical secret name");
        refuse(&GOOD.replace("\"30d\"", "\"CNRY\""), 7, "`every`");
        refuse(&GOOD.replace("Europe/Berlin", "Europe/CNRY"), 9, "`zone`");
        refuse(&GOOD.replace("12-24", "12-32"), 10, "`blackout`");
        refuse(&GOOD.replace("every = \"30d\"\n", ""), 5, "`every` or `cron` is missing");
        let graced = |grace_s: u32| GOOD.replace("\"2h\"", &format!("\"{grace_s}s\""));
        refuse(&graced(GRACE_MAX_S + 1), 12, "at most 90 days");
        refuse(&GOOD.replace("jitter", "jittr"), 11, "unknown field");
        refuse(&format!("{GOOD}\n{}", &GOOD[GOOD.find("[[rotation]]").unwrap_or(0)..]), 18, "twice");
        refuse("[[rotation]]\nsecret = \"a\"\n", 1, "missing field");
        assert!(read(&graced(GRACE_MAX_S)).is_ok());
    }
}
