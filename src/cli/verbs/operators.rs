use std::path::Path;

use serde_json::{Value, json};

use crate::base::{OperatorName, OwnerName};
use crate::cli::client::Client;
use crate::cli::identity::Kind;
use crate::cli::nouns::OperatorCommand;
use crate::cli::verbs::agents::{canonical, change, hand_over, list};
use crate::console::{Console, Failure};
use crate::operators::{OperatorRole, UnknownRole};

/// `keyward operator …`
pub(in crate::cli) async fn operator(
    home: &Path,
    command: &OperatorCommand,
    console: &Console,
) -> Result<(), Failure> {
    match command {
        OperatorCommand::Invite { name, role, owner, out } => {
            let body = json!({ "role": role.as_deref().map(parse).transpose()?, "owner": parse_owner(owner.as_deref())? });
            let path = path(name, "/invitations")?;
            let answer = Client::of(home, Kind::Operator).await?.post_json(&path, &body).await?.json()?;
            hand_over(&answer, out.as_deref(), ("one use", "where the operator works"), console)
        }
        OperatorCommand::List => list(home, "/v1/operators", console).await,
        OperatorCommand::Show { name } => {
            console.json(&Client::of(home, Kind::Operator).await?.get(&path(name, "")?).await?.json()?);
            Ok(())
        }
        OperatorCommand::Role { name, role, owner, no_owner } => {
            let client = Client::of(home, Kind::Operator).await?;
            let owner = match (parse_owner(owner.as_deref())?, no_owner) {
                (Some(owner), _) => Value::from(owner),
                (None, true) => Value::Null,
                (None, false) => {
                    let known = client.get(&path(name, "")?).await?.json()?;
                    known.get("owner").cloned().unwrap_or_default()
                }
            };
            let body = json!({ "role": parse(role)?, "owner": owner });
            let answer = client.put_json(&path(name, "/role")?, &body).await?.json()?;
            if console.is_json() {
                console.json(&answer);
            } else {
                console.line(&format!("{name} is {role} from its next request on"));
            }
            Ok(())
        }
        OperatorCommand::Revoke { name } => change(home, &path(name, "/revoke")?, "revoked", console).await,
        OperatorCommand::Suspend { name } => {
            change(home, &path(name, "/suspend")?, "suspended", console).await
        }
        OperatorCommand::Resume { name } => change(home, &path(name, "/resume")?, "resumed", console).await,
    }
}

fn path(name: &str, rest: &str) -> Result<String, Failure> {
    Ok(format!("/v1/operators/{}{rest}", canonical::<OperatorName>(name)?))
}

fn parse(role: &str) -> Result<&'static str, Failure> {
    let parsed = role.parse().map(OperatorRole::as_str);
    parsed.map_err(|error: UnknownRole| Failure::usage(&error.to_string(), "name one of these"))
}

fn parse_owner(owner: Option<&str>) -> Result<Option<String>, Failure> {
    owner.map(|owner| canonical::<OwnerName>(owner).map(|name| name.to_string())).transpose()
}
