use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use super::approval::{explained, renewal};
use super::args::{EnvSecret, RunArgs, TOKEN_FILE, check_variable};
use super::missing::all_granted;
use super::sources::{SecretSource, SecretValues};
use super::token_file::{Renewal, TokenFile};
use super::watched_files::TemplateFiles;
use crate::base::encoding::hex;
use crate::base::{
    CapabilityName, Entropy, GivenParameters, SecretName, Sensitive, SystemEntropy, code, io_reason,
};
use crate::cli::client::Received;
use crate::cli::identity::{HOME_VARIABLE, absolute_home, runtime_dir};
use crate::cli::session::agent_client;
use crate::cli::verbs::token::TokenRequest;
use crate::console::signals::EndSignals;
use crate::console::{CommandFailure, Console, Format};
use crate::files::private_dir;
use crate::wire::TokenAnswer;

/// The files and variables of the command, checked before the first request to the broker.
struct Plan<'a> {
    home: &'a Path,
    args: &'a RunArgs,
    secrets: Vec<EnvSecret>,
    files: TemplateFiles,
}

/// What the broker gave for the command.
struct Credentials {
    token: Option<Minted>,
    values: Arc<SecretValues>,
}

/// The token of the command.
struct Minted {
    answer: Received<TokenAnswer>,
    renewal: Renewal,
    parameters: BTreeMap<CapabilityName, GivenParameters>,
}

/// Gets the credentials, writes token and files so that only their owner can read them, starts a companion process that
/// keeps both up to date while the command runs, and replaces this process by the command.
pub(crate) async fn run(home: &Path, args: &RunArgs) -> Result<(), CommandFailure> {
    let (program, rest) = args.command.split_first().ok_or_else(|| {
        CommandFailure::usage("there is no command", "`keyward run --capability NAME -- COMMAND ARG…`")
    })?;
    let mut plan = Plan::of(home, args)?;
    // No signal may end this process between the creation of a file and the start of its companion.
    let mut signals = EndSignals::listen().map_err(|_| CommandFailure::new(code::COMMAND_FAILED))?;
    let gathered = tokio::select! {
        gathered = plan.gather() => gathered,
        () = signals.wait() => Err(ended()),
    };
    let prepared = gathered.and_then(|credentials| plan.prepare(&credentials).map(|dir| (credentials, dir)));
    let (credentials, dir) = prepared.inspect_err(|_| drop(plan.files.end()))?;
    if signals.has_arrived().await {
        // The companion removes the files.
        return Err(ended());
    }
    let mut command = Command::new(program);
    command.args(rest).env(HOME_VARIABLE, absolute_home(home)?);
    if let (Some(dir), Some(minted)) = (&dir, &credentials.token) {
        command.env(TOKEN_FILE, TokenFile::path_in(dir));
        command.envs(args.token.env.iter().map(|name| (name, minted.answer.access_token.value().expose())));
    }
    command.envs(plan.variables(&credentials.values)?);
    // Returns only on failure; the companion removes the files when this process ends.
    Err(CommandFailure::of_program(Path::new(program), &command.exec()))
}

fn ended() -> CommandFailure {
    CommandFailure::new(code::COMMAND_FAILED)
        .because("a signal ended `keyward run` before the command started")
        .mended_by("run it again if the signal was not meant for it")
}

impl<'a> Plan<'a> {
    fn of(home: &'a Path, args: &'a RunArgs) -> Result<Self, CommandFailure> {
        let secrets = args.env_secrets()?;
        args.token.env.as_deref().map_or(Ok(()), check_variable)?;
        let has_secrets = !secrets.is_empty() || !args.files.templates.is_empty();
        if args.token.capabilities.is_empty() && !has_secrets {
            return Err(CommandFailure::usage(
                "there is nothing to give to the command",
                "name a token (`--capability NAME`), a secret (`--secret VARIABLE=NAME`) or a file (`--template TEMPLATE:FILE`)",
            ));
        }
        if args.files.on_change.is_some() && !has_secrets {
            return Err(CommandFailure::usage(
                "`--on-change` is for changed secrets, and the command gets none",
                "name a secret (`--secret`) or a file (`--template`), or leave `--on-change` out",
            ));
        }
        let console = Console::new(Format::Table);
        Ok(Self { home, args, secrets, files: TemplateFiles::first(home, &args.files, &console)? })
    }

    /// Gets token and secrets, and writes the files from templates.
    async fn gather(&mut self) -> Result<Credentials, CommandFailure> {
        let token = match self.args.token.capabilities.join(" ") {
            scope if scope.is_empty() => None,
            scope => Some(self.mint(scope).await?),
        };
        if self.secrets.is_empty() && self.args.files.templates.is_empty() {
            return Ok(Credentials { token, values: Arc::default() });
        }
        let names: BTreeSet<SecretName> = self.secrets.iter().map(|one| one.secret.name.clone()).collect();
        let source = SecretSource::open(self.home).await?;
        let mut update = self.files.write(&source, &names).await?;
        if let Some((_, refusal)) = update.refusals.pop_first() {
            return Err(refusal);
        }
        // Before the command starts: a value may not fit into a variable.
        self.variables(&update.values)?;
        Ok(Credentials { token, values: update.values })
    }

