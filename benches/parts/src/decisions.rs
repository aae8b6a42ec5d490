//! The decision on a mint, with more and more declared around the few objects that it is about.

use std::collections::BTreeMap;
use std::hint::black_box;

use keyward::base::{ClockReading, DecisionId, Entropy, Sensitive, SystemEntropy};
use keyward::crypto::MacKey;
use keyward::policy::{
    AskedGrant, Decision, DecisionContext, LifeLimits, Mint, MintRequest, Past, decide_mint,
};
use keyward::quota::Admitted;

use crate::gauge::{Candidate, Extent};
use crate::people::{People, Shape};
use crate::{Failed, NOW};

/// Decisions in a round.
const TIMES: usize = 10_000;

pub(crate) fn measure(extent: Extent) -> Result<(), Failed> {
    let (grants, policies, askers) = match extent {
        Extent::Small => ([10, 100, 1_000], [10, 20, 100], 10),
        Extent::Standard => ([10, 1_000, 100_000], [10, 1_000, 10_000], 50),
    };
    let mut least = Decider::of(Shape::LEAST)?;
    let what = "decision on a mint: who it is, what it may, the digest of the request";
    extent.tell(what, TIMES, || least.decide());
    let of_one = grants.map(|grants| {
        let name = format!("decision on a mint with {grants} grants, of which 10 are the agent's");
        Compared { name, shape: Shape::with_grants(grants) }
    });
    compare(extent, &of_one)?;
    let of_many = [grants[1], grants[2]].map(|grants| {
        let name = format!("the same with {grants} grants, {askers} agents in turn");
        Compared { name, shape: Shape { askers, ..Shape::with_grants(grants) } }
    });
    compare(extent, &of_many)?;
    let by_policies = policies.map(|policies| {
        let name = format!("decision on a mint with {policies} policies, of which 3 concern it");
        Compared { name, shape: Shape { policies, ..Shape::LEAST } }
    });
    compare(extent, &by_policies)
}

/// A decision that is compared with others.
struct Compared {
    name: String,
    shape: Shape,
}

fn compare(extent: Extent, all: &[Compared]) -> Result<(), Failed> {
    let candidate = |Compared { name, shape }: &Compared| -> Result<Candidate<'static>, Failed> {
        let mut decider = Decider::of(*shape)?;
        Ok(Candidate { name: name.clone(), part: Box::new(move || decider.decide()) })
    };
    extent.compare(TIMES, all.iter().map(candidate).collect::<Result<_, _>>()?);
    Ok(())
}

/// Decides on requests of the agents, one after the other.
struct Decider {
    people: People,
    admitted: Admitted,
    digests: MacKey,
    limits: LifeLimits,
    turn: usize,
}

impl Decider {
    /// # Errors
    /// A request is not granted.
    fn of(shape: Shape) -> Result<Self, Failed> {
        let people = People::new(shape)?;
        let mut decider = Self {
            admitted: people.admitted()?,
            people,
            digests: MacKey::new(&Sensitive::new([5; 32])),
            limits: LifeLimits { default_s: 300, broker: "https://broker.internal".parse()? },
            turn: 0,
        };
        for _ in 0..shape.askers {
            match decider.decision()? {
                Decision::Allow(_) => {}
                other => return Err(format!("with {} grants: {other:?}", shape.grants()).into()),
            }
        }
        Ok(decider)
    }

    fn decision(&mut self) -> Result<Decision<Mint>, Failed> {
        let entropy: &dyn Entropy = &SystemEntropy;
        let turn = self.turn;
        self.turn += 1;
        let principal = self.people.principal(turn)?;
        let request = MintRequest {
            scope: self.people.scope(turn).clone(),
            resource: None,
            life_s: None,
            details: None,
            parameters: BTreeMap::new(),
            approval: None,
            asked: AskedGrant::default(),
        };
        let context = DecisionContext {
            decision: DecisionId::mint(NOW, entropy),
            records: self.people.records(),
            reading: ClockReading::at(NOW),
            limits: &self.limits,
            digests: &self.digests,
            past: Past::Recorded,
            disregarded: None,
        };
        Ok(decide_mint(&context, principal, self.admitted.permit(), &request))
    }

    /// Decides once. The first round of the agents has shown that their requests are granted.
    fn decide(&mut self) {
        drop(black_box(self.decision()));
    }
}
