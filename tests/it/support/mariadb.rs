//! A real `MariaDB`, from Debian's package, on a loopback port and in a directory of its own, run by a user
//! without privileges. It shows a certificate, speaks TLS 1.3 and logs every statement.

use std::fs::{self, File};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustix::process::{Pid, Signal, kill_process};

use super::ports::free_port;
use crate::readme::root;

/// The password of the administering user, `keyward_admin`.
pub(crate) const ADMIN_PASSWORD: &str = "the-administrators-own";

/// The page that says which rights the administering user has.
const GRANTS: &str = "how-to/mariadb-logins.md";

pub(crate) struct MariaDb {
    dir: tempfile::TempDir,
    pub(crate) port: u16,
    /// What its certificate is verified against.
    pub(crate) ca_pem: String,
    server: Option<Child>,
}

impl MariaDb {
    /// A server that is ready, with the administering user that the how-to recommends, a database `orders` with
    /// a table, and the user `app` whose password is `first`.
    pub(crate) fn start(first: &str) -> Self {
        let mut server = Self {
            dir: tempfile::tempdir().unwrap(),
            port: free_port(),
            ca_pem: String::new(),
            server: None,
        };
        server.copy_new_data();
        server.certify("127.0.0.1");
        server.run();
        for grant in recommended() {
            server.sql(&grant.replace("$ADMIN_PASSWORD", ADMIN_PASSWORD));
        }
        server.sql(&format!(
            "CREATE TABLE orders.items (n INT); INSERT INTO orders.items VALUES (7); \
             CREATE USER app@'%' IDENTIFIED BY '{first}'; CREATE USER app_b@'%' IDENTIFIED BY 'nobody-knows'"
        ));
        server
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Copies the data that `mariadb-install-db` makes once and keeps below `target`: it takes longer than many
    /// a test.
    fn copy_new_data(&self) {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mariadb-data");
        if !kept.exists() {
            let made = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
            own(made.path());
            let mut install = Command::new("mariadb-install-db");
            install
                .arg("--no-defaults")
                .arg(format!("--tmpdir={}", made.path().display()))
                .arg(format!("--datadir={}", made.path().join("data").display()));
            install.args([
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                "--skip-name-resolve",
            ]);
            install.arg(format!("--user={USER}")).arg(REDO_LOG).stdin(Stdio::null());
            let installed = install.output().expect("MariaDB is installed by scripts/test");
            assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
            // Another test may do the same: the first one to rename its copy wins.
            drop(fs::rename(made.path().join("data"), &kept));
        }
        let copied = Command::new("cp").arg("-a").arg(&kept).arg(self.path("data")).status().unwrap();
        assert!(copied.success());
        own(self.dir.path());
    }

    /// A certificate for `name` by an authority that nobody else knows, and what that is to be declared with.
    fn certify(&mut self, name: &str) {
        let (authority_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let mut authority = CertificateParams::default();
        authority.distinguished_name.push(DnType::CommonName, "an authority of this test");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        self.ca_pem = authority.self_signed(&authority_key).unwrap().pem();
        let issuer = Issuer::new(authority, authority_key);
        let leaf = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        fs::write(self.path("server.pem"), leaf.pem()).unwrap();
        fs::write(self.path("ca.pem"), &self.ca_pem).unwrap();
        fs::write(self.path("server.key"), key.serialize_pem()).unwrap();
        own(&self.path("server.key"));
    }

    /// Shows a certificate of another name, or of an authority that is not declared, from here on.
    pub(crate) fn show(&mut self, name: &str) {
        let declared = self.ca_pem.clone();
        self.certify(name);
        if name == "127.0.0.1" {
            self.ca_pem = declared;
        }
        self.stop();
        self.run();
    }

    /// Starts the server, and waits until it accepts a login.
    pub(crate) fn run(&mut self) {
        let file = |name: &str| self.path(name).display().to_string();
        let log = File::options().create(true).append(true).open(self.path("output")).unwrap();
        let mut server = Command::new("mariadbd");
        server
            .arg("--no-defaults")
            .arg(format!("--tmpdir={}", self.dir.path().display()))
            .arg(format!("--user={USER}"))
            .arg(format!("--datadir={}", file("data")));
        server.arg(format!("--port={}", self.port)).arg("--bind-address=127.0.0.1");
        server.arg(format!("--socket={}", file("socket"))).arg(format!("--pid-file={}", file("pid")));
        server.arg(format!("--ssl-cert={}", file("server.pem")));
        server.arg(format!("--ssl-key={}", file("server.key")));
        server.args(["--tls-version=TLSv1.3", "--skip-log-bin", "--skip-name-resolve", "--general-log=1"]);
        server.arg(format!("--general-log-file={}", file("log")));
        server.args([REDO_LOG, "--innodb-buffer-pool-size=8M", "--innodb-flush-log-at-trx-commit=0"]);
        server.stdout(log.try_clone().unwrap()).stderr(log);
        self.server = Some(server.spawn().unwrap());
        for _ in 0..600 {
            if self.client_as("root", None).args(["-e", "SELECT 1"]).output().unwrap().status.success() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("MariaDB did not start: {}", fs::read_to_string(self.path("output")).unwrap_or_default());
    }

    /// Stops it in good order: connections are cut, and what it has said it has kept.
    pub(crate) fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let pid = Pid::from_raw(i32::try_from(server.id()).unwrap()).unwrap();
            kill_process(pid, Signal::TERM).unwrap();
            server.wait().unwrap();
        }
    }

    /// Every statement that it has logged.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.path("log")).unwrap_or_default()).into_owned()
    }

