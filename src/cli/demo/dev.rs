use std::path::Path;
use std::time::Duration;

use super::demo_broker::DemoBroker;
use crate::base::code;
use crate::console::{CommandFailure, Console};
use crate::wire::{DevAgentOutput, DevOutput};

/// The examples.
const DECLARATIONS: &str = r#"
[[capability]]
name = "github.repo.read"
access = "read"
delivery = "reveal"
secret = "github/app"
max_life_s = 300

[[capability]]
name = "reports.read"
access = "read"
delivery = "mint"
audience = "https://reports.example.com"
max_life_s = 300

[[role]]
name = "repo-reader"
capabilities = ["github.repo.read"]

[[role]]
name = "reporter"
capabilities = ["reports.read"]

[[agent]]
name = "research-bot"
roles = ["repo-reader"]

[[agent]]
name = "report-bot"
roles = ["reporter"]
"#;

/// The agents in [`DECLARATIONS`], which `dev` enrols.
const AGENTS: [&str; 2] = ["research-bot", "report-bot"];

/// Interval between two checks that the broker still runs.
const LOOK: Duration = Duration::from_millis(200);

/// `keyward dev`: a temporary broker with the rules of production, and with everything declared and enrolled that a first
/// request needs. Ends with Ctrl-C, SIGTERM or its terminal, and removes its files.
pub(crate) async fn dev(seed: Option<&Path>, console: &Console) -> Result<(), CommandFailure> {
    let mut broker = DemoBroker::set("dev", console)?;
    let played = play(&mut broker, seed, console).await;
    let stopped = broker.stop();
    let cleared = broker.clear();
    played?;
    stopped?;
    cleared
}

async fn play(broker: &mut DemoBroker, seed: Option<&Path>, console: &Console) -> Result<(), CommandFailure> {
    broker.run("init", &["init", "--config", &broker.config()], None)?;
    broker.serve().await?;
    let secret = broker.secret();
    broker.run("secret put", &["secret", "put", "github/app"], Some(secret.expose()))?;
    let examples = broker.write("agents.toml", DECLARATIONS)?;
    broker.run("apply", &["apply", "-f", &examples], None)?;
    if let Some(seed) = seed {
        broker.apply_seed(seed)?;
    }
    for agent in AGENTS {
        let code = broker.path(&format!("{agent}.code"));
        broker.run("agent invite", &["agent", "invite", agent, "--out", &code], None)?;
        broker.run_as(agent, "join", &["join", "--code-file", &code])?;
    }
    tell(broker, console);
    until_told(broker).await
}

fn tell(broker: &DemoBroker, console: &Console) {
    if console.is_json() {
        let agent = |name: &'static str| DevAgentOutput { name: name.into(), home: broker.home(name) };
        console.json(&DevOutput {
            directory: broker.dir().display().to_string(),
            operator_home: broker.home("operator"),
            agents: AGENTS.map(agent).to_vec(),
        });
        return;
    }
    console.line(&format!(
        "A temporary broker in {}; Ctrl-C stops it and deletes its files.",
        broker.dir().display()
    ));
    console.line("TLS, client certificates and the ledger are as in production.");
    for (who, home, verbs) in [
        (
            "an agent",
            AGENTS[0],
            ["keyward whoami", "keyward get github/app", "keyward token github.repo.read"],
        ),
        (
            "the operator",
            "operator",
            ["keyward agent list", "keyward audit list", "keyward agent suspend research-bot"],
        ),
    ] {
        console.line("");
        console.line(&format!("As {who}, in another shell:"));
        console.line("");
        console.line(&format!("  export KEYWARD_HOME={}", broker.home(home)));
        for verb in verbs {
            console.line(&format!("  {verb}"));
        }
    }
    console.line("");
    console.line("ready");
}

/// Waits for Ctrl-C, SIGTERM or the end of the terminal; fails if the broker ends by itself.
async fn until_told(broker: &mut DemoBroker) -> Result<(), CommandFailure> {
    loop {
        if tokio::time::timeout(LOOK, broker.wait_for_end()).await.is_ok() {
            return Ok(());
        }
        if broker.has_ended() {
            return Err(CommandFailure::new(code::DEMO_FAILED).because("the broker ended by itself"));
        }
    }
}
