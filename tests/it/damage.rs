//! Damage on disk: the index is rebuilt, the ledger is named, a wrong key touches nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use keyward::app::start;
use keyward::store::OnLostEntries;

use crate::support::broker::{Agent, TestBroker};
use crate::support::process::{Process, files, put_back};

struct Scene {
    broker: TestBroker,
    agent: Agent,
}

async fn scene() -> Scene {
    let broker = TestBroker::declared().await;
    let agent = broker.agent("a", &["repo-reader"]).await;
    Scene { broker, agent }
}

impl Scene {
    /// The secret still reads right after a start on what is there now.
    async fn reads_right(&mut self) {
        self.broker.serve().await;
        let caller =
            self.broker.caller(self.broker.agents(), Some(&self.agent.certificate), Some(&self.agent.key));
        self.agent.caller = caller;
        let token = self.agent.token("github.repo.read").await;
        let secret = self.agent.secret("github/app", &token).await;
        assert_eq!((secret.status, secret.body.as_slice()), (200, &b"hunter2"[..]), "{}", secret.text());
        self.broker.stop().await;
    }

    fn index_files(&self) -> Vec<PathBuf> {
        files(&self.broker.data().join("index"))
    }
}

#[tokio::test]
async fn a_missing_index_is_rebuilt() {
    let mut scene = scene().await;
    scene.broker.stop().await;
    fs::remove_dir_all(scene.broker.data().join("index")).unwrap();
    scene.reads_right().await;
}

#[tokio::test]
async fn truncated_and_bit_flipped_indexes_never_change_an_answer() {
    let mut scene = scene().await;
    scene.broker.stop().await;
    let good: Vec<(PathBuf, Vec<u8>)> =
        scene.index_files().into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    for (path, bytes) in &good {
        for at in [0, bytes.len() / 3, bytes.len() / 2, bytes.len().saturating_sub(2)] {
            for truncate in [true, false] {
                drop(fs::remove_dir_all(scene.broker.data().join("index")));
                for (path, bytes) in &good {
                    fs::create_dir_all(path.parent().unwrap()).unwrap();
                    fs::write(path, bytes).unwrap();
                }
                let mut bad = bytes.clone();
                if truncate {
                    bad.truncate(at);
                } else if let Some(byte) = bad.get_mut(at) {
                    *byte ^= 0x10;
                }
                fs::write(path, bad).unwrap();
                scene.reads_right().await;
            }
        }
    }
}

/// Hazard STO-09.
#[tokio::test]
async fn a_ledger_replaced_by_an_older_copy_is_noticed_and_needs_a_word() {
    let mut scene = scene().await;
    scene.broker.stop().await;
    let (ledger, copy) = (scene.broker.data().join("ledger"), scene.broker.path().join("copy"));
    let copy_dir = |from: &PathBuf, to: &PathBuf| {
        drop(fs::remove_dir_all(to));
        fs::create_dir_all(to).unwrap();
        for file in files(from) {
            fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
        }
    };
    copy_dir(&ledger, &copy);
    scene.reads_right().await;
    scene.broker.serve().await;
    scene.broker.operator().put("/v1/secrets/late", "application/octet-stream", b"late").await;
    scene.broker.stop().await;
    copy_dir(&copy, &ledger);

    let refused = start(&scene.broker.config, &scene.broker.environment(), OnLostEntries::Refuse).await;
    assert_eq!(refused.unwrap_err().code(), "entries_lost");
    let running = start(&scene.broker.config, &scene.broker.environment(), OnLostEntries::Accept).await;
    running.unwrap().stop().await;
    scene.reads_right().await;
}

/// Hazard STO-07.
#[tokio::test]
async fn a_bit_flipped_in_the_ledger_is_named_and_never_served() {
    let mut scene = scene().await;
    scene.broker.stop().await;
    let segments = files(&scene.broker.data().join("ledger"));
    let segment = segments.iter().find(|path| path.extension().is_some_and(|one| one == "seg")).unwrap();
    let good = fs::read(segment).unwrap();
    let used = good.len() - good.iter().rev().take_while(|byte| **byte == 0).count();
    // The closing frame at the end is no entry: it only says that nothing is missing.
    for at in (0..used - CLOSING_BYTES).step_by(used / 40) {
        let mut bad = good.clone();
        bad[at] ^= 4;
        fs::write(segment, bad).unwrap();
        let refused = start(&scene.broker.config, &scene.broker.environment(), OnLostEntries::Refuse).await;
        match refused {
            Err(failure) => assert_eq!(failure.code(), "ledger_damaged", "byte {at}: {failure:?}"),
            // A flip in bytes that nothing reads changes nothing: then all is as it was.
            Ok(running) => {
                running.stop().await;
                fs::write(segment, &good).unwrap();
                panic!("byte {at} of {used} was not noticed");
            }
        }
    }
    fs::write(segment, &good).unwrap();
    scene.reads_right().await;
}

/// At least the size of a closing frame.
const CLOSING_BYTES: usize = 184;

