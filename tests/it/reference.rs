//! The pages of `docs/reference` that are made from the code: what is committed is what the code says.

use keyward::base::code::Code;

use crate::readme::root;

/// Compares the committed `page` with `made`. With `KEYWARD_WRITE_REFERENCE` set, writes it instead.
pub(crate) fn compare(page: &str, made: &str) {
    let path = root().join("docs/reference").join(page);
    if std::env::var_os("KEYWARD_WRITE_REFERENCE").is_some() {
        std::fs::write(&path, made).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == made,
        "docs/reference/{page} is not what the code says: scripts/reference writes it"
    );
}

#[test]
fn the_page_of_error_codes_is_what_the_registry_says() {
    let rows = |codes: &mut dyn Iterator<Item = Code>| -> String {
        let row = |code: Code| {
            let retry = if code.is_retryable() { "yes" } else { "" };
            format!("| `{code}` | {} | {} | {retry} |\n", code.meaning(), code.fix())
        };
        codes.map(row).collect()
    };
    let answered: Vec<Code> = Code::answered().collect();
    let head = "| code | means | fix | retry as it is |\n|---|---|---|---|\n";
    let page = format!(
        "# Error codes\n\nEvery refusal and failure has one of these. A code keeps its meaning for good. \
         [http.md](http.md#codes) has the status of each. Made by `scripts/reference`.\n\n\
         ## Answered by the broker\n\n{head}{}\n## Said by the command line\n\n{head}{}",
        rows(&mut answered.iter().copied()),
        rows(&mut Code::all().filter(|code| !answered.contains(code))),
    );
    compare("errors.md", &page);
}

#[test]
fn the_page_of_the_command_line_is_what_the_verbs_say() {
    let page = format!(
        "# Command line\n\nEvery verb with its help; `keyward help exit-codes` has the exit codes. Made by \
         `scripts/reference`.\n{}",
        keyward::cli::reference()
    );
    compare("cli.md", &page);
}
