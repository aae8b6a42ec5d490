//! `keyward demo`: enrolment to audit against a temporary broker on loopback, through the public command line and HTTP
//! interface only. Every line is printed after its statement was checked.

mod demo_broker;
mod demo_dir;
mod dev;
mod scan;

pub(crate) use dev::dev;

use std::path::Path;

use serde::Deserialize;

use self::demo_broker::DemoBroker;
use crate::base::code;
use crate::base::{Clock, Sensitive, SystemClock};
use crate::cli::identity::IdentityKind;
use crate::cli::session::client_of;
use crate::console::{CommandFailure, Console};
use crate::wire::{AppliedAnswer, DemoActOutput, DemoOutput, EntriesAnswer, TokenAnswer};

const DECLARATIONS: &str = r#"
[[capability]]
name = "github.repo.read"
access = "read"
delivery = "reveal"
secret = "github/app"
max_life_s = 300

[[capability]]
name = "reports.publish"
access = "write"
delivery = "mint"
audience = "https://reports.example.com"
max_life_s = 120

[[role]]
name = "repo-reader"
capabilities = ["github.repo.read"]

[[role]]
name = "publisher"
capabilities = ["reports.publish"]

[[agent]]
name = "research-bot"
roles = ["repo-reader"]
"#;

/// Runs the demo, and removes its files, also after a failure.
pub(crate) async fn play(console: &Console) -> Result<(), CommandFailure> {
    let clock = SystemClock::new();
    let start = clock.now();
    let mut broker = DemoBroker::set("demo", console)?;
    let mut report = DemoActs { console, items: Vec::new() };
    report.line("Keyward demo: a real broker on loopback, driven by the public CLI and HTTP alone.");
    report.line("");
    let played = acts(&mut broker, &mut report).await;
    let cleared = broker.clear();
    played?;
    cleared?;
    let ms = clock.now().ms().saturating_sub(start.ms());
    if console.is_json() {
        console.json(&DemoOutput { items: report.items, elapsed_ms: ms });
        return Ok(());
    }
    console.line("");
    console.line(&format!(
        "Everything above was asserted, in {}.{:01} s.",
        ms.div_euclid(1000),
        ms.rem_euclid(1000).div_euclid(100)
    ));
    Ok(())
}

/// What the demo has checked so far.
struct DemoActs<'a> {
    console: &'a Console,
    items: Vec<DemoActOutput>,
}

impl DemoActs<'_> {
    /// A line for a person.
    fn line(&self, text: &str) {
        if !self.console.is_json() {
            self.console.line(text);
        }
    }

    fn add(&mut self, act: &'static str, statement: impl Into<String>) {
        let statement = statement.into();
        self.line(&format!("  \u{2713} {act:<9} {statement}"));
        self.items.push(DemoActOutput { act: act.into(), statement });
    }
}

async fn acts(broker: &mut DemoBroker, report: &mut DemoActs<'_>) -> Result<(), CommandFailure> {
    let secret = broker.secret();
    broker.run("init", &["init", "--config", &broker.config()], None)?;
    broker.serve().await?;
    report.add("init", "keys, ledger, authority and the first operator; the broker runs");

    declare(broker, &secret)?;
    report.add(
        "declare",
        "secret github/app stored sealed; 2 capabilities, 2 roles, 1 agent applied in one entry",
    );

    enrol(broker)?;
    report.add("enrol", "research-bot made its key, redeemed a one-time code, holds a certificate");

    let token = mint(broker)?;
    report.add("mint", "github.repo.read for 120 s, requested 120 s, bound to research-bot's certificate");

    use_it(broker, &secret)?;
    report.add("use", "the bound token fetched the upstream secret; the value was as stored");

    report.add("deny", deny(broker)?);
    report.add("replay", replay(broker, &token).await?);
    report.add("reuse", reuse(broker)?);
    report.add("restart", restart(broker).await?);
    report.add("ledger", read_back(broker)?);
    broker.stop()?;
    report.add("verify", verify(broker)?);
    let places = scan::scan(broker.dir(), secret.expose())?;
    report.add(
        "leaks",
        format!(
            "the secret is in none of {places} files of ledger, index, keyring and log (raw, base64, hex)"
        ),
    );
    Ok(())
}

fn declare(broker: &DemoBroker, secret: &Sensitive<Vec<u8>>) -> Result<(), CommandFailure> {
    broker.run("secret put", &["secret", "put", "github/app"], Some(secret.expose()))?;
    let file = broker.write("agents.toml", DECLARATIONS)?;
    let planned: AppliedAnswer = broker.json("plan", &["plan", "-f", &file])?;
    check("the plan names 5 changes and does none", planned.changes.len() == 5)?;
    check("a plan changes nothing", !planned.applied)?;
    let applied: AppliedAnswer = broker.json("apply", &["apply", "-f", &file])?;
    check("all was applied in one entry", applied.seq.is_some())?;
    let again: AppliedAnswer = broker.json("apply", &["apply", "-f", &file])?;
    check("applying again changes nothing", again.changes.is_empty())
}

