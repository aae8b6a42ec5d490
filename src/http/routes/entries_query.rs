use axum::http::request::Parts;
use serde_json::{Value, json};

use super::input::Input;
use crate::base::limits::{FORM_FIELDS_MAX, PAGE_ENTRIES_MAX};
use crate::base::{Sensitive, code};
use crate::http::documents::operation::OperationDocument;
use crate::http::documents::problem::Problem;
use crate::wire::{EntriesQuery, EntryField, EntryOrder, FieldFilter};

/// Fields may be repeated; the other parameters may not.
impl Input for EntriesQuery {
    type Head = Self;
    type Read = Self;

    const TAKES_QUERY: bool = true;

    fn head(parts: &Parts) -> Result<Self, Problem> {
        let mut query = Self::default();
        let mut seen = Vec::new();
        for (name, value) in form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
            let field = EntryField::ALL.into_iter().find(|field| field.as_str() == name);
            if let Some(field) = field {
                if query.filter.fields.len() >= FORM_FIELDS_MAX {
                    let why = format!("the query has more than {FORM_FIELDS_MAX} filters");
                    return Err(Problem::new(code::QUERY_INVALID).because(why));
                }
                query.filter.fields.push(FieldFilter { field, text: value.into_owned() });
                continue;
            }
            if seen.contains(&name) {
                return Err(refused());
            }
            let number = || value.parse::<u64>().map_err(|_| refused());
            match name.as_ref() {
                "after" => query.after = Some(number()?),
                "before" => query.before = Some(number()?),
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=PAGE_ENTRIES_MAX).contains(limit));
                    query.limit = Some(limit.ok_or_else(refused)?);
                }
                "order" => {
                    let order = EntryOrder::ALL.into_iter().find(|order| order.as_str() == value);
                    query.order = order.ok_or_else(refused)?;
                }
                "since" => query.filter.since = Some(value.clone().into_owned()),
                "until" => query.filter.until = Some(value.clone().into_owned()),
                _ => return Err(refused()),
            }
            seen.push(name);
        }
        Ok(query)
    }

    fn read(query: Self, _: Sensitive<Vec<u8>>) -> Result<Self, Problem> {
        Ok(query)
    }

    fn describe(document: &mut OperationDocument<'_>) {
        let mut parameter = |name: &str, schema: Value| document.parameter(name, "query", &schema);
        for name in ["after", "before"] {
            parameter(name, json!({ "type": "integer", "format": "uint64", "minimum": 0 }));
        }
        parameter("limit", json!({ "type": "integer", "minimum": 1, "maximum": PAGE_ENTRIES_MAX }));
        parameter("order", json!({ "type": "string", "enum": EntryOrder::ALL.map(EntryOrder::as_str) }));
        for field in EntryField::ALL {
            parameter(field.as_str(), json!({ "type": "array", "items": { "type": "string" } }));
        }
        for name in ["since", "until"] {
            parameter(name, json!({ "type": "string" }));
        }
    }
}

fn refused() -> Problem {
    Problem::new(code::QUERY_INVALID)
}
