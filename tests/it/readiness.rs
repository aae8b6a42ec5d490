//! Readiness, metrics and `doctor` say what the newest attempts to write experienced: with real faults.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::readme::root;
use crate::support::process::{KEYWARD, Process};
use crate::worst_day::{answer_again, hang, on_a_failing_disk};

/// What `curl` gets at `path` from the listener that `who` knows, with the certificate of `who`.
fn curl(process: &Process, (who, kind): (&str, &str), path: &str) -> (u16, String) {
    let held = |name: &str| process.path(&format!("home-{who}/{kind}/{name}")).display().to_string();
    let address = fs::read_to_string(held("address")).unwrap();
    let output = Command::new("curl")
        .args(["-sS", "-m", "5", "-w", "\n%{http_code}", "--cacert", &held("authority.pem")])
        .args(["--cert", &held("certificate.pem"), "--key", &held("key.pem")])
        .arg(format!("https://{}{path}", address.trim()))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap_or_else(|| panic!("{:?}", output.stderr));
    (status.parse().unwrap(), body.to_owned())
}

const OPERATOR: (&str, &str) = ("operator", "operator");
const AGENT: (&str, &str) = ("a", "agent");

/// Waits until both listeners answer `/readyz` with this status and, if it is a refusal, this code. Nothing
/// is appended meanwhile: what is told is what probes experienced.
fn is_told(process: &Process, status: u16, code: &str) {
    let mut told = Vec::new();
    for _ in 0..120 {
        told = [OPERATOR, AGENT].iter().map(|who| curl(process, *who, "/readyz")).collect();
        if told.iter().all(|(got, body)| *got == status && body.contains(code)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(250));
    }
    panic!("{told:?}, not {status} {code}: {}", process.log());
}

/// The alerts whose expression holds for what the broker serves now. Expressions that compare one metric
/// with a number, which is all that this file's alerts are.
fn alerts(process: &Process) -> BTreeSet<String> {
    let (status, metrics) = curl(process, OPERATOR, "/metrics");
    assert_eq!(status, 200, "{metrics}");
    let value = |metric: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
        line.map(|value| value.parse::<f64>().unwrap())
    };
    let rules = fs::read_to_string(root().join("config/prometheus/keyward.rules.yml")).unwrap();
    let (mut fired, mut alert) = (BTreeSet::new(), "");
    for line in rules.lines().map(|line| line.trim().trim_start_matches("- ")) {
        alert = line.strip_prefix("alert: ").unwrap_or(alert);
        let Some(words) = line.strip_prefix("expr: ") else { continue };
        let words: Vec<&str> = words.split(' ').collect();
        let [metric, comparison, number] = words[..] else { continue };
        let (Some(value), Ok(number)) = (value(metric), number.parse::<f64>()) else { continue };
        let holds = match comparison {
            "==" => (value - number).abs() < 0.5,
            ">" => value > number,
            "<" => value < number,
            other => panic!("{other}"),
        };
        if holds {
            fired.insert(alert.to_owned());
        }
    }
    fired
}

fn fires(process: &Process, alert: &str) -> bool {
    alerts(process).contains(alert)
}

/// The state of the finding `readiness` of `doctor`, and whether it ended well.
fn finding(output: &std::process::Output) -> (bool, String, String) {
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let items = found["items"].as_array().unwrap();
    let finding = items.iter().find(|item| item["what"] == "readiness");
    let finding = finding.unwrap_or_else(|| panic!("{items:?}"));
    let text = |name: &str| finding[name].as_str().unwrap().to_owned();
    (output.status.success(), text("state"), text("why"))
}

/// What `doctor` finds of readiness on the broker's host, in the broker's own mounts.
fn host_doctor(process: &Process) -> (bool, String, String) {
    let mut host = Command::new("nsenter");
    host.args(["-t", &process.pid().to_string(), "-m", KEYWARD, "doctor", "-o", "json", "--config"]);
    finding(&host.arg(process.config()).output().unwrap())
}

/// The same from a client, and on the host.
fn doctors(process: &Process) -> [(bool, String, String); 2] {
    let client = process.run_as("operator", &["doctor", "--operator", "-o", "json"], b"");
    [finding(&client), host_doctor(process)]
}

fn is_unwell(process: &Process, why: &str) {
    for (ended_well, state, told) in doctors(process) {
        assert!(!ended_well && state == "fail" && told.contains(why), "{state}: {told}");
    }
}

