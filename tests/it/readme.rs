//! What the README and the other pages promise is there: commands, verbs, files, links.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use keyward::base::code::Code;

use crate::support::process::KEYWARD;
use crate::support::source::{identifier, sources, words};

/// The two commands that do everything on a machine with Rust and a C compiler.
const COMMANDS: [&str; 2] = ["cargo run --release -- demo", "scripts/test"];

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// README and every page below `docs`, with its path.
pub(crate) fn pages() -> Vec<(PathBuf, String)> {
    let mut pages = vec![root().join("README.md")];
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages.sort();
    let read = |path: PathBuf| (path.clone(), std::fs::read_to_string(path).unwrap());
    pages.into_iter().map(read).collect()
}

/// What stands in fenced blocks and between backticks.
pub(crate) fn code(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut fenced = false;
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            found.push(line.to_owned());
        } else {
            found.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    found
}

/// The subcommands that `keyward path… --help` lists; none for a verb without any.
fn subcommands(path: &[&str]) -> BTreeSet<String> {
    let output = Command::new(KEYWARD).args(path).arg("--help").output().unwrap();
    assert!(output.status.success(), "keyward {} --help", path.join(" "));
    let help = String::from_utf8(output.stdout).unwrap();
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let lines = lines.take_while(|line| !line.is_empty()).filter(|line| !line.starts_with("   "));
    lines.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// Lines of code that name a verb of `keyward` that is not in its help.
fn unknown_verbs(code: &[String]) -> Vec<String> {
    let verbs = subcommands(&[]);
    assert!(verbs.contains("serve") && verbs.contains("agent"), "the help reads as expected: {verbs:?}");
    let mut unknown = Vec::new();
    for line in code {
        for (at, _) in line.match_indices("keyward ") {
            // The binary's name begins a command: it stands first, or behind a prompt, a pipe or an arrow.
            let before = line[..at].trim_end();
            if !(before.is_empty() || before.ends_with(['$', '|', '│', '▶', '─', '├', '┤', ';', '&']))
            {
                continue;
            }
            let mut words =
                line[at..].split_whitespace().skip(1).map(|word| word.trim_matches(['`', ',', '.']));
            let Some(verb) = words.next().filter(|word| word.starts_with(char::is_lowercase)) else {
                continue;
            };
            let below = if verbs.contains(verb) { subcommands(&[verb]) } else { BTreeSet::new() };
            // A word with a dot is the name of a capability.
            let sub = words.next().filter(|word| word.starts_with(char::is_lowercase) && !word.contains('.'));
            let fine =
                verbs.contains(verb) && (below.is_empty() || sub.is_none_or(|sub| below.contains(sub)));
            if !fine {
                unknown.push(line.clone());
            }
        }
    }
    unknown
}

/// Links and paths of `page`, which lies at `path`, that lead nowhere.
fn dead_ends(path: &Path, page: &str) -> Vec<String> {
    let mut dead = Vec::new();
    for (at, _) in page.match_indices("](") {
        let target = page[at + 2..].split([')', '#']).next().unwrap_or_default();
        let outside = target.is_empty() || target.contains("://");
        if !outside && !path.parent().unwrap().join(target).exists() {
            dead.push(target.to_owned());
        }
    }
    for line in code(page) {
        let words = line.split(|c: char| c.is_whitespace() || "`\"'(),;|".contains(c));
        for word in words.filter(|word| !word.contains(['*', '…', '<', '{'])) {
            let ours = ["config/", "scripts/", "tests/it/", "docs/"].iter().any(|top| word.starts_with(top));
            if ours && !root().join(word).exists() {
                dead.push(word.to_owned());
            }
        }
    }
    dead
}

#[test]
fn the_readme_names_the_two_commands_that_do_everything() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let code = code(&readme);
    for command in COMMANDS {
        assert!(code.iter().any(|line| line.trim() == command), "`{command}` is not in README.md");
    }
    let named = |tool: &str| -> Vec<&String> {
        code.iter().filter(|line| line.trim_start().starts_with(tool)).collect()
    };
    for tool in ["cargo ", "scripts/", "./scripts/"] {
        for line in named(tool) {
            assert!(COMMANDS.contains(&line.trim()), "a third command: `{line}`");
        }
    }
    assert!(root().join("scripts/test").exists());
    assert!(subcommands(&[]).contains("demo"));
    let ci = std::fs::read_to_string(root().join(".ci/run")).unwrap();
    assert!(
        ci.lines().any(|line| line.trim_start_matches("exec ") == "scripts/test"),
        "CI runs scripts/test"
    );
    assert!(readme.contains("Rust 1.90"), "the version that Cargo.toml asks for");
    let cargo = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(cargo.contains("rust-version = \"1.90\""));
}

