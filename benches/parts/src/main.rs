//! Parts of a request, each by itself: the decision, the signature of a token, sealing, appending to the ledger,
//! reading the index. Prints a line for each: its name, a tab, and nanoseconds, the median of the rounds.
//!
//! `parts DIR`: DIR is empty, and on the disk that appending is to be measured on.

use std::collections::BTreeSet;
use std::error::Error;
use std::hint::black_box;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use keyward::approvals::Approvals;
use keyward::authn::{AgentPrincipal, Records, agent};
use keyward::base::{
    AgentId, Clock, ClockReading, CodeId, DecisionId, Entropy, GrantedParameters, IncidentId, InstanceId,
    LedgerId, Sensitive, SystemClock, SystemEntropy, Timestamp, TokenId,
};
use keyward::crypto::{Aad, AeadKey, EcdsaKey, KeyId, MacKey, SignatureForm};
use keyward::index::{Batch, Index, IndexTree, Put};
use keyward::ledger::{
    Build, DeltaKeys, Draft, Entry, EntryCause, FileLog, Follower, HostLayer, Kind, Ledger, Options,
    RESERVE_BYTES, SEGMENT_BYTES, Space,
};
use keyward::operators::Operators;
use keyward::pki::{Authority, CertificatePlan, PeerCertificate, Record, new_key_and_request, read_request};
use keyward::policy::{AskedGrant, DecisionContext, LifeLimits, MintRequest, Past, decide_mint};
use keyward::quota::{Admitted, Limiter, Rate};
use keyward::registry::{Access, AgentSpec, Capability, Delivery, Registry, Role};
use keyward::revocation::{Containment, Revocations, Subject};
use keyward::rules::{Policy, Rule, Rules, RulesChange};
use keyward::secrets::Catalogue;
use keyward::store::At;
use keyward::token::{AuthorizationDetail, Claims, Confirmation, DetailType, Signer};
use keyward::{pki, registry, revocation, rules};

type Failed = Box<dyn Error + Send + Sync>;

const NOW: Timestamp = Timestamp::from_s(1_800_000_000);
const ROUNDS: usize = 9;
const DAY_S: i64 = 86_400;
/// What Keyward's own record of a mint comes to, about.
const EVENT_BYTES: usize = 500;
const TREE: IndexTree = IndexTree::new("parts");

fn main() -> Result<(), Failed> {
    let dir = std::env::args().nth(1).ok_or("usage: parts DIR")?;
    let dir = Path::new(&dir);
    decision()?;
    for policies in [10, 1_000, 10_000] {
        decision_under(policies)?;
    }
    for tokens in [10_000, 1_000_000] {
        containment(tokens)?;
    }
    signature()?;
    seal()?;
    append(&dir.join("ledger"))?;
    read(&dir.join("index"))
}

/// Prints what doing it once costs.
fn tell(name: &str, times: usize, mut part: impl FnMut()) {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            (0..times).for_each(|_| part());
            start.elapsed().as_nanos() as f64 / times as f64
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    println!("{name}\t{:.0}", rounds[ROUNDS / 2]);
}

fn decision() -> Result<(), Failed> {
    decide("decision on a mint: who it is, what it may, the digest of the request", &People::new()?)
}

/// The same with so many policies: three concern the request, and each of the others another agent.
fn decision_under(policies: usize) -> Result<(), Failed> {
    let named = |number: usize| {
        let head = match number {
            0 => "principal == Keyward::Agent::\"a\", action, resource".to_owned(),
            1 => "principal in Keyward::Role::\"bench\", action, resource".to_owned(),
            2 => "principal, action, resource == Keyward::Capability::\"bench.service.write\"".to_owned(),
            _ => format!("principal == Keyward::Agent::\"other-{number}\", action, resource"),
        };
        let rule = Rule::declared(&format!("forbid ({head}) when {{ context.time.hour > 23 }};"));
        let rule = rule.map_err(|faults| format!("{faults:?}"))?;
        Ok::<_, Failed>(Policy { name: format!("p-{number}").parse()?, rule, owner: None })
    };
    let policies_of = (0..policies).map(named).collect::<Result<Vec<_>, _>>()?;
    let mut people = People::new()?;
    let change = RulesChange { policies: policies_of, ..RulesChange::default() };
    people.rules.apply(&rules::Effect::Declare(change));
    decide(&format!("decision on a mint with {policies} policies, of which 3 concern it"), &people)
}

