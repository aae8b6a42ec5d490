use std::path::Path;

use serde_json::json;

use super::assemble::{broken, keyring_failure, open_keyring};
use crate::cli::{Console, Failure};
use crate::config::Config;
use crate::ledger::{DeltaKeys, End, HostLayer, VerifyError, verify as verify_ledger};
use crate::store::delta_keys;

/// Checks the ledger below a data directory without the broker, and without writing anything.
pub(super) fn verify(
    config: Option<&Config>,
    data_dir: Option<&Path>,
    console: &Console,
) -> Result<(), Failure> {
    let (dir, ledger, keys) = match (config, data_dir) {
        (Some(config), _) => {
            let keyring = open_keyring(config)?;
            let keys: DeltaKeys = delta_keys(&keyring).map_err(|error| keyring_failure(&error))?;
            (config.data_dir.as_path(), Some(keyring.ledger()), Some(keys))
        }
        (None, Some(dir)) => (dir, None, None),
        (None, None) => {
            return Err(Failure::usage("nothing says which ledger", "name --config or --data-dir"));
        }
    };
    let layer = HostLayer::existing(&dir.join("ledger"));
    let verified = verify_ledger(&layer, ledger, keys.as_ref()).map_err(|error| refused(&error))?;
    let end = match verified.end {
        End::Closed => "closed",
        End::Open => "open",
        End::Unfinished => "unfinished",
    };
    if verified.entries == 0 {
        let why = format!("there is no ledger entry below `{}`", dir.display());
        return Err(Failure::unverified("ledger_empty", &why, "name the data directory of a broker"));
    }
    let (entries, head, root) = (verified.entries, verified.head, verified.root.hex());
    if console.is_json() {
        console.json(&json!({
            "ledger": verified.ledger, "entries": entries, "head": head.seq,
            "head_time": head.time.to_string(), "root": root, "end": end, "opened": keys.is_some(),
        }));
        return Ok(());
    }
    console.line(&format!("ok: {entries} entries, the last at {}, root {root}", head.time));
    if keys.is_none() {
        console.say(
            "state changes stayed closed: without the root key only checksums and sequence were checked",
        );
    }
    Ok(())
}

fn refused(error: &VerifyError) -> Failure {
    match error {
        VerifyError::Damaged { .. } | VerifyError::KeyMissing { .. } => Failure::unverified(
            "ledger_damaged",
            &error.to_string(),
            "keep the directory as it is, and put the ledger back from its backup",
        ),
        VerifyError::Io { .. } => broken(error),
    }
}
