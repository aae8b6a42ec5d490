//! Something that a broker does, cut short at every point: there the broker is killed, or its disk fails
//! from there on; the recovery is cut short likewise; then it starts with nothing in its way.

use std::fmt;
use std::io::Write;

use super::process::{Points, Process};

/// What a broker does, and what holds of it wherever it was cut short.
pub(crate) trait Ordeal {
    fn process(&mut self) -> &mut Process;

    /// Has the broker do it. What was said when it did not live to say that it did.
    fn begin(&mut self) -> Result<(), String>;

    /// Brings on what is under way. Whether nothing is any more; `None` when nobody is there to say so.
    fn is_over(&mut self) -> Option<bool>;

    /// Sees that what has to hold does, when nothing is under way.
    fn prove(&mut self, when: &str);
}

/// How much of the matrix is gone through.
#[derive(Clone, Copy)]
pub(crate) enum Extent {
    /// A few points, spread, other ones for each seed.
    Sample { seed: u64 },
    /// Each of them, and a line about each.
    Whole,
}

/// What happens to a broker, and at which point.
#[derive(Clone, Copy)]
enum Fault {
    /// It is killed at this point.
    Kill(u64),
    /// This sync fails, and every one after it.
    Eio(u64),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(at) => write!(f, "kill {at}"),
            Self::Eio(at) => write!(f, "eio {at}"),
        }
    }
}

/// Kills and failures of a sample.
const SAMPLE: (u64, u64) = (6, 3);

/// How often something is looked at before it is taken for what it is.
const LOOKS: u32 = 3000;

/// How often it is begun in calm: a machine that is busy with other tests can make a broker refuse.
const TRIES: u32 = 5;

/// Goes through the matrix of `ordeal`; `name` is what the lines call it.
pub(crate) fn go_through(mut ordeal: impl Ordeal, name: &str, extent: Extent) {
    let all = rehearse(&mut ordeal);
    let recovery = rehearse_recovery(&mut ordeal, all);
    assert!(all.points >= 30 && all.syncs >= 5, "{name}: it did next to nothing: {all:?}");
    assert!(recovery.points >= 5 && recovery.syncs >= 2, "{name}: so did the recovery: {recovery:?}");
    let mut unreached = 0;
    for (index, fault) in (0..).zip(faults(all, extent)) {
        let again = again(recovery, index);
        let (first, second) = suffer(&mut ordeal, all, fault, again);
        unreached += u64::from(!first.is_struck);
        if matches!(extent, Extent::Whole) {
            let (first, second) = (first.told(fault, all), second.told(again, recovery));
            let line = format!("{name}: {first}; in the recovery {second}; all is well\n");
            std::io::stdout().write_all(line.as_bytes()).unwrap();
        }
    }
    // Answers come in more or fewer parts, so that the last points are not always there.
    assert!(unreached <= 1 + all.points / 20, "{name}: {unreached} of {all:?} were not reached");
}

/// What was done with nothing in its way: how many points it has, at the least. On a busy machine a step
/// can come to nothing, and be taken twice.
fn rehearse(ordeal: &mut impl Ordeal) -> Points {
    // The first one can have less to do, or more, than those after it.
    do_in_calm(ordeal);
    let (one, other) = (do_in_calm(ordeal), do_in_calm(ordeal));
    if one.points < other.points { one } else { other }
}

fn do_in_calm(ordeal: &mut impl Ordeal) -> Points {
    let mut said = String::new();
    for _ in 0..TRIES {
        ordeal.process().arm("count 0");
        let begun = ordeal.begin();
        wait_until_over(ordeal);
        let points = ordeal.process().counted();
        ordeal.process().disarm();
        ordeal.prove("with nothing in its way");
        match begun {
            Ok(()) => return points,
            Err(error) => said = error,
        }
    }
    panic!("with nothing in its way it cannot be done: {said}; {}", ordeal.process().log());
}

