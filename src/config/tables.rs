use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::fault::toml_message;
use super::source::{FaultList, Faults, SourceFile, SourcePosition};
use crate::base::Cancellation;

/// Offsets of the fields of a table, nested ones too, by their names joined by dots.
pub type FieldOffsets = BTreeMap<String, usize>;

/// The tables of some declaration files, each file parsed once. Each section takes its own.
#[derive(Debug)]
pub struct Tables<'a> {
    files: &'a [SourceFile],
    work: &'a Cancellation,
    arrays: BTreeMap<String, Vec<(SourcePosition, DeValue<'a>)>>,
}

impl<'a> Tables<'a> {
    /// Parses `files`, which may have tables of these names.
    ///
    /// # Errors
    /// The faults that were found: what is no TOML, and tables of other names.
    pub fn parse(files: &'a [SourceFile], known: &[&str], work: &'a Cancellation) -> Result<Self, FaultList> {
        let (tables, faults) = Self::parse_all(files, known, work);
        faults.map_or(Ok(tables), Err)
    }

    /// The tables of the parts of `files` without faults, and the faults of the others.
    #[must_use]
    pub fn parse_all(
        files: &'a [SourceFile],
        known: &[&str],
        work: &'a Cancellation,
    ) -> (Self, Option<FaultList>) {
        let mut tables = Self { files, work, arrays: BTreeMap::new() };
        let mut faults = tables.faults();
        for (file, source) in files.iter().enumerate() {
            if work.step().is_err() {
                break;
            }
            match DeTable::parse(&source.text) {
                Ok(table) => tables.take_in(file, table.into_inner(), known, &mut faults),
                Err(error) => {
                    let offset = error.span().map_or(0, |span| span.start);
                    faults.tell(SourcePosition { file, offset }, toml_message(&error));
                }
            }
        }
        (tables, faults.or(()).err())
    }

    /// The faults of its files; none so far.
    #[must_use]
    pub const fn faults(&self) -> Faults<'a> {
        Faults::of(self.files, self.work)
    }

    fn take_in(&mut self, file: usize, table: DeTable<'a>, known: &[&str], faults: &mut Faults<'_>) {
        for (name, value) in table {
            let at = |offset| SourcePosition { file, offset };
            if !known.contains(&name.get_ref().as_ref()) {
                let known: Vec<String> = known.iter().map(|one| format!("`{one}`")).collect();
                let message = format!("unknown table, expected one of {}", known.join(", "));
                faults.tell(at(name.span().start), message);
                continue;
            }
            let place = at(value.span().start);
            let DeValue::Array(things) = value.into_inner() else {
                let name = name.get_ref();
                let message =
                    format!("expected an array of tables: write `[[{name}]]` instead of `[{name}]`");
                faults.tell(place, message);
                continue;
            };
            let things = things.into_iter().map(|thing| (at(thing.span().start), thing.into_inner()));
            self.arrays.entry(name.into_inner().into_owned()).or_default().extend(things);
        }
    }

    /// The tables called `name`, each with its place. One that does not fit `R` is a fault.
    pub fn take<R: DeserializeOwned>(
        &mut self,
        name: &str,
        faults: &mut Faults<'_>,
    ) -> Vec<(SourcePosition, R)> {
        self.take_with_offsets(name, faults).into_iter().map(|(place, raw, _)| (place, raw)).collect()
    }

    /// The same, with the offsets of the fields of each.
    pub fn take_with_offsets<R: DeserializeOwned>(
        &mut self,
        name: &str,
        faults: &mut Faults<'_>,
    ) -> Vec<(SourcePosition, R, FieldOffsets)> {
        let mut taken = Vec::new();
        for (place, value) in self.arrays.remove(name).unwrap_or_default() {
            if !faults.takes(place) {
                break;
            }
            let mut offsets = FieldOffsets::new();
            collect(&value, "", &mut offsets);
            let value = Spanned::new(place.offset..place.offset, value);
            match R::deserialize(ValueDeserializer::from(value)) {
                Ok(raw) => taken.push((place, raw, offsets)),
                Err(error) => {
                    let offset = error.span().map_or(place.offset, |span| span.start);
                    faults.tell(SourcePosition { offset, ..place }, toml_message(&error));
                }
            }
        }
        taken
    }
}

fn collect(value: &DeValue<'_>, way: &str, into: &mut FieldOffsets) {
    for (name, field) in value.as_table().into_iter().flatten() {
        let name = format!("{way}{}", name.get_ref());
        collect(field.get_ref(), &format!("{name}."), into);
        into.insert(name, field.span().start);
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::config::Fault;

    #[derive(Debug, Deserialize, Eq, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Thing {
        name: String,
    }

    fn read(texts: &[&str]) -> Result<Vec<(usize, String)>, Vec<Fault>> {
        let file = |text: &&str| SourceFile { name: "a.toml".to_owned(), text: (*text).to_owned() };
        let (files, work) = (texts.iter().map(file).collect::<Vec<_>>(), Cancellation::new());
        let read = Tables::parse(&files, &["thing", "other"], &work).and_then(|mut tables| {
            let mut faults = tables.faults();
            let things = tables.take::<Thing>("thing", &mut faults);
            faults.or(things.into_iter().map(|(place, thing)| (place.file, thing.name)).collect())
        });
        read.map_err(|list| list.faults)
    }

    #[test]
    fn a_section_takes_its_tables_of_all_files() {
        let taken = read(&["[[thing]]\nname = \"a\"\n[[other]]\nx = 1\n", "", "[[thing]]\nname = \"b\"\n"]);
        assert_eq!(taken.unwrap(), [(0, "a".to_owned()), (2, "b".to_owned())]);
    }

    #[test]
    fn tables_that_do_not_fit_are_refused_with_their_places() {
        for (text, line, says) in [
            ("[[thing]]\nname = \"a\"\n\n[[CNRY]]\n", 4, "unknown table, expected one of `thing`, `other`"),
            ("\nthing = \"CNRY\"\n", 2, "expected an array of tables"),
            ("[thing]\nname = \"a\"\n", 1, "write `[[thing]]` instead of `[thing]`"),
            (
                "[[thing]]\nname = \"a\"\n[[thing]]\nnam = \"CNRY\"\n",
                4,
                "unknown field `nam`: did you mean `name`?",
            ),
            ("[[thing]]\n\n", 1, "missing field `name`"),
            ("[[thing]]\nname = 7\n", 2, "expected a string"),
            ("[[thing]]\nname = \n", 2, ""),
        ] {
            let faults = read(&[text]).unwrap_err();
            assert_eq!(faults.len(), 1, "{faults:?}");
            assert!(faults[0].line == line && faults[0].message.contains(says), "{text}: {faults:?}");
            assert!(!faults[0].message.contains("CNRY"), "{faults:?}");
        }
    }
}
