use crate::console::Console;
use crate::keyring::KEYRING_FORMAT;
use crate::ledger::{SEGMENT_FORMAT, SNAPSHOT_FORMAT};
use crate::store::ANCHOR_FORMAT;
use crate::wire::{FixedText, FormatOutput, VersionOutput};

/// `keyward version`. Needs no broker and no home directory.
pub(crate) fn version(console: &Console) {
    let version = of_this_program();
    if console.is_json() {
        console.json(&version);
        return;
    }
    let commit = version.commit.as_ref().map_or_else(String::new, |commit| format!(" (commit {commit})"));
    console.line(&format!("keyward {}{commit}", version.version));
    let row = |format: &FormatOutput| vec![format.name.to_string(), format.version.to_string()];
    let rows: Vec<Vec<String>> = version.formats.iter().map(row).collect();
    console.table("formats", &["FORMAT", "VERSION"], &rows);
}

fn of_this_program() -> VersionOutput {
    let format = |name: &'static str, version: u32| FormatOutput { name: name.into(), version };
    VersionOutput {
        version: env!("CARGO_PKG_VERSION").into(),
        // Cargo does not know the commit: a build that does sets the variable.
        commit: option_env!("KEYWARD_COMMIT").map(FixedText::Borrowed),
        formats: vec![
            format("ledger segment", u32::from(SEGMENT_FORMAT)),
            format("snapshot", u32::from(SNAPSHOT_FORMAT)),
            format("keyring", KEYRING_FORMAT),
            format("anchor", ANCHOR_FORMAT),
        ],
    }
}
