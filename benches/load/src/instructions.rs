//! How many instructions Keyward takes for one warm mint, counted by valgrind's callgrind: nearly the same number
//! on a quiet machine and on a busy one, so that a change for the worse shows on either.

use std::fs;
use std::process::Command;

use crate::Failed;
use crate::bed::{Bed, Server};
use crate::drive::{Asker, Load, drive};

/// Counts are a difference between two runs of different length, so that connecting is no part of them.
const SECONDS: [f64; 2] = [2.0, 8.0];
const CONNECTIONS: usize = 16;

/// Thousands of instructions for one warm mint. Valgrind's processor has no instructions for SHA-256: what is
/// hashed counts for some six times as much as it does in truth.
pub(crate) async fn for_a_mint(bed: &Bed, server: &Server, askers: &[Asker]) -> Result<f64, Failed> {
    control(server, &["--instr=on"])?;
    let (mut instructions, mut mints) = ([0.0; 2], [0.0; 2]);
    for (run, seconds) in SECONDS.into_iter().enumerate() {
        let load = Load::Warm { connections: CONNECTIONS, seconds };
        mints[run] = drive(server, load, askers).await?.counted.tokens.len() as f64;
        control(server, &["--dump"])?;
        let dump = fs::read_to_string(bed.counts(run + 1))?;
        let total = dump.lines().find_map(|line| line.strip_prefix("totals: ")).ok_or("no totals")?;
        instructions[run] = total.trim().parse()?;
    }
    Ok((instructions[1] - instructions[0]) / (mints[1] - mints[0]) / 1000.0)
}

fn control(server: &Server, what: &[&str]) -> Result<(), Failed> {
    let told = Command::new("callgrind_control").args(what).arg(server.pid().to_string()).output()?;
    if told.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&told.stderr).into()) }
}
