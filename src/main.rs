//! The `keyward` binary: it reads the arguments and hands the verb to the room that carries it out.

use std::process::ExitCode;

use keyward::cli::{self, Cli, Command, ConfigCommand, HostCommand, LedgerCommand};
use keyward::console::{CommandFailure, Console};
use keyward::{app, base, offline, telemetry};

fn main() -> ExitCode {
    // Every verb may hold a key or a value; what the kernel refuses, `serve` tells.
    let _protections = telemetry::harden();
    if cli::complete() {
        return ExitCode::SUCCESS;
    }
    let cli = match cli::parse() {
        Ok(cli) => cli,
        Err(told) => return told,
    };
    let console = Console::new(cli.output).with_color(cli.color);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(carry_out(&cli, &console)).and_then(|()| console.delivered()),
        Err(error) => Err(CommandFailure::new(base::code::RUNTIME_FAILED).because(error.to_string())),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            console.report(&failure);
            ExitCode::from(failure.exit())
        }
    }
}

async fn carry_out(cli: &Cli, console: &Console) -> Result<(), CommandFailure> {
    let command = match &cli.command {
        Command::Local(command) => return cli::run_local(command, console).await,
        Command::Client(command) => return cli::run(command, &cli.home()?, console).await,
        Command::Host(command) => command,
        Command::Help { words } => return cli::help(words, console),
        Command::Completions { shell } => return cli::completions(*shell, console),
        Command::Man { out } => return cli::man(out, console),
    };
    match command {
        HostCommand::Init(args) => offline::init(&cli.home()?, args, console).await,
        HostCommand::Serve(args) => app::serve(args).await,
        HostCommand::Adopt { config } => offline::adopt(config, console),
        HostCommand::Slot(command) => offline::slot(command, console).await,
        HostCommand::Ledger(LedgerCommand::Prepare(args)) => offline::prepare_ledger(args, console),
        HostCommand::Ledger(LedgerCommand::Move(args)) => offline::move_ledger(args, console),
        HostCommand::Verify(args) => offline::verify(args, console),
        HostCommand::Config(ConfigCommand::Check { config }) => offline::check_config(config, console),
        HostCommand::Doctor { config: Some(config), root_key_file, .. } => {
            offline::doctor(config, root_key_file.as_deref(), console).await
        }
        HostCommand::Doctor { operator, config: None, .. } => {
            cli::doctor(*operator, &cli.home()?, console).await
        }
    }
}
