use super::checkpoint::read_note;
use super::ledger_check::{VerifiedLedger, VerifyOptions, config_of, look, unfinished_end};
use super::verify_evidence::verify_evidence;
use crate::cli::{VerifyArgs, named_key};
use crate::console::{CommandFailure, Console};
use crate::ledger::{Checkpoint, End};
use crate::wire::{UnfinishedOutput, VerifyOutput};

/// `keyward verify`
///
/// # Errors
/// [`CommandFailure`] if the ledger is not intact.
pub fn verify(args: &VerifyArgs, console: &Console) -> Result<(), CommandFailure> {
    let key = args.key.as_deref().map(named_key).transpose()?;
    match (&args.bundle, &key) {
        (Some(bundle), Some(key)) => return verify_evidence(bundle, key, args, console),
        (None, Some(_)) if args.checkpoint.is_none() => {
            return Err(CommandFailure::usage(
                "`--key` verifies a checkpoint or an evidence bundle, and neither is named",
                "add `--checkpoint FILE`, or name the bundle: `keyward verify FILE --key KEY`",
            ));
        }
        (Some(_) | None, Some(_) | None) => {}
    }
    let config = config_of(args)?;
    let checkpoint = args.checkpoint.as_deref().map(read_note).transpose()?;
    let progress = console.progress("verifying entries of the ledger");
    let options = VerifyOptions {
        config: config.as_ref(),
        data_dir: args.data_dir.as_deref(),
        checkpoint: checkpoint.as_deref(),
        key: key.as_deref(),
        checked: Some(progress.counted()),
    };
    let VerifiedLedger { verified, checkpoint, opened, unfinished } = look(&options)?;
    drop(progress);
    let end = match &verified.end {
        End::Closed => "closed",
        End::Open => "open",
        End::Unfinished(_) => "unfinished",
    };
    let (entries, head, root) = (verified.entries(), verified.head, verified.root.hex());
    let unfinished = unfinished.as_ref().map(|(dir, tail)| (dir.as_path(), tail));
    let ended = unfinished.map(|(dir, tail)| unfinished_end(dir, tail, entries));
    if console.is_json() {
        console.json(&VerifyOutput {
            ledger: verified.ledger,
            entries,
            head: head.seq,
            head_time: head.time.to_string(),
            root,
            end: end.into(),
            opened,
            checkpoint: checkpoint.as_ref().map(|one| one.size),
            snapshots: verified.snapshots.iter().map(|one| one.through).collect(),
            unfinished: unfinished.map(|(_, tail)| UnfinishedOutput {
                file: tail.segment.clone(),
                offset: tail.offset,
                bytes: tail.bytes,
            }),
        });
        return ended.map_or(Ok(()), Err);
    }
    let result = match ended {
        Some(_) => "the end is not whole",
        None if opened || checkpoint.is_some() => "ok",
        None => "no damage found",
    };
    console.line(&format!("{result}: {entries} entries, the last at {}, root {root}", head.time));
    if let Some(checkpoint) = &checkpoint {
        console.line(&format!("extends the checkpoint of {} entries", checkpoint.size));
    }
    if !opened {
        console.say(&unproved(checkpoint.as_ref()));
    }
    ended.map_or(Ok(()), Err)
}

/// What a verification without the unseal key does not prove.
fn unproved(checkpoint: Option<&Checkpoint>) -> String {
    let forger = "a person who can write these files can have changed them unnoticed";
    checkpoint.map_or_else(
        || {
            format!(
                "note: without a checkpoint or the unseal key only checksums and the sequence are verified: {forger}; add \
                 `--checkpoint FILE --key KEY`, or `--config FILE`, which names the unseal key"
            )
        },
        |checkpoint| {
            format!(
                "note: the checkpoint proves the first {} entries; after them, and for state changes, only checksums and \
                 the sequence are verified without the unseal key: {forger}",
                checkpoint.size
            )
        },
    )
}
