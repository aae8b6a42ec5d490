use std::path::PathBuf;

use super::failure::CommandFailure;
use super::input;
use super::output::{Console, OnlyCopy};
use crate::base::limits::SHARES_MAX;
use crate::keyring::{DealtShares, Share, ShareError, ShareSplit, Shares, SlotKey};
use crate::wire::{SecretText, SharesOutput};

/// Reads the shares of an existing slot: from `files` (`-`: standard input), standard input, or prompts, one for each
/// share until there are enough.
///
/// # Errors
/// [`CommandFailure`].
pub fn known_shares(files: &[PathBuf], console: &Console) -> Result<SlotKey, CommandFailure> {
    let shares = given_shares(files, console)?;
    Ok(SlotKey::Shares(Shares::together(shares)?))
}

/// The same, for another function to combine.
pub(crate) fn given_shares(files: &[PathBuf], console: &Console) -> Result<Vec<Share>, CommandFailure> {
    if !files.is_empty() {
        return of_files(files, console);
    }
    if console.is_interactive() {
        return of_prompts(console);
    }
    let piped = input::secret(None, PROMPT, SHARES_BYTES_MAX, console)?;
    Ok(Share::read(&piped)?)
}

fn of_files(files: &[PathBuf], console: &Console) -> Result<Vec<Share>, CommandFailure> {
    let mut shares = Vec::new();
    for file in files {
        let text = input::secret(Some(file), PROMPT, SHARES_BYTES_MAX, console)?;
        let before = shares.len();
        let read = Share::read(&text).map_err(|error| {
            let error = counted_after(before, error);
            let why = format!("`{}`: {error}", file.display());
            CommandFailure::from(error).because(why)
        })?;
        shares.extend(read);
    }
    Ok(shares)
}

/// `error` with the number of the share among all files, of which `before` were read.
fn counted_after(before: usize, error: ShareError) -> ShareError {
    if let ShareError::NoShare(number) = error {
        return ShareError::NoShare(number.saturating_add(before));
    }
    if let ShareError::Checksum(number) = error {
        return ShareError::Checksum(number.saturating_add(before));
    }
    error
}

/// Asks again for a mistyped share, so that the earlier shares are not lost.
fn of_prompts(console: &Console) -> Result<Vec<Share>, CommandFailure> {
    let mut shares: Vec<Share> = Vec::new();
    loop {
        let wanted = shares.first().map(|share| share.split().threshold());
        if wanted.is_some_and(|wanted| shares.len() >= usize::from(wanted)) {
            return Ok(shares);
        }
        let of = wanted.map(|wanted| format!(" of {wanted}")).unwrap_or_default();
        let prompt = format!("{PROMPT}{of}, number {}", shares.len().saturating_add(1));
        let typed = input::secret(None, &prompt, SHARES_BYTES_MAX, console)?;
        match Share::read(&typed) {
            Ok(read) if read.is_empty() => return Err(ShareError::NoShare(1).into()),
            Ok(read) => {
                for share in read {
                    match share.check_beside(&shares) {
                        Ok(()) => shares.push(share),
                        Err(error) => console.say(&format!("enter another share: {error}")),
                    }
                }
            }
            Err(error) => console.say(&format!("this share is not accepted, enter it again: {error}")),
        }
    }
}

/// Prints the shares of a slot, once.
///
/// # Errors
/// [`CommandFailure`] if standard output cannot be written.
pub fn print_shares(dealt: &DealtShares, console: &Console) -> Result<(), CommandFailure> {
    let only_copy = console.for_only_copy(OnlyCopy {
        what: "at least one share",
        fix: "make standard output writable, then repeat the command; remove the slot of the lost shares: `keyward slot remove ID`",
    });
    if console.is_json() {
        only_copy.json(&SharesOutput {
            done: "dealt".into(),
            id: dealt.slot.id.to_string(),
            kind: dealt.slot.kind.as_str().into(),
            state: dealt.slot.state.as_str().into(),
            threshold: dealt.slot.split.map(ShareSplit::threshold),
            shares: dealt.shares.iter().map(|share| SecretText::from(share.text())).collect(),
        });
    } else {
        dealt.shares.iter().for_each(|share| only_copy.line(share.text().expose()));
    }
    console.delivered()?;
    let enough = dealt.slot.split.map_or(0, ShareSplit::threshold);
    console.say(&format!(
        "note: give each share to one person and keep no copy; slot {} opens nothing until `keyward slot confirm` \
         has read {enough} of the shares",
        dealt.slot.id
    ));
    Ok(())
}

const PROMPT: &str = "Share";
/// The largest number of shares of a slot, with space for notes beside them.
pub(crate) const SHARES_BYTES_MAX: usize = SHARES_MAX as usize * 1024;
