use clap::Subcommand;
use serde::de::DeserializeOwned;

use super::authority_revocation::RevokeAuthorityArgs;
use crate::cli::session::{ReasonArgs, VerbSession, check_durable, text};
use crate::cli::table::{Row, columns};
use crate::console::CommandFailure;
use crate::wire::{
    ACTIVATE_AUTHORITY, ACTIVATE_TOKEN_KEY, AuthorityAnswer, Endpoint, Items, LIST_AUTHORITIES,
    LIST_TOKEN_KEYS, Nothing, PREPARE_AUTHORITY, PREPARE_TOKEN_KEY, REVOKE_TOKEN_KEY, ROTATE_CHECKPOINT_KEY,
    ROTATE_VALUE_KEY, StageBody, StagedAnswer, TAINT_AUTHORITY, TokenKeyAnswer,
};

/// `keyward authority …`
#[derive(Debug, Subcommand)]
pub enum AuthorityCommand {
    /// List the generations, and the number of live instances and operators that have to renew first
    List,
    /// Prepare the next generation and publish it; it signs nothing yet
    Prepare,
    /// Activate the prepared generation: it signs from now on, and the active one becomes old
    Activate {
        /// The generation's number
        generation: u32,
        /// Activate although live instances do not trust this generation yet and lose access
        #[arg(long)]
        force: bool,
    },
    /// Taint an old generation (stop trusting it): agents and operators with its certificates renew now
    Taint {
        /// The generation's number
        generation: u32,
        /// Why
        #[command(flatten)]
        reason: ReasonArgs,
    },
    /// Revoke an old generation with all its certificates, or discard the prepared one
    Revoke(RevokeAuthorityArgs),
}

/// `keyward token-key …`
#[derive(Debug, Subcommand)]
pub enum TokenKeyCommand {
    /// List the generations
    List,
    /// Prepare the next generation and publish it; it signs nothing yet
    Prepare,
    /// Activate the prepared generation, at least 60 seconds after it was published
    Activate {
        /// The generation's number
        generation: u32,
        /// Activate at once: verifiers refuse its tokens until they have fetched the new key
        #[arg(long)]
        force: bool,
    },
    /// Revoke an old generation with all tokens that it signed
    Revoke {
        /// The generation's number
        generation: u32,
        /// Why
        #[command(flatten)]
        reason: ReasonArgs,
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
    /// Rotate the key: live versions are wrapped again, destroyed versions can no longer be decrypted
    Rotate,
}

/// The generations of a signing key.
struct KeyGenerations<'a, T> {
    session: VerbSession<'a>,
    list: Endpoint<Nothing, Nothing, Items<T>>,
}

impl AuthorityCommand {
    pub(crate) async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        let authorities = KeyGenerations { session, list: LIST_AUTHORITIES };
        match self {
            Self::List => authorities.list().await,
            Self::Prepare => authorities.prepare(PREPARE_AUTHORITY).await,
            Self::Activate { generation, force } => {
                authorities.stage(ACTIVATE_AUTHORITY, *generation, *force, None).await
            }
            Self::Taint { generation, reason } => {
                authorities.stage(TAINT_AUTHORITY, *generation, false, reason.text(session.console)).await
            }
            Self::Revoke(args) => args.run(session).await,
        }
    }
}

impl TokenKeyCommand {
    pub(crate) async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        let keys = KeyGenerations { session, list: LIST_TOKEN_KEYS };
        match self {
            Self::List => keys.list().await,
            Self::Prepare => keys.prepare(PREPARE_TOKEN_KEY).await,
            Self::Activate { generation, force } => {
                keys.stage(ACTIVATE_TOKEN_KEY, *generation, *force, None).await
            }
            Self::Revoke { generation, reason } => {
                keys.stage(REVOKE_TOKEN_KEY, *generation, false, reason.text(session.console)).await
            }
        }
    }
}

impl<T: DeserializeOwned + Row> KeyGenerations<'_, T> {
    async fn list(&self) -> Result<(), CommandFailure> {
        let client = self.session.operator().await?;
        self.session.print_rows(&client, &client.items(self.list).await?).await;
        Ok(())
    }

    async fn prepare(&self, endpoint: Endpoint<Nothing, Nothing, Items<T>>) -> Result<(), CommandFailure> {
        self.session.revoking_operator().await?.call(endpoint, &Nothing, &Nothing).await?;
        self.list().await
    }

    async fn stage(
        &self,
        endpoint: Endpoint<u32, StageBody, StagedAnswer<T>>,
        generation: u32,
        force: bool,
        reason: Option<String>,
    ) -> Result<(), CommandFailure> {
        let client = self.session.revoking_operator().await?;
        let staged = client.call(endpoint, &generation, &StageBody { force, reason }).await?;
        self.list().await?;
        check_durable(&staged.ended)
    }
}

impl CheckpointKeyCommand {
    pub(crate) async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        let Self::Rotate = self;
        let client = session.operator().await?;
        let rotated = client.call(ROTATE_CHECKPOINT_KEY, &Nothing, &Nothing).await?;
        session.print(&rotated, |key| format!("checkpoint key generation {} signs", key.generation));
        Ok(())
    }
}

impl ValueKeyCommand {
    pub(crate) async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        let Self::Rotate = self;
        rotate_value_key(session).await
    }
}

pub(super) async fn rotate_value_key(session: VerbSession<'_>) -> Result<(), CommandFailure> {
    let client = session.operator().await?;
    let progress = session.console.progress("wrapping the versions of secrets again");
    let rotated = client.call(ROTATE_VALUE_KEY, &Nothing, &Nothing).await?;
    drop(progress);
    session.print(&rotated, |key| {
        let carried = text(key.carried_over.as_ref());
        format!("value key generation {}: {carried} versions carried over", key.generation)
    });
    Ok(())
}

columns!(AuthorityAnswer "authorities": generation, stage, since, not_after, behind, pin);

columns!(TokenKeyAnswer "token keys": generation, stage, since);
