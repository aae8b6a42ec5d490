use clap::Subcommand;

/// `keyward authority …`
#[derive(Debug, Subcommand)]
pub enum AuthorityCommand {
    /// List them, and how many live instances are behind
    List,
    /// Make the next one and publish it; it signs nothing yet
    Prepare,
    /// Let the prepared one sign; the one before is old from then on
    Activate {
        /// Which one
        generation: u32,
        /// Although live instances do not know it yet, and would be locked out
        #[arg(long)]
        force: bool,
    },
    /// Tell whoever holds a certificate of an old one to renew now
    Taint {
        /// Which one
        generation: u32,
    },
    /// End every certificate of an old one, or give up the prepared one
    Revoke {
        /// Which one
        generation: u32,
        /// Although live instances still hold its certificates
        #[arg(long)]
        force: bool,
    },
}

/// `keyward token-key …`
#[derive(Debug, Subcommand)]
pub enum TokenKeyCommand {
    /// List them
    List,
    /// Make the next one and publish it; it signs nothing yet
    Prepare,
    /// Let the prepared one sign, a minute after it was published or later
    Activate {
        /// Which one
        generation: u32,
        /// At once, although verifiers may not have fetched it: they refuse its tokens until they do
        #[arg(long)]
        force: bool,
    },
    /// End every token that an old one signed
    Revoke {
        /// Which one
        generation: u32,
    },
}

/// `keyward checkpoint-key …`
#[derive(Debug, Subcommand)]
pub enum CheckpointKeyCommand {
    /// Turn to a new one: the old one signs the announcement, and goes
    Turn,
}

/// `keyward value-key …`
#[derive(Debug, Subcommand)]
pub enum ValueKeyCommand {
    /// Turn to a new one: what lives is carried over, what was destroyed opens no more
    Turn,
}
