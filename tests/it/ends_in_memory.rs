//! What is no agent, operator or token ends while the disk hangs, too: keys, versions, leases, roles, and the
//! broker's own keys.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::panel::set_up;
use crate::support::host::{ask, until};
use crate::support::process::Process;
use crate::support::waiting::wait_until;
use crate::worst_day::{
    answer_again, hang_with_a_mint, introspect, kept_by, on_a_failing_disk, with_a_runtime_directory,
};

/// Something of every sort that an operator can end: a token key and an authority that sign no more, a former
/// version. Gives a token that the former key signed.
fn prepare_ends(process: &Process) -> String {
    let token = String::from_utf8(process.good_as("p", &["token", "reports.read"], b"")).unwrap();
    for verb in [["token-key", "prepare"], ["authority", "prepare"]] {
        process.good(&verb, b"");
    }
    // The broker shows a certificate of the newer authority once that signs.
    for who in ["p", "q", "reports"] {
        process.good_as(who, &["renew"], b"");
    }
    process.good(&["renew", "--operator"], b"");
    process.good(&["token-key", "activate", "2", "--force"], b"");
    process.good(&["authority", "activate", "2", "--force"], b"");
    process.good(&["secret", "put", "github/app"], b"other");
    token.trim().to_owned()
}

const ENDS: [&[&str]; 4] = [
    &["token-key", "revoke", "1"],
    &["authority", "taint", "1"],
    &["secret", "destroy", "github/app", "1", "--yes"],
    &["lease", "revoke", "--all"],
];

/// How each of them stands, and the entries that say so.
fn ends(process: &Process) -> (String, String, String, usize) {
    let of = |verb: &[&str], path: &str| {
        let answer = process.json(verb);
        let stage = answer.pointer(path).and_then(Value::as_str).unwrap_or("none");
        stage.to_owned()
    };
    let versions = process.json(&["secret", "versions", "github/app"]);
    let versions = versions["items"].as_array().unwrap();
    let first = versions.iter().find(|version| version["number"] == 1).unwrap();
    let audit = process.json(&["audit", "list", "--oldest-first", "--limit", "500"]);
    let items = audit["items"].as_array().unwrap().iter();
    let recorded = items.filter(|item| {
        let says = |name: &str, value: &str| item["event"][name] == value;
        match item["kind"].as_str().unwrap() {
            "token-key.staged" => says("stage", "revoked"),
            "authority.staged" => says("stage", "tainted"),
            "secret.version-changed" => says("what", "destroyed"),
            "leases.revoked" => true,
            _ => false,
        }
    });
    let key = of(&["token-key", "list"], "/items/0/stage");
    let authority = of(&["authority", "list"], "/items/0/stage");
    (key, authority, first["stage"].as_str().unwrap().to_owned(), recorded.count())
}

fn ended(recorded: usize) -> (String, String, String, usize) {
    ("revoked".to_owned(), "tainted".to_owned(), "destroyed".to_owned(), recorded)
}

fn end_all(process: &Process, kept: bool) {
    for verb in ENDS {
        let done = process.run_as("operator", &[verb, &["-o", "json"]].concat(), b"");
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.code() == Some(12) && said.contains("not_durable"), "{verb:?}: {said}");
        assert_eq!(said.contains("runtime directory, and the next start"), kept, "{verb:?}: {said}");
    }
}

#[test]
fn keys_versions_and_leases_end_while_the_disk_hangs() {
    let mut process = on_a_failing_disk(set_up());
    let token = prepare_ends(&process);
    let minting = hang_with_a_mint(&process, "q");
    end_all(&process, false);
    assert_eq!(introspect(&process, &token), "{\"active\":false}", "at the very next request");
    assert_eq!(ends(&process), ended(0));
    let metrics = metrics(&process);
    for told in
        ["keyward_revocations_unrecorded 4", "keyward_alarms_total{alarm=\"revocation_unrecorded\"} 4"]
    {
        assert!(metrics.contains(told), "{told}: {metrics}");
    }
    assert!(process.log().contains("revocation_unrecorded"), "the alarm is in the log");

    answer_again(&process);
    let minted = minting.wait_with_output().unwrap();
    assert!(minted.status.success(), "nobody else's: {}", String::from_utf8_lossy(&minted.stderr));
    wait_until(|| ends(&process) == ended(4));
    wait_until(|| metrics_of(&process, "keyward_revocations_unrecorded 0"));
    process.kill();
    process.serve();
    assert_eq!(ends(&process), ended(4), "a start knows them");
    assert_eq!(introspect(&process, &token), "{\"active\":false}");
}

