use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::{Args, ValueEnum};

use crate::base::{CapabilityName, code};
use crate::cli::client::Received;
use crate::cli::identity::{HOME_VARIABLE, absolute_home, runtime_dir};
use crate::cli::session::VerbSession;
use crate::console::{CommandFailure, OnlyCopy, duration_s, own_uid};
use crate::crypto::sha256;
use crate::files::{private_dir, replace_shared};
use crate::upstream::{ClientLogin, authorities, client_file, client_url, client_variables};
use crate::wire::{ISSUE_LEASE, LeaseBody, LoginAnswer, Nothing};

/// `keyward lease get`
#[derive(Args, Debug)]
pub struct LeaseGetArgs {
    /// The capability's name
    #[arg(value_name = "CAPABILITY")]
    pub capability: String,
    /// Life of the lease, e.g. 15m or 12h [default: 1h]
    #[arg(long, value_parser = duration_s, value_name = "DURATION")]
    pub life: Option<u32>,
    /// Get a new login although this identity has one already
    #[arg(long)]
    pub fresh: bool,
    /// Output format; `-o json` prints all fields
    #[arg(long, value_enum, default_value = "shell")]
    pub format: LoginFormat,
    /// Write the CA certificates that verify the server to this file, instead of one below the home directory
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
}

/// The format of a printed login.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum LoginFormat {
    /// Commands for a shell that export the variables of `env`: `login=$(keyward lease get CAPABILITY) && eval "$login" && COMMAND`
    Shell,
    /// Environment variables for the client library of the database, one `NAME=value` per line, without quotes, e.g. for `docker run --env-file`
    Env,
    /// A connection string, e.g. for `psql`
    Url,
    /// A configuration file for the client program of the server, e.g. as `--defaults-extra-file` or as `PGSERVICEFILE` with the service `keyward`
    File,
}

const LOGIN: OnlyCopy = OnlyCopy {
    what: "the login of the lease",
    fix: "make standard output writable, then ask again: `keyward lease get --fresh CAPABILITY`; the lost login expires by itself",
};

impl LeaseGetArgs {
    pub(super) async fn get(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        let life_s = self.life;
        let body = LeaseBody { capability: self.capability.clone(), life_s, fresh: self.fresh };
        let login = issue(session, body).await?;
        if let (Some(path), Some(ca)) = (&self.ca_file, authorities(&login.connection)) {
            fs::write(path, ca).map_err(|error| CommandFailure::of_file(path, &error))?;
        }
        let only_copy = session.console.for_only_copy(LOGIN);
        if only_copy.is_json() {
            only_copy.json(&login.sent);
            return session.console.delivered();
        }
        let ca_file = self.absolute_ca_file(session, &login);
        let client = client_login(&login, ca_file.as_deref());
        match self.format {
            LoginFormat::Shell => {
                for (name, value) in client_variables(&client).ok_or_else(unknown_driver)? {
                    only_copy.line(&format!("export {name}={}", quoted(&value)));
                }
            }
            LoginFormat::Env => {
                for (name, value) in client_variables(&client).ok_or_else(unknown_driver)? {
                    only_copy.line(&format!("{name}={value}"));
                }
            }
            LoginFormat::Url => only_copy.line(&client_url(&client).ok_or_else(unknown_driver)?),
            LoginFormat::File => {
                let file = client_file(&client).ok_or_else(unknown_driver)?;
                file.lines().for_each(|line| only_copy.line(line));
            }
        }
        session.console.delivered()?;
        session.console.say(&format!("{} expires at {}", login.lease, login.expires_at));
        login.constrained.iter().for_each(|why| session.console.say(why));
        Ok(())
    }
}

impl LeaseGetArgs {
    /// The file with the CA certificates, so that a program finds it from every directory. Without a place for it the
    /// login is printed all the same: the next command might get another one.
    fn absolute_ca_file(&self, session: VerbSession<'_>, login: &LoginAnswer) -> Option<PathBuf> {
        let ca = authorities(&login.connection)?;
        if let Some(path) = &self.ca_file {
            return Some(std::path::absolute(path).unwrap_or_else(|_| path.clone()));
        }
        let kept = kept_ca(session.home, ca).and_then(|path| {
            std::path::absolute(&path).map_err(|error| CommandFailure::of_file(&path, &error))
        });
        kept.inspect_err(|failure| {
            session.console.say(&format!(
                "warning: the CA certificates of the server are not stored, and programs need them to verify it: {}; \
                 run the command again with `--ca-file FILE`",
                failure.why()
            ));
        })
        .ok()
    }
}

