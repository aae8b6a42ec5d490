use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

/// Where the fields of an upstream stand: offsets, by the names on the way to each, joined by dots.
pub(super) type Fields = BTreeMap<String, usize>;

/// Those of the upstream of every `[[rotation]]` in `text`, in their order.
pub(super) fn fields_of_upstreams(text: &str) -> Vec<Fields> {
    let Ok(file) = DeTable::parse(text) else { return Vec::new() };
    let rotations = file.get_ref().get("rotation").and_then(|rotations| rotations.get_ref().as_array());
    let of = |rotation: &toml::Spanned<DeValue<'_>>| {
        let mut fields = Fields::new();
        if let Some(upstream) = rotation.get_ref().get("upstream") {
            collect(upstream.get_ref(), "", &mut fields);
        }
        fields
    };
    rotations.into_iter().flatten().map(of).collect()
}

fn collect(value: &DeValue<'_>, way: &str, into: &mut Fields) {
    for (name, field) in value.as_table().into_iter().flatten() {
        let name = format!("{way}{}", name.get_ref());
        collect(field.get_ref(), &format!("{name}."), into);
        into.insert(name, field.span().start);
    }
}
