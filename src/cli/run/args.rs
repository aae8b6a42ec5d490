use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use rustix::process::Signal;

use crate::base::{ApprovalId, NameError, Reason, SecretName};
use crate::cli::verbs::parameter_args::ParameterArgs;
use crate::console::{CommandFailure, duration_s};

/// `keyward run`
#[derive(Args, Debug)]
pub struct RunArgs {
    /// The token
    #[command(flatten)]
    pub(super) token: RunTokenArgs,
    /// Put the value of a secret into an environment variable; repeat it for further secrets. `#FIELD` selects a field of a JSON object
    #[arg(long = "secret", value_name = "VARIABLE=SECRET[#FIELD]")]
    pub(super) secrets: Vec<String>,
    /// The files
    #[command(flatten)]
    pub(super) files: RunFileArgs,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(super) command: Vec<OsString>,
}

/// The token of `keyward run`.
#[derive(Args, Debug)]
pub(super) struct RunTokenArgs {
    /// A capability of the token in the file `$KEYWARD_TOKEN_FILE`; repeat it for further capabilities
    #[arg(long = "capability", value_name = "CAPABILITY")]
    pub(super) capabilities: Vec<String>,
    /// Audience of the token
    #[arg(long, value_name = "URI", requires = "capabilities")]
    pub(super) resource: Option<String>,
    /// Life of the token and of each renewed one, e.g. 90s or 15m; the capability limits it. An approval is for one life: that of `keyward request --expires-in`
    #[arg(long, value_parser = duration_s, value_name = "DURATION", requires = "capabilities")]
    pub(super) expires_in: Option<u32>,
    /// Also put the first token into this environment variable; it is not renewed there
    #[arg(long, value_name = "VARIABLE", requires = "capabilities")]
    pub(super) env: Option<String>,
    /// The parameters
    #[command(flatten)]
    pub(super) parameters: ParameterArgs,
    /// The approval
    #[command(flatten)]
    pub(super) approval: RunApprovalArgs,
}

/// The approval of the token of `keyward run`.
#[derive(Args, Debug)]
pub(super) struct RunApprovalArgs {
    /// Use this approval for the token and its renewals, e.g. one of `keyward request CAPABILITY --for 30m`; an approval of one token serves no renewal
    #[arg(long, value_name = "ID", requires = "capabilities")]
    pub(super) approval: Option<ApprovalId>,
    /// Ask for an approval with this reason if the token needs one, and start the command once it is approved
    #[arg(long, value_name = "REASON", requires = "capabilities", conflicts_with = "approval")]
    pub(super) request_approval: Option<Reason>,
    /// Time in which the requested approval serves renewals of the token, e.g. 30m; without it the token is not renewed
    #[arg(long, value_name = "DURATION", requires = "request_approval", value_parser = duration_s)]
    pub(super) approval_for: Option<u32>,
}

/// The files that `keyward run` writes, and what it does when a secret changes.
#[derive(Args, Clone, Debug)]
pub(super) struct RunFileArgs {
    /// Write FILE from TEMPLATE, a text with `{{ secret("NAME") }}`, and again when a secret changes; repeat it for further files
    #[arg(long = "template", value_name = "TEMPLATE:FILE")]
    pub(super) templates: Vec<String>,
    /// Also replace an existing file that `keyward run` has not written; without this option, only a file that it has written, or an empty one, is replaced
    #[arg(long, requires = "templates")]
    pub(super) overwrite: bool,
    /// Remove the written files when the command ends
    #[arg(long, requires = "templates")]
    pub(super) remove_files: bool,
    /// Send this signal to the command when a secret has changed, after the files are written
    #[arg(long, value_enum, value_name = "SIGNAL")]
    pub(super) on_change: Option<ChangeSignal>,
    /// Interval of the checks for changed secrets
    #[arg(long, value_parser = interval_s, default_value = "30s", value_name = "DURATION")]
    pub(super) check_every: u32,
}