/// Hazard KEY-03.
#[test]
fn a_wrong_root_key_is_refused_and_nothing_is_touched() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    process.stop();
    let other = Process::init("warn");
    let good = fs::read(process.path("root.key")).unwrap();
    fs::write(process.path("root.key"), fs::read(other.path("root.key")).unwrap()).unwrap();
    let state = || {
        let all = files(&process.path("data"));
        all.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect::<Vec<_>>()
    };
    let before = state();
    let (code, said) = process.refused_serve();
    assert_eq!(code, Some(10));
    assert!(said.contains("root_key_wrong") && said.contains("nothing was changed"), "{said}");
    assert!(state() == before, "something was touched");
    fs::remove_file(process.path("root.key")).unwrap();
    assert!(process.refused_serve().1.contains("root_key_unusable"));
    assert!(state() == before, "something was touched");
    fs::write(process.path("root.key"), good).unwrap();
    let mut process = process;
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(process.path("root.key"), fs::Permissions::from_mode(0o600)).unwrap();
    process.serve();
}

/// What makes the keys of the sessions that began the ledger's segments others: their salts.
fn salts(data: &Path) -> BTreeSet<Vec<u8>> {
    let segments =
        files(&data.join("ledger")).into_iter().filter(|path| path.extension() == Some("seg".as_ref()));
    segments.map(|path| fs::read(path).unwrap()[82..114].to_vec()).collect()
}

/// Hazard KEY-01.
#[test]
fn two_copies_of_a_data_directory_never_seal_under_the_same_key() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    process.kill();
    let (data, copy) = (process.path("data"), process.path("copy"));
    put_back(&data, &copy);
    let before = salts(&data);
    let mut goes_on = |value: &[u8]| {
        process.serve();
        process.good(&["secret", "put", "github/app"], value);
        assert_eq!(process.good_as("a", &["get", "github/app"], b""), value);
        process.kill();
        &salts(&data) - &before
    };
    let one = goes_on(b"one");
    put_back(&copy, &data);
    // The same counts of seals, which the nonces are made of.
    let other = goes_on(b"other");
    assert!(!one.is_empty() && !other.is_empty());
    assert!(one.is_disjoint(&other), "each start has a writer session, and a key, of its own");
}

#[test]
fn verify_names_the_first_bad_entry() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    process.stop();
    let data = process.path("data").display().to_string();
    let closed = process.json(&["verify", "--data-dir", &data]);
    let opened = process.json(&["verify", "--config", &process.config()]);
    assert_eq!((&closed["root"], &closed["entries"]), (&opened["root"], &opened["entries"]));
    assert_eq!((&closed["opened"], &opened["opened"]), (&false.into(), &true.into()));
    let segments = files(&process.path("data/ledger"));
    let place_in = |path: &PathBuf| memchr::memmem::find(&fs::read(path).unwrap(), b"hub/app");
    let (segment, place) = segments.iter().find_map(|path| Some((path, place_in(path)?))).unwrap();
    let mut bad = fs::read(segment).unwrap();
    bad[place] ^= 1;
    fs::write(segment, bad).unwrap();
    let output = process.run_as("operator", &["verify", "--data-dir", &data], b"");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(11), "{said}");
    assert!(said.contains("ledger entry") && said.contains(".seg"), "{said}");
    assert!(said.contains("bytes of the file are valid"), "{said}");
}

#[test]
fn verify_names_bytes_after_the_last_valid_entry() {
    // Given a broker that was killed, and a last group commit that is damaged
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    process.kill();
    let data = process.path("data").display().to_string();
    let whole = process.json(&["verify", "--data-dir", &data]);
    assert_eq!((&whole["end"], &whole["unfinished"]), (&"open".into(), &serde_json::Value::Null));
    let mut segments = files(&process.path("data/ledger"));
    segments.retain(|path| path.extension().is_some_and(|end| end == "seg"));
    let segment = segments.last().unwrap();
    let mut bad = fs::read(segment).unwrap();
    let last = bad.iter().rposition(|byte| *byte != 0).unwrap();
    bad[last] ^= 1;
    fs::write(segment, &bad).unwrap();
    // When it is verified, then the file, the offset and the number of bytes are named, and the command fails
    let output = process.run_as("operator", &["verify", "--data-dir", &data, "-o", "json"], b"");
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let tail = &told["unfinished"];
    let (offset, bytes) = (tail["offset"].as_u64().unwrap(), tail["bytes"].as_u64().unwrap());
    assert_eq!((offset + bytes, &told["end"]), (last as u64 + 1, &"unfinished".into()), "{told}");
    assert!(told["entries"].as_u64() < whole["entries"].as_u64(), "{told}");
    let output = process.run_as("operator", &["verify", "--data-dir", &data], b"");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(output.status.code(), Some(11), "{said}");
    let place = format!(
        "`{}` has {bytes} bytes after entry {}, from byte {offset} on",
        segment.display(),
        told["entries"]
    );
    assert!(said.contains("ledger_unfinished") && said.contains(&place), "{place}: {said}");
    // And `doctor` warns of it.
    let doctor = process.run_as("host", &["doctor", "--config", &process.config()], b"");
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(said.contains(&place), "{said}");
}