    fn client_as(&self, user: &str, password: Option<&str>) -> Command {
        let mut client = Command::new("mariadb");
        client.args(["--no-defaults", "-N", "-s", "-u", user]).stdin(Stdio::null());
        match password {
            None => client.arg(format!("--socket={}", self.path("socket").display())),
            Some(password) => client
                .args(["-h", "127.0.0.1", "-P", &self.port.to_string(), "--ssl-verify-server-cert"])
                .arg(format!("--ssl-ca={}", self.path("ca.pem").display()))
                .env("MYSQL_PWD", password),
        };
        client
    }

    /// What `sql` gives to the superuser.
    pub(crate) fn sql(&self, sql: &str) -> String {
        let done = self.client_as("root", None).args(["-e", sql]).output().unwrap();
        assert!(done.status.success(), "{sql}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).trim_end().to_owned()
    }

    /// What `sql` gives to `user`.
    pub(crate) fn sql_as(&self, user: &str, password: &str, sql: &str) -> Result<String, String> {
        let done = self.client_as(user, Some(password)).args(["-e", sql]).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        if done.status.success() { Ok(text(&done.stdout)) } else { Err(text(&done.stderr)) }
    }

    /// Whether `user` logs in with `password`.
    pub(crate) fn lets_in(&self, user: &str, password: &str) -> bool {
        self.sql_as(user, password, "SELECT 1").is_ok()
    }

    /// A session of `user` that does nothing, for as long as it is let.
    pub(crate) fn session(&self, user: &str, password: &str) -> Child {
        let mut client = self.client_as(user, Some(password));
        let child =
            client.args(["-e", "SELECT SLEEP(600)"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let there = format!("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = '{user}'");
        super::waiting::wait_until(|| self.sql(&there) != "0");
        child.unwrap()
    }

    /// The accounts of leases that are there.
    pub(crate) fn logins(&self) -> String {
        self.sql(
            "SELECT COALESCE(GROUP_CONCAT(User SEPARATOR ' '), '') FROM mysql.user WHERE User LIKE 'kw\\_%'",
        )
    }

    /// The fields of a declared upstream that lead here, TOML.
    pub(crate) fn declared(&self, driver: &str) -> String {
        let (port, ca) = (self.port, &self.ca_pem);
        format!("driver = \"{driver}\"\nhost = \"127.0.0.1\"\nport = {port}\nca = \"\"\"\n{ca}\"\"\"\n")
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }
}

/// A small one is quick to copy.
const REDO_LOG: &str = "--innodb-log-file-size=4M";

/// The user that Debian's package makes.
const USER: &str = "mysql";

/// The statements of the how-to that create the administering user and grant it its rights.
fn recommended() -> Vec<String> {
    let page = fs::read_to_string(root().join("docs").join(GRANTS)).unwrap();
    let lines = page.lines().filter(|line| line.ends_with(';'));
    let statements: Vec<String> = lines.map(str::to_owned).collect();
    assert_eq!(statements.len(), 5, "{statements:?}");
    statements
}

/// Gives a path to the user who runs the server.
fn own(path: &Path) {
    if !rustix::process::getuid().is_root() {
        return;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find(|line| line.starts_with("mysql:")).expect("the package makes the user");
    let ids: Vec<u32> = line.split(':').skip(2).take(2).map(|id| id.parse().unwrap()).collect();
    chown(path, Some(ids[0]), Some(ids[1])).unwrap();
}
