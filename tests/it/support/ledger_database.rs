//! Ledgers on a real PostgreSQL with a synchronous standby.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use keyward::base::{ManualClock, Sensitive, SystemClock};
use keyward::config::{DatabaseHost, Replication};
use keyward::database::{Claimant, DatabaseFault, DatabaseTarget, LogUse, PostgresLog, prepare_database};
use keyward::ledger::{Follower, Ledger, OpenError};
use keyward::pki::certificates_from_pem;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

use super::ledger_bed::{Bed, Site};
use super::postgres::{Postgres, Release};
use super::unsynced::Disk;
use super::waiting::wait_until;

/// The passwords of the owner of the schema, and of the broker's role.
pub(crate) const OWNER_PASSWORD: &str = "the-owners-own";
pub(crate) const BROKER_PASSWORD: &str = "the-brokers-own";

/// The data directory of every test's broker.
pub(crate) const OWNER: Claimant = Claimant { lock: 1, is_adopted: false };

/// A server and its standby, which every COMMIT waits for.
pub(crate) struct Pair {
    pub(crate) primary: Postgres,
    pub(crate) standby: Postgres,
    databases: AtomicU32,
}

impl Pair {
    pub(crate) fn start() -> Self {
        let primary = Postgres::start_bare(Release::Debian);
        let standby = primary.add_standby();
        primary.sql(&format!("CREATE ROLE ledger_owner LOGIN PASSWORD '{OWNER_PASSWORD}'"));
        primary.sql(&format!("CREATE ROLE ledger_broker LOGIN PASSWORD '{BROKER_PASSWORD}'"));
        primary.sql("GRANT pg_monitor TO ledger_broker");
        Self { primary, standby, databases: AtomicU32::new(0) }
    }

    /// One that tests share which do no harm to it. It ends with the last of those that run.
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Pair>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let pair = Arc::new(Self::start());
            *shared = Arc::downgrade(&pair);
            pair
        })
    }

    /// A new database, which the owner of the schema may use.
    pub(crate) fn new_database(&self) -> String {
        let name = format!("ledger_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.primary.sql(&format!("CREATE DATABASE {name} OWNER ledger_owner"));
        name
    }

    /// The `role` at `database`, on whichever server accepts writes.
    pub(crate) fn target(&self, database: &str, role: &str, password: &str) -> DatabaseTarget {
        let host = |server: &Postgres| DatabaseHost { host: "127.0.0.1".to_owned(), port: server.port };
        DatabaseTarget {
            hosts: vec![host(&self.primary), host(&self.standby)],
            database: database.to_owned(),
            role: role.to_owned(),
            password: Arc::new(Sensitive::new(password.as_bytes().to_vec())),
            authorities: certificates_from_pem(&self.primary.ca_pem).unwrap(),
            replication: Replication::Required,
            clock: Arc::new(SystemClock::new()),
            last_good: Arc::default(),
        }
    }

    /// The broker's role at `database`.
    pub(crate) fn broker(&self, database: &str) -> DatabaseTarget {
        self.target(database, "ledger_broker", BROKER_PASSWORD)
    }

    /// Makes the schema in `database`.
    pub(crate) fn prepare(&self, database: &str) -> Result<(), DatabaseFault> {
        prepare_database(self.target(database, "ledger_owner", OWNER_PASSWORD), "ledger_broker")
    }
}

/// A server and two standbys, of which each COMMIT waits for one.
pub(crate) struct Trio {
    pub(crate) pair: Pair,
    pub(crate) third: Postgres,
}

/// Either of the standbys.
const ANY_OF_TWO: &str = "ANY 1 (standby, third)";

impl Trio {
    pub(crate) fn start() -> Self {
        let pair = Pair::start();
        let third = pair.primary.join_standby("third");
        pair.primary.waits_for(ANY_OF_TWO);
        let both = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'quorum'";
        wait_until(|| pair.primary.sql(both) == "2");
        Self { pair, third }
    }

    /// The broker's role at `database`, on whichever server accepts writes.
    pub(crate) fn broker(&self, database: &str) -> DatabaseTarget {
        let mut target = self.pair.broker(database);
        target.hosts.push(DatabaseHost { host: "127.0.0.1".to_owned(), port: self.third.port });
        target
    }

    /// Kills the primary. The standby that has more takes over, and the other one follows it.
    pub(crate) fn fail_over(&mut self) {
        self.pair.primary.kill();
        if self.third.received() > self.pair.standby.received() {
            std::mem::swap(&mut self.pair.standby, &mut self.third);
        }
        std::mem::swap(&mut self.pair.primary, &mut self.pair.standby);
        self.pair.primary.promote();
        self.third.follow(&self.pair.primary, "third");
        self.pair.primary.waits_for(ANY_OF_TWO);
        self.pair.primary.until_replicated();
    }

    /// Kills the primary, and promotes the only server that is left.
    pub(crate) fn fail_over_to_the_last(&mut self) {
        self.pair.primary.kill();
        self.third.promote();
        self.third.waits_for(ANY_OF_TWO);
    }
}

/// What opens ledgers in databases, apart from these.
pub(crate) struct DatabaseSite(Site);

impl DatabaseSite {
    pub(crate) fn new() -> Self {
        Self(Site::new(0))
    }

    pub(crate) fn open(
        &self,
        target: DatabaseTarget,
        follower: Box<dyn Follower>,
    ) -> Result<Arc<Ledger>, OpenError> {
        self.open_as(target, LogUse::Serve, OWNER, follower)
    }

    /// The same for another use, or from another data directory.
    pub(crate) fn open_as(
        &self,
        target: DatabaseTarget,
        purpose: LogUse,
        claimant: Claimant,
        follower: Box<dyn Follower>,
    ) -> Result<Arc<Ledger>, OpenError> {
        let options = self.0.options(Disk::default().layer());
        let log = PostgresLog::new(target, purpose, claimant).unwrap();
        Ok(Arc::new(Ledger::open(options, Box::new(log), follower)?.0))
    }
}

/// A ledger in a database of its own.
pub(crate) struct DatabaseBed {
    pub(crate) pair: Arc<Pair>,
    pub(crate) database: String,
    pub(crate) site: DatabaseSite,
}

impl DatabaseBed {
    /// One on servers that other tests use too.
    pub(crate) fn new() -> Self {
        Self::on(Pair::shared())
    }

    /// One on these servers.
    pub(crate) fn on(pair: Arc<Pair>) -> Self {
        let database = pair.new_database();
        pair.prepare(&database).unwrap();
        Self { pair, database, site: DatabaseSite::new() }
    }
}

impl Bed for DatabaseBed {
    fn open(&self, follower: Box<dyn Follower>) -> Result<Arc<Ledger>, OpenError> {
        self.site.open(self.pair.broker(&self.database), follower)
    }

    fn clock(&self) -> &Arc<ManualClock> {
        &self.site.0.clock
    }
}

/// The same as one of several writers.
pub(crate) struct SharedBed(pub(crate) DatabaseBed);

impl Bed for SharedBed {
    fn open(&self, follower: Box<dyn Follower>) -> Result<Arc<Ledger>, OpenError> {
        let DatabaseBed { pair, database, site } = &self.0;
        site.open_as(pair.broker(database), LogUse::Share, OWNER, follower)
    }

    fn clock(&self) -> &Arc<ManualClock> {
        self.0.clock()
    }
}

/// The certificate of an authority that issued nothing.
pub(crate) fn foreign_authority() -> String {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
}
