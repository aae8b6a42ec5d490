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
    /// Rotate the key: the old one signs the announcement and is destroyed
    Rotate,
}

/// `keyward value-key …`
#[derive(Debug, Subcommand)]
pub enum ValueKeyCommand {
    /// Rotate the key: live versions are wrapped again, destroyed ones can no longer be decrypted
    Rotate,
}
