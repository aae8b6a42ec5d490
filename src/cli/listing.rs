//! The options of verbs that list, and which items they select.

use clap::Args;
use serde_json::Value;

use crate::base::OwnerName;
use crate::console::CommandFailure;

/// `… list` of named objects with owners.
#[derive(Args, Debug)]
pub struct ListArgs {
    #[command(flatten)]
    named: NamedListArgs,
    /// List only the objects of this owner
    #[arg(long, value_name = "OWNER")]
    owner: Option<String>,
}

/// `… list` of named objects.
#[derive(Args, Debug)]
pub struct NamedListArgs {
    #[command(flatten)]
    limit: LimitArgs,
    /// List only the objects whose name begins with this text
    #[arg(long, value_name = "TEXT")]
    prefix: Option<String>,
}

/// The number of items in a list.
#[derive(Args, Debug)]
pub(crate) struct LimitArgs {
    /// List at most N objects
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
}

/// The items of a listing that a verb prints.
#[derive(Debug)]
pub(crate) struct Selection {
    pub(crate) limit: usize,
    wanted: Vec<Wanted>,
}

/// A condition on a field of an item as the broker sent it.
#[derive(Debug)]
struct Wanted {
    field: &'static str,
    text: String,
    comparison: Comparison,
}

#[derive(Clone, Copy, Debug)]
enum Comparison {
    Is,
    IsNot,
    BeginsWith,
}

impl ListArgs {
    pub(crate) fn selection(&self) -> Result<Selection, CommandFailure> {
        let owner = self.owner.as_deref().map(str::parse::<OwnerName>).transpose()?;
        let selection = self.named.selection("name");
        Ok(selection.with("owner", owner.map(|owner| owner.to_string())))
    }
}

impl NamedListArgs {
    /// The selection of items whose name is in `field`.
    pub(crate) fn selection(&self, field: &'static str) -> Selection {
        let mut selection = self.limit.selection();
        let prefix =
            self.prefix.clone().map(|text| Wanted { field, text, comparison: Comparison::BeginsWith });
        selection.wanted.extend(prefix);
        selection
    }
}

impl LimitArgs {
    pub(crate) fn selection(&self) -> Selection {
        let limit = self.limit.and_then(|limit| usize::try_from(limit).ok());
        Selection { limit: limit.unwrap_or(usize::MAX), wanted: Vec::new() }
    }
}

impl Selection {
    /// Of these items, those that have `text` in `field`, if there is a text.
    pub(crate) fn with(mut self, field: &'static str, text: Option<String>) -> Self {
        self.wanted.extend(text.map(|text| Wanted { field, text, comparison: Comparison::Is }));
        self
    }

    /// Of these items, those that do not have `text` in `field`, if there is a text.
    pub(crate) fn without(mut self, field: &'static str, text: Option<&str>) -> Self {
        let text = text.map(str::to_owned);
        self.wanted.extend(text.map(|text| Wanted { field, text, comparison: Comparison::IsNot }));
        self
    }

    /// The owner whose objects are wanted.
    pub(crate) fn owner(&self) -> Option<&str> {
        let owner = self.wanted.iter().find(|wanted| wanted.field == "owner")?;
        Some(&owner.text)
    }

    /// Whether `item`, as the broker sent it, has all wanted fields.
    pub(crate) fn accepts(&self, item: &Value) -> bool {
        self.wanted.iter().all(|wanted| {
            let found = item.get(wanted.field).and_then(Value::as_str).unwrap_or_default();
            match wanted.comparison {
                Comparison::Is => found == wanted.text,
                Comparison::IsNot => found != wanted.text,
                Comparison::BeginsWith => found.starts_with(&wanted.text),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn selection_accepts_items_that_have_all_wanted_fields() {
        let limit = LimitArgs { limit: Some(2) };
        let named = NamedListArgs { limit, prefix: Some("github.".to_owned()) };
        let selection = ListArgs { named, owner: Some("payments".to_owned()) }.selection().unwrap();
        assert_eq!(selection.limit, 2);
        assert!(selection.accepts(&json!({ "name": "github.read", "owner": "payments" })));
        for other in [
            json!({ "name": "reports.read", "owner": "payments" }),
            json!({ "name": "github.read", "owner": "other" }),
            json!({ "name": "github.read", "owner": null }),
            json!({}),
        ] {
            assert!(!selection.accepts(&other), "{other}");
        }
        assert!(LimitArgs { limit: None }.selection().accepts(&json!({})));
        let open = LimitArgs { limit: None }.selection().without("state", Some("lifted"));
        assert!(
            open.accepts(&json!({ "state": "contained" })) && !open.accepts(&json!({ "state": "lifted" }))
        );
    }
}