/// `keyward companion`
#[derive(Args, Debug)]
pub struct CompanionArgs {
    /// The process to watch
    #[arg(long, value_name = "PID")]
    pub(super) watch: u32,
    /// The directory with the token's file, if there is one
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
    /// Remaining life of the first token, in seconds
    #[arg(long, default_value = "0", value_name = "SECONDS")]
    pub(super) life: u64,
    /// The renewals of the token
    #[command(flatten)]
    pub(super) renewal: RenewalArgs,
    /// A secret that the command has, with its version
    #[arg(long = "known", value_name = "SECRET=VERSION")]
    pub(super) known: Vec<String>,
    /// The files
    #[command(flatten)]
    pub(super) files: RunFileArgs,
    /// Whether this is the second process, which stays
    #[arg(long)]
    pub(super) second: bool,
    /// The capabilities
    pub(super) capabilities: Vec<String>,
}

/// The renewals of the token of `keyward companion`.
#[derive(Args, Debug)]
pub(super) struct RenewalArgs {
    /// Audience of the token
    #[arg(long, value_name = "URI")]
    pub(super) resource: Option<String>,
    /// Requested life of a renewed token
    #[arg(long, value_parser = duration_s, value_name = "DURATION")]
    pub(super) expires_in: Option<u32>,
    /// The approval that renewals of the token use
    #[arg(long, value_name = "ID")]
    pub(super) approval: Option<ApprovalId>,
    /// Whether the token is not renewed
    #[arg(long)]
    pub(super) no_renewal: bool,
    /// Whether standard input has the parameters of the token: no value is an argument
    #[arg(long)]
    pub(super) parameters_in_stdin: bool,
}

/// The signals that a change can send.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum ChangeSignal {
    /// SIGHUP: many servers read their configuration again
    Hup,
    /// SIGUSR1
    Usr1,
    /// SIGUSR2
    Usr2,
    /// SIGINT
    Int,
    /// SIGTERM: the command ends; a service manager starts it again with the new values
    Term,
}

impl ChangeSignal {
    pub(super) const fn number(self) -> Signal {
        match self {
            Self::Hup => Signal::HUP,
            Self::Usr1 => Signal::USR1,
            Self::Usr2 => Signal::USR2,
            Self::Int => Signal::INT,
            Self::Term => Signal::TERM,
        }
    }

    /// The name, as the option spells it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Hup => "hup",
            Self::Usr1 => "usr1",
            Self::Usr2 => "usr2",
            Self::Int => "int",
            Self::Term => "term",
        }
    }
}

/// Shortest interval of checks, in seconds: every check is a request.
const CHECK_EVERY_MIN_S: u32 = 1;

fn interval_s(text: &str) -> Result<u32, String> {
    let interval = duration_s(text)?;
    if interval < CHECK_EVERY_MIN_S {
        return Err(format!("the shortest interval is {CHECK_EVERY_MIN_S}s"));
    }
    Ok(interval)
}

impl RunFileArgs {
    /// The interval of checks, in seconds.
    pub(super) fn check_every_s(&self) -> u64 {
        u64::from(self.check_every)
    }

    /// The templates with their files.
    pub(super) fn pairs(&self) -> Result<Vec<TemplatePair>, CommandFailure> {
        self.templates.iter().map(|text| TemplatePair::read(text)).collect()
    }
}

/// A template and the file that is written from it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct TemplatePair {
    pub(super) template: PathBuf,
    pub(super) file: PathBuf,
}

impl TemplatePair {
    fn read(text: &str) -> Result<Self, CommandFailure> {
        let (template, file) = text.split_once(':').unwrap_or_default();
        if template.is_empty() || file.is_empty() || file.contains(':') {
            let why = format!("`{text}` is not a template and a file with one colon between them");
            return Err(CommandFailure::usage(&why, "`--template app.conf.tmpl:/run/app/app.conf`"));
        }
        Ok(Self { template: template.into(), file: file.into() })
    }
}

/// A secret, or a field of a secret whose value is a JSON object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct SecretRef {
    pub(super) name: SecretName,
    pub(super) field: Option<String>,
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            Some(field) => write!(f, "{}#{field}", self.name),
            None => write!(f, "{}", self.name),
        }
    }
}

impl FromStr for SecretRef {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (name, field) = match text.split_once('#') {
            Some((name, field)) => (name, Some(field.to_owned())),
            None => (text, None),
        };
        Ok(Self { name: name.parse()?, field })
    }
}

/// An environment variable and the secret in it.
#[derive(Debug)]
pub(super) struct EnvSecret {
    pub(super) variable: String,
    pub(super) secret: SecretRef,
}

/// The environment variable with the path of the token file.
pub(super) const TOKEN_FILE: &str = "KEYWARD_TOKEN_FILE";

