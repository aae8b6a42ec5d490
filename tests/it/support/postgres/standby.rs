//! A synchronous standby beside a server, and what happens to both.

use std::fs;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use super::{ADMIN_PASSWORD, AUTHORITY, Postgres, Release, free_port, output_of};
use crate::support::waiting::wait_until;

impl Postgres {
    /// A standby of this server, which streams, and which every COMMIT waits for from here on.
    pub(crate) fn add_standby(&self) -> Self {
        let standby = self.join_standby("standby");
        self.waits_for("ANY 1 (standby)");
        self.until_replicated();
        standby
    }

    /// A standby of this server, which streams under this name.
    pub(crate) fn join_standby(&self, name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (release, port, ca_pem) = (Release::Debian, free_port(), self.ca_pem.clone());
        let mut standby = Self { release, dir, port, ca_pem, authority: AUTHORITY, server: None };
        standby.own();
        let mut backup = standby.program("pg_basebackup");
        backup.arg("-D").arg(standby.data()).args(["-R", "-c", "fast", "-X", "stream", "--no-sync"]);
        backup.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "postgres"]);
        output_of(with_password(backup)).unwrap();
        let primary = self.address_for(name);
        let auto = standby.data().join("postgresql.auto.conf");
        let settings =
            format!("primary_conninfo = '{primary}'\nport = {port}\nwal_receiver_status_interval = 1\n");
        fs::write(&auto, fs::read_to_string(&auto).unwrap() + &settings).unwrap();
        standby.own();
        standby.run();
        standby
    }

    /// Where a standby of this name finds the server.
    fn address_for(&self, name: &str) -> String {
        let login = format!("user=postgres password={ADMIN_PASSWORD} application_name={name}");
        format!("host=127.0.0.1 port={} {login}", self.port)
    }

    /// Every COMMIT waits for these standbys from here on.
    pub(crate) fn waits_for(&self, standbys: &str) {
        self.sql(&format!("ALTER SYSTEM SET synchronous_standby_names = '{standbys}'"));
        self.sql("SELECT pg_reload_conf()");
        wait_until(|| self.sql("SHOW synchronous_standby_names") == standbys);
    }

    /// Streams from another primary from here on, under this name.
    pub(crate) fn follow(&self, primary: &Self, name: &str) {
        self.sql(&format!("ALTER SYSTEM SET primary_conninfo = '{}'", primary.address_for(name)));
        self.sql("SELECT pg_reload_conf()");
    }

    /// The position up to which a standby has everything on its disk.
    pub(crate) fn received(&self) -> u64 {
        self.sql("SELECT pg_last_wal_receive_lsn() - '0/0'").parse().unwrap()
    }

    /// What `sql` gives in `database`.
    pub(crate) fn sql_of(&self, database: &str, sql: &str) -> String {
        let mut command = self.psql_as("postgres", ADMIN_PASSWORD);
        command.args(["-d", database, "-c", sql]);
        output_of(command).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Waits until the standby streams synchronously.
    pub(crate) fn until_replicated(&self) {
        let synchronous =
            "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'quorum' AND state = 'streaming'";
        wait_until(|| self.sql(synchronous) == "1");
    }

    /// Waits until a COMMIT waits for the standby.
    pub(crate) fn until_a_commit_waits(&self) {
        wait_until(|| self.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") == "1");
    }

    /// Kills every process of the server at once, as a power cut would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            let pid = Pid::from_raw(i32::try_from(server.id()).unwrap()).unwrap();
            kill_process(pid, Signal::KILL).unwrap();
            server.wait().unwrap();
        }
    }

    /// Stops every process of the server where it is, or lets all of them continue.
    pub(crate) fn pause(&self, paused: bool) {
        let postmaster = self.server.as_ref().unwrap().id();
        let signal = if paused { Signal::STOP } else { Signal::CONT };
        for pid in children_of(postmaster).into_iter().chain([postmaster]) {
            // One that has ended meanwhile does nothing either.
            let _ = kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal);
        }
    }

    /// Makes the standby a primary, which accepts writes when this returns.
    pub(crate) fn promote(&self) {
        self.sql("SELECT pg_promote()");
        wait_until(|| self.sql("SELECT pg_is_in_recovery()") == "f");
    }
}

fn children_of(parent: u32) -> Vec<u32> {
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_child = |pid: &u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.lines().any(|line| line == format!("PPid:\t{parent}"))
    };
    pids.filter(is_child).collect()
}

fn with_password(mut command: Command) -> Command {
    command.env("PGPASSWORD", ADMIN_PASSWORD);
    command
}
