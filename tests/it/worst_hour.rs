//! The worst day goes on: the broker is started, stopped or renewed while its disk takes nothing.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::panel::set_up;
use crate::readiness::fill;
use crate::sealing::entries;
use crate::support::process::{KEYWARD, Process};
use crate::support::waiting::wait_until;
use crate::worst_day::{
    answer_again, hang_with_a_mint, kept_by, killed_with_a_kept_order, on_a_failing_disk, pair, recorded,
    with_a_runtime_directory,
};

/// A disk of its own for the data directory, for as long as this lives: a mount that other processes do not see,
/// with less space than a segment of the ledger takes.
pub(crate) struct SmallDisk(Child);

impl SmallDisk {
    /// The broker, which is stopped, has its data there from here on.
    pub(crate) fn under(process: &mut Process) -> Self {
        let data = process.path("data").display().to_string();
        let script = "set -e; cp -a \"$0\" \"$0.copy\"; mount -t tmpfs -o size=110m,mode=700 tmpfs \"$0\"; \
                      cp -a \"$0.copy\"/. \"$0\"; \
                      \"$1\" adopt --config \"$2\" >&2; \"$1\" init --reissue-operator --config \"$2\" --home \"$3\" >&2; \
                      head -c 70M /dev/zero > \"$0/fill\"; echo mounted; exec cat";
        let home = process.path("home-operator").display().to_string();
        let mut holder = Command::new("unshare");
        holder.args(["-m", "sh", "-c", script, &data, KEYWARD, &process.config(), &home]);
        holder.envs(process.environment.iter().map(|(name, value)| (name, value)));
        let mut holder = holder.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut told = String::new();
        BufReader::new(holder.stdout.as_mut().unwrap()).read_line(&mut told).unwrap();
        assert_eq!(told, "mounted\n");
        process.started_by = vec!["nsenter".to_owned(), format!("--mount=/proc/{}/ns/mnt", holder.id())];
        Self(holder)
    }

    pub(crate) fn path(&self, process: &Process, file: &str) -> PathBuf {
        let data = process.path("data");
        PathBuf::from(format!("/proc/{}/root{}/{file}", self.0.id(), data.display()))
    }

    /// Fills it to the last byte, without the reserve for revocations, and starts the broker again. What `verb` asks
    /// for as `who` takes an entry.
    pub(crate) fn fill_up(&self, process: &mut Process, who: &str, verb: &[&str]) {
        fill(&self.path(process, "rest"));
        wait_until(|| process.run_as(who, verb, b"").status.code() == Some(10));
        process.stop();
        for reserve in ["ledger/reserve-1", "ledger/reserve-2"] {
            fs::remove_file(self.path(process, reserve)).unwrap();
        }
        fill(&self.path(process, "more"));
        process.serve();
    }

    /// Takes away what filled it.
    pub(crate) fn empty(&self, process: &Process) {
        for filled in ["fill", "rest", "more"] {
            fs::remove_file(self.path(process, filled)).unwrap();
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

#[test]
fn a_kept_order_is_in_force_from_a_start_on_a_full_disk_on() {
    let (elsewhere, mut process) = with_a_runtime_directory(set_up());
    process.stop();
    let disk = SmallDisk::under(&mut process);
    process.serve();
    disk.fill_up(&mut process, "q", &["token", "reports.read"]);
    assert_eq!(process.run_as("operator", &["agent", "revoke", "p"], b"").status.code(), Some(12));
    process.kill();
    process.serve();
    assert_eq!(process.run_as("p", &["whoami"], b"").status.code(), Some(4), "it is in force");
    process.good_as("q", &["whoami"], b"");
    let orders = kept_by(&elsewhere, "orders");
    assert!(orders.exists(), "the ledger could not take it");
    disk.empty(&process);
    wait_until(|| !orders.exists());
    assert_eq!(recorded(&process), [pair("revoke", "p")]);
    process.stop();
}

#[test]
fn a_broker_leaves_the_orders_of_another_one_alone() {
    let (elsewhere, mut process) = killed_with_a_kept_order();
    let orders = kept_by(&elsewhere, "orders");
    let mut other = set_up();
    other.stop();
    let text = fs::read_to_string(other.config()).unwrap();
    let setting = format!("runtime_dir = \"{}\"\n{text}", elsewhere.path().display());
    fs::write(other.config(), setting).unwrap();
    other.serve();
    other.good_as("p", &["whoami"], b"");
    assert!(orders.exists());
    other.stop();
    process.serve();
    assert_eq!(process.run_as("p", &["whoami"], b"").status.code(), Some(4));
}

#[test]
fn a_revocation_waits_for_no_renewal_of_the_operators_certificate() {
    let process = on_a_failing_disk(set_up());
    let (shim, clock) = (process.path("clock.so"), process.path("clock"));
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/clock.c");
    let made = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&shim).args([source, "-ldl"]).status();
    assert!(made.expect("a C compiler is needed").success());
    // The operator's machine is eleven hours on: its certificate, for twelve hours, is due.
    fs::write(&clock, "39600").unwrap();
    let later = |args: &[&str]| {
        let mut command = process.command("operator", args);
        command.env("LD_PRELOAD", &shim).env("KEYWARD_TEST_CLOCK", &clock);
        command.output().unwrap()
    };
    let minting = hang_with_a_mint(&process, "q");
    assert_eq!(later(&["agent", "revoke", "p"]).status.code(), Some(12));
    answer_again(&process);
    minting.wait_with_output().unwrap();
    let renewals = || entries(&process, &["operator.renewed"]).len();
    assert_eq!(renewals(), 0, "it asked for none");
    // Another verb does.
    wait_until(|| later(&["agent", "list"]).status.success() && renewals() > 0);
}

#[test]
fn a_revocation_by_an_unused_certificate_acts_while_the_disk_hangs() {
    let process = on_a_failing_disk(set_up());
    process.good_as("operator", &["renew", "--operator"], b"");
    let minting = hang_with_a_mint(&process, "q");
    assert_eq!(process.run_as("operator", &["agent", "revoke", "p"], b"").status.code(), Some(12));
    assert_eq!(process.run_as("p", &["whoami"], b"").status.code(), Some(4));
    answer_again(&process);
    minting.wait_with_output().unwrap();
    wait_until(|| recorded(&process) == [pair("revoke", "p")]);
}
