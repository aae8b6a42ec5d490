//! Mints without a condition, under a policy and with an approval, in turn with the floor's.

use std::sync::Arc;

use serde_json::json;

use crate::approver::Approver;
use crate::bed::{Bed, Server};
use crate::client::{Connection, Identity, request};
use crate::drive::{Asker, Load, Requests};
use crate::fleet::{self, Agent, JSON, answered, text};
use crate::plan::Cast;
use crate::turns::{Figures, What, Workload, one_turn};
use crate::{Extent, Failed};

/// What was compared.
#[derive(Debug, Default)]
pub(crate) struct Policies {
    pub(crate) rounds: Vec<PolicyRound>,
    /// Tokens that one approval gives.
    pub(crate) uses: usize,
}

/// The same number of requests, one kind after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PolicyRound {
    pub(crate) floor: Figures,
    pub(crate) plain: Figures,
    pub(crate) limited: Figures,
    pub(crate) approved: Figures,
}

impl PolicyRound {
    pub(crate) fn is_void(&self) -> bool {
        [self.floor, self.plain, self.limited, self.approved].iter().any(Figures::is_void)
    }
}

pub(crate) const CONNECTIONS: usize = 16;
/// Longest life of a token by the policy.
pub(crate) const LIFE_MAX_S: u64 = 120;
/// No policy matches requests for the first one, a policy limits the life of tokens for the second one, and tokens for the
/// third one need an approval.
const PLAIN: &str = "bench.plain.write";
const LIMITED: &str = "bench.limited.write";
const APPROVED: &str = "bench.approved.write";

/// Drives both servers in turn.
pub(crate) async fn compare(
    extent: Extent,
    bed: &Bed,
    cast: &Cast<'_>,
    floor: &Server,
    into: &mut Policies,
) -> Result<(), Failed> {
    let (rounds, asked) = if extent.is_small() {
        (1, Asked { approvals: 2, uses: 5 })
    } else {
        (6, Asked { approvals: 10, uses: 100 })
    };
    into.uses = asked.uses;
    let mut stage = Stage::set(bed, cast).await?;
    // Each connection asks once before the run.
    let load = Load::Turns { connections: CONNECTIONS, turns: asked.approvals * asked.uses - 1 };
    let workload = Workload { title: "mint under policies", what: What::Mint, load, rounds, target: "" };
    let (plain, limited) = (stage.asking(PLAIN), stage.asking(LIMITED));
    for number in 1..=rounds {
        let approved = stage.approved(number, asked).await?;
        let Cast { keyward, operator, .. } = *cast;
        let round = PolicyRound {
            floor: one_turn(workload, floor, operator, &plain).await?,
            plain: one_turn(workload, keyward, operator, &plain).await?,
            limited: one_turn(workload, keyward, operator, &limited).await?,
            approved: one_turn(workload, keyward, operator, &approved.askers).await?,
        };
        stage.check_used(&approved).await?;
        let PolicyRound { floor, plain, limited, approved } = &round;
        println!("mint, no condition   {number}/{rounds}  keyward {plain}   floor {floor}");
        println!("mint, 1 policy       {number}/{rounds}  keyward {limited}");
        println!("mint, with approval  {number}/{rounds}  keyward {approved}");
        into.rounds.push(round);
    }
    Ok(())
}

/// Approvals of one agent in one round, and the tokens that each gives.
#[derive(Clone, Copy)]
struct Asked {
    approvals: usize,
    uses: usize,
}

/// Agents that use their approvals in turn.
#[derive(Default)]
struct Approved {
    askers: Vec<Asker>,
    /// The approvals of each agent.
    ids: Vec<Vec<String>>,
}

/// The agents, all with the same roles, and the person who approves.
struct Stage {
    agents: Vec<Arc<Agent>>,
    agents_at: std::net::SocketAddr,
    approver: Approver,
}

