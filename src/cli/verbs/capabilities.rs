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
    /// Show a capability: its kind of delivery, its source and the longest life
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
                let is_it = |one: &CapabilityAnswer| one.name == name;
                if session.show_item(LIST_CAPABILITIES, is_it).await? {
                    return Ok(());
                }
                let why = format!("there is no capability `{name}` in this operator's scope");
                let fix = "check the name: `keyward capability list` shows the capabilities";
                Err(CommandFailure::new(code::CAPABILITY_UNKNOWN).because(why).mended_by(fix))
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
                if session.show_item(LIST_ROLES, |one: &RoleAnswer| one.name == name).await? {
                    return Ok(());
                }
                let why = format!("there is no role `{name}` in this operator's scope");
                let fix = "check the name: `keyward role list` shows the roles";
                Err(CommandFailure::new(code::ROLE_UNKNOWN).because(why).mended_by(fix))
            }
        }
    }
}

columns!(CapabilityAnswer "capabilities": name, owner, access, delivery, ("MAX LIFE", max_life), secret, audience);

fn max_life(capability: &CapabilityAnswer) -> String {
    spoken(capability.max_life_s)
}

columns!(RoleAnswer "roles": name, owner, capabilities);
