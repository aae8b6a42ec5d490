//! The two servers, each as its own process on the first core, with its data in one temporary directory.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::Failed;
use crate::client::{Connection, Identity, request};

/// The core that servers run on; the generator is given the other by `scripts/bench`.
pub(crate) const SERVER_CORE: usize = 0;

/// Longest wait for a broker to be ready: one that reads ten million entries takes a minute.
const READY_WAIT: Duration = Duration::from_secs(300);

/// Which of the servers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Side {
    Keyward,
    Floor,
    OpenBao,
}

/// A server that runs.
pub(crate) struct Server {
    pub(crate) side: Side,
    pub(crate) address: SocketAddr,
    child: Child,
}

impl Server {
    pub(crate) const fn new(side: Side, address: SocketAddr, child: Child) -> Self {
        Self { side, address, child }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill().and_then(|()| self.child.wait()));
    }
}

/// Where the programs are and their data goes.
pub(crate) struct Bed {
    pub(crate) dir: PathBuf,
    keyward: PathBuf,
    floor: PathBuf,
    pub(crate) admins: SocketAddr,
    agents: SocketAddr,
}

impl Bed {
    /// Makes a broker in `dir`, as its documentation says: configuration, `init`, nothing else.
    pub(crate) fn make(dir: PathBuf, keyward: PathBuf, floor: PathBuf) -> Result<Self, Failed> {
        let free = || std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let (agents, admins) = (free()?, free()?);
        let bed = Self { dir, keyward, floor, admins, agents };
        let root = bed.dir.display();
        // The quotas and caps are as high as they go, because all agents are behind one address here and ask
        // as fast as they can; they are counted all the same. Everything else is as it ships.
        let config = format!(
            "trust_domain = \"bench.internal\"\ndata_dir = \"{root}/broker\"\n\
             [root_key]\nfile = \"{root}/root.key\"\n\
             [listen]\nagents = \"{agents}\"\nadmins = \"{admins}\"\n\
             [server]\naddress = \"localhost:{}\"\nadmin_address = \"localhost:{}\"\n\
             [connections]\nmax = 65536\nmax_per_peer = 65536\n\
             [quota]\nmints_per_s = 1000000\nmints_burst = 1000000\n\
             introspections_per_s = 1000000\nintrospections_burst = 1000000\n\
             enrolments_per_s = 1000000\nenrolments_burst = 1000000\n\
             operations_per_s = 1000000\noperations_burst = 1000000\n\
             [log]\nlevel = \"info\"\n",
            agents.port(),
            admins.port()
        );
        fs::write(bed.config(), config)?;
        bed.run(&["init", "--config", &bed.config()], b"")?;
        Ok(bed)
    }

    /// Another broker of the same program, below this one's directory.
    pub(crate) fn sibling(&self, name: &str) -> Result<Self, Failed> {
        let dir = self.dir.join(name);
        fs::create_dir(&dir)?;
        Self::make(dir, self.keyward.clone(), self.floor.clone())
    }

    /// Where its ledger is.
    pub(crate) fn ledger(&self) -> PathBuf {
        self.dir.join("broker/ledger")
    }

