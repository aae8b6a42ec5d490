use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The requested page of a list: `?after=…&limit=…`.
#[derive(Clone, Debug)]
pub struct PageQuery<Cursor> {
    /// The last item of the previous page.
    pub after: Option<Cursor>,
    pub limit: Option<usize>,
}

impl<C> Default for PageQuery<C> {
    fn default() -> Self {
        Self { after: None, limit: None }
    }
}

impl<C: std::fmt::Display> PageQuery<C> {
    /// The query with its `?`; empty without parameters. Cursors contain no character that is special in a query.
    #[must_use]
    pub fn text(&self) -> String {
        let after = self.after.as_ref().map(|after| format!("after={after}"));
        let limit = self.limit.map(|limit| format!("limit={limit}"));
        let fields: Vec<String> = after.into_iter().chain(limit).collect();
        if fields.is_empty() { String::new() } else { format!("?{}", fields.join("&")) }
    }
}

/// A complete list.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Items<T> {
    pub items: Vec<T>,
}

/// A page of a list; `next_after` is null on the last page.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct PageAnswer<T> {
    pub items: Vec<T>,
    pub next_after: Option<String>,
}
