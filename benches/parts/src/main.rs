//! Parts of a request, each by itself: the decision, the signature of a token, sealing, appending to the ledger,
//! reading the index.
//!
//! `parts DIR [small]`: DIR is empty, and on the disk that appending is to be measured on. `small` shows in some seconds
//! that it works.

mod decisions;
mod gauge;
mod people;

use std::error::Error;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use gauge::Extent;
use keyward::base::{
    AgentId, Clock, DecisionId, Entropy, GrantedParameters, IncidentId, InstanceId, LedgerId, Sensitive,
    SystemClock, SystemEntropy, Timestamp, TokenId,
};
use keyward::crypto::{Aad, AeadKey, EcdsaKey, KeyId, SignatureForm};
use keyward::index::{Batch, Index, IndexTree, Put};
use keyward::ledger::{
    Build, DeltaKeys, Draft, Entry, EntryCause, FileLog, Follower, HostLayer, Kind, Ledger, Options,
    RESERVE_BYTES, SEGMENT_BYTES, Space,
};
use keyward::revocation::{self, Containment, Revocations, Subject};
use keyward::store::At;
use keyward::token::{AuthorizationDetail, Claims, Confirmation, DetailType, Signer};

type Failed = Box<dyn Error + Send + Sync>;

const NOW: Timestamp = Timestamp::from_s(1_800_000_000);
/// What Keyward's own record of a mint comes to, about.
const EVENT_BYTES: usize = 500;
const TREE: IndexTree = IndexTree::new("parts");

fn main() -> Result<(), Failed> {
    const USAGE: &str = "usage: parts DIR [small]";
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().ok_or(USAGE)?;
    let dir = Path::new(&dir);
    let extent = match arguments.next().as_deref() {
        None => Extent::Standard,
        Some("small") => Extent::Small,
        Some(_) => return Err(USAGE.into()),
    };
    decisions::measure(extent)?;
    let revoked = match extent {
        Extent::Small => [10, 1_000],
        Extent::Standard => [10_000, 1_000_000],
    };
    for tokens in revoked {
        containment(extent, tokens)?;
    }
    signature(extent)?;
    seal(extent)?;
    append(extent, &dir.join("ledger"))?;
    read(extent, &dir.join("index"))
}

/// An agent is contained and lifted in the records, which have so many revoked tokens: the broker keeps no others.
fn containment(extent: Extent, tokens: usize) -> Result<(), Failed> {
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
    let name = format!("an agent contained and lifted in the records, with {tokens} revoked tokens");
    extent.tell(&name, 10_000, || {
        effects.iter().for_each(|effect| revocations.apply(at, black_box(effect)));
    });
    Ok(())
}

fn signature(extent: Extent) -> Result<(), Failed> {
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
    extent.tell("a token written and signed", 2_000, || drop(black_box(signer.sign(black_box(&claims)))));
    Ok(())
}

fn seal(extent: Extent) -> Result<(), Failed> {
    let key = AeadKey::new(KeyId { family: 1, generation: 1 }, &Sensitive::new([7; 32]));
    let aad = Aad::new("bench").field(&[1; 16]).number(1);
    let plain = [3; 64];
    let sealed = key.seal(&aad, &plain, &SystemEntropy);
    extent.tell("64 bytes sealed", 10_000, || {
        drop(black_box(key.seal(&aad, black_box(&plain), &SystemEntropy)))
    });
    extent.tell("64 bytes opened", 10_000, || drop(black_box(key.open(&aad, black_box(&sealed)))));
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

fn append(extent: Extent, dir: &Path) -> Result<(), Failed> {
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
    extent.tell("an entry appended, alone in its group commit", 100, || {
        drop(black_box(runtime.block_on(ledger.append(draft()))));
    });
    const TOGETHER: usize = 64;
    extent.tell("64 entries appended together", 50, || {
        let pending: Vec<_> = (0..TOGETHER).map(|_| ledger.append(draft())).collect();
        for one in pending {
            drop(black_box(runtime.block_on(one)));
        }
    });
    Ok(())
}

fn read(extent: Extent, dir: &Path) -> Result<(), Failed> {
    const RECORDS: u32 = 10_000;
    let key = AeadKey::new(KeyId { family: 2, generation: 1 }, &Sensitive::new([8; 32]));
    let index = Index::open(dir, key, LedgerId::from_bytes([1; 16]), Arc::new(SystemEntropy))?;
    let put = |number: u32| Put { tree: TREE, key: number.to_be_bytes().to_vec(), value: Some(vec![4; 200]) };
    index.submit(Batch { seq: 1, puts: (0..RECORDS).map(put).collect() });
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(index.wait(1))?;
    let mut number = 0_u32;
    extent.tell("a record of 200 bytes read from the index, of 10,000", 10_000, || {
        number = (number + 7919) % RECORDS;
        drop(black_box(index.get(TREE, &number.to_be_bytes())));
    });
    Ok(())
}
