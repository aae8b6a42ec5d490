//! Shell completion. The shell runs `keyward` with the words of the command line, and gets verbs, options, and the names of
//! objects, which the broker tells.

mod cache;
mod names;
mod topics;

use std::ffi::OsStr;

use clap::Command;
use clap_complete::engine::{ArgValueCandidates, ArgValueCompleter};
use clap_complete::env::{CompleteEnv, Shells};

use self::names::Named;
use self::topics::topics;
use super::help::command;
use crate::base::code;
use crate::console::{CommandFailure, Console};

/// Prints the candidates for a shell. `false` if this process was not started by a shell's completion.
#[must_use]
pub fn complete() -> bool {
    // The scripts put `--` before the words of the line. In all other cases the verb runs: a variable that stays in the
    // environment must not turn it into a success without effect.
    let is_line = std::env::args_os().nth(1).is_some_and(|word| word == "--");
    let shell = std::env::var(VARIABLE).unwrap_or_default();
    if !is_line || Shells::builtins().completer(&shell).is_none() {
        return false;
    }
    let here = std::env::current_dir().ok();
    let completed = CompleteEnv::with_factory(|| with_names(command(), "")).var(VARIABLE);
    // A failure is silent: a message would disturb the line that is being typed.
    completed.try_complete(std::env::args_os(), here.as_deref()).unwrap_or(true)
}

/// The variable that the scripts set when they run `keyward`.
const VARIABLE: &str = "_KEYWARD_COMPLETE";

/// bash splits `--option=value` before the cursor, and `VARIABLE=SECRET` of `run`, into three words, and the program needs
/// one. `BEFORE` runs the program in the script of `clap_complete`.
const BEFORE: &str = "    COMPREPLY=( $( \\\n";
const JOINED: &str = r#"    local joined=() at before=
    for ((at = 0; at <= COMP_CWORD; at++)); do
        if [[ ${#joined[@]} -gt 0 && ${joined[-1]} == --* && ${words[at]} == "=" && $((at + 1)) -lt $COMP_CWORD ]]; then
            at=$((at + 1))
            joined[-1]+="=${words[at]}"
            _CLAP_COMPLETE_INDEX=$((_CLAP_COMPLETE_INDEX - 2))
        elif [[ ${#joined[@]} -gt 1 && ${joined[-2]} == --secret && ${COMP_WORDS[at]} == "=" ]]; then
            before="${joined[-1]}="
            joined[-1]+="="
            _CLAP_COMPLETE_INDEX=$((_CLAP_COMPLETE_INDEX - 1))
            if [[ $at -lt $COMP_CWORD ]]; then
                at=$((at + 1))
                joined[-1]+="${words[at]}"
                _CLAP_COMPLETE_INDEX=$((_CLAP_COMPLETE_INDEX - 1))
            fi
            if [[ $at -lt $COMP_CWORD ]]; then before=; fi
        else
            joined+=("${words[at]}")
        fi
    done
    words=("${joined[@]}")
"#;

/// bash replaces only what follows the last `=`. `AFTER` is the end of the script's function.
const AFTER: &str = "        compopt -o nospace\n    fi\n}\n";
const CUT: &str = r#"        compopt -o nospace
    fi
    COMPREPLY=("${COMPREPLY[@]#"$before"}")
}
"#;

/// zsh runs a file below `fpath` at the first completion as the function itself.
const AUTOLOADED: &[u8] = b"
if [ \"$funcstack[1]\" = _keyward ]; then
    _clap_dynamic_completer_keyward \"$@\"
fi
";

/// `keyward completions SHELL`
///
/// # Errors
/// [`CommandFailure`] for a shell without completion.
pub fn completions(shell: clap_complete::Shell, console: &Console) -> Result<(), CommandFailure> {
    let (shells, mut script) = (Shells::builtins(), Vec::new());
    let written = shells
        .completer(&shell.to_string())
        .map(|shell| shell.write_registration(VARIABLE, "keyward", "keyward", "keyward", &mut script));
    match written {
        Some(Ok(())) => {
            if shell == clap_complete::Shell::Zsh {
                script.extend_from_slice(AUTOLOADED);
            }
            if shell == clap_complete::Shell::Bash {
                let text = String::from_utf8_lossy(&script);
                let joining = text.replacen(BEFORE, &format!("{JOINED}{BEFORE}"), 1).replacen(AFTER, CUT, 1);
                script = joining.into_bytes();
            }
            console.bytes(&script);
            Ok(())
        }
        Some(Err(_)) | None => {
            Err(CommandFailure::new(code::USAGE).because(format!("there is no completion for {shell}")))
        }
    }
}

/// `command` with candidates for its arguments that name objects.
fn with_names(mut command: Command, path: &str) -> Command {
    for below in command.get_subcommands_mut() {
        let path = format!("{path} {}", below.get_name());
        *below = with_names(std::mem::take(below), path.trim_start());
    }
    command.mut_args(|argument| match (path, argument.get_id().as_str()) {
        ("help", "words") => argument.add(ArgValueCandidates::new(topics)),
        ("run", "secrets") => argument
            .add(ArgValueCompleter::new(|current: &OsStr| Named::OwnSecrets.candidates_of_variable(current))),
        ("contain" | "break-glass contain", "subject")
        | ("incident show", "incident")
        | ("incident open", "subjects") => argument.add(ArgValueCompleter::new(Named::subject_candidates)),
        (path, id) => match Named::of(path, id) {
            Some(named) => argument.add(ArgValueCandidates::new(move || named.candidates())),
            None => argument,
        },
    })
}
