use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::configuration::config_opened_by;
use crate::app::Environment;
use crate::app::data_dir::{give_to_broker, private_dir};
use crate::app::ledger_place::{configured_database, database_target, has_segments, moving_to_files};
use crate::app::open_keyring::open_keyring;
use crate::base::code;
use crate::cli::{LedgerDestination, LedgerMoveArgs};
use crate::config::Config;
use crate::console::{CommandFailure, Console};
use crate::database::{Claimant, DatabaseEntries, DatabaseTarget, LogUse, PostgresLog};
use crate::ledger::{
    Copied, CopyError, CopyOptions, FileLog, HostLayer, OpenError, RESERVE_BYTES, SEGMENT_BYTES,
    copy_entries, lock_file,
};
use crate::store::{StoreError, delta_keys, lock_mark};
use crate::wire::LedgerMovedOutput;

/// `keyward ledger move`
///
/// # Errors
/// [`CommandFailure`]; the ledger is where it was then, and the move can be repeated.
pub fn move_ledger(args: &LedgerMoveArgs, console: &Console) -> Result<(), CommandFailure> {
    let config = config_opened_by(&args.config, args.root_key_file.as_deref())?;
    let environment = Environment::of(&config);
    let target = database_target(configured_database(&config)?, &environment.clock)?;
    let lock = lock_file(&config.data_dir.join("lock"));
    let lock = lock.map_err(|error| CommandFailure::of_file(&config.data_dir, &error))?;
    let Some(lock) = lock else {
        return Err(CommandFailure::new(code::DATA_DIR_IN_USE).mended_by("stop the broker first"));
    };
    let metadata = lock.metadata().map_err(|error| CommandFailure::of_file(&config.data_dir, &error))?;
    let claimant = Claimant { lock: lock_mark(&metadata), is_adopted: false };
    let keyring = open_keyring(&config)?;
    let (ledger, keys) = (keyring.ledger(), Arc::new(delta_keys(&keyring)?));
    let options = CopyOptions { ledger, keys, entropy: Arc::clone(&environment.entropy) };
    let moved = match args.to {
        LedgerDestination::Postgresql => to_database(&config, target, claimant, &options),
        LedgerDestination::Files => to_files(&config, target, claimant, &options),
    };
    let MovedLedger { copied, kept } = give_to_broker(&config, moved)?;
    tell(args.to, copied, kept, console);
    Ok(())
}

struct MovedLedger {
    copied: Copied,
    /// The directory of the files that the broker does not use any more.
    kept: Option<String>,
}

fn to_database(
    config: &Config,
    target: DatabaseTarget,
    claimant: Claimant,
    options: &CopyOptions,
) -> Result<MovedLedger, CommandFailure> {
    let dir = config.data_dir.join("ledger");
    if moving_to_files(config).exists() {
        return Err(CommandFailure::new(code::LEDGER_NOT_MOVED)
            .because("a move of the ledger from the database to files was interrupted")
            .mended_by("repeat `keyward ledger move --to files` first"));
    }
    if !has_segments(&config.data_dir) {
        let why = format!("`{}` contains no ledger entry", dir.display());
        return Err(CommandFailure::new(code::LEDGER_EMPTY)
            .because(why)
            .mended_by("if the ledger was moved already, start the broker with `engine = \"postgresql\"`"));
    }
    // Known before anything is copied: what cannot be put aside would be a second ledger.
    let kept = free_name(&config.data_dir)?;
    let mut source = FileLog::new(Arc::new(HostLayer::existing(&dir)), SEGMENT_BYTES, RESERVE_BYTES);
    let mut destination = PostgresLog::new(target, LogUse::TakeBack, claimant).map_err(no_thread)?;
    let copied = copy_entries(options, &mut source, &mut destination).map_err(not_moved)?;
    if !destination.is_closed() {
        return Err(not_closed());
    }
    // One step: until it is done, the files are the ledger, and the move can be repeated.
    let renamed = fs::rename(&dir, &kept).and_then(|()| sync_directory(&config.data_dir));
    renamed.map_err(|error| CommandFailure::of_file(&kept, &error))?;
    // For snapshots from here on.
    private_dir(&dir)?;
    Ok(MovedLedger { copied, kept: Some(kept.display().to_string()) })
}

