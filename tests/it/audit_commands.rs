//! `keyward audit` as a person uses it.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::process::Process;
use crate::support::waiting::wait_until;

fn text(process: &Process, args: &[&str]) -> String {
    String::from_utf8(process.good(args, b"")).unwrap()
}

/// The cells of a row of CSV.
fn cells(row: &str) -> Vec<String> {
    let (mut cells, mut is_quoted) = (vec![String::new()], false);
    for c in row.chars() {
        match c {
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => cells.push(String::new()),
            c => cells.last_mut().unwrap().push(c),
        }
    }
    cells
}

#[test]
fn a_listing_follows_pages_and_says_how_many_more_there_are() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    process.good_as("a", &["get", "github/app"], b"");
    let all = process.json(&["audit", "list", "--limit", "1000"]);
    let seqs = |listed: &Value| -> Vec<u64> {
        listed["items"].as_array().unwrap().iter().map(|item| item["seq"].as_u64().unwrap()).collect()
    };
    assert!(seqs(&all).is_sorted_by(|one, next| one > next) && all["more"].is_null(), "{all}");
    let oldest = process.json(&["audit", "list", "--oldest-first", "--last", "600"]);
    assert!(seqs(&oldest).is_sorted() && seqs(&oldest)[0] == 1);
    let output = process.run_as("operator", &["audit", "list", "--agent", "a", "--limit", "2"], b"");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("2 listed,") && said.contains("more fit") && said.contains("--before"), "{said}");
    // The forms for programs
    let lines =
        text(&process, &["audit", "list", "--agent", "a", "--kind", "secret.revealed", "-o", "jsonl"]);
    let entry: Value = serde_json::from_str(lines.trim_end()).unwrap();
    assert_eq!((entry["kind"].as_str(), lines.lines().count()), (Some("secret.revealed"), 1));
    let csv = text(&process, &["audit", "list", "--agent", "a", "--kind", "secret.revealed", "-o", "csv"]);
    let rows: Vec<&str> = csv.split("\r\n").collect();
    assert!(rows[0].starts_with("SEQ,TIME,WHAT,WHO,ON,") && rows[1].contains(",secret.revealed,a,"), "{csv}");
    // CSV has every field of the entry
    let cell = |name: &str| {
        let at = rows[0].split(',').position(|head| head == name).unwrap_or_else(|| panic!("{name}: {csv}"));
        cells(rows[1])[at].clone()
    };
    for (name, value) in [
        ("event.secret", &entry["event"]["secret"]),
        ("event.token", &entry["event"]["token"]),
        ("event.decision", &entry["event"]["decision"]),
        ("event.source", &entry["event"]["source"]),
        ("leaf", &entry["leaf"]),
    ] {
        assert_eq!(cell(name), value.as_str().unwrap(), "{name}");
    }
    let seq = entry["seq"].to_string();
    let csv = text(&process, &["audit", "tail", "--agent", "a", "-n", "1", "-o", "csv"]);
    let rows: Vec<&str> = csv.split("\r\n").collect();
    assert!(rows[0] == "SEQ,TIME,WHAT,WHO,ON" && rows[1].contains(",secret.revealed,a,"), "{csv}");
    let csv = text(&process, &["audit", "show", &seq, "-o", "csv"]);
    let rows: Vec<&str> = csv.trim_end().split("\r\n").collect();
    assert_eq!((rows[0], csv.matches('\n').count()), ("FIELD,VALUE", rows.len()), "one table: {csv}");
    for row in ["event.agent,a", "kind,secret.revealed", "links.1.name,a"] {
        assert!(rows.contains(&row), "{row}: {csv}");
    }
    let refused = process.said_by("operator", &["audit", "list", "--source", "10.0.0.5/24"]).unwrap_err();
    assert!(refused.contains("query_invalid") && refused.contains("`10.0.0.0/24`"), "{refused}");
    let shown = process.json(&["audit", "show", &seq]);
    assert_eq!(
        (shown["event"]["agent"].as_str(), shown["links"][0]["name"].as_str()),
        (Some("a"), Some("a"))
    );
    let refused = process.said_by("operator", &["audit", "show", "999999"]).unwrap_err();
    assert!(refused.contains("entry_unknown"), "{refused}");
}

#[test]
fn a_listing_in_lines_says_that_it_is_cut() {
    let mut process = Process::init("warn");
    process.serve();
    let cut = process.run_as("operator", &["audit", "list", "--limit", "1", "-o", "jsonl"], b"");
    let said = String::from_utf8_lossy(&cut.stderr).into_owned();
    assert!(said.contains("1 listed,") && said.contains("more fit"), "{said}");
}

