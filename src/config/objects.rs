use toml::de::{DeTable, DeValue};

/// The objects of a declaration file, by the offsets at which they begin.
pub(super) struct DeclaredObjects(Vec<(usize, Option<String>)>);

/// The tables of declaration files, each with the field that names the object.
const NAMED_BY: [(&str, &str); 8] = [
    ("capability", "name"),
    ("role", "name"),
    ("agent", "name"),
    ("resource_server", "name"),
    ("rotation", "secret"),
    ("lease", "capability"),
    ("environment", "name"),
    ("policy", "name"),
];

/// Longest name that an error repeats, in bytes.
const NAME_BYTES_MAX: usize = 255;

impl DeclaredObjects {
    /// Those of `text`; none if it is no TOML.
    pub(super) fn of(text: &str) -> Self {
        let mut found = Vec::new();
        for (table, value) in DeTable::parse(text).map(toml::Spanned::into_inner).unwrap_or_default() {
            let known = NAMED_BY.iter().find(|(noun, _)| *noun == table.get_ref());
            let (Some((noun, field)), DeValue::Array(objects)) = (known, value.get_ref()) else {
                found.extend([table.span().start, value.span().start].map(|begin| (begin, None)));
                continue;
            };
            for object in objects {
                let name =
                    object.get_ref().as_table().and_then(|table| table.get(*field)?.get_ref().as_str());
                let noun = noun.replace('_', " ");
                let label = match name.filter(|name| is_plain(name)) {
                    Some(name) => format!("{noun} `{name}`"),
                    None => noun,
                };
                found.push((object.span().start, Some(label)));
            }
        }
        found.sort();
        Self(found)
    }

    /// The kind and the name of the object at `offset`.
    pub(super) fn at(&self, offset: usize) -> Option<&str> {
        let next = self.0.partition_point(|(begin, _)| *begin <= offset);
        self.0.get(next.checked_sub(1)?)?.1.as_deref()
    }
}

/// Whether `name` has the characters of names. Other texts are not repeated: they may be secrets at the wrong place.
fn is_plain(name: &str) -> bool {
    let is_of_names = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-./".contains(&byte);
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(is_of_names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn place_in_a_file_has_its_object() {
        let text = "# x\n[[role]]\nname = \"a\"\n[[rotation]]\nsecret = \"b/c\"\n[rotation.upstream]\nx = 1\n\
                    [[role]]\nname = \"CNRY\"\n[[resource_server]]\n[other]\ny = 2\n[[lease]]\ncapability = \"d.e\"\n";
        let objects = DeclaredObjects::of(text);
        let at = |part: &str| objects.at(text.find(part).unwrap());
        assert_eq!(at("# x"), None);
        assert_eq!(
            (at("\"a\""), at("secret"), at("x = 1")),
            (Some("role `a`"), Some("rotation `b/c`"), Some("rotation `b/c`"))
        );
        assert_eq!((at("\"CNRY\""), at("[[resource_server]]")), (Some("role"), Some("resource server")));
        assert_eq!((at("y = 2"), at("\"d.e\"")), (None, Some("lease `d.e`")));
        let long = |bytes: usize| format!("[[role]]\nname = \"{}\"\n", "a".repeat(bytes));
        assert!(DeclaredObjects::of(&long(NAME_BYTES_MAX)).at(9).unwrap().ends_with("a`"));
        assert_eq!(DeclaredObjects::of(&long(NAME_BYTES_MAX + 1)).at(9), Some("role"));
        assert_eq!(DeclaredObjects::of("[[role]").at(0), None);
    }
}