fn is_well(process: &Process) {
    is_told(process, 200, "ok");
    assert!(!fires(process, "KeywardLedgerNotWritable"));
    for (_, state, why) in doctors(process) {
        // The small disk of these tests always has a warning of its own
        assert!(state == "ok" || state == "warn" && why.contains("disk_"), "{state}: {why}");
    }
    process.good_as("a", &["token", "github.repo.read"], b"");
}

fn set_up() -> Process {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    process.good_as("a", &["token", "github.repo.read"], b"");
    process
}

/// More pieces than fit on any disk that is filled, beside larger ones.
const PIECES_MAX: usize = 5_000;

/// Writes to `path` until the disk has not one byte left.
pub(crate) fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    for size in [1024 * 1024, 4096, 1] {
        let piece = vec![0_u8; size];
        let is_full = (0..PIECES_MAX).any(|_| file.write_all(&piece).is_err());
        assert!(is_full, "the disk is not the small one");
    }
}

/// The broker again, with its data on a disk of its own that is full, with less space than a new segment of the
/// ledger takes; the disk.
pub(crate) fn on_a_full_disk(process: &mut Process) -> PathBuf {
    process.stop();
    let script = "set -e; cp -a \"$D\" \"$D.copy\"; mount -t tmpfs -o size=110m,mode=700 tmpfs \"$D\"; \
                  cp -a \"$D.copy\"/. \"$D\"; \
                  \"$0\" adopt \"$2\" \"$3\"; \"$0\" init --reissue-operator \"$2\" \"$3\" \"$4\" \"$5\"; \
                  head -c 70M /dev/zero > \"$D/fill\"; exec \"$0\" \"$@\"";
    process.started_by = ["unshare", "-m", "sh", "-c", script].map(str::to_owned).to_vec();
    let data = process.path("data");
    process.broker_environment = vec![("D".to_owned(), data.display().to_string())];
    process.serve();
    let inside = PathBuf::from(format!("/proc/{}/root{}", process.pid(), data.display()));
    fill(&inside.join("rest"));
    inside
}

#[test]
fn readiness_metrics_alerts_and_doctor_report_a_full_disk() {
    let mut process = set_up();
    let inside = on_a_full_disk(&mut process);
    is_told(&process, 503, "ledger_no_space");
    let refused = process.run_as("a", &["token", "github.repo.read"], b"");
    assert_eq!(refused.status.code(), Some(10), "{}", String::from_utf8_lossy(&refused.stderr));
    assert!(fires(&process, "KeywardLedgerNotWritable") && fires(&process, "KeywardDataDiskLow"));
    is_unwell(&process, "no space for the next segment of the ledger");
    fs::remove_file(inside.join("rest")).unwrap();
    fs::remove_file(inside.join("fill")).unwrap();
    is_well(&process);
}

#[test]
fn readiness_metrics_alerts_and_doctor_report_a_hanging_disk() {
    let process = on_a_failing_disk(set_up());
    is_well(&process);
    hang(&process);
    is_told(&process, 503, "ledger_stalled");
    assert_eq!(curl(&process, AGENT, "/livez").0, 200);
    assert!(fires(&process, "KeywardLedgerNotWritable") && fires(&process, "KeywardLedgerStalled"));
    is_unwell(&process, "data disk");
    answer_again(&process);
    is_well(&process);
    assert!(!fires(&process, "KeywardLedgerStalled"));
}

#[test]
fn a_failing_disk_and_a_sealed_broker_are_told() {
    let mut process = on_a_failing_disk(set_up());
    fs::write(process.path("fault"), "").unwrap();
    is_told(&process, 503, "ledger_unwritten");
    assert!(fires(&process, "KeywardLedgerNotWritable"));
    is_unwell(&process, "probe write");
    fs::remove_file(process.path("fault")).unwrap();
    is_well(&process);
    process.good(&["seal", "--config", &process.config()], b"");
    is_told(&process, 503, "sealed");
    let (ended_well, state, why) = host_doctor(&process);
    assert!(!ended_well && state == "fail" && why.contains("sealed"), "{state}: {why}");
    process.kill();
}

#[test]
fn read_only_mode_is_told() {
    let mut process = set_up();
    process.stop();
    process.serve_args = vec!["--read-only"];
    process.serve();
    is_told(&process, 503, "read_only");
    assert!(fires(&process, "KeywardReadOnly") && fires(&process, "KeywardLedgerNotWritable"));
    is_unwell(&process, "read-only");
    assert!(!process.path("data/ledger/probe").exists(), "a copy is not written to");
}
