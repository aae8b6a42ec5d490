//! Tables of answers: a field is a column.

use crate::base::{
    AgentName, CapabilityName, LeaseId, OperatorName, OwnerName, RoleName, SecretName, Sensitivity,
};
use crate::wire::{InstanceAnswer, Word};

/// A row of a table.
pub(crate) trait Row {
    fn head() -> Vec<String>;

    fn cells(&self) -> Vec<String>;
}

/// What one cell shows.
pub(crate) trait Cell {
    fn text(&self) -> String;
}

macro_rules! plain_cells {
    ($($plain:ty),*) => {$(
        impl Cell for $plain {
            fn text(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

plain_cells!(String, Word, u32, u64, usize);
plain_cells!(AgentName, CapabilityName, LeaseId, OperatorName, OwnerName, RoleName, SecretName);

impl Cell for Sensitivity {
    fn text(&self) -> String {
        self.as_str().to_owned()
    }
}

impl Cell for InstanceAnswer {
    fn text(&self) -> String {
        self.state.to_string()
    }
}

impl<T: Cell> Cell for Option<T> {
    fn text(&self) -> String {
        self.as_ref().map(Cell::text).unwrap_or_default()
    }
}

impl<T: Cell> Cell for Vec<T> {
    fn text(&self) -> String {
        self.iter().map(Cell::text).collect::<Vec<_>>().join(",")
    }
}

/// The columns of a table of answers: a field by its name, or another head and a function of the answer.
macro_rules! columns {
    ($answer:ty: $($column:tt),*) => {
        impl $crate::cli::table::Row for $answer {
            fn head() -> Vec<String> {
                vec![$($crate::cli::table::columns!(@head $column)),*]
            }

            fn cells(&self) -> Vec<String> {
                vec![$($crate::cli::table::columns!(@cell self, $column)),*]
            }
        }
    };
    (@head $field:ident) => { stringify!($field).replace('_', " ").to_uppercase() };
    (@head ($head:literal, $text:path)) => { $head.to_owned() };
    (@cell $row:ident, $field:ident) => { $crate::cli::table::Cell::text(&$row.$field) };
    (@cell $row:ident, ($head:literal, $text:path)) => { $text($row) };
}

pub(crate) use columns;