/// How many points the recovery of what was cut short in the middle has.
fn rehearse_recovery(ordeal: &mut impl Ordeal, all: Points) -> Points {
    let fault = Fault::Kill(all.points / 2);
    ordeal.process().arm(&fault.to_string());
    drop(ordeal.begin());
    strike(ordeal);
    ordeal.process().arm("count 0");
    ordeal.process().serve();
    wait_until_over(ordeal);
    let points = ordeal.process().counted();
    ordeal.process().disarm();
    ordeal.prove("after one kill");
    points
}

fn faults(all: Points, extent: Extent) -> Vec<Fault> {
    let (kills, failures): (Vec<u64>, Vec<u64>) = match extent {
        Extent::Sample { seed } => (spread(all.points, SAMPLE.0, seed), spread(all.syncs, SAMPLE.1, seed)),
        Extent::Whole => ((1..=all.points).collect(), (1..=all.syncs).collect()),
    };
    kills.into_iter().map(Fault::Kill).chain(failures.into_iter().map(Fault::Eio)).collect()
}

/// `count` of the numbers from 1 to `last`.
fn spread(last: u64, count: u64, seed: u64) -> Vec<u64> {
    let count = count.min(last);
    let step = last / count;
    (0..count).map(|index| 1 + index * step + (seed + index * 7) % step).collect()
}

/// What happens to the recovery of the `index`-th fault: every point has its turn, and every sync.
fn again(recovery: Points, index: u64) -> Fault {
    let turn = |index: u64, last: u64| {
        let step = [5, 7, 11, 13].into_iter().find(|step| !last.is_multiple_of(*step)).unwrap_or(1);
        1 + (index * step) % last
    };
    if index % 4 == 3 {
        Fault::Eio(turn(index / 4, recovery.syncs))
    } else {
        Fault::Kill(turn(index - index / 4, recovery.points))
    }
}

/// It is done with `fault` in it, a start has `again` in it, and a start nothing.
fn suffer(ordeal: &mut impl Ordeal, all: Points, fault: Fault, again: Fault) -> (Points, Points) {
    ordeal.process().arm(&fault.to_string());
    let begun = ordeal.begin();
    let first = strike(ordeal);
    if !first.is_struck {
        // Then it has to have been done, and all of it.
        begun.unwrap_or_else(|said| panic!("{fault} was not reached, since {said}"));
        assert!(first.points * 10 >= all.points * 9, "{fault} was not reached: {first:?} of {all:?}");
    }
    ordeal.process().arm(&again.to_string());
    ordeal.process().spawn();
    let second = strike(ordeal);
    ordeal.process().disarm();
    ordeal.process().serve();
    wait_until_over(ordeal);
    ordeal.prove(&format!("after {fault}, then {again}"));
    (first, second)
}

/// Waits until the fault has struck, or what it could have struck is over; then the broker is killed.
fn strike(ordeal: &mut impl Ordeal) -> Points {
    for _ in 0..LOOKS {
        let is_running = ordeal.process().is_running();
        let counted = ordeal.process().counted();
        assert!(is_running || counted.is_struck, "the broker has ended: {}", ordeal.process().log());
        if counted.is_struck || ordeal.is_over() == Some(true) {
            ordeal.process().kill();
            return ordeal.process().counted();
        }
    }
    panic!("it neither ends nor is it struck: {}", ordeal.process().log());
}

fn wait_until_over(ordeal: &mut impl Ordeal) {
    for _ in 0..LOOKS {
        if ordeal.is_over() == Some(true) {
            return;
        }
    }
    panic!("it does not end: {}", ordeal.process().log());
}

impl Points {
    /// What became of `fault`.
    fn told(self, fault: Fault, of: Self) -> String {
        let (what, at, last) = match fault {
            Fault::Kill(at) => ("killed at point", at, of.points),
            Fault::Eio(at) => ("the disk failing from sync", at, of.syncs),
        };
        let struck = if self.is_struck { "" } else { " (it was over before)" };
        format!("{what} {at} of {last}{struck}")
    }
}
