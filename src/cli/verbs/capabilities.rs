use clap::Subcommand;

use crate::base::{CapabilityName, RoleName, code};
use crate::cli::listing::ListArgs;
use crate::cli::session::VerbSession;
use crate::cli::table::columns;
use crate::console::CommandFailure;
use crate::rotation::spoken;
use crate::wire::{CapabilityAnswer, LIST_CAPABILITIES, LIST_ROLES, RoleAnswer};

/// `keyward capability …`
#[derive(Debug, Subcommand)]
pub enum CapabilityCommand {
    /// List capabilities
    List(ListArgs),
    /// Show a capability: its kind of delivery, its source, its environment and the longest life
    Show {
        /// The capability's name
        name: String,
    },
}

/// `keyward role …`
#[derive(Debug, Subcommand)]
pub enum RoleCommand {
    /// List roles
    List(ListArgs),
    /// Show a role and its capabilities
    Show {
        /// The role's name
        name: String,
    },
}

impl CapabilityCommand {
    pub(crate) async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        match self {
            Self::List(args) => session.list(LIST_CAPABILITIES, &args.selection()?).await,
            Self::Show { name } => {
                let name: CapabilityName = name.parse()?;
                let unknown = CommandFailure::new(code::CAPABILITY_UNKNOWN)
                    .because(format!("there is no capability `{name}`"))
                    .mended_by("check the name: `keyward capability list` shows the capabilities");
                session.show_item(LIST_CAPABILITIES, name.as_str(), |one| one.name.as_str(), unknown).await
            }
        }
    }
}

impl RoleCommand {
    pub(crate) async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        match self {
            Self::List(args) => session.list(LIST_ROLES, &args.selection()?).await,
            Self::Show { name } => {
                let name: RoleName = name.parse()?;
                let unknown = CommandFailure::new(code::ROLE_UNKNOWN)
                    .because(format!("there is no role `{name}`"))
                    .mended_by("check the name: `keyward role list` shows the roles");
                session.show_item(LIST_ROLES, name.as_str(), |one| one.name.as_str(), unknown).await
            }
        }
    }
}

columns!(CapabilityAnswer "capabilities": name, owner, access, environment, delivery, ("MAX LIFE", max_life), secret, audience);

fn max_life(capability: &CapabilityAnswer) -> String {
    spoken(capability.max_life_s)
}

columns!(RoleAnswer "roles": name, owner, capabilities);