fn to_files(
    config: &Config,
    target: DatabaseTarget,
    claimant: Claimant,
    options: &CopyOptions,
) -> Result<MovedLedger, CommandFailure> {
    let dir = config.data_dir.join("ledger");
    let under_way = moving_to_files(config);
    // Known before anything is written: a start would take the mark for an interrupted move.
    if is_moved(target.clone(), claimant)? && !under_way.exists() {
        return Err(CommandFailure::new(code::LEDGER_NOT_MOVED)
            .because("the ledger was moved to files already")
            .mended_by("set `engine = \"files\"` in `[ledger]`, and start the broker"));
    }
    let marked = File::create(&under_way).and_then(|file| file.sync_all());
    let marked = marked.and_then(|()| sync_directory(&config.data_dir));
    marked.map_err(|error| CommandFailure::of_file(&under_way, &error))?;
    let layer = HostLayer::open(&dir).map_err(StoreError::Ledger)?;
    let mut destination = FileLog::new(Arc::new(layer), SEGMENT_BYTES, RESERVE_BYTES);
    let mut source = PostgresLog::new(target, LogUse::MoveAway, claimant).map_err(no_thread)?;
    let copied = copy_entries(options, &mut source, &mut destination).map_err(not_moved)?;
    // Both would be continued otherwise.
    if !source.is_closed() {
        return Err(not_closed());
    }
    let ended = fs::remove_file(&under_way).and_then(|()| sync_directory(&config.data_dir));
    ended.map_err(|error| CommandFailure::of_file(&under_way, &error))?;
    Ok(MovedLedger { copied, kept: None })
}

/// Whether the ledger was moved to files already. Fails if it belongs to another data directory than that of `claimant`.
fn is_moved(target: DatabaseTarget, claimant: Claimant) -> Result<bool, CommandFailure> {
    let unusable = CommandFailure::new(code::LEDGER_DATABASE_UNUSABLE);
    match DatabaseEntries::open(target) {
        Ok(entries) if entries.may_be_claimed_by(claimant) => Ok(entries.is_moved()),
        Ok(_) => Err(unusable
            .because(
                "the broker of another data directory has claimed the ledger in the database; nothing was changed",
            )
            .mended_by(
                "move the ledger from that directory; if no other broker will serve these data again: run `keyward adopt`, \
                 start the broker once, stop it, and repeat the move",
            )),
        Err(fault) => Err(unusable.because(fault.to_string())),
    }
}

fn not_closed() -> CommandFailure {
    CommandFailure::new(code::LEDGER_NOT_MOVED)
        .because("the entries are copied, but the database has not confirmed the end of the move")
        .mended_by("check the database and its standbys, and repeat the command")
}

/// A name that is free for the directory of the files.
fn free_name(data_dir: &Path) -> Result<PathBuf, CommandFailure> {
    let names = (1..=KEPT_MAX).map(|number| data_dir.join(format!("ledger-moved-{number}")));
    names.into_iter().find(|name| !name.exists()).ok_or_else(|| {
        CommandFailure::new(code::LEDGER_NOT_MOVED)
            .because(format!("`{}` has the files of {KEPT_MAX} earlier moves", data_dir.display()))
            .mended_by("delete those that are not needed (`ledger-moved-N`)")
    })
}

/// Most directories of earlier moves.
const KEPT_MAX: u32 = 100;

fn sync_directory(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn no_thread(error: io::Error) -> CommandFailure {
    CommandFailure::from(StoreError::Io(error))
}

fn not_moved(error: CopyError) -> CommandFailure {
    match error {
        CopyError::Source(OpenError::InUse) | CopyError::Destination(OpenError::InUse) => {
            CommandFailure::new(code::DATA_DIR_IN_USE).mended_by("stop the broker first")
        }
        CopyError::Source(error) | CopyError::Destination(error) => StoreError::Ledger(error).into(),
        other
        @ (CopyError::Read(_) | CopyError::Foreign(_) | CopyError::Write(_) | CopyError::Differs(_)) => {
            CommandFailure::new(code::LEDGER_NOT_MOVED).because(other.to_string())
        }
    }
}

fn tell(to: LedgerDestination, copied: Copied, kept: Option<String>, console: &Console) {
    let Copied { head, root, found } = copied;
    if console.is_json() {
        return console.json(&LedgerMovedOutput {
            to: to.as_str().to_owned(),
            entries: head.seq,
            copied: head.seq.saturating_sub(found),
            root: root.hex(),
            kept,
        });
    }
    console.line(&format!("moved: {} entries, the last at {}, root {root}", head.seq, head.time));
    match kept {
        Some(kept) => console.say(&format!(
            "start the broker; once it runs, you can delete `{kept}`, which it does not use any more"
        )),
        None => console.say(
            "set `engine = \"files\"` in `[ledger]`, remove the settings of the database there, and start the broker",
        ),
    }
}
