//! A lease at any server, which an ordeal kills and fails at every point: no login is left that no lease knows, and
//! what was handed out works until it ends.

use std::fs;

use serde_json::Value;

use super::ordeal::Ordeal;
use super::process::Process;

/// A login, made and given up by way of a real broker.
pub(crate) struct Leasing<S> {
    process: Process,
    server: S,
    /// What was handed out last, and not yet given up.
    held: Option<Value>,
}

/// What logins are made at.
pub(crate) trait LoginServer {
    fn port(&self) -> u16;
    fn admin_password(&self) -> &'static str;
    /// 90 logins an agent, with one connection each.
    fn declared(&self) -> String;
    /// The names of all logins that a broker made.
    fn logins(&self) -> String;
    fn lets_in(&self, user: &str, password: &str) -> bool;
}

impl<S: LoginServer> Leasing<S> {
    pub(crate) fn start(server: S) -> Self {
        let mut process = Process::init("warn");
        process.load_faults(server.port());
        process.serve();
        process.good(&["secret", "put", "orders-db/admin"], server.admin_password().as_bytes());
        let file = process.path("orders.toml");
        fs::write(&file, server.declared()).unwrap();
        process.good(&["apply", "-f", &file.display().to_string()], b"");
        process.enrol("bot", "orders");
        Self { process, server, held: None }
    }

    fn lets_in(&self, login: &Value) -> bool {
        let field = |name: &str| login[name].as_str().unwrap();
        self.server.lets_in(field("username"), field("password"))
    }

    /// The leases that the broker knows, if it is there to say.
    fn listed(&self) -> Option<Vec<Value>> {
        let page = self.process.said_by("operator", &["lease", "list", "-o", "json"]).ok()?;
        Some(serde_json::from_slice::<Value>(&page).unwrap()["items"].as_array().unwrap().clone())
    }
}

impl<S: LoginServer> Ordeal for Leasing<S> {
    fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    fn begin(&mut self) -> Result<(), String> {
        let got = self.process.said_by("bot", &["lease", "get", "orders.query", "--fresh", "-o", "json"])?;
        let login: Value = serde_json::from_slice(&got).unwrap();
        assert!(self.lets_in(&login), "it was handed out");
        let lease = login["lease"].as_str().unwrap().to_owned();
        self.held = Some(login);
        self.process.said_by("bot", &["lease", "give-up", &lease])?;
        Ok(())
    }

    fn is_over(&mut self) -> Option<bool> {
        let (listed, logins) = (self.listed()?, self.server.logins());
        let known = |login: &str| listed.iter().any(|lease| lease["login"] == login);
        assert!(logins.split_whitespace().all(known), "an orphan: {logins}, of {listed:?}");
        let mut is_live = listed.iter().filter(|lease| lease["stage"] == "live").peekable();
        if is_live.peek().is_some() {
            if let Some(held) = self.held.take_if(|held| is_live.any(|lease| lease["lease"] == held["lease"]))
            {
                assert!(self.lets_in(&held), "it was handed out, and has not ended");
            }
            self.process.said_by("operator", &["lease", "revoke", "--all", "--no-wait"]).ok()?;
        }
        Some(listed.is_empty())
    }

    fn prove(&mut self, when: &str) {
        assert_eq!(self.server.logins(), "", "{when}");
        if let Some(held) = self.held.take() {
            assert!(!self.lets_in(&held), "{when}");
        }
    }
}