fn enrol(broker: &DemoBroker) -> Result<(), CommandFailure> {
    let code = broker.path("code");
    broker.run("invite", &["agent", "invite", "research-bot", "--out", &code], None)?;
    let joined: serde_json::Value =
        broker.json_as("research-bot", "join", &["join", "--code-file", &code])?;
    let spiffe_id = "spiffe://keyward.internal/agent/research-bot";
    check("the certificate names the agent", joined.get("spiffe_id").is_some_and(|id| id == spiffe_id))?;
    let code = broker.path("code-2");
    broker.run("invite", &["agent", "invite", "other-bot", "--role", "publisher", "--out", &code], None)?;
    broker.run_as("other-bot", "join", &["join", "--code-file", &code]).map(drop)
}

fn mint(broker: &DemoBroker) -> Result<Sensitive<String>, CommandFailure> {
    let args = ["token", "github.repo.read", "--expires-in", "120s"];
    let minted: TokenAnswer = broker.json_as("research-bot", "token", &args)?;
    check("the token is a bearer with a bound certificate", minted.token_type == "Bearer")?;
    let is_as_requested = &*minted.scope == "github.repo.read" && minted.expires_in == 120;
    check("it is for what was requested", is_as_requested)?;
    check("the answer names its decision", minted.decision_id.to_string().starts_with("dec_"))?;
    Ok(minted.access_token.into_value())
}

fn use_it(broker: &DemoBroker, secret: &Sensitive<Vec<u8>>) -> Result<(), CommandFailure> {
    let got = broker.run_as("research-bot", "get", &["get", "github/app"])?;
    check("the value is the one that was stored", got == *secret.expose())
}

fn deny(broker: &DemoBroker) -> Result<String, CommandFailure> {
    let refused = broker.refused_as("research-bot", &["token", "reports.publish"], 5)?;
    check("the refusal names its reason", refused.code == "capability_not_granted")?;
    let decision = refused.decision_id.unwrap_or_default();
    check("the refusal names its decision", decision.starts_with("dec_"))?;
    Ok("reports.publish refused: capability_not_granted, with decision id and fix".to_owned())
}

async fn replay(broker: &DemoBroker, token: &Sensitive<String>) -> Result<String, CommandFailure> {
    let secret = "github/app".parse()?;
    let holder = client_of(Path::new(&broker.home("research-bot")), IdentityKind::Agent).await?;
    holder.reveal(&secret, token).await?;
    let thief = client_of(Path::new(&broker.home("other-bot")), IdentityKind::Agent).await?;
    match thief.reveal(&secret, token).await {
        Err(failure) if failure.code() == "token_binding_mismatch" => {
            Ok("other-bot presented research-bot's token over its own mTLS: 401 token_binding_mismatch"
                .to_owned())
        }
        Err(failure) => Err(failure),
        Ok(_) => check("a stolen token is refused", false).map(|()| String::new()),
    }
}

fn reuse(broker: &DemoBroker) -> Result<String, CommandFailure> {
    let refused = broker.refused_as("thief", &["join", "--code-file", &broker.path("code")], 8)?;
    check("a used code is refused", refused.code == "enrolment_code_used")?;
    Ok("the used code with another key: refused, and an alarm is on the ledger".to_owned())
}

async fn restart(broker: &mut DemoBroker) -> Result<String, CommandFailure> {
    broker.kill()?;
    broker.serve().await?;
    let again: TokenAnswer = broker.json_as("research-bot", "token", &["token", "github.repo.read"])?;
    check("the agent still gets tokens", &*again.scope == "github.repo.read")?;
    Ok("the broker was killed with -9 and started again: nothing was lost".to_owned())
}

fn read_back(broker: &DemoBroker) -> Result<String, CommandFailure> {
    let items = broker
        .json::<EntriesAnswer>("audit list", &["audit", "list", "--oldest-first", "--limit", "500"])?
        .items;
    let seen = |kind: &str| items.iter().filter(|item| item.kind == kind).count();
    for kind in [
        "authority.founded",
        "operator.certified",
        "secret.stored",
        "declarations.applied",
        "agent.invited",
        "instance.enrolled",
        "token.minted",
        "secret.revealed",
        "request.denied",
        "token.refused",
        "alarm.enrolment-code-reused",
    ] {
        check(&format!("the ledger holds {kind}"), seen(kind) > 0)?;
    }
    let in_order = items.iter().zip(1_u64..).all(|(item, seq)| item.seq == seq);
    check("the sequence has no gap", in_order)?;
    Ok(format!(
        "{} entries read back, no gap: {} mints, {} reads, {} denial, {} alarm",
        items.len(),
        seen("token.minted"),
        seen("secret.revealed"),
        seen("request.denied"),
        seen("alarm.enrolment-code-reused")
    ))
}

fn verify(broker: &DemoBroker) -> Result<String, CommandFailure> {
    let LedgerRoot { entries, root } = broker.json("verify", &["verify", "--config", &broker.config()])?;
    check("the ledger verifies", entries > 10)?;
    let root = root.get(..12).unwrap_or(&root);
    Ok(format!("offline: {entries} entries, every state change opens, tree root {root}…"))
}

/// The fields of `keyward verify` that the demo checks.
#[derive(Deserialize)]
struct LedgerRoot {
    entries: u64,
    root: String,
}

fn check(what: &str, holds: bool) -> Result<(), CommandFailure> {
    if holds {
        return Ok(());
    }
    let why = format!("a check of the demo failed: {what}");
    Err(CommandFailure::new(code::DEMO_FAILED).because(why))
}
