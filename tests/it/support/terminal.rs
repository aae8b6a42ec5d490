//! Commands at a terminal, with a person who types.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

/// A command at a terminal, and the lines that a person types, each after its own prompt.
pub(crate) struct TypedCommand<'a> {
    pub(crate) command: &'a str,
    /// What each prompt contains.
    pub(crate) prompt: &'a str,
    /// Typed, and shown by the terminal, before the command begins.
    pub(crate) ahead: &'a str,
    pub(crate) lines: &'a [&'a str],
}

impl TypedCommand<'_> {
    /// Runs it, and gives whether it succeeded and what it printed. The file `begin` is made when it may begin.
    pub(crate) fn run(&self, begin: &Path) -> (bool, String) {
        let Self { command, prompt, ahead, lines } = self;
        drop(fs::remove_file(begin));
        let line = format!("until [ -e {} ]; do sleep 0.02; done; exec {command}", begin.display());
        let mut command = Command::new("script");
        command.args(["-qec", &line, "/dev/null"]).env("SHELL", "/bin/sh").env("NO_COLOR", "1");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (mut said, mut part) = (String::new(), [0; 256]);
        let mut read_until = |said: &mut String, is_there: &dyn Fn(&str) -> bool| {
            while !is_there(said) {
                let len = stdout.read(&mut part).unwrap();
                if len == 0 {
                    return;
                }
                said.push_str(&String::from_utf8_lossy(&part[..len]));
            }
        };
        stdin.write_all(ahead.as_bytes()).unwrap();
        read_until(&mut said, &|said| said.contains(ahead.trim_end()));
        fs::write(begin, "").unwrap();
        for (at, line) in lines.iter().enumerate() {
            read_until(&mut said, &|said| said.matches(prompt).count() > at);
            writeln!(stdin, "{line}").unwrap();
        }
        read_until(&mut said, &|_| false);
        (child.wait().unwrap().success(), said)
    }
}
