//! What parts of a request cost by themselves: `benches/parts` measures them, this reads what it says.

use std::path::Path;
use std::process::Command;

use crate::bed::SERVER_CORE;
use crate::tally::Spread;
use crate::{Extent, Failed};

/// A part, and what doing it once costs: the median, in nanoseconds.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) ns: f64,
    /// The ratio to the first part of the same kind, if it is compared with one.
    pub(crate) ratio: Option<Spread>,
}

impl Part {
    /// A line of the program.
    fn of(line: &str) -> Result<Self, Failed> {
        let fields: Vec<&str> = line.split('\t').collect();
        let figure = |field: &str| field.trim().parse::<f64>();
        let (name, ns, ratio) = match fields[..] {
            [name, ns] => (name, ns, None),
            [name, ns, median, least, most] => {
                let ratio = Spread { median: figure(median)?, least: figure(least)?, most: figure(most)? };
                (name, ns, Some(ratio))
            }
            _ => return Err(format!("`{line}` is no part and its figures").into()),
        };
        Ok(Self { name: name.to_owned(), ns: figure(ns)?, ratio })
    }
}

/// Runs the program, on the core that servers run on, with its data in `dir`.
pub(crate) fn measure(program: &Path, dir: &Path, extent: Extent) -> Result<Vec<Part>, Failed> {
    let mut command = Command::new("taskset");
    command.args(["-c", &SERVER_CORE.to_string()]).arg(program).arg(dir);
    command.args(extent.is_small().then_some("small"));
    let said = command.output()?;
    if !said.status.success() {
        return Err(String::from_utf8_lossy(&said.stderr).into());
    }
    String::from_utf8(said.stdout)?.lines().map(Part::of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_a_part_and_perhaps_its_ratio_to_the_first() {
        let alone = Part::of("64 bytes sealed\t990").unwrap();
        assert_eq!((alone.name.as_str(), alone.ns, alone.ratio.is_none()), ("64 bytes sealed", 990.0, true));
        let compared = Part::of("with 10\t1200\t1.050\t0.990\t1.100").unwrap();
        let ratio = compared.ratio.unwrap();
        assert_eq!((compared.ns, ratio.median, ratio.least, ratio.most), (1200.0, 1.05, 0.99, 1.1));
        assert!(Part::of("a line without a figure").is_err());
        assert!(Part::of("a part\tnone").is_err());
    }
}
