//! Fills the ledger of a broker that is stopped: agents that are declared and enrolled, and tokens that were minted
//! for them. What is written are the broker's own entries, by its own store; nothing is decided or signed, so that
//! millions of entries take minutes.
//!
//! `fill CONFIG AGENTS ENTRIES`: so many agents, and mints until there are so many entries.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use keyward::base::{
    AgentId, AgentName, CapabilityName, CodeId, DecisionId, InstanceId, OperatorName, RequestFacts, RoleName,
    Sensitive, SystemClock, SystemEntropy, Timestamp, TokenId,
};
use keyward::broker::{Effect, World};
use keyward::config::{Config, RootKey};
use keyward::crypto::{ValueDigestKeys, sha256};
use keyward::keyring::{Keyring, SlotKey};
use keyward::ledger::{Build, SEGMENT_BYTES};
use keyward::registry::{
    self, Access, AgentInvited, AgentSpec, Capability, CertificateRecorded, DeclarationsApplied, Delivery,
    InstanceEnrolled, Role,
};
use keyward::store::{Change, LedgerPlace, OnLostEntries, Store, StoreOptions};
use keyward::token::TokenMinted;
use tokio::task::JoinSet;

type Failed = Box<dyn Error + Send + Sync>;

/// Agents with a role of their own, which grants a capability of its own.
const AGENTS_PER_ROLE: u64 = 100;
/// Roles in one entry.
const DECLARED_AT_ONCE: u64 = 500;
/// What is on its way at the same time: less than the ledger lets wait.
const AT_ONCE: usize = 4_000;
const DAY_S: i64 = 86_400;
/// A certificate of the broker's comes to this, about.
const CERTIFICATE_BYTES: usize = 560;

fn main() -> Result<(), Failed> {
    let mut arguments = std::env::args().skip(1);
    let mut argument = || arguments.next().ok_or("usage: fill CONFIG AGENTS ENTRIES");
    let (config, agents, entries) = (argument()?, argument()?.parse()?, argument()?.parse()?);
    let filler = Filler { store: Arc::new(open(Path::new(&config))?) };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(filler.fill(agents, entries))
}

/// The store of the broker that `config` is of, as the broker opens it.
fn open(config: &Path) -> Result<Store<World>, Failed> {
    let config = Config::load(config)?;
    let RootKey::File(key) = &config.root_key else { return Err("the root key is not in a file".into()) };
    let keyring = Keyring::open(&config.data_dir.join("keyring"), &SlotKey::from_file(key)?)?;
    let options = StoreOptions {
        data_dir: config.data_dir,
        clock: Arc::new(SystemClock::new()),
        entropy: Arc::new(SystemEntropy),
        segment_bytes: SEGMENT_BYTES,
        build: Build::Executable,
        place: LedgerPlace::Files,
        on_lost_entries: OnLostEntries::Refuse,
    };
    Ok(Store::open(&options, &keyring)?.0)
}

struct Filler {
    store: Arc<Store<World>>,
}

impl Filler {
    async fn fill(&self, agents: u64, entries: u64) -> Result<(), Failed> {
        let operator = "filler".parse::<OperatorName>()?;
        for first in (0..agents.div_ceil(AGENTS_PER_ROLE)).step_by(DECLARED_AT_ONCE as usize) {
            let last = (first + DECLARED_AT_ONCE).min(agents.div_ceil(AGENTS_PER_ROLE));
            self.store.commit(declared(&operator, first..last)?, ()).await?.redeem();
        }
        let mut tasks = JoinSet::new();
        let mut enrolled = Vec::new();
        for number in 0..agents {
            if tasks.len() >= AT_ONCE {
                enrolled.extend(tasks.join_next().await.transpose()?.transpose()?);
            }
            tasks.spawn(enrol(Arc::clone(&self.store), operator.clone(), number));
        }
        while let Some(one) = tasks.join_next().await {
            enrolled.push(one??);
        }
        let mut tasks = JoinSet::new();
        let mints = entries.saturating_sub(self.store.head().seq) as usize;
        for agent in enrolled.iter().cycle().take(mints) {
            if tasks.len() >= AT_ONCE {
                tasks.join_next().await.transpose()?.transpose()?;
            }
            tasks.spawn(mint(Arc::clone(&self.store), agent.clone()));
        }
        while let Some(one) = tasks.join_next().await {
            one??;
        }
        println!("{} entries", self.store.head().seq);
        Ok(())
    }
}

/// An agent that is enrolled.
#[derive(Clone)]
struct Enrolled {
    name: AgentName,
    instance: InstanceId,
    /// The number of its role.
    role: u64,
}

