//! Programs that ask for approvals and use them: by the command line, by `keyward run`, and by `keyward.py`.

use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Output, Stdio};

use serde_json::{Value, json};

use super::stock_clients::set_up;
use super::{BY_SECOND, policy};
use crate::approval_keys::commands::{WORDS, accepted, typed};
use crate::interop::python_path;
use crate::parameters::{ACCOUNT, REFUNDS};
use crate::support::broker::DECLARATIONS;
use crate::support::process::{KEYWARD, Process};
use crate::support::waiting::wait_until;

fn approve(process: &Process, id: &str) {
    let args = format!("approval approve {id}");
    let (is_done, said) = typed(process, "alice", &args, "Passphrase of the approval key: ", &[WORDS]);
    assert!(is_done, "{said}");
}

/// The requests of the agent `p` that have not ended, the newest first.
fn requests(process: &Process) -> Vec<Value> {
    let listed = process.good_as("p", &["request", "list", "-o", "json"], b"");
    let mut listed: Value = serde_json::from_slice(&listed).unwrap();
    listed["items"].take().as_array().unwrap().clone()
}

/// The id of the first request, once there is one.
fn first_request(process: &Process) -> String {
    wait_until(|| !requests(process).is_empty());
    requests(process)[0]["approval"].as_str().unwrap().to_owned()
}

