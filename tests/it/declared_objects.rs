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