#[test]
fn ends_of_keys_versions_and_leases_survive_a_kill_while_the_disk_hangs() {
    let (elsewhere, process) = with_a_runtime_directory(set_up());
    let mut process = on_a_failing_disk(process);
    let token = prepare_ends(&process);
    let mut minting = hang_with_a_mint(&process, "q");
    end_all(&process, true);
    process.kill();
    minting.wait().unwrap();
    answer_again(&process);
    process.serve();
    assert_eq!(ends(&process), ended(4), "before anybody was served");
    assert_eq!(introspect(&process, &token), "{\"active\":false}");
    assert!(!kept_by(&elsewhere, "orders").exists(), "the ledger has them");
    let audit = process.json(&["audit", "list", "--oldest-first", "--limit", "500"]);
    let mut items = audit["items"].as_array().unwrap().iter();
    let revoked = items.find(|item| item["kind"] == "leases.revoked").unwrap();
    assert_eq!(revoked["event"]["by"], "admin", "the entry is linked to the operator");
}

#[test]
fn a_revoked_operator_destroys_no_version_while_the_disk_hangs() {
    // Given another admin, and a disk that hangs
    let process = on_a_failing_disk(set_up());
    let code = process.good(&["operator", "invite", "eve", "--role", "admin"], b"");
    process.good_as("eve", &["join"], &code);
    process.good_as("eve", &["whoami", "--operator"], b"");
    for value in ["b", "c", "d"] {
        process.good(&["secret", "put", "github/app"], value.as_bytes());
    }
    let minting = hang_with_a_mint(&process, "q");
    // When she is revoked, and asks for destructions before that is in force
    let start = |who: &str, verb: &[&str]| {
        process.command(who, verb).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut revoking = start("operator", &["operator", "revoke", "eve"]);
    let destroying =
        ["1", "2", "3"].map(|one| start("eve", &["secret", "destroy", "github/app", one, "--yes"]));
    assert_eq!(revoking.wait().unwrap().code(), Some(12), "in force in memory alone");
    wait_until(|| process.log().matches("the ledger has not answered in time").count() > 1);
    answer_again(&process);
    minting.wait_with_output().unwrap();
    for mut one in destroying {
        one.wait().unwrap();
    }
    wait_until(|| metrics_of(&process, "keyward_revocations_unrecorded 0"));
    // Then none is recorded after her revocation
    let audit = process.json(&["audit", "list", "--oldest-first", "--limit", "500"]);
    let seqs = |kind: &str, by: &str| -> Vec<u64> {
        let items = audit["items"].as_array().unwrap().iter();
        let of = items.filter(|item| item["kind"] == kind && item["event"].to_string().contains(by));
        of.map(|item| item["seq"].as_u64().unwrap()).collect()
    };
    let (revoked, destroyed) = (seqs("subject.revoked", "eve"), seqs("secret.version-changed", "eve"));
    assert_eq!(revoked.len(), 1);
    assert!(destroyed.iter().all(|seq| *seq < revoked[0]), "{destroyed:?}, {revoked:?}");
}

#[test]
fn what_an_application_takes_away_is_gone_while_the_disk_hangs() {
    let (elsewhere, process) = with_a_runtime_directory(set_up());
    let mut process = on_a_failing_disk(process);
    let token = String::from_utf8(process.good_as("p", &["token", "reports.read"], b"")).unwrap();
    let token = token.trim();
    let file = process.path("narrower.toml");
    let narrower = "[[role]]\nname = \"publisher\"\ncapabilities = [\"github.repo.read\"]\n";
    std::fs::write(&file, narrower).unwrap();
    let apply = ["apply", "--widen", "-f", &file.display().to_string(), "-o", "json"];
    let capabilities = |process: &Process| {
        let roles = process.json(&["role", "list"]);
        let roles = roles["items"].as_array().unwrap().iter();
        let mut of =
            roles.filter(|role| role["name"] == "publisher").map(|role| role["capabilities"].to_string());
        of.next().unwrap()
    };
    for is_killed in [false, true] {
        assert!(introspect(&process, token).contains("\"active\":true"));
        let before = capabilities(&process);
        let mut minting = hang_with_a_mint(&process, "a");
        let done = process.run_as("operator", &apply, b"");
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.code() == Some(12) && said.contains("not_durable"), "{said}");
        assert_eq!(introspect(&process, token), "{\"active\":false}", "at the very next request");
        assert_eq!(capabilities(&process), "[]", "and what it gives is not given");
        if is_killed {
            process.kill();
            minting.wait().unwrap();
            answer_again(&process);
            process.serve();
            assert_eq!(capabilities(&process), "[]", "what was taken away is recorded, and nothing else");
        } else {
            answer_again(&process);
            minting.wait().unwrap();
            wait_until(|| metrics_of(&process, "keyward_revocations_unrecorded 0"));
            assert_eq!(capabilities(&process), "[\"github.repo.read\"]", "all of it is");
            let file = process.path("wider.toml");
            let wider = format!("[[role]]\nname = \"publisher\"\ncapabilities = {before}\n");
            std::fs::write(&file, wider).unwrap();
            process.good(&["apply", "--widen", "-f", &file.display().to_string()], b"");
        }
        assert!(!kept_by(&elsewhere, "orders").exists());
    }
    assert_eq!(introspect(&process, token), "{\"active\":false}");
}

