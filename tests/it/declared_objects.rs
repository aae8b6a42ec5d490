//! `keyward capability` and `keyward role`: what is declared, as a list and one by one.

use crate::support::process::Process;

#[test]
fn one_capability_and_one_role_are_shown() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    for (noun, name, part) in
        [("capability", "github.repo.read", "github/app"), ("role", "repo-reader", "github.repo.read")]
    {
        let listed = process.json(&[noun, "list"]);
        let item = listed["items"].as_array().unwrap().iter().find(|item| item["name"] == name).unwrap();
        assert_eq!(process.json(&[noun, "show", name]), *item, "the item of the list");
        let text = String::from_utf8(process.good(&[noun, "show", name], b"")).unwrap();
        assert!(text.starts_with("FIELD") && text.contains(name) && text.contains(part), "{text}");
        let absent = process.run_as("operator", &[noun, "show", "absent"], b"");
        let why = String::from_utf8_lossy(&absent.stderr).into_owned();
        assert_eq!(absent.status.code(), Some(7), "{why}");
        assert!(why.contains("`absent`") && why.contains(&format!("{noun}_unknown")), "{why}");
    }
}

#[test]
fn shown_objects_are_tables_for_people_and_json_for_programs() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    for (noun, name, parts) in [
        ("agent", "a", &["FIELD", "repo-reader", "instances:", "SERIAL", "live"][..]),
        ("operator", "admin", &["FIELD", "role", "certificates:"]),
        ("secret", "github/app", &["FIELD", "sensitivity", "versions:", "STORED AT", "consumers:"]),
    ] {
        let text = String::from_utf8(process.good(&[noun, "show", name], b"")).unwrap();
        for part in parts {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains(['{', '"']), "{text}");
        assert_eq!(process.json(&[noun, "show", name])["name"], name);
    }
}

#[test]
fn lists_have_a_limit_and_filters() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    let names = |args: &[&str]| -> Vec<String> {
        let listed = process.json(args);
        let items = listed["items"].as_array().unwrap().iter();
        items.map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    };
    let all = names(&["capability", "list"]);
    assert_eq!(all, ["github.repo.read", "reports.publish", "reports.read"]);
    assert_eq!(names(&["capability", "list", "--limit", "2"]), all[..2]);
    assert_eq!(names(&["capability", "list", "--prefix", "reports."]), all[1..]);
    assert_eq!(names(&["capability", "list", "--prefix", "reports.", "--limit", "1"]), all[1..2]);
    for noun in ["agent", "operator", "role", "secret", "capability"] {
        assert!(names(&[noun, "list", "--owner", "payments"]).is_empty(), "{noun}: no object has this owner");
    }
    for list in [&["lease", "list", "--agent", "a"][..], &["rotation", "list", "--prefix", "x"]] {
        assert_eq!(process.json(&[list, &["--limit", "1"]].concat())["items"].as_array().unwrap().len(), 0);
    }
    for (limit, more) in [("2", true), ("3", false)] {
        assert_eq!(process.json(&["capability", "list", "--limit", limit])["more"], more);
    }
    let said = |args: &[&str]| String::from_utf8(process.run_as("operator", args, b"").stderr).unwrap();
    assert!(said(&["capability", "list", "--limit", "2"]).contains("the first 2 are listed"));
    assert!(!said(&["capability", "list", "--limit", "3"]).contains("are listed"), "there are no more");
    for bad in [&["role", "list", "--limit", "0"][..], &["role", "list", "--owner", "No Owner"]] {
        assert_eq!(process.run_as("operator", bad, b"").status.code(), Some(2), "{bad:?}");
    }
}