fn declared(operator: &OperatorName, roles: std::ops::Range<u64>) -> Result<Change<Effect>, Failed> {
    let capability = |role| -> Result<Capability, Failed> {
        Ok(Capability {
            name: capability_of(role)?,
            access: Access::Write,
            delivery: Delivery::Mint { audience: "https://service.bench.internal".parse()? },
            max_life_s: 300,
        })
    };
    let role = |role| -> Result<Role, Failed> {
        Ok(Role { name: name_of(role)?, capabilities: [capability_of(role)?].into() })
    };
    let effect = registry::Effect::Declare {
        capabilities: roles.clone().map(capability).collect::<Result<_, _>>()?,
        removed_capabilities: Vec::new(),
        roles: roles.map(role).collect::<Result<_, _>>()?,
        removed_roles: Vec::new(),
    };
    let event = DeclarationsApplied {
        operator,
        changes: &[],
        values_left_out: 0,
        snapshot: sha256(b"").hex(),
        rollback: None,
        approved: None,
    };
    Ok(Change::new(&event)?.effect(Effect::Registry(effect)))
}

fn name_of(role: u64) -> Result<RoleName, Failed> {
    Ok(format!("bench-{role}").parse()?)
}

fn capability_of(role: u64) -> Result<CapabilityName, Failed> {
    Ok(format!("bench.service-{role}.write").parse()?)
}

/// Invitation, enrolment and certificate of one agent. Its code ended days ago: an enrolled fleet's codes have
/// been forgotten.
async fn enrol(store: Arc<Store<World>>, operator: OperatorName, number: u64) -> Result<Enrolled, Failed> {
    let now = keyward::base::Clock::now(&SystemClock::new());
    let entropy: &dyn keyward::base::Entropy = &SystemEntropy;
    let name = format!("declared-{number}").parse::<AgentName>()?;
    let (id, code, instance) =
        (AgentId::mint(now, entropy), CodeId::mint(now, entropy), InstanceId::mint(now, entropy));
    let role = number / AGENTS_PER_ROLE;
    let spec = AgentSpec { name: name.clone(), roles: [name_of(role)?].into(), max_instances: 1 };
    let expires_at = now.plus_s(-3 * DAY_S);
    let invited = AgentInvited {
        operator: &operator,
        agent: &name,
        agent_id: id,
        code,
        expires_at: expires_at.to_string(),
        uses: 1,
        network: None,
        created_with: Some(Vec::new()),
        max_instances: Some(1),
        owner: None,
        person: None,
    };
    let hash = sha256(&number.to_be_bytes());
    let digests = ValueDigestKeys::derive([(1, &Sensitive::new([0; 32]))]);
    let digest = digests.digest(&number.to_be_bytes());
    let issued =
        registry::Effect::IssueCode { id: code, agent: id, hash, digest, expires_at, uses: 1, network: None };
    let change = Change::new(&invited)?
        .effect(Effect::Registry(registry::Effect::PutAgent { id, spec }))
        .effect(Effect::Registry(issued));
    store.commit(change, ()).await?.redeem();

    let (not_before, not_after) = (now, now.plus_s(DAY_S));
    let event = InstanceEnrolled {
        agent: &name,
        instance,
        code,
        serial: hash.hex().chars().take(32).collect(),
        key: hash.hex(),
        spiffe_id: format!("spiffe://bench.internal/agent/{name}"),
        not_after: not_after.to_string(),
        peer: "127.0.0.1".to_owned(),
    };
    let serial = *instance.as_bytes();
    let enrol =
        registry::Effect::Enrol { code, agent: id, instance, serial, key: hash, not_before, not_after };
    store.commit(Change::new(&event)?.effect(Effect::Registry(enrol)), ()).await?.redeem();

    let certificate = entropy.bytes::<CERTIFICATE_BYTES>().to_vec();
    let event = CertificateRecorded { agent: &name, instance, thumbprint: sha256(&certificate).hex() };
    let record = registry::Effect::RecordCertificate { agent: id, instance, certificate };
    store.commit(Change::new(&event)?.effect(Effect::Registry(record)), ()).await?.redeem();
    Ok(Enrolled { name, instance, role })
}

async fn mint(store: Arc<Store<World>>, agent: Enrolled) -> Result<(), Failed> {
    let Enrolled { name, instance, role } = agent;
    let now: Timestamp = keyward::base::Clock::now(&SystemClock::new());
    let entropy: &dyn keyward::base::Entropy = &SystemEntropy;
    let digest = sha256(instance.as_bytes());
    let capability = capability_of(role)?;
    let roles = BTreeSet::from([name_of(role)?]);
    let event = TokenMinted {
        agent: &name,
        instance,
        token: TokenId::mint(now, entropy),
        capabilities: vec![&capability],
        audience: &"https://service.bench.internal".parse()?,
        expires_at: now.plus_s(300).text(),
        life_s: 300,
        certificate: digest.in_hex(),
        decision: DecisionId::mint(now, entropy),
        outcome: "allow",
        constrained: &[],
        snapshot: digest.in_hex(),
        rules: &[format!("role bench-{role}")],
        request: digest.in_hex(),
        facts: RequestFacts::new(&roles, None),
        approval: None,
        remediates: None,
    };
    store.commit(Change::new(&event)?, ()).await?.redeem();
    Ok(())
}