fn decide(name: &str, people: &People) -> Result<(), Failed> {
    let entropy: &dyn Entropy = &SystemEntropy;
    let mut admitted = people.admitted()?;
    let digests = MacKey::new(&Sensitive::new([5; 32]));
    let limits = LifeLimits { default_s: 300, broker: "https://broker.internal".parse()? };
    let scope: BTreeSet<_> = [("bench.service.write").parse()?].into();
    tell(name, 10_000, || {
        let Ok(principal) = people.principal() else { return };
        let (scope, asked) = (scope.clone(), AskedGrant::default());
        let request = MintRequest { asked, ..MintRequest::plain(scope, None) };
        let context = DecisionContext {
            decision: DecisionId::mint(NOW, entropy),
            records: people.records(),
            reading: ClockReading::at(NOW),
            limits: &limits,
            digests: &digests,
            past: Past::Recorded,
            disregarded: None,
        };
        drop(black_box(decide_mint(&context, principal, admitted.permit(), &request)));
    });
    Ok(())
}

/// An agent is contained and lifted in the records, which have so many revoked tokens: the broker keeps no others.
fn containment(tokens: usize) -> Result<(), Failed> {
    let entropy: &dyn Entropy = &SystemEntropy;
    let (at, mut revocations) = (At { seq: 1, time: NOW }, Revocations::default());
    for _ in 0..tokens {
        let token = Subject::Token(TokenId::mint(NOW, entropy));
        revocations.apply(at, &revocation::Effect::Kill(token));
    }
    let subject = Subject::Agent(AgentId::mint(NOW, entropy));
    let incident = IncidentId::mint(NOW, entropy);
    let contain = Containment { subject: subject.clone(), incident, spared: None };
    let effects = [
        revocation::Effect::Kill(subject.clone()),
        revocation::Effect::Contain(contain),
        revocation::Effect::Lift { subject, incident },
    ];
    tell(
        &format!("an agent contained and lifted in the records, with {tokens} revoked tokens"),
        10_000,
        || {
            effects.iter().for_each(|effect| revocations.apply(at, black_box(effect)));
        },
    );
    Ok(())
}

/// One agent, enrolled, with a role that grants a capability.
struct People {
    registry: Registry,
    secrets: Catalogue,
    operators: Operators,
    authorities: Record,
    revocations: Revocations,
    rules: Rules,
    approvals: Approvals,
    peer: PeerCertificate,
}

impl People {
    fn new() -> Result<Self, Failed> {
        let entropy: &dyn Entropy = &SystemEntropy;
        let pkcs8 = EcdsaKey::generate()?;
        let key = || EcdsaKey::from_pkcs8(&pkcs8, SignatureForm::Asn1);
        let certificate = Authority::found(&"bench.internal".parse()?, &key()?, NOW, entropy)?;
        let authority = Authority::new(certificate.clone(), key()?)?;
        let (at, mut authorities) = (At { seq: 1, time: NOW }, Record::default());
        authorities.apply(at, &pki::Effect::Found(certificate));

        let (_, request) = new_key_and_request()?;
        let key = read_request(&request)?;
        let spiffe = "spiffe://bench.internal/agent/a".parse()?;
        let end = authority.public().not_after();
        let plan = CertificatePlan::draw(spiffe, &key, NOW, DAY_S, end, entropy);
        let peer = PeerCertificate::parse(&authority.sign(&plan, &key)?)?;

        let mut registry = Registry::default();
        let (id, code) = (AgentId::mint(NOW, entropy), CodeId::mint(NOW, entropy));
        let role = Role { name: "bench".parse()?, capabilities: ["bench.service.write".parse()?].into() };
        let spec = AgentSpec { name: "a".parse()?, roles: [role.name.clone()].into(), max_instances: 1 };
        let capability = Capability {
            name: "bench.service.write".parse()?,
            access: Access::Write,
            delivery: Delivery::Mint { audience: "https://service.bench.internal".parse()? },
            max_life_s: 300,
        };
        let (capabilities, roles) = (vec![capability], vec![role]);
        let (removed_capabilities, removed_roles) = (Vec::new(), Vec::new());
        let effects = [
            registry::Effect::Declare { capabilities, removed_capabilities, roles, removed_roles },
            registry::Effect::PutAgent { id, spec },
            registry::Effect::Enrol {
                code,
                agent: id,
                instance: InstanceId::mint(NOW, entropy),
                serial: *plan.serial.as_bytes(),
                key: key.digest(),
                not_before: plan.not_before,
                not_after: plan.not_after,
            },
        ];
        effects.iter().for_each(|effect| registry.apply(at, effect));
        let (secrets, revocations) = (Catalogue::default(), Revocations::default());
        let operators = Operators::default();
        let (rules, approvals) = (Rules::default(), Approvals::default());
        Ok(Self { registry, secrets, operators, authorities, revocations, rules, approvals, peer })
    }

    fn records(&self) -> Records<'_> {
        let Self { registry, secrets, operators, authorities, revocations, rules, approvals, .. } = self;
        Records { registry, operators, secrets, rules, approvals, revocations, authorities, is_frozen: false }
    }

    fn principal(&self) -> Result<AgentPrincipal, Failed> {
        Ok(agent(&self.peer, self.records(), 1, ClockReading::at(NOW))?)
    }

    fn admitted(&self) -> Result<Admitted, Failed> {
        let one = NonZeroU32::MIN;
        let limiter = Limiter::new(Rate { per_s: one, burst: one }, Arc::new(SystemClock::new()));
        Ok(limiter.admit(&0)?)
    }
}

