//! A rotation at any upstream, which an ordeal kills and fails at every point: what is handed out works.

use std::fs;

use serde_json::Value;

use super::ordeal::Ordeal;
use super::process::Process;
use crate::rotation::LOOPBACK;

/// A rotation by a real broker at a real upstream.
pub(crate) struct Rotating {
    process: Process,
    upstream: Box<dyn Upstream>,
    /// What is rotated.
    secret: &'static str,
}

/// What the broker rotates a secret of.
pub(crate) trait Upstream {
    fn port(&self) -> u16;
    /// The secrets that the broker has to know, that which is rotated first.
    fn secrets(&self) -> Vec<(&'static str, String)>;
    fn declared(&self) -> String;
    /// The role of an agent that reads.
    fn role(&self) -> &'static str;
    /// Whether what the broker hands out works.
    fn takes(&self, value: &str) -> bool;
    /// Sees that nothing is left that `shown` does not list, and does away with what is.
    fn sweep(&self, _shown: &Value, _value: &str) {}
}

impl Rotating {
    pub(crate) fn start(upstream: Box<dyn Upstream>) -> Self {
        let mut process = Process::init("warn");
        process.configure(LOOPBACK);
        process.load_faults(upstream.port());
        process.serve();
        let secrets = upstream.secrets();
        for (name, value) in &secrets {
            process.good(&["secret", "put", name], value.as_bytes());
        }
        let file = process.path("declared.toml");
        fs::write(&file, upstream.declared()).unwrap();
        process.good(&["apply", "-f", &file.display().to_string()], b"");
        process.enrol("bot", upstream.role());
        Self { process, upstream, secret: secrets[0].0 }
    }

    /// How the rotation stands, if the broker is there to say.
    fn shown(&self) -> Option<Value> {
        let shown =
            self.process.said_by("operator", &["rotation", "show", self.secret, "-o", "json"]).ok()?;
        Some(serde_json::from_slice(&shown).unwrap())
    }
}

impl Ordeal for Rotating {
    fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    fn begin(&mut self) -> Result<(), String> {
        self.process.said_by("operator", &["secret", "rotate", self.secret, "--no-wait"]).map(drop)
    }

    fn is_over(&mut self) -> Option<bool> {
        let shown = self.shown()?;
        if !shown["run"].is_null() && !shown["run"]["trouble"].is_null() {
            // A wait of half a minute is for upstreams; here it is clear that this one is well.
            self.process.run_as("operator", &["rotation", "retry", self.secret, "--no-wait"], b"");
        }
        Some(shown["run"].is_null())
    }

    /// What the agent is handed works, and nothing else is left but what is listed.
    fn prove(&mut self, when: &str) {
        let value = String::from_utf8(self.process.good_as("bot", &["get", self.secret], b"")).unwrap();
        assert!(self.upstream.takes(&value), "lost: {when}");
        let shown = self.shown().unwrap();
        self.upstream.sweep(&shown, &value);
        if shown["orphans"].as_array().is_some_and(|orphans| !orphans.is_empty()) {
            self.process.good(&["rotation", "clear-orphans", self.secret], b"");
        }
    }
}
