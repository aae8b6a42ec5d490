//! The composition root: settings become rooms here, and here alone everything is seen.

mod assemble;
mod doctor;
mod gate;
mod host_socket;
mod init;
mod keeper;
mod lanes;
mod location;
mod permissions;
mod premises;
mod published;
mod running;
mod runtime_dir;
mod sealing_keys;
mod serve;
mod server_identity;
mod slot_change;
mod slot_keys;
mod slots;
mod verify;

pub use assemble::Surroundings;
pub use init::{Order, init};
pub use running::{Running, start};

use std::path::Path;
use std::process::ExitCode;

use self::permissions::Trusted;
use self::running::Duty;
use crate::base::code;
use crate::cli::{self, Cli, ClockCommand, Command, ConfigCommand, Console, Failure, InitArgs};
use crate::config::{Config, RootKey};
use crate::store::OnLostEntries;

/// Runs the process: arguments in, exit code out.
#[must_use]
pub fn main() -> ExitCode {
    // Every verb may hold a key or a value; what the kernel refuses, `serve` tells.
    let _protections = crate::telemetry::harden();
    let cli = match cli::parse() {
        Ok(cli) => cli,
        Err(told) => return told,
    };
    let console = Console::new(cli.output);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(carry_out(&cli, &console)).and_then(|()| console.delivered()),
        Err(error) => Err(Failure::new(code::RUNTIME_FAILED).because(error.to_string())),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report(&console);
            ExitCode::from(failure.exit())
        }
    }
}

async fn carry_out(cli: &Cli, console: &Console) -> Result<(), Failure> {
    match &cli.command {
        Command::Init(args) => found(&cli.home()?, args, console).await,
        Command::Serve { config, sealed, accept_lost_entries, read_only } => {
            let start = if *sealed { serve::Start::Sealed } else { serve::Start::AsConfigured };
            let on_lost = if *accept_lost_entries { OnLostEntries::Accept } else { OnLostEntries::Refuse };
            let duty = if *read_only { Duty::ReadOnly } else { Duty::Full };
            let loaded = load(config)?;
            Trusted::all(config, &loaded).iter().try_for_each(Trusted::check)?;
            serve::serve(&loaded, start, on_lost, duty).await
        }
        Command::Adopt { config } => location::adopt(&load(config)?, console),
        Command::Seal { config } => cli::seal(&load(config)?.listen.host, console).await,
        Command::Unseal(args) => cli::unseal(&load(&args.config)?.listen.host, args, console).await,
        Command::Clock(ClockCommand::Accept { broker }) => {
            cli::accept_clock(&load(&broker.config)?.listen.host, console).await
        }
        Command::BreakGlass(command) => cli::break_glass(command, &load(command.config())?, console).await,
        Command::Doctor { config: Some(config), root_key_file, .. } => {
            cli::report(&doctor::host(config, root_key_file.as_deref()).await, console)
        }
        Command::Slot(command) => slots::slot(command, &Surroundings::system(), console).await,
        Command::Verify { config, root_key_file, data_dir, checkpoint, key } => {
            let key_file = root_key_file.as_deref();
            let config = config.as_deref().map(|path| load_opened_by(path, key_file)).transpose()?;
            let wanted = verify::Wanted {
                config: config.as_ref(),
                data_dir: data_dir.as_deref(),
                checkpoint: checkpoint.as_deref(),
                key: key.as_deref(),
            };
            verify::verify(&wanted, console)
        }
        Command::Config(ConfigCommand::Check { config }) => {
            load(config).map(|_| console.line(&format!("`{}` is good", config.display())))
        }
        Command::Help { words } => cli::help(words, console),
        Command::Completions { shell } => {
            cli::completions(*shell, console);
            Ok(())
        }
        Command::Man { out } => cli::man(out),
        Command::Demo
        | Command::Dev { .. }
        | Command::Join { .. }
        | Command::Renew { .. }
        | Command::Token(_)
        | Command::Get(_)
        | Command::Run(_)
        | Command::Companion(_)
        | Command::Whoami { .. }
        | Command::Plan { .. }
        | Command::Apply { .. }
        | Command::Agent(_)
        | Command::Operator(_)
        | Command::Cert(_)
        | Command::Authority(_)
        | Command::TokenKey(_)
        | Command::CheckpointKey(_)
        | Command::Capability(_)
        | Command::Role(_)
        | Command::Secret(_)
        | Command::Doctor { .. }
        | Command::ValueKey(_)
        | Command::Lease(_)
        | Command::Rotation(_)
        | Command::Audit(_) => cli::run(cli, console).await,
    }
}

/// `keyward init`
async fn found(home: &Path, args: &InitArgs, console: &Console) -> Result<(), Failure> {
    let config = load(&args.config)?;
    let asked = args.passphrase || args.passphrase_file.is_some();
    let ask = if args.reissue_operator { cli::known_passphrase } else { cli::new_passphrase };
    let passphrase = asked.then(|| ask(args.passphrase_file.as_deref(), console)).transpose()?;
    let order = Order {
        operator: &args.operator,
        reissue: args.reissue_operator,
        home,
        root_key: args.root_key_file.as_deref(),
        passphrase,
    };
    let told = init(&config, order, &Surroundings::of(&config)).await?;
    init::tell(&told, console);
    Ok(())
}

/// The configuration, with the root key's key in `key_file`, if that is said: a credential is given to the
/// service alone.
fn load_opened_by(path: &Path, key_file: Option<&Path>) -> Result<Config, Failure> {
    let mut config = load(path)?;
    if let Some(file) = key_file {
        config.root_key = RootKey::File(file.to_owned());
    }
    Ok(config)
}

fn load(path: &Path) -> Result<Config, Failure> {
    Config::load(path).map_err(|error| {
        Failure::usage(
            &error.to_string(),
            "mend the place that is named; `config/keyward.toml` shows every key",
        )
    })
}