/// The JSON of a failed command: the last line of its messages.
fn failure(output: &Output) -> Value {
    assert!(!output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    serde_json::from_str(said.trim_end().lines().last().unwrap()).unwrap_or_else(|_| panic!("{said}"))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// A command of the agent `p` that runs, and its output.
struct Running {
    child: Child,
    output: Lines<BufReader<ChildStdout>>,
    messages: Lines<BufReader<ChildStderr>>,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        let messages = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, output, messages }
    }

    /// The next message that has `part`.
    fn message(&mut self, part: &str) -> String {
        let found = self.messages.by_ref().map(Result::unwrap).find(|line| line.contains(part));
        found.unwrap_or_else(|| panic!("{part}: the messages ended"))
    }

    fn line(&mut self) -> String {
        self.output.next().unwrap_or_else(|| panic!("the output ended: {:?}", self.rest())).unwrap()
    }

    fn rest(&mut self) -> Vec<String> {
        self.messages.by_ref().map(Result::unwrap).collect()
    }

    fn input(&mut self) -> &mut ChildStdin {
        self.child.stdin.as_mut().unwrap()
    }

    fn exit(mut self) -> Option<i32> {
        drop(self.child.stdin.take());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// `keyward run` with a token for `reports.publish`, in a runtime directory of its own.
fn run(process: &Process, more: &[&str], script: &str) -> Running {
    let runtime = process.path("runtime");
    drop(fs::create_dir(&runtime));
    let mut command = Command::new(KEYWARD);
    command.arg("--home").arg(process.path("home-p")).args(["run", "--capability", "reports.publish"]);
    command.args(more).args(["--", "sh", "-c", script]).env("XDG_RUNTIME_DIR", runtime);
    Running::start(command)
}

#[test]
fn failed_command_names_the_approval_and_its_decision() {
    let process = set_up();
    let token = ["token", "reports.publish", "-o", "json"];
    let refused = failure(&process.run_as("p", &token, b""));
    let id = refused["approval_id"].as_str().unwrap();
    assert_eq!(refused["code"], "approval_required");
    assert_eq!(refused["approval_uri"], json!(format!("/v1/approvals/{id}")));
    assert_eq!((&refused["retryable"], &refused["instead"]), (&json!(false), &Value::Null));
    // And the decision can be explained, by the agent and by an operator
    let decision = refused["decision_id"].as_str().unwrap();
    let own = process.good_as("p", &["explain", "--own", decision], b"");
    assert!(String::from_utf8_lossy(&own).contains("second"), "{}", String::from_utf8_lossy(&own));
    process.good(&["explain", decision], b"");
    // And keyward run says how it gets the token
    let mut refused = run(&process, &[], "echo started");
    let fix = refused.message("fix:");
    assert!(fix.contains(&format!("`--approval {id}`")) && fix.contains("--request-approval"), "{fix}");
    assert_eq!(refused.exit(), Some(5));
    // The agent lists the request, shows it by its code, and withdraws it
    let code = requests(&process)[0]["user_code"].as_str().unwrap().to_owned();
    let shown = process.good_as("p", &["request", "show", &code, "-o", "json"], b"");
    assert_eq!(serde_json::from_slice::<Value>(&shown).unwrap()["state"], "pending");
    process.good_as("p", &["request", "withdraw", &code.to_lowercase()], b"");
    assert!(requests(&process).is_empty());
    let ended = process.run_as("p", &["token", "reports.publish", "--approval", id], b"");
    assert!(said(&ended).contains("request the token without `--approval`"), "{}", said(&ended));
    let all = process.good_as("p", &["request", "list", "--all"], b"");
    assert!(String::from_utf8_lossy(&all).contains("withdrawn"), "{}", String::from_utf8_lossy(&all));
    let unknown = process.run_as("p", &["request", "show", "BBBB-BBBB"], b"");
    assert!(said(&unknown).contains("approval_unknown"), "{}", said(&unknown));
}

#[test]
fn capabilities_that_a_request_or_a_token_does_not_have_are_named() {
    let process = set_up();
    let ask = ["request", "reports.publish", "no.such", "--reason", "x"];
    let asked = process.run_as("p", &ask, b"");
    assert!(asked.status.success(), "{}", said(&asked));
    assert!(said(&asked).contains("note: the request is without `no.such`"), "{}", said(&asked));
    let token = process.run_as("p", &["token", "reports.read", "no.such"], b"");
    assert!(said(&token).contains("note: `no.such` is left out"), "{}", said(&token));
    let mut refused = run(&process, &["--capability", "no.such", "--request-approval", "x"], "echo started");
    assert!(refused.message("why:").contains("without `no.such` (no role of this agent holds it"));
    assert_eq!(refused.exit(), Some(5));
}

#[test]
fn run_starts_the_command_once_its_request_is_approved() {
    let process = set_up();
    // A token that needs no approval is not asked for
    let mut command = Command::new(KEYWARD);
    command.arg("--home").arg(process.path("home-p")).args(["run", "--capability", "reports.read"]);
    command.args(["--request-approval", "x", "--", "true"]).env("XDG_RUNTIME_DIR", process.path(""));
    assert!(command.output().unwrap().status.success());
    // When a command needs one, then it starts after the approval, and a single use serves no renewal
    let script = "cut -c1-2 \"$KEYWARD_TOKEN_FILE\"; read line";
    let mut running = run(&process, &["--request-approval", "release 8"], script);
    let id = first_request(&process);
    let asked = running.message("the command starts once it is approved");
    assert!(asked.contains(&id) && asked.contains("keyward approval show "), "{asked}");
    assert_eq!(requests(&process)[0]["reason"], "release 8");
    approve(&process, &id);
    assert_eq!(running.line(), "ey");
    assert!(running.message("is not renewed").contains(&id));
    running.input().write_all(b"\n").unwrap();
    assert_eq!(running.exit(), Some(0));
    // When the next one is denied, then it does not start
    let mut denied = run(&process, &["--request-approval", "release 9"], "echo started");
    let id = first_request(&process);
    process.good_as("alice", &["approval", "deny", &id, "--reason", "frozen", "--tell-agent"], b"");
    assert!(denied.message("why:").contains("frozen"));
    assert_eq!(denied.exit(), Some(5));
}

#[test]
fn run_asks_for_an_approval_of_its_parameters() {
    // Given a capability with parameters that needs an approval
    let process = set_up();
    let file = process.path("refunds.toml");
    fs::write(&file, format!("{REFUNDS}{}", policy("refunds", BY_SECOND, "payments.refund"))).unwrap();
    process.good(&["apply", "-f", &file.display().to_string()], b"");
    let invite = ["agent", "invite", "r", "--role", "refunder", "--person", "dev@corp.example"];
    let code = process.good(&invite, b"");
    process.good_as("r", &["join"], &code);
    // When keyward run asks for it, then the approver sees the parameters, and the command starts with the token
    let runtime = process.path("runtime");
    fs::create_dir(&runtime).unwrap();
    let account = process.path("account.txt");
    fs::write(&account, ACCOUNT).unwrap();
    let value = format!("account=@{}", account.display());
    let mut command = Command::new(KEYWARD);
    command.arg("--home").arg(process.path("home-r")).env("XDG_RUNTIME_DIR", runtime);
    command.args(["run", "--capability", "payments.refund"]);
    command.args(["--parameter", "amount=100", "--parameter", &value]);
    command.args(["--request-approval", "refund 7", "--", "cut", "-c1-2"]);
    let mut running = Running::start(command);
    let asked = running.message("the command starts once it is approved");
    let id = asked.split_whitespace().find(|word| word.starts_with("appr_")).unwrap().to_owned();
    let shown = process.good_as("alice", &["approval", "show", &id, "-o", "json"], b"");
    let shown = serde_json::from_slice::<Value>(&shown).unwrap().to_string();
    assert!(shown.contains("\"amount\":100") && !shown.contains(ACCOUNT), "{shown}");
    approve(&process, &id);
    running.input().write_all(b"started\n").unwrap();
    drop(running.child.stdin.take());
    assert_eq!(running.line(), "st");
    assert_eq!(running.exit(), Some(0));
}

#[test]
fn run_renews_its_token_while_the_approval_gives_further_ones() {
    // Given a command whose approval gives two tokens
    let process = set_up();
    let asked = ["request", "reports.publish", "--reason", "x", "--uses", "2", "-o", "json"];
    let asked: Value = serde_json::from_slice(&process.good_as("p", &asked, b"")).unwrap();
    let id = asked["approval"].as_str().unwrap().to_owned();
    approve(&process, &id);
    let mut running = run(&process, &["--approval", &id], "echo \"$KEYWARD_TOKEN_FILE\"; read line");
    let file = PathBuf::from(running.line());
    assert!(running.message("is renewed until").contains("gives 1 further token"));
    let first = fs::read(&file).unwrap();
    // When the certificate is renewed, then the second token is bound to it
    process.good_as("p", &["renew"], b"");
    wait_until(|| fs::read(&file).is_ok_and(|token| token != first));
    // And after the last use, the command goes on without a new token
    let second = fs::read(&file).unwrap();
    process.good_as("p", &["renew"], b"");
    assert!(running.message("not renewed any more").contains("approval_used"));
    assert_eq!(fs::read(&file).unwrap(), second);
    let used = process.good_as("p", &["request", "show", &id, "-o", "json"], b"");
    assert_eq!(serde_json::from_slice::<Value>(&used).unwrap()["state"], "used");
    running.input().write_all(b"\n").unwrap();
    assert_eq!(running.exit(), Some(0));
}

#[test]
fn wait_for_an_answer_survives_a_restart_of_the_broker() {
    let mut process = set_up();
    let asking = |process: &Process, reason: &str, wait: &str| {
        let mut command = process.command("p", &["request", "reports.publish", "--reason", reason, wait]);
        command.arg("--expires-in").arg("1m");
        Running::start(command)
    };
    let mut waiting = asking(&process, "one", "--wait");
    assert!(waiting.message("waiting for the answer").contains("keyward approval show "));
    let id = first_request(&process);
    process.kill();
    let cannot = waiting.message("the answer cannot be read");
    assert!(cannot.contains("broker_unreachable"), "{cannot}");
    process.serve();
    waiting.message("the broker answers again");
    approve(&process, &id);
    let answer = waiting.line();
    let use_it = format!("`keyward token reports.publish --expires-in 1m --approval {id}`");
    assert!(answer.contains("is approved") && answer.contains(&use_it), "{answer}");
    assert_eq!(waiting.exit(), Some(0));
    // A denial ends the wait, with its reason if the operator tells it, and so does the given time
    let mut waiting = asking(&process, "two", "--wait");
    waiting.message("waiting for the answer");
    let id = requests(&process)[0]["approval"].as_str().unwrap().to_owned();
    process.good_as("alice", &["approval", "deny", &id, "--reason", "frozen", "--tell-agent"], b"");
    assert!(waiting.message("why:").contains("\"frozen\""));
    assert_eq!(waiting.exit(), Some(5));
    let mut waiting = asking(&process, "three", "--wait=1s");
    waiting.message("error: approval_pending");
    assert_eq!(waiting.exit(), Some(5));
    // And programs read the approval and its decision
    let asked = ["request", "reports.publish", "--reason", "four", "--wait=1s", "-o", "json"];
    let late = failure(&process.run_as("p", &asked, b""));
    let id = late["approval_id"].as_str().unwrap();
    assert_eq!(late["code"], "approval_pending");
    assert_eq!(late["approval_uri"], json!(format!("/v1/approvals/{id}")));
    assert!(late["decision_id"].as_str().unwrap().starts_with("dec_"), "{late}");
}

#[test]
fn passphrase_is_not_asked_for_an_approval_that_would_not_count() {
    // Given a request of the agent of alice, who has an approval key
    let process = set_up();
    process.good(&["operator", "update", "bob", "--person", "dev@corp.example"], b"");
    accepted(&process, "bob");
    let asked = process.run_as("p", &["token", "reports.publish", "-o", "json"], b"");
    let id = failure(&asked)["approval_id"].as_str().unwrap().to_owned();
    // When bob, who is this person, approves it without a terminal, then the cause is not the missing terminal
    let mut command = Command::new("setsid");
    command.args(["-w", KEYWARD, "approval", "approve", &id, "--home"]).arg(process.path("home-bob"));
    let refused = command.stdin(Stdio::null()).output().unwrap();
    assert!(said(&refused).contains("error: approver_is_requester"), "{}", said(&refused));
    let shown = process.good_as("bob", &["approval", "show", &id], b"");
    let shown = String::from_utf8_lossy(&shown).into_owned();
    assert!(shown.contains("cannot approve it (approver_is_requester)"), "{shown}");
    // And operators see the reason of a denial
    process.good_as("alice", &["approval", "deny", &id, "--reason", "not today"], b"");
    let shown = process.good_as("alice", &["approval", "show", &id], b"");
    assert!(String::from_utf8_lossy(&shown).contains("\"not today\""), "{}", String::from_utf8_lossy(&shown));
    let own = process.good_as("p", &["request", "show", &id], b"");
    assert!(!String::from_utf8_lossy(&own).contains("not today"), "it was not told");
}

#[test]
fn python_client_asks_for_approvals_and_uses_them() {
    let mut process = set_up();
    // The refusal of `reports.publish` offers `reports.read`
    let file = process.path("offer.toml");
    let publish = "name = \"reports.publish\"\n";
    fs::write(&file, DECLARATIONS.replace(publish, &format!("{publish}instead = \"reports.read\"\n")))
        .unwrap();
    process.good(&["apply", "-f", &file.display().to_string(), "--widen"], b"");
    let mut command = Command::new(python_path());
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    command.arg(root.join("tests/it/support/python/approvals_client.py"));
    command.arg(root.join("docs/examples")).arg(process.path("home-p"));
    let mut client = Running::start(command);
    let id_of = |line: &str| line.strip_prefix("pending: ").unwrap_or_else(|| panic!("{line}")).to_owned();
    // A wait survives a restart of the broker
    let id = id_of(&client.line());
    process.kill();
    process.serve();
    approve(&process, &id);
    // A denial tells its reason
    let id = id_of(&client.line());
    process.good_as("alice", &["approval", "deny", &id, "--reason", "frozen", "--tell-agent"], b"");
    // One call asks, waits and gives the token
    assert_eq!(client.line(), "asking");
    approve(&process, &first_request(&process));
    // And tells a denial with its reason
    assert_eq!(client.line(), "asking");
    let id = first_request(&process);
    process.good_as("alice", &["approval", "deny", &id, "--reason", "frozen", "--tell-agent"], b"");
    assert_eq!(client.line(), "ok: approvals", "{:?}", client.rest());
    assert_eq!(client.exit(), Some(0));
}