    /// The entry that the newest snapshot of the state is as of.
    pub(crate) fn newest_snapshot(&self) -> Result<Option<u64>, Failed> {
        let mut newest = None;
        for file in fs::read_dir(self.ledger())? {
            let name = file?.file_name();
            let through = name.to_str().and_then(|name| name.strip_suffix(".snap")?.parse().ok());
            newest = newest.max(through);
        }
        Ok(newest)
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    pub(crate) fn config(&self) -> String {
        self.path("keyward.toml")
    }

    /// The operator's home.
    pub(crate) fn home(&self) -> PathBuf {
        self.dir.join("home")
    }

    /// Runs a verb of the command line as the operator, and gives what it printed.
    pub(crate) fn run(&self, verb: &[&str], input: &[u8]) -> Result<Vec<u8>, Failed> {
        let mut command = Command::new(&self.keyward);
        command.args(verb).arg("--home").arg(self.home());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        child.stdin.take().ok_or("no stdin")?.write_all(input)?;
        let Output { status, stdout, stderr } = child.wait_with_output()?;
        if status.success() {
            return Ok(stdout);
        }
        Err(format!("keyward {}: {}", verb.join(" "), String::from_utf8_lossy(&stderr)).into())
    }

    /// Starts the broker and waits until it is ready; also says how long that took.
    pub(crate) async fn keyward(&self) -> Result<(Server, Duration), Failed> {
        self.start(pinned(&self.keyward)).await
    }

    /// The same below valgrind, which is told later to begin to count.
    pub(crate) async fn keyward_counted(&self) -> Result<Server, Failed> {
        let mut command = pinned(Path::new("valgrind"));
        command.args(["--quiet", "--tool=callgrind", "--instr-atstart=no"]);
        command.arg(format!("--callgrind-out-file={}", self.path("counts"))).arg(&self.keyward);
        Ok(self.start(command).await?.0)
    }

    /// What was counted up to the `dump`-th dump.
    pub(crate) fn counts(&self, dump: usize) -> String {
        self.path(&format!("counts.{dump}"))
    }

    async fn start(&self, mut command: Command) -> Result<(Server, Duration), Failed> {
        let log = File::options().append(true).create(true).open(self.path("broker.log"))?;
        let start = Instant::now();
        let child = command.args(["serve", "--config", &self.config()]).stderr(log).spawn()?;
        let mut server = Server { side: Side::Keyward, address: self.agents, child };
        let ready = request("GET", "/readyz", "", "");
        while start.elapsed() < READY_WAIT {
            if let Ok(mut connection) = Connection::open(self.agents, &Identity::none()?).await
                && connection.ask(&ready).await?.status == 200
            {
                return Ok((server, start.elapsed()));
            }
            if let Some(status) = server.child.try_wait()? {
                let said = fs::read_to_string(self.path("broker.log"))?;
                return Err(format!("the broker ended ({status}): {said}").into());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Err("the broker did not become ready in five minutes".into())
    }

    /// Asks the broker to end, and waits until it has.
    pub(crate) fn stop(mut server: Server) -> Result<(), Failed> {
        Command::new("kill").args(["-TERM", &server.pid().to_string()]).status()?;
        let status = server.child.wait()?;
        if status.success() { Ok(()) } else { Err(format!("the broker ended with {status}").into()) }
    }

    /// Reads all of the stopped broker's ledger, offline; the number of its entries.
    pub(crate) fn verify(&self) -> Result<u64, Failed> {
        let told = self.run(&["verify", "--config", &self.config(), "-o", "json"], b"")?;
        let told: serde_json::Value = serde_json::from_slice(&told)?;
        Ok(told["entries"].as_u64().ok_or("verify said nothing")?)
    }

    /// Starts the floor, with answers of these sizes. It trusts the broker's authority: both serve the same
    /// agents with the same certificates.
    pub(crate) fn floor(&self, mint_bytes: usize, read_bytes: usize) -> Result<Server, Failed> {
        let dir = self.dir.join("floor");
        fs::create_dir(&dir)?;
        fs::copy(self.home().join("operator/authority.pem"), dir.join("agents.pem"))?;
        certify(&dir)?;
        let mut child = pinned(&self.floor)
            .arg(&dir)
            .args([mint_bytes.to_string(), read_bytes.to_string()])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut port = String::new();
        BufReader::new(child.stdout.take().ok_or("no stdout")?).read_line(&mut port)?;
        let address = format!("127.0.0.1:{}", port.trim()).parse()?;
        Ok(Server { side: Side::Floor, address, child })
    }
}

pub(crate) fn pinned(program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", &SERVER_CORE.to_string()]).arg(program);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// A certificate for another server than the broker, and behind it its authority's, as the broker shows them.
pub(crate) fn certify(dir: &Path) -> Result<(), Failed> {
    let mut authority = CertificateParams::new(Vec::<String>::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let (authority_key, key) = (KeyPair::generate()?, KeyPair::generate()?);
    let shown = authority.self_signed(&authority_key)?;
    let issuer = Issuer::from_params(&authority, &authority_key);
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names)?.signed_by(&key, &issuer)?;
    fs::write(dir.join("server.pem"), certificate.pem() + &shown.pem())?;
    fs::write(dir.join("server.key"), key.serialize_pem())?;
    Ok(())
}