#[test]
fn the_readme_shows_a_transcript_of_the_demo_as_it_is() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let shown = readme.split_once("<!-- transcript -->").map_or("", |(_, rest)| rest);
    let shown = shown.split("```").nth(1).unwrap_or_default();
    // The root of the tree is another one each time, and the number of files depends on when the broker writes them.
    let lasting = |act: &str| {
        let act = act.split(", tree root").next().unwrap();
        let (before, files) = act.split_once("none of ").unwrap_or((act, ""));
        format!("{before}{}", files.trim_start_matches(|c: char| c.is_ascii_digit()))
    };
    let acts = |text: &str| -> Vec<String> {
        text.lines().filter_map(|line| line.trim().strip_prefix('\u{2713}')).map(lasting).collect()
    };
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(KEYWARD).arg("demo").env("TMPDIR", dir.path()).output().unwrap();
    let played = acts(&String::from_utf8(output.stdout).unwrap());
    assert!(played.len() >= 10, "{played:?}");
    assert_eq!(acts(shown), played, "README.md shows another demo than is played");
}

#[test]
fn every_verb_that_the_pages_name_is_there() {
    for (path, page) in pages() {
        let unknown = unknown_verbs(&code(&page));
        assert!(unknown.is_empty(), "{}: {unknown:#?}", path.display());
    }
    let made_up = ["keyward fly", "$ keyward agent fly a", "printf x | keyward secret hide y"];
    let real =
        ["keyward serve", "$ keyward agent invite a", "printf x | keyward secret put y", "a keyward flies"];
    assert_eq!(unknown_verbs(&made_up.map(str::to_owned)).len(), made_up.len());
    assert_eq!(unknown_verbs(&real.map(str::to_owned)), Vec::<String>::new());
}

#[test]
fn every_file_that_the_pages_name_is_there() {
    for (path, page) in pages() {
        let dead = dead_ends(&path, &page);
        assert!(dead.is_empty(), "{}: {dead:#?}", path.display());
    }
    let made_up = "[a](docs/nowhere.md) and `config/examples/none.toml`, [b](https://example.com/x)";
    assert_eq!(
        dead_ends(&root().join("README.md"), made_up),
        ["docs/nowhere.md", "config/examples/none.toml"]
    );
}

#[test]
fn every_route_is_in_the_reference_and_nothing_else() {
    let page = std::fs::read_to_string(root().join("docs/reference/http.md")).unwrap();
    let section = |name: &str| -> BTreeSet<String> {
        let below = page.split_once(&format!("\n## {name}")).map_or("", |(_, rest)| rest);
        let rows = below.split("\n## ").next().unwrap_or_default().lines();
        let cells = rows.filter_map(|row| row.strip_prefix("| `")?.split(" | ").next());
        let routes = cells.flat_map(|cell| cell.split('`').filter(|text| text.contains(" /")));
        routes.map(|route| route.split('?').next().unwrap_or_default().to_owned()).collect()
    };
    let table = |routes: Vec<keyward::http::Route>| -> BTreeSet<String> {
        routes.iter().map(|route| format!("{} {}", route.method, route.path.replace("{*", "{"))).collect()
    };
    assert_eq!(section("Agents"), table(keyward::http::agent_routes()));
    assert_eq!(section("Operators"), table(keyward::http::admin_routes()));
    assert_eq!(section("On the host"), table(keyward::http::host_routes()));
}