impl Stage {
    async fn set(bed: &Bed, cast: &Cast<'_>) -> Result<Self, Failed> {
        let file = bed.dir.join("policies.toml");
        std::fs::write(&file, declarations())?;
        bed.run(&["apply", "-f", &file.display().to_string()], b"")?;
        let agents_at = cast.keyward.address;
        let mut admin = cast.operator.connect().await?;
        let mut nobody = Connection::open(agents_at, &Identity::none()?).await?;
        let mut agents = Vec::new();
        for number in 0..CONNECTIONS {
            agents.push(Arc::new(fleet::enrol_as(&mut admin, &mut nobody, name(number), &[]).await?));
        }
        let approver = Approver::of(bed, cast.operator).await?;
        let stage = Self { agents, agents_at, approver };
        let lives = [stage.life_of(PLAIN).await?, stage.life_of(LIMITED).await?];
        if lives[1] > LIFE_MAX_S || lives[0] <= LIFE_MAX_S {
            return Err(
                format!("tokens live {lives:?} s: the policy does not limit the second one alone").into()
            );
        }
        Ok(stage)
    }

    /// The life of a token for `capability`, in seconds.
    async fn life_of(&self, capability: &str) -> Result<u64, Failed> {
        let mut connection = Connection::open(self.agents_at, &self.agents[0].identity).await?;
        let token = answered(&mut connection, &fleet::mint_request_for(capability)).await?;
        token["expires_in"].as_u64().ok_or_else(|| "a token without a life".into())
    }

    fn asking(&self, capability: &str) -> Vec<Asker> {
        self.agents.iter().map(|agent| Asker::of(agent, fleet::mint_request_for(capability))).collect()
    }

    /// Asks for approvals for each agent, and approves them.
    async fn approved(&mut self, round: usize, asked: Asked) -> Result<Approved, Failed> {
        let mut approved = Approved::default();
        for agent in &self.agents {
            let mut connection = Connection::open(self.agents_at, &agent.identity).await?;
            let (mut ids, mut requests) = (Vec::new(), Vec::new());
            for number in 0..asked.approvals {
                // Without a reason of its own it would be the same request.
                let reason = format!("approval {number} of round {round}");
                let body = json!({
                    "capabilities": [APPROVED], "reason": reason, "grant_life_s": 3600, "uses": asked.uses,
                });
                let opening = request("POST", "/v1/approvals", JSON, &body.to_string());
                let opened = answered(&mut connection, &opening).await?;
                let id = text(&opened, "approval")?.to_owned();
                self.approver.approve(&id).await?;
                requests.push(fleet::mint_request_with(APPROVED, &id));
                ids.push(id);
            }
            let requests = Requests::of(requests);
            approved.askers.push(Asker { agent: Arc::clone(agent), requests, elsewhere: None });
            approved.ids.push(ids);
        }
        Ok(approved)
    }

    /// Checks that each approval gave its number of tokens.
    async fn check_used(&self, approved: &Approved) -> Result<(), Failed> {
        for (agent, ids) in self.agents.iter().zip(&approved.ids) {
            let mut connection = Connection::open(self.agents_at, &agent.identity).await?;
            for id in ids {
                let asked = request("GET", &format!("/v1/approvals/{id}"), "", "");
                let shown = answered(&mut connection, &asked).await?;
                if text(&shown, "state")? != "used" {
                    return Err(format!("the approval is not used up: {shown}").into());
                }
            }
        }
        Ok(())
    }
}

fn name(number: usize) -> String {
    format!("policed-{number}")
}

fn declarations() -> String {
    let mut toml = String::new();
    for capability in [PLAIN, LIMITED, APPROVED] {
        toml += &format!(
            "[[capability]]\nname = \"{capability}\"\naccess = \"write\"\ndelivery = \"mint\"\n\
             audience = \"https://service.bench.internal\"\nmax_life_s = 300\n"
        );
    }
    toml += &format!(
        "[[role]]\nname = \"bench-policies\"\ncapabilities = [\"{PLAIN}\", \"{LIMITED}\", \"{APPROVED}\"]\n"
    );
    let limit = format!("@max_ttl(\"{LIFE_MAX_S}s\")");
    let policies = [
        ("bench-limit", limit.as_str(), LIMITED),
        ("bench-approval", "@decision(\"require_approval\")", APPROVED),
    ];
    for (policy, annotation, capability) in policies {
        toml += &format!(
            "[[policy]]\nname = \"{policy}\"\nrule = '''\n{annotation}\nforbid (principal, \
             action == Keyward::Action::\"token\", resource == Keyward::Capability::\"{capability}\");\n'''\n"
        );
    }
    for number in 0..CONNECTIONS {
        toml += &format!(
            "[[agent]]\nname = \"{}\"\nroles = [\"bench-policies\"]\nperson = \"agents@bench.internal\"\n",
            name(number)
        );
    }
    toml
}