/// Replaces this process by a command with a login in its environment. The next command gets the same login while its
/// lease is active.
pub(super) async fn run_with_login(
    session: VerbSession<'_>,
    capability: &str,
    life_s: Option<u32>,
    command: &[OsString],
) -> Result<(), CommandFailure> {
    let (program, rest) = command.split_first().ok_or_else(|| {
        CommandFailure::usage("there is no command", "`keyward lease run CAPABILITY -- COMMAND ARG…`")
    })?;
    let body = LeaseBody { capability: capability.to_owned(), life_s, fresh: false };
    let login = issue(session, body).await?;
    let ca_file = authorities(&login.connection).map(|ca| kept_ca(session.home, ca)).transpose()?;
    let client = client_login(&login, ca_file.as_deref());
    let variables = client_variables(&client).ok_or_else(unknown_driver)?;
    login.constrained.iter().for_each(|why| session.console.say(why));
    let home = absolute_home(session.home)?;
    let error = Command::new(program).args(rest).envs(variables).env(HOME_VARIABLE, home).exec();
    Err(CommandFailure::of_program(Path::new(program), &error))
}

async fn issue(session: VerbSession<'_>, body: LeaseBody) -> Result<Received<LoginAnswer>, CommandFailure> {
    let _checked: CapabilityName = body.capability.parse()?;
    session.agent().await?.call(ISSUE_LEASE, &Nothing, &body).await
}

fn client_login<'a>(login: &'a LoginAnswer, ca_file: Option<&'a Path>) -> ClientLogin<'a> {
    let password = login.password.value().expose();
    ClientLogin { connection: &login.connection, username: &login.username, password, ca_file }
}

/// `text` as one word of a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// A newer broker can have drivers that this program does not know.
fn unknown_driver() -> CommandFailure {
    let why = "this version of keyward does not know the driver of the login";
    CommandFailure::new(code::RESPONSE_INVALID)
        .because(why)
        .mended_by("use the fields of `keyward lease get -o json`, or update keyward")
}

/// A file with these certificates, with the same name each time. If the home directory is not writable, it is in the
/// user's runtime directory.
fn kept_ca(home: &Path, ca: &str) -> Result<PathBuf, CommandFailure> {
    kept_ca_in(&home.join("server-authorities"), ca).or_else(|_| {
        let dir = runtime_dir().join(format!("keyward-server-authorities-{}", own_uid()));
        let path = kept_ca_in(&dir, ca)?;
        let is_own =
            |found: Metadata| found.is_dir() && found.uid() == own_uid() && found.mode() & 0o077 == 0;
        if fs::symlink_metadata(&dir).is_ok_and(is_own) {
            return Ok(path);
        }
        let why = format!("`{}` is not a directory that only this user can access", dir.display());
        Err(CommandFailure::new(code::FILE_UNUSABLE).because(why))
    })
}

fn kept_ca_in(dir: &Path, ca: &str) -> Result<PathBuf, CommandFailure> {
    let path = dir.join(format!("{}.pem", sha256(ca.as_bytes()).hex()));
    if !fs::read_to_string(&path).is_ok_and(|kept| kept == ca) {
        let written = private_dir(dir).and_then(|()| replace_shared(&path, ca.as_bytes()));
        written.map_err(|error| CommandFailure::of_file(&path, &error))?;
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_text_is_one_word_of_a_shell() {
        for text in ["kw_orders", "it's $HOME `id` \"x\" \\ !", "", "-n", "a'b''c"] {
            let command = format!("printf %s {}", quoted(text));
            let said = Command::new("/bin/sh").args(["-c", &command]).output().unwrap();
            assert_eq!(String::from_utf8(said.stdout).unwrap(), text);
        }
    }
}