#[test]
fn a_key_that_was_revoked_in_memory_alone_is_there_after_a_kill() {
    let mut process = on_a_failing_disk(set_up());
    prepare_ends(&process);
    let mut minting = hang_with_a_mint(&process, "q");
    end_all(&process, false);
    process.kill();
    minting.wait().unwrap();
    answer_again(&process);
    process.serve();
    let (key, authority, version, recorded) = ends(&process);
    assert_eq!(
        ((key.as_str(), authority.as_str()), (version.as_str(), recorded)),
        (("old", "old"), ("former", 0))
    );
}

fn metrics(process: &Process) -> String {
    let held = |name: &str| process.path(&format!("home-operator/operator/{name}.pem")).display().to_string();
    let address = std::fs::read_to_string(process.path("home-operator/operator/address")).unwrap();
    let output = Command::new("curl")
        .args(["-sS", "--cacert", &held("authority")])
        .args(["--cert", &held("certificate"), "--key", &held("key")])
        .arg(format!("https://{}/metrics", address.trim()))
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn metrics_of(process: &Process, told: &str) -> bool {
    metrics(process).lines().any(|line| line == told)
}

#[test]
fn a_seal_order_survives_a_kill_while_the_disk_hangs() {
    let (elsewhere, process) = with_a_runtime_directory(set_up());
    let mut process = on_a_failing_disk(process);
    let mut minting = hang_with_a_mint(&process, "q");
    let answer = ask(&process.socket(), "POST", "/v1/seal", &Value::Null);
    assert_eq!((answer.status, &answer.json()["state"]), (200, &"sealing".into()));
    let order = kept_by(&elsewhere, "sealed");
    assert!(order.exists(), "{}", process.log());
    process.kill();
    minting.wait().unwrap();
    answer_again(&process);
    for _ in 0..2 {
        process.spawn();
        until(&process.socket(), "sealed");
        assert!(order.exists());
        process.kill();
    }

    process.spawn();
    until(&process.socket(), "sealed");
    let key = process.path("root.key").display().to_string();
    let unseal = ["unseal", "--key-file", &key, "--config", &process.config()];
    assert!(process.run_as("host", &unseal, b"").status.success());
    assert!(!order.exists());
    process.good_as("q", &["whoami"], b"");
    process.kill();
    process.serve();
    process.good_as("q", &["whoami"], b"");
}