#[test]
fn a_filter_that_no_entry_can_fit_is_refused() {
    let mut process = Process::init("warn");
    process.serve();
    for args in [&["--incident", "inc_zz"][..], &["--approval", "xyz"], &["--lease", "1"]] {
        let refused = process.said_by("operator", &[&["audit", "list"][..], args].concat()).unwrap_err();
        assert!(
            refused.contains("query_invalid") && refused.contains("is not an id of this kind"),
            "{refused}"
        );
    }
    let range = ["audit", "list", "--after", "50", "--before", "10"];
    let refused = process.run_as("operator", &range, b"");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("the range is empty"), "{said}");
}

#[test]
fn a_tail_goes_on_after_a_restart_and_ends_with_ctrl_c() {
    // Given an operator who follows what one agent does
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    let path = process.path("tailed");
    let mut tail = process.command("operator", &["audit", "tail", "-f", "--agent", "a", "-o", "jsonl"]);
    tail.stdout(File::create(&path).unwrap()).stderr(Stdio::null());
    let mut tail = tail.spawn().unwrap();
    let count = |kind: &str| fs::read_to_string(&path).unwrap().matches(kind).count();
    // It has begun when it has printed what there is
    wait_until(|| count("instance.enrolled") == 1);
    process.good_as("a", &["get", "github/app"], b"");
    wait_until(|| count("secret.revealed") == 1);
    // When the broker is killed and starts again
    process.kill();
    process.serve();
    process.good_as("a", &["get", "github/app"], b"");
    // Then the next entry is printed, and none twice
    wait_until(|| count("secret.revealed") == 2);
    let printed = fs::read_to_string(&path).unwrap();
    let seqs: Vec<u64> = printed
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap())
        .collect();
    assert!(seqs.is_sorted_by(|one, next| one < next), "{seqs:?}");
    // And an interrupt ends it, which is no failure
    kill_process(Pid::from_raw(tail.id().cast_signed()).unwrap(), Signal::INT).unwrap();
    assert!(tail.wait().unwrap().success());
}

#[test]
fn a_tail_ends_when_nobody_reads_its_output() {
    let mut process = Process::init("warn");
    process.serve();
    // Given a tail whose reader takes one line, like `head -1`
    let mut tail = process.command("operator", &["audit", "tail", "-f", "--kind", "operator.certified"]);
    let mut tail = tail.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(tail.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("operator.certified"), "{line}");
    // When the reader is gone and no entry comes, then the tail ends, and that is no failure
    wait_until(|| tail.try_wait().unwrap().is_some());
    assert!(tail.wait().unwrap().success());
}

#[test]
fn a_name_that_no_object_has_is_named_with_similar_names() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    let incident_filter = ["incident", "show", "secret/github/apq", "--timeline"];
    for (args, told) in [
        (
            &["audit", "list", "--secret", "github/apq"][..],
            "no secret that you may see is called `github/apq`",
        ),
        (&["audit", "tail", "--secret", "github/apq"], "did you mean `github/app`?"),
        (&["audit", "tail", "-n", "0", "--secret", "github/apq"], "did you mean `github/app`?"),
        (&incident_filter, "did you mean `github/app`?"),
        (&["audit", "list", "--agent", "nobody"], "no agent that you may see is called `nobody`"),
        (&["audit", "list", "--operator", "amdin"], "did you mean `admin`?"),
        (&["audit", "list", "--capability", "x"], "no capability that you may see is called `x`"),
        (&["audit", "list", "--owner", "payments"], "no object and no operator has the owner `payments`"),
        (&["audit", "list", "--instance", "ins_x"], "no instance has the id `ins_x`"),
    ] {
        let output = process.run_as("operator", args, b"");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said.contains(told), "{args:?}: {said}");
    }
    // And the id of a decision is no sequence number
    let output = process.run_as("operator", &["audit", "show", "dec_x"], b"");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("keyward audit list --decision dec_x"), "{said}");
    // And a program finds the names in the answer; a known name is none of them
    let listed = process.json(&["audit", "list", "--secret", "github/apq", "--agent", "a"]);
    assert_eq!(
        listed["unknown"],
        json!([{ "field": "secret", "name": "github/apq", "near": ["github/app"] }])
    );
    // And a deleted name is known
    process.good_as("operator", &["agent", "delete", "a", "--yes"], b"");
    let listed = process.json(&["audit", "list", "--agent", "a"]);
    assert!(listed["unknown"].is_null() && !listed["items"].as_array().unwrap().is_empty(), "{listed}");
}