impl RunArgs {
    /// The secrets for the environment. The text after `=` is not repeated: it may be a value by mistake.
    pub(super) fn env_secrets(&self) -> Result<Vec<EnvSecret>, CommandFailure> {
        const FORM: &str = "`--secret VARIABLE=SECRET`, e.g. `--secret DB_PASSWORD=orders-db/app`";
        let mut taken: BTreeSet<&str> = BTreeSet::from([TOKEN_FILE]);
        taken.extend(self.token.env.as_deref());
        let mut secrets = Vec::new();
        for text in &self.secrets {
            let Some((variable, secret)) = text.split_once('=') else {
                return Err(CommandFailure::usage(
                    "`--secret` needs a variable and the name of a secret",
                    FORM,
                ));
            };
            check_variable(variable)?;
            if !taken.insert(variable) {
                let why = format!("the variable `{variable}` is set twice");
                return Err(CommandFailure::usage(&why, "name another variable for one of the values"));
            }
            let secret = secret.parse().map_err(|error: NameError| {
                let why = format!("`--secret {variable}=…` does not name a secret: {error}");
                CommandFailure::usage(&why, &format!("{FORM}; a name is {}", error.rule()))
            })?;
            secrets.push(EnvSecret { variable: variable.to_owned(), secret });
        }
        Ok(secrets)
    }
}

/// Checks the name of an environment variable for a credential.
pub(super) fn check_variable(name: &str) -> Result<(), CommandFailure> {
    let is_first = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let is_name = name.bytes().next().is_some_and(is_first)
        && name.bytes().all(|byte| is_first(byte) || byte.is_ascii_digit());
    if is_name && (name == "PATH" || name.starts_with("LD_")) {
        let why =
            format!("`{name}` decides which code the command runs: no credential belongs in this variable");
        return Err(CommandFailure::usage(&why, "name a variable that the program reads as a credential"));
    }
    if is_name {
        return Ok(());
    }
    let why = format!("`{name}` is not the name of an environment variable");
    Err(CommandFailure::usage(&why, "use letters, digits and `_`, and do not begin with a digit"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        run: RunArgs,
    }

    fn run(args: &[&str]) -> RunArgs {
        Line::try_parse_from([&["run"], args, &["--", "true"]].concat()).unwrap().run
    }

    #[test]
    fn a_secret_for_the_environment_has_a_variable_and_a_name() {
        let good = run(&["--secret", "A=a/b", "--secret", "_B1=c#password"]).env_secrets().unwrap();
        assert_eq!((good[0].variable.as_str(), good[0].secret.to_string()), ("A", "a/b".to_owned()));
        assert_eq!(good[1].secret.field.as_deref(), Some("password"));
        for wrong in [
            "A",
            "=a/b",
            "1A=a/b",
            "A-B=a/b",
            "A=CNRY!",
            "KEYWARD_TOKEN_FILE=a/b",
            "PATH=a/b",
            "LD_PRELOAD=a/b",
            "LD_LIBRARY_PATH=a/b",
        ] {
            let failure = run(&["--secret", wrong]).env_secrets().unwrap_err();
            assert_eq!(failure.code(), "usage", "{wrong}");
            assert!(!failure.why().contains("CNRY"), "{}", failure.why());
        }
        for good in ["PATHS=a/b", "OLD_KEY=a/b", "LD=a/b"] {
            assert!(run(&["--secret", good]).env_secrets().is_ok(), "{good}");
        }
        assert!(run(&["--secret", "A=a/b", "--secret", "A=c"]).env_secrets().is_err(), "twice");
        let taken = run(&["--capability", "c", "--env", "A", "--secret", "A=a/b"]);
        assert!(taken.env_secrets().is_err(), "the token is there");
    }

    #[test]
    fn a_template_and_its_file_have_one_colon_between_them() {
        let pairs = |args: &[&str]| run(args).files.pairs();
        let good = pairs(&["--template", "a.tmpl:/run/a", "--template", "b:c"]).unwrap();
        assert_eq!(
            (good[0].template.display().to_string().as_str(), good[1].file.display().to_string().as_str()),
            ("a.tmpl", "c")
        );
        for wrong in ["a", "a:", ":a", "a:b:c"] {
            assert_eq!(pairs(&["--template", wrong]).unwrap_err().code(), "usage", "{wrong}");
        }
    }
}
