//! What parts of a request cost by themselves: `benches/parts` measures them, this reads what it says.

use std::path::Path;
use std::process::Command;

use crate::Failed;
use crate::bed::SERVER_CORE;

/// A part, and what doing it once costs: the median, in nanoseconds.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) ns: f64,
}

/// Runs the program, on the core that servers run on, with its data in `dir`.
pub(crate) fn measure(program: &Path, dir: &Path) -> Result<Vec<Part>, Failed> {
    let mut command = Command::new("taskset");
    let said = command.args(["-c", &SERVER_CORE.to_string()]).arg(program).arg(dir).output()?;
    if !said.status.success() {
        return Err(String::from_utf8_lossy(&said.stderr).into());
    }
    let part = |line: &str| {
        let (name, ns) = line.split_once('\t').ok_or("a part without a figure")?;
        Ok(Part { name: name.to_owned(), ns: ns.trim().parse()? })
    };
    String::from_utf8(said.stdout)?.lines().map(part).collect()
}
