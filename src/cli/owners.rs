//! Notes about an owner of whom no object is known: its name may be a typing error.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::client::{Client, Received};
use crate::base::OwnerName;
use crate::console::Console;
use crate::policy::{Reach, ReadDeclared, ReadOperators, ReadSecretNames, RequiredRight, Right};
use crate::wire::{
    Endpoint, LIST_AGENTS, LIST_CAPABILITIES, LIST_OPERATORS, LIST_ROLES, LIST_SECRETS, Nothing,
    OPERATOR_WHOAMI, OperatorWhoamiAnswer, PageAnswer, PageQuery,
};

/// The owners of objects, as far as the operator can see them.
#[derive(Debug, Default)]
pub(crate) struct SeenOwners {
    owners: BTreeSet<String>,
    /// Whether the operator may not read a list of objects.
    is_partial: bool,
}

/// Most owners that a note names.
const OWNERS_NAMED_MAX: usize = 5;

impl SeenOwners {
    /// The owners of all objects within the operator's scope; `None` if they could not be read. A list that the operator may
    /// not read is not asked for: the broker records refused requests.
    pub(crate) async fn of_all(client: &Client) -> Option<Self> {
        let operator = client.call(OPERATOR_WHOAMI, &Nothing, &Nothing).await.ok()?.answer;
        let mut seen = Self::default();
        seen.read::<ReadDeclared, _, _>(client, &operator, LIST_CAPABILITIES).await?;
        seen.read::<ReadDeclared, _, _>(client, &operator, LIST_ROLES).await?;
        seen.read::<ReadDeclared, _, _>(client, &operator, LIST_AGENTS).await?;
        seen.read::<ReadSecretNames, _, _>(client, &operator, LIST_SECRETS).await?;
        seen.read::<ReadOperators, _, _>(client, &operator, LIST_OPERATORS).await?;
        Some(seen)
    }

    async fn read<R: Right, C, A: DeserializeOwned>(
        &mut self,
        client: &Client,
        operator: &OperatorWhoamiAnswer,
        endpoint: Endpoint<Nothing, PageQuery<C>, PageAnswer<A>>,
    ) -> Option<()> {
        if !may::<R>(operator) {
            self.is_partial = true;
            return Some(());
        }
        let items: Vec<Received<A>> = client.list(endpoint).await.ok()?;
        items.iter().for_each(|item| self.add(&item.sent));
        Some(())
    }

    /// Adds the owner of `item`, as the broker sent it.
    pub(crate) fn add(&mut self, item: &Value) {
        self.owners.extend(item.get("owner").and_then(Value::as_str).map(str::to_owned));
    }

    pub(crate) fn has(&self, owner: &str) -> bool {
        self.owners.contains(owner)
    }

    /// The note about `objects` of `owner`, e.g. "agents", which do not exist.
    pub(crate) fn note(&self, objects: &str, owner: &str) -> String {
        let named: Vec<&str> = self.owners.iter().take(OWNERS_NAMED_MAX).map(String::as_str).collect();
        let more = self.owners.len().saturating_sub(named.len());
        let known = match (named.as_slice(), more) {
            ([], _) => "no owner is in use".to_owned(),
            (named, 0) => format!("owners in use: {}", named.join(", ")),
            (named, more) => format!("owners in use: {} and {more} more", named.join(", ")),
        };
        format!("note: no {objects} of the owner `{owner}`; {known}")
    }
}

/// Whether the operator has the right `R`.
pub(crate) fn may<R: Right>(operator: &OperatorWhoamiAnswer) -> bool {
    let RequiredRight { roles, reach, .. } = R::NEED;
    roles.iter().any(|role| role.as_str() == operator.role)
        && (reach == Reach::Owned || operator.owner.is_none())
}

/// The roles with the right `R`, e.g. `admin or security`.
pub(crate) fn roles_of<R: Right>() -> String {
    let roles: Vec<&str> = R::NEED.roles.iter().map(|role| role.as_str()).collect();
    roles.join(" or ")
}

/// Says on standard error if no object and no operator has `owner` yet, as far as the operator can see all of them.
pub(crate) async fn note_new_owner(client: &Client, owner: Option<&OwnerName>, console: &Console) {
    let Some(owner) = owner else { return };
    let Some(seen) = SeenOwners::of_all(client).await else { return };
    if !seen.is_partial && !seen.has(owner.as_str()) {
        console.say(&seen.note("object or operator so far is", owner.as_str()));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn seen(count: usize) -> SeenOwners {
        let mut seen = SeenOwners::default();
        seen.add(&json!({ "owner": null }));
        (0..count).for_each(|number| seen.add(&json!({ "owner": format!("team-{number}") })));
        seen
    }

    #[test]
    fn a_note_names_at_most_five_owners() {
        assert_eq!(seen(0).note("agents", "x"), "note: no agents of the owner `x`; no owner is in use");
        let five = "note: no agents of the owner `x`; owners in use: team-0, team-1, team-2, team-3, team-4";
        assert_eq!(seen(OWNERS_NAMED_MAX).note("agents", "x"), five);
        assert_eq!(seen(OWNERS_NAMED_MAX + 1).note("agents", "x"), format!("{five} and 1 more"));
    }
}
