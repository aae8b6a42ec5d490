use std::fmt;

/// The requested page of the ledger: `?order=…&agent=…&since=…&limit=…`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct EntriesQuery {
    /// Only entries after this one.
    pub after: Option<u64>,
    /// Only entries before this one.
    pub before: Option<u64>,
    pub limit: Option<usize>,
    pub order: EntryOrder,
    pub filter: EntryFilter,
}

impl EntriesQuery {
    /// The query for one entry.
    #[must_use]
    pub fn of_entry(seq: u64) -> Self {
        let (after, before) = (seq.checked_sub(1), seq.checked_add(1));
        Self { after, before, limit: Some(1), ..Self::default() }
    }

    /// Its parameters, by name.
    #[must_use]
    pub fn parameters(&self) -> Vec<(&'static str, String)> {
        let order = (self.order != EntryOrder::default()).then(|| ("order", self.order.as_str().to_owned()));
        let number = |name, number: Option<u64>| number.map(|number| (name, number.to_string()));
        let limit = self.limit.map(|limit| ("limit", limit.to_string()));
        let filter = self.filter.parameters().map(|(name, text)| (name, text.to_owned()));
        let page = [order, number("after", self.after), number("before", self.before), limit];
        page.into_iter().flatten().chain(filter).collect()
    }
}

/// The order of entries.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum EntryOrder {
    Newest,
    #[default]
    Oldest,
}

impl EntryOrder {
    pub const ALL: [Self; 2] = [Self::Newest, Self::Oldest];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Newest => "newest",
            Self::Oldest => "oldest",
        }
    }
}

/// Which entries are wanted. Several texts of one field are alternatives; an entry fits all fields.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct EntryFilter {
    pub fields: Vec<FieldFilter>,
    /// The earliest time, in RFC 3339, or a length of time before now, e.g. `6h`.
    pub since: Option<String>,
    /// The latest time, in the same forms.
    pub until: Option<String>,
}

/// A field that an entry has with this text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FieldFilter {
    pub field: EntryField,
    pub text: String,
}

/// A field by which entries are found.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum EntryField {
    Agent,
    Instance,
    Operator,
    /// The owner of an object that the entry names, as of now.
    Owner,
    Capability,
    SecretName,
    Token,
    Lease,
    Approval,
    /// The name of the event.
    Kind,
    /// `allowed`, `denied` or `failed`.
    Outcome,
    Decision,
    Incident,
    /// An address, or a network that it belongs to.
    Source,
}

impl EntryField {
    pub const ALL: [Self; 14] = [
        Self::Agent,
        Self::Instance,
        Self::Operator,
        Self::Owner,
        Self::Capability,
        Self::SecretName,
        Self::Token,
        Self::Lease,
        Self::Approval,
        Self::Kind,
        Self::Outcome,
        Self::Decision,
        Self::Incident,
        Self::Source,
    ];

    /// The name of the parameter.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Instance => "instance",
            Self::Operator => "operator",
            Self::Owner => "owner",
            Self::Capability => "capability",
            Self::SecretName => "secret",
            Self::Token => "token",
            Self::Lease => "lease",
            Self::Approval => "approval",
            Self::Kind => "kind",
            Self::Outcome => "outcome",
            Self::Decision => "decision",
            Self::Incident => "incident",
            Self::Source => "source",
        }
    }
}

impl fmt::Display for EntryField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl EntryFilter {
    /// Whether every entry fits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.since.is_none() && self.until.is_none()
    }

    /// Its parameters, by name.
    pub fn parameters(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let fields = self.fields.iter().map(|one| (one.field.as_str(), one.text.as_str()));
        let since = self.since.as_deref().map(|since| ("since", since));
        fields.chain(since).chain(self.until.as_deref().map(|until| ("until", until)))
    }
}
