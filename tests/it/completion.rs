//! Completion in a real bash, zsh and fish: verbs, options, and names from the broker.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use crate::guides::{said, shell};
use crate::support::process::{KEYWARD, Process};

/// What bash offers for the last word of a line.
fn offered(home: &Path, line: &[&str]) -> Vec<String> {
    let words: Vec<String> = line.iter().map(|word| format!("'{word}'")).collect();
    let script = format!(
        "source <(keyward completions bash)\nCOMP_WORDS=({})\nCOMP_CWORD={}\nCOMP_TYPE=9\n\
         _clap_complete_keyward keyward \"${{COMP_WORDS[COMP_CWORD]#=}}\" x\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
        words.join(" "),
        line.len() - 1
    );
    let output = shell(home, &script, &[("KEYWARD_HOME", &home.display().to_string())]);
    assert!(output.status.success() && output.stderr.is_empty(), "{line:?}: {}", said(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect()
}

/// What the program prints when a shell asks it about this line.
fn asked(shell: &str, home: &Path, line: &[&str]) -> Output {
    let mut command = Command::new(KEYWARD);
    command.arg("--").args(line).env("_KEYWARD_COMPLETE", shell).env("KEYWARD_HOME", home);
    command.env("_CLAP_COMPLETE_INDEX", (line.len() - 1).to_string()).output().unwrap()
}

#[test]
fn bash_completes_verbs_options_and_names() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    process.enrol("b", "repo-reader");
    let operator = process.path("home-operator");
    for (line, wanted) in [
        (&["keyward", "sta"][..], &["status"][..]),
        (&["keyward", "agent", "suspend", "a", "--rea"], &["--reason"]),
        (&["keyward", "agent", "show", ""], &["a", "b"]),
        (&["keyward", "agent", "invite", "c", "--role", "p"], &["publisher"]),
        (&["keyward", "secret", "rollback", "git"], &["github/app"]),
        (&["keyward", "capability", "show", "reports.r"], &["reports.read"]),
        (&["keyward", "operator", "suspend", "ad"], &["admin"]),
        (&["keyward", "contain", "ag"], &["agent/"]),
        (&["keyward", "contain", "agent/"], &["agent/a", "agent/b"]),
        (&["keyward", "contain", "secret/git"], &["secret/github/app"]),
        (&["keyward", "incident", "show", "operator/ad"], &["operator/admin"]),
    ] {
        // On a busy machine the broker can miss the time that completion waits.
        let offered = (0..50).map(|_| {
            drop(fs::remove_file(operator.join("completion.json")));
            offered(&operator, line)
        });
        let mut offered = offered;
        let offered =
            offered.find(|offered: &Vec<String>| offered.iter().any(|word| word == wanted.first().unwrap()));
        let offered = offered.unwrap_or_default();
        let names: Vec<&String> = offered.iter().filter(|word| !word.starts_with('-')).collect();
        let found = if line.last().unwrap().starts_with('-') { offered.iter().collect() } else { names };
        assert_eq!(
            found,
            wanted.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>().iter().collect::<Vec<_>>(),
            "{line:?}"
        );
    }
    let agent = process.path("home-a");
    for (line, name) in [
        (&["keyward", "token", "git"][..], "github.repo.read"),
        (&["keyward", "get", "git"], "github/app"),
        (&["keyward", "run", "--capability", "git"], "github.repo.read"),
        // bash gives `VARIABLE=SECRET` as three words, or two, and replaces the last one.
        (&["keyward", "run", "--secret", "V", "=", "git"], "github/app"),
        (&["keyward", "run", "--secret", "V", "="], "github/app"),
    ] {
        let is_offered = |_: &u32| {
            drop(fs::remove_file(agent.join("completion.json")));
            offered(&agent, line).iter().any(|word| word == name)
        };
        assert!((0..50).find(is_offered).is_some(), "{line:?}: {:?}", offered(&agent, line));
    }
    for home in [&operator, &agent] {
        let kept = fs::metadata(home.join("completion.json")).unwrap();
        assert_eq!(kept.permissions().mode() & 0o777, 0o600);
    }
    // The home directory on the line is the one whose operator is asked.
    let named = operator.display().to_string();
    let line = ["keyward", "--home", &named, "agent", "show", ""];
    let is_offered = |_: &u32| {
        drop(fs::remove_file(operator.join("completion.json")));
        said(&asked("fish", &agent, &line)).lines().any(|line| line.starts_with('b'))
    };
    assert!((0..50).find(is_offered).is_some(), "the operator of the named home is asked");
    // bash gives `--home=DIR` as three words.
    let line = ["keyward", "--home", "=", &named, "agent", "show", ""];
    let is_offered = |_: &u32| {
        drop(fs::remove_file(operator.join("completion.json")));
        offered(&agent, &line).iter().any(|word| word == "b")
    };
    assert!((0..50).find(is_offered).is_some(), "the option and its directory are one word");
}

#[test]
fn bash_completes_the_words_of_help() {
    let home = tempfile::tempdir().unwrap();
    for (line, wanted) in [
        (&["keyward", "help", "exit"][..], &["exit-codes"][..]),
        (&["keyward", "help", "agent", "inv"], &["invite"]),
        (&["keyward", "help", "error", "no_iden"], &["no_identity"]),
    ] {
        assert_eq!(offered(home.path(), line), wanted, "{line:?}");
    }
}

#[test]
fn a_stray_variable_of_completion_changes_no_verb() {
    let dir = tempfile::tempdir().unwrap();
    let run = |verb: &str, variable: &[(&str, &str)]| {
        let mut command = Command::new(KEYWARD);
        command
            .arg(verb)
            .env("KEYWARD_HOME", dir.path())
            .env_remove("COMPLETE")
            .env_remove("_KEYWARD_COMPLETE");
        command.envs(variable.iter().copied()).output().unwrap()
    };
    for (verb, exit) in [("version", 0), ("whoami", 4)] {
        let plain = run(verb, &[]);
        assert_eq!(plain.status.code(), Some(exit), "{}", said(&plain));
        for (name, value) in [
            ("COMPLETE", "1"),
            ("COMPLETE", "bash"),
            ("_KEYWARD_COMPLETE", "1"),
            ("_KEYWARD_COMPLETE", "bash"),
            ("_KEYWARD_COMPLETE", ""),
        ] {
            assert_eq!(run(verb, &[(name, value)]), plain, "{verb} with {name}={value}");
        }
    }
}

#[test]
fn completion_is_silent_while_the_broker_does_not_answer() {
    let mut process = Process::init("warn");
    process.serve();
    let operator = process.path("home-operator");
    process.stop();
    for shell in ["bash", "zsh", "fish"] {
        let output = asked(shell, &operator, &["keyward", "agent", "show", ""]);
        assert!(output.status.success() && output.stderr.is_empty(), "{}", said(&output));
    }
    // Given a host that takes connections and never answers
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    fs::write(operator.join("operator/address"), silent.local_addr().unwrap().to_string()).unwrap();
    fs::remove_file(operator.join("completion.json")).unwrap();
    let output = asked("bash", &operator, &["keyward", "agent", "show", ""]);
    assert!(output.status.success() && output.stderr.is_empty(), "{}", said(&output));
    // Then the next key is not answered by that host again.
    drop(silent);
    let kept = fs::read_to_string(operator.join("completion.json")).unwrap();
    assert!(kept.contains("\"agents\"") && kept.contains("\"names\":[]"), "{kept}");
    let nobody = process.path("home-nobody");
    let output = asked("bash", &nobody, &["keyward", "agent", "show", ""]);
    assert!(output.status.success() && output.stderr.is_empty() && !nobody.exists(), "{}", said(&output));
}

#[test]
fn every_shell_gets_a_script_that_asks_the_program() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = Command::new(KEYWARD).args(["completions", shell]).output().unwrap();
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && script.contains("_KEYWARD_COMPLETE"), "{shell}: {script}");
    }
}

