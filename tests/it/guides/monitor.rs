//! The page about metrics, with the Prometheus that it is about.

use std::fs;
use std::process::{Child, Command, Stdio};

use keyward::base::{Clock, SystemClock};
use serde_json::Value;

use super::operators::watching;
use super::{blocks, fenced, run_as, said_by};
use crate::readme::root;
use crate::support::ports::free_port;
use crate::support::process::{KEYWARD, Process};
use crate::support::waiting::wait_until;

const PAGE: &str = "how-to/monitor.md";

/// A Prometheus on loopback, until it is dropped.
struct Prometheus {
    child: Child,
    port: u16,
}

impl Prometheus {
    fn start(process: &Process, configuration: &str) -> Self {
        let (file, port) = (process.path("prometheus.yml"), free_port());
        fs::write(&file, configuration).unwrap();
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", process.path("tsdb").display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}")).arg("--log.level=error");
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("Prometheus is needed: run scripts/test");
        Self { child, port }
    }

    /// The response of its API, or null.
    fn ask(&self, path: &str, query: &[(&str, &str)]) -> Value {
        let mut command = Command::new("curl");
        command.args(["-sS", "--get", &format!("http://127.0.0.1:{}/api/v1/{path}", self.port)]);
        for (name, value) in query {
            command.args(["--data-urlencode", &format!("{name}={value}")]);
        }
        serde_json::from_slice(&command.output().unwrap().stdout).unwrap_or_default()
    }

    /// Whether the expression has a result.
    fn has(&self, expression: &str) -> bool {
        let results = self.ask("query", &[("query", expression)])["data"]["result"].clone();
        results.as_array().is_some_and(|results| !results.is_empty())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn metrics_are_scraped_by_the_page_with_the_files_of_its_configuration() {
    let mut process = Process::init("warn");
    process.serve();
    let home = process.path("metrics").display().to_string();
    let blocks = blocks(PAGE);
    let run = |block: &str| run_as(&process, "operator", block, &[("METRICS_HOME", &home)]);
    run(&blocks[0]);
    assert!(run(&blocks[1]).contains("metrics"));
    let scraped = run(&[blocks[2].as_str(), &blocks[5]].concat());
    for part in ["keyward_ledger_writable 1", "\"status\":\"ok\""] {
        assert!(scraped.contains(part), "{part}: {scraped}");
    }
    run(&watching(&blocks[3]));
    let unit = fenced(PAGE, "ini")[0].replace("/usr/local/bin/keyward", KEYWARD);
    let path = process.path("keyward-metrics.service");
    fs::write(&path, unit).unwrap();
    run(&format!("systemd-analyze verify {}\n", path.display()));
    let etc = process.path("etc").display().to_string();
    let install = blocks[4].replace(" /etc", &format!(" {etc}"));
    run(&install.replace(" config/", &format!(" {}/config/", root().display())));
}

#[test]
fn a_real_prometheus_scrapes_a_service_and_follows_its_renewal() {
    // Given a service that joined by the page, and Prometheus with the configuration of the page
    let mut process = Process::init("warn");
    process.serve();
    let home = process.path("metrics").display().to_string();
    let run = |block: &str| run_as(&process, "operator", block, &[("METRICS_HOME", &home)]);
    run(&blocks(PAGE)[..2].concat());
    let page = &fenced(PAGE, "yaml")[0];
    let whole = fs::read_to_string(root().join("config/prometheus/prometheus.yml")).unwrap();
    assert!(whole.ends_with(page.as_str()), "the page shows the file");
    let address = fs::read_to_string(process.path("metrics/operator/address")).unwrap();
    let rules = root().join("config/prometheus/keyward.rules.yml");
    let configuration = page
        .replace("localhost:8444", address.trim())
        .replace("/var/lib/prometheus/keyward", &home)
        .replace("/etc/prometheus/keyward.rules.yml", &rules.display().to_string())
        .replace("15s", "1s");
    let file = process.path("checked.yml");
    fs::write(&file, &configuration).unwrap();
    let check = Command::new("promtool").args(["check", "config"]).arg(&file).output();
    let checked = said_by(&check.expect("Prometheus is needed: run scripts/test"));
    assert!(checked.contains("SUCCESS") && checked.contains("rules found"), "{checked}");
    let prometheus = Prometheus::start(&process, &configuration);
    // When it has scraped, then the metrics and the rules are there
    wait_until(|| prometheus.has("up{job=\"keyward\"} == 1 and on (job) keyward_ledger_writable == 1"));
    let groups = prometheus.ask("rules", &[])["data"]["groups"].clone();
    assert!(groups.to_string().contains("KeywardNotScraped"), "{groups}");
    // After a renewal it uses the next certificate without a reload.
    let shown = || process.json(&["operator", "show", "prometheus"]);
    let before = shown()["certificates"][0]["serial"].clone();
    run("keyward renew --operator --home \"$METRICS_HOME\"\n");
    let after = shown();
    assert_eq!(after["certificates"].as_array().unwrap().len(), 1, "{after}");
    assert_ne!(after["certificates"][0]["serial"], before);
    let renewed_at = SystemClock::new().now().s() + 1;
    wait_until(|| prometheus.has(&format!("timestamp(up{{job=\"keyward\"}} == 1) > {renewed_at}")));
    assert_eq!(shown()["last_use"]["address"], "127.0.0.1");
}