fn signature() -> Result<(), Failed> {
    let entropy: &dyn Entropy = &SystemEntropy;
    let signer = Signer::new(EcdsaKey::from_pkcs8(&EcdsaKey::generate()?, SignatureForm::Fixed)?)?;
    let claims = Claims {
        iss: "https://broker.bench.internal".into(),
        sub: "spiffe://bench.internal/agent/a".into(),
        client_id: "spiffe://bench.internal/agent/a".into(),
        aud: "https://service.bench.internal".parse()?,
        scope: "bench.service.write".into(),
        authorization_details: vec![AuthorizationDetail {
            kind: DetailType::Capability,
            capability: "bench.service.write".parse()?,
            access: "write".into(),
            parameters: GrantedParameters::default(),
        }],
        jti: TokenId::mint(NOW, entropy),
        iat: NOW.s(),
        nbf: NOW.s(),
        exp: NOW.plus_s(300).s(),
        cnf: Confirmation { x5t_s256: "x".repeat(43) },
        seq: 1,
        instance: InstanceId::mint(NOW, entropy),
        decision: DecisionId::mint(NOW, entropy),
    };
    tell("a token written and signed", 2_000, || drop(black_box(signer.sign(black_box(&claims)))));
    Ok(())
}

fn seal() -> Result<(), Failed> {
    let key = AeadKey::new(KeyId { family: 1, generation: 1 }, &Sensitive::new([7; 32]));
    let aad = Aad::new("bench").field(&[1; 16]).number(1);
    let plain = [3; 64];
    let sealed = key.seal(&aad, &plain, &SystemEntropy);
    tell("64 bytes sealed", 10_000, || drop(black_box(key.seal(&aad, black_box(&plain), &SystemEntropy))));
    tell("64 bytes opened", 10_000, || drop(black_box(key.open(&aad, black_box(&sealed)))));
    Ok(())
}

struct Nobody;

impl Follower for Nobody {
    fn apply(
        &mut self,
        _entry: &Entry,
        _delta: &[u8],
        _before: &keyward::ledger::Tree,
    ) -> Result<(), keyward::ledger::TakeInError> {
        Ok(())
    }
}

fn append(dir: &Path) -> Result<(), Failed> {
    std::fs::create_dir_all(dir)?;
    let options = Options {
        ledger: LedgerId::from_bytes([1; 16]),
        keys: Arc::new(DeltaKeys::new(1, vec![(1, Sensitive::new([9; 32]))])),
        clock: Arc::new(SystemClock::new()) as Arc<dyn Clock>,
        entropy: Arc::new(SystemEntropy),
        snapshots: Arc::new(HostLayer::open(dir)?),
        build: Build::Executable,
    };
    let log = FileLog::new(Arc::new(HostLayer::open(dir)?), SEGMENT_BYTES, RESERVE_BYTES);
    let (ledger, _) = Ledger::open(options, Box::new(log), Box::new(Nobody))?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let draft = || Draft {
        kind: Kind(1),
        event: vec![b'x'; EVENT_BYTES],
        delta: Sensitive::new(Vec::new()),
        expect: Vec::new(),
        advance: Vec::new(),
        space: Space::Usual,
        concerns: Vec::new(),
        cause: EntryCause::default(),
    };
    tell("an entry appended, alone in its group commit", 100, || {
        drop(black_box(runtime.block_on(ledger.append(draft()))));
    });
    const TOGETHER: usize = 64;
    tell("64 entries appended together", 50, || {
        let pending: Vec<_> = (0..TOGETHER).map(|_| ledger.append(draft())).collect();
        for one in pending {
            drop(black_box(runtime.block_on(one)));
        }
    });
    Ok(())
}

fn read(dir: &Path) -> Result<(), Failed> {
    const RECORDS: u32 = 10_000;
    let key = AeadKey::new(KeyId { family: 2, generation: 1 }, &Sensitive::new([8; 32]));
    let index = Index::open(dir, key, LedgerId::from_bytes([1; 16]), Arc::new(SystemEntropy))?;
    let put = |number: u32| Put { tree: TREE, key: number.to_be_bytes().to_vec(), value: Some(vec![4; 200]) };
    index.submit(Batch { seq: 1, puts: (0..RECORDS).map(put).collect() });
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(index.wait(1))?;
    let mut number = 0_u32;
    tell("a record of 200 bytes read from the index, of 10,000", 10_000, || {
        number = (number + 7919) % RECORDS;
        drop(black_box(index.get(TREE, &number.to_be_bytes())));
    });
    Ok(())
}
