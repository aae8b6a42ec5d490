//! The option `--home` in the commands that a usage error suggests.

use std::ffi::OsString;

use crate::base::code;
use crate::console::CommandFailure;

/// The directory that `--home` of this process names, as a word for a shell; none without the option. The environment variable
/// `KEYWARD_HOME` is also there for the next command.
pub(super) struct GivenHome(Option<String>);

/// The beginning of a suggested command.
const COMMAND: &str = "`keyward ";

impl GivenHome {
    pub(super) fn of_process() -> Self {
        Self::of(std::env::args_os().skip(1))
    }

    fn of(words: impl Iterator<Item = OsString>) -> Self {
        let words: Vec<String> =
            words.take_while(|word| word != "--").map_while(|word| word.into_string().ok()).collect();
        let joined = words.iter().rev().find_map(|word| word.strip_prefix("--home="));
        let apart = || {
            let pair = words.windows(2).rev().find_map(|pair| match pair {
                [option, home] if option == "--home" => Some(home.as_str()),
                _ => None,
            });
            pair.filter(|home| !home.starts_with('-'))
        };
        Self(joined.or_else(apart).filter(|home| !home.is_empty()).map(quoted))
    }

    /// `text` with the option in each command for this machine.
    pub(super) fn kept_in(&self, text: &str) -> String {
        let Some(home) = &self.0 else { return text.to_owned() };
        let mut parts = text.split(COMMAND);
        let mut kept = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            kept.push_str(COMMAND);
            if !is_elsewhere(part) {
                kept.push_str(&format!("--home {home} "));
            }
            kept.push_str(part);
        }
        kept
    }

    /// The failure with the option in the commands of its fix, if the fix is for this machine.
    pub(super) fn kept_in_failure(&self, failure: CommandFailure) -> CommandFailure {
        let of_usage = [code::USAGE, code::NO_IDENTITY];
        let is_of_usage = of_usage.iter().any(|code| failure.code() == code.as_str());
        if self.0.is_none() || !is_of_usage {
            return failure;
        }
        let fix = self.kept_in(failure.fix());
        failure.mended_by(fix)
    }
}

/// Whether the command is for the broker's host or another operator, e.g. one that invites this machine.
fn is_elsewhere(command: &str) -> bool {
    let elsewhere = ["agent invite", "operator invite", "init", "serve", "break-glass", "--home"];
    elsewhere.iter().any(|verb| command.starts_with(verb))
}

/// The word for a shell.
fn quoted(word: &str) -> String {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "/._-+:@,%=".contains(char);
    if word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(words: &[&str]) -> GivenHome {
        GivenHome::of(words.iter().map(OsString::from))
    }

    #[test]
    fn suggested_command_has_the_home_of_this_one() {
        let tip = "use `keyward contain`: Contain a subject; or `keyward lift`";
        for (words, home) in [
            (&["--home", "/srv/h", "incident", "contain"][..], "/srv/h"),
            (&["incident", "contain", "--home=/srv/h"], "/srv/h"),
            (&["--home", "my dir"], "'my dir'"),
        ] {
            let expected = format!(
                "use `keyward --home {home} contain`: Contain a subject; or `keyward --home {home} lift`"
            );
            assert_eq!(given(words).kept_in(tip), expected, "{words:?}");
        }
        for words in
            [&["incident", "contain"][..], &["run", "x", "--", "--home", "/srv/h"], &["--home", "-o"]]
        {
            assert_eq!(given(words).kept_in(tip), tip, "{words:?}");
        }
    }

    #[test]
    fn command_for_another_machine_has_no_home() {
        let fix =
            "enrol first: `keyward join`, with a code from `keyward operator invite NAME`; or `keyward init`";
        let kept = given(&["--home", "/h"]).kept_in(fix);
        let expected = "enrol first: `keyward --home /h join`, with a code from `keyward operator invite NAME`; or `keyward init`";
        assert_eq!(kept, expected);
    }

    #[test]
    fn only_the_fix_of_a_usage_error_is_changed() {
        let given = given(&["--home", "/h"]);
        let usage = CommandFailure::usage("why", "give it on standard input: `keyward incident value -`");
        let fix = given.kept_in_failure(usage).fix().to_owned();
        assert_eq!(fix, "give it on standard input: `keyward --home /h incident value -`");
        let other = CommandFailure::new(code::OUTPUT_FAILED).mended_by("on the host: `keyward status`");
        assert_eq!(given.kept_in_failure(other).fix(), "on the host: `keyward status`");
    }
}
