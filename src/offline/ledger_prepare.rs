use std::sync::Arc;

use crate::app::Environment;
use crate::app::ledger_place::{configured_database, role_at};
use crate::base::code;
use crate::cli::LedgerPrepareArgs;
use crate::config::Config;
use crate::console::{CommandFailure, Console};
use crate::database::prepare_database;
use crate::wire::LedgerPreparedOutput;

/// `keyward ledger prepare`
///
/// # Errors
/// [`CommandFailure`] if the schema was not created; it can be repeated.
pub fn prepare_ledger(args: &LedgerPrepareArgs, console: &Console) -> Result<(), CommandFailure> {
    let config = Config::load(&args.config)?;
    let settings = configured_database(&config)?;
    if args.owner == settings.role {
        return Err(CommandFailure::usage(
            "the role that owns the schema can change and remove entries, so it cannot be the broker's role",
            "name another role with `--owner`",
        ));
    }
    let clock = Arc::clone(&Environment::of(&config).clock);
    let owner = role_at(settings, &args.owner, &args.password_file, &clock)?;
    prepare_database(owner, &settings.role)
        .map_err(|fault| CommandFailure::new(code::LEDGER_DATABASE_UNUSABLE).because(fault.to_string()))?;
    if console.is_json() {
        let (database, role) = (settings.database.clone(), settings.role.clone());
        console.json(&LedgerPreparedOutput { database, role });
    } else {
        console.line(&format!(
            "the database `{}` is prepared: the role `{}` can append entries to the ledger and read them",
            settings.database, settings.role
        ));
    }
    Ok(())
}