    /// Gets the token, with the approval if it needs one.
    async fn mint(&self, scope: String) -> Result<Minted, CommandFailure> {
        let (args, console) = (&self.args.token, Console::new(Format::Table));
        let parameters = args.given_parameters(self.home, &console).await?;
        let approval = args.approved(self.home, &parameters, &console).await?;
        let client = agent_client(self.home).await?;
        let request = TokenRequest::for_scope(scope, args.resource.clone()).approved_by(approval);
        let request = request.with_parameters(parameters.clone());
        let answer = request.fresh(&client).await.map_err(explained)?;
        all_granted(&args.capabilities, &answer.scope, &answer.left_out)?;
        let renewal = renewal(&client, approval, &answer, &console).await;
        Ok(Minted { answer, renewal, parameters })
    }

    /// The environment variables with secrets.
    fn variables(&self, values: &SecretValues) -> Result<Vec<(&str, OsString)>, CommandFailure> {
        let variable = |one: &'_ EnvSecret| {
            let bytes = values.bytes(&one.secret)?.unwrap_or_default();
            if bytes.contains(&0) {
                let why = format!(
                    "the value of secret `{}` has a NUL byte, which no variable can have",
                    one.secret
                );
                return Err(CommandFailure::new(code::VALUE_FORMAT_MISMATCH).because(why));
            }
            Ok(OsString::from_vec(bytes.to_vec()))
        };
        self.secrets.iter().map(|one| Ok((one.variable.as_str(), variable(one)?))).collect()
    }

    /// Writes the token and starts the companion, if the command needs one. The directory of the token.
    fn prepare(&self, credentials: &Credentials) -> Result<Option<PathBuf>, CommandFailure> {
        let args = self.args;
        let Some(minted) = &credentials.token else {
            if !args.files.templates.is_empty() || args.files.on_change.is_some() {
                self.start_companion(None, credentials)?;
            }
            return Ok(None);
        };
        let mut random = [0_u8; 16];
        SystemEntropy.fill(&mut random);
        let dir = runtime_dir().join(format!("keyward-run-{}", hex(&random)));
        private_dir(&dir).map_err(|error| CommandFailure::of_file(&dir, &error))?;
        let begun = TokenFile::store(&TokenFile::path_in(&dir), &minted.answer);
        let begun = begun.and_then(|()| self.start_companion(Some(&dir), credentials));
        begun.inspect_err(|_| drop(fs::remove_dir_all(&dir)))?;
        Ok(Some(dir))
    }

    /// Starts the companion through another process, so that it is not a child of the command, and waits until it
    /// watches.
    fn start_companion(&self, dir: Option<&Path>, credentials: &Credentials) -> Result<(), CommandFailure> {
        let failed = |problem: &str| {
            let why = format!("the process that keeps the credentials up to date {problem}");
            CommandFailure::new(code::COMMAND_FAILED).because(why)
        };
        let unstartable =
            |error: std::io::Error| failed(&format!("cannot be started: {}", io_reason(&error)));
        let mut between = Command::new(std::env::current_exe().map_err(unstartable)?);
        between
            .arg("companion")
            .arg("--home")
            .arg(self.home)
            .args(["--watch", &std::process::id().to_string()]);
        if let (Some(dir), Some(minted)) = (dir, &credentials.token) {
            between.arg("--dir").arg(dir).args(["--life", &minted.answer.expires_in.to_string()]);
            match minted.renewal {
                Renewal::Plain => {}
                Renewal::With(approval) => {
                    between.arg("--approval").arg(approval.to_string());
                }
                Renewal::Never => {
                    between.arg("--no-renewal");
                }
            }
        }
        let input = companion_input(credentials.token.as_ref())?;
        between.args(input.as_ref().map(|_| "--parameters-in-stdin"));
        let RunArgs { token, files, .. } = self.args;
        between.args(token.resource.iter().flat_map(|resource| ["--resource", resource]));
        for (name, version) in credentials.values.versions() {
            between.arg("--known").arg(format!("{name}={version}"));
        }
        between.args(files.templates.iter().flat_map(|pair| ["--template", pair]));
        between.args(files.remove_files.then_some("--remove-files"));
        between.args(files.on_change.iter().flat_map(|signal| ["--on-change", signal.as_str()]));
        between.args(["--check-every", &format!("{}s", files.check_every_s()), "--"]);
        between.args(&token.capabilities);
        between.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        let mut process = between.spawn().map_err(unstartable)?;
        let mut given = Ok(());
        if let (Some(mut stdin), Some(input)) = (process.stdin.take(), &input) {
            given = stdin.write_all(input.expose());
        }
        let done = process.wait().map_err(unstartable)?;
        if done.success() && given.is_ok() { Ok(()) } else { Err(failed("ended before it was ready")) }
    }
}

/// What the companion reads from its standard input: the parameters of the token, if there are some.
fn companion_input(minted: Option<&Minted>) -> Result<Option<Sensitive<Vec<u8>>>, CommandFailure> {
    let parameters = minted.map(|minted| &minted.parameters).filter(|parameters| !parameters.is_empty());
    let written = parameters.map(serde_json::to_vec).transpose();
    let written = written.map_err(|_| CommandFailure::internal("the parameters cannot be written"))?;
    Ok(written.map(Sensitive::new))
}
