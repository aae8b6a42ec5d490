use crate::base::limits::LIST_ITEMS_MAX;
use crate::wire::PageAnswer;

/// Which part of a list is wanted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Page {
    /// Items whose name comes after this one.
    pub after: Option<String>,
    /// Most of them.
    pub limit: usize,
}

impl Default for Page {
    fn default() -> Self {
        Self { after: None, limit: LIST_ITEMS_MAX }
    }
}

impl Page {
    /// This part of `all`, which come by `name`; what the reader sees is made of no more than are on it.
    pub(crate) fn of<T, V>(
        &self,
        all: impl Iterator<Item = T>,
        name: impl Fn(&T) -> &str,
        view: impl Fn(T) -> V,
    ) -> PageAnswer<V> {
        let after = self.after.as_deref();
        let mut rest = all.skip_while(|one| after.is_some_and(|after| name(one) <= after)).peekable();
        let (mut items, mut last) = (Vec::new(), None);
        while items.len() < self.limit
            && let Some(one) = rest.next()
        {
            last = Some(name(&one).to_owned());
            items.push(view(one));
        }
        PageAnswer { items, next_after: last.filter(|_| rest.peek().is_some()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(after: Option<&str>, limit: usize) -> PageAnswer<&'static str> {
        let page = Page { after: after.map(str::to_owned), limit };
        page.of(["a", "b", "d"].into_iter(), |one| *one, |one| one)
    }

    #[test]
    fn pages_have_every_item_once_and_say_where_to_go_on() {
        let next = |name: &str| Some(name.to_owned());
        assert_eq!(page(None, 2), PageAnswer { items: vec!["a", "b"], next_after: next("b") });
        assert_eq!(page(Some("b"), 2), PageAnswer { items: vec!["d"], next_after: None });
        assert_eq!(page(None, 3), PageAnswer { items: vec!["a", "b", "d"], next_after: None });
        assert_eq!(page(Some("c"), 3).items, ["d"], "a name that has gone meanwhile");
        assert_eq!(page(Some("z"), 3), PageAnswer { items: vec![], next_after: None });
    }
}
