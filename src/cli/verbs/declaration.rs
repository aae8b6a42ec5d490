use clap::Subcommand;

use crate::broker::declaration_schema;
use crate::console::Console;

/// `keyward declaration …`
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum DeclarationCommand {
    /// Write the JSON schema of declaration files, with which an editor checks and completes them
    Schema,
}

impl DeclarationCommand {
    pub(crate) fn run(self, console: &Console) {
        let Self::Schema = self;
        console.json(&declaration_schema());
    }
}
