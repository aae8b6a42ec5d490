use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which part of a list is asked for: `?after=…&limit=…`.
#[derive(Clone, Debug)]
pub struct PageQuery<Cursor> {
    /// The last item of the part before.
    pub after: Option<Cursor>,
    pub limit: Option<usize>,
}

impl<C> Default for PageQuery<C> {
    fn default() -> Self {
        Self { after: None, limit: None }
    }
}

impl<C: std::fmt::Display> PageQuery<C> {
    /// Behind the path; empty when nothing is asked for. No cursor has a character that means something in a query.
    #[must_use]
    pub fn text(&self) -> String {
        let after = self.after.as_ref().map(|after| format!("after={after}"));
        let limit = self.limit.map(|limit| format!("limit={limit}"));
        let fields: Vec<String> = after.into_iter().chain(limit).collect();
        if fields.is_empty() { String::new() } else { format!("?{}", fields.join("&")) }
    }
}

/// A list; `items` is there even when it is empty.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Items<T> {
    pub items: Vec<T>,
}

/// A part of a list; the rest comes after `next_after`, which is null at the end.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct PageAnswer<T> {
    pub items: Vec<T>,
    pub next_after: Option<String>,
}