/// Completes `keyward agent ` in an interactive zsh, and prints its screen.
const IN_ZSH: &str = r"
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell 'PS1=; stty -echo; fpath=($PWD $fpath); autoload -Uz compinit; compinit -u -D; print REA''DY'
while zpty -r shell line; do [[ $line == *READY* ]] && break; done
zpty -w -n shell $'keyward agent \t\t'
for i in {1..300}; do
  if zpty -r -t shell part; then screen+=$part; else sleep 0.1; fi
  [[ $screen == *suspend*resume* ]] && break
done
print -r -- $screen
zpty -d shell
";

#[test]
fn zsh_and_fish_complete_verbs() {
    let dir = tempfile::tempdir().unwrap();
    let completed = |script: &str, name: &str, run: &str| {
        let made = format!("keyward completions {name} > {script}\n{run}");
        let output = shell(dir.path(), &made, &[("KEYWARD_HOME", &dir.path().display().to_string())]);
        assert!(output.status.success(), "{name} is needed (scripts/test installs it): {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    fs::write(dir.path().join("complete.zsh"), IN_ZSH).unwrap();
    let by_fish =
        completed("k.fish", "fish", "fish --no-config -c 'source k.fish; complete -C \"keyward agent \"'");
    let by_zsh = completed("_keyward", "zsh", "zsh -f complete.zsh");
    for verb in ["invite", "show", "suspend", "resume"] {
        assert!(by_fish.contains(&format!("{verb}\t")), "{verb}: {by_fish}");
        assert!(by_zsh.contains(&format!("{verb} ")), "{verb}: {by_zsh}");
    }
}