#[test]
fn the_reference_says_which_roles_each_route_of_operators_takes() {
    use keyward::http::Caller;
    let page = std::fs::read_to_string(root().join("docs/reference/http.md")).unwrap();
    let (_, below) = page.split_once("\n## Operators").unwrap();
    let rows = below.split("\n## ").next().unwrap().lines().filter(|row| row.starts_with("| `"));
    let mut told = 0;
    for row in rows {
        let cells: Vec<&str> = row.split(" | ").collect();
        for route in keyward::http::admin_routes() {
            let name = format!("{} {}", route.method, route.path.replace("{*", "{"));
            let mut named = cells[0].split('`').map(|text| text.split('?').next().unwrap_or_default());
            if !named.any(|text| text == name) {
                continue;
            }
            told += 1;
            let who = match route.caller {
                Caller::Operator(need) if need.roles.len() == keyward::operators::OperatorRole::ALL.len() => {
                    "any".to_owned()
                }
                Caller::Operator(need) => {
                    need.roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(", ")
                }
                Caller::Public => "public".to_owned(),
                Caller::Agent | Caller::ResourceServer | Caller::Enrolled | Caller::Host => {
                    panic!("{name} is no route for operators")
                }
            };
            assert_eq!(cells[1], who, "{name}");
        }
    }
    assert_eq!(told, keyward::http::admin_routes().len());
}

/// Tests that `page` points to by the beginning of their name, and that are not there.
fn missing_tests(page: &str, names: &BTreeSet<String>) -> Vec<String> {
    let pointed = code(page).into_iter().filter_map(|word| word.strip_suffix('\u{2026}').map(str::to_owned));
    let pointed = pointed.filter(|word| word.contains('_') && !word.contains([' ', '/']));
    pointed.filter(|word| !names.iter().any(|name| name.starts_with(word.as_str()))).collect()
}

#[test]
fn every_test_that_the_threat_model_points_to_is_there() {
    let files = [sources("src"), sources("tests/it")];
    let names: BTreeSet<String> = files
        .iter()
        .flatten()
        .flat_map(|file| words(&file.raw, "fn ").map(|at| identifier(&file.raw[at + 3..]).to_owned()))
        .collect();
    let page = std::fs::read_to_string(root().join("docs/threat-model.md")).unwrap();
    assert_eq!(missing_tests(&page, &names), Vec::<String>::new());
    assert_eq!(missing_tests("`no_such_hazard_\u{2026}`", &names), ["no_such_hazard_"]);
}

/// What looks like a code: lower-case words, joined by underscores.
fn is_code(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

#[test]
fn every_code_that_is_answered_is_in_the_reference_and_nothing_else() {
    let page = std::fs::read_to_string(root().join("docs/reference/http.md")).unwrap();
    let (_, table) = page.split_once("## Codes").unwrap();
    // OAuth's own words stand in the table too.
    let oauth = [
        "invalid_scope",
        "invalid_target",
        "invalid_authorization_details",
        "unsupported_grant_type",
        "unsupported_response_type",
        "authorization_details",
        "client_credentials",
        "grant_type",
        "resource",
        "scope",
    ];
    let told = code(table).into_iter().filter(|text| is_code(text) && !oauth.contains(&text.as_str()));
    let told: BTreeSet<String> = told.collect();
    let answered: BTreeSet<String> = Code::answered().map(|code| code.to_string()).collect();
    assert_eq!(told, answered);
}

#[test]
fn every_code_is_given_by_something() {
    let used: String = sources("src").iter().map(|file| file.raw.as_str()).collect();
    let idle = Code::all().filter(|code| !used.contains(&format!("code::{}", code.as_str().to_uppercase())));
    assert_eq!(idle.collect::<Vec<_>>(), []);
}
