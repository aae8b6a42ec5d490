use std::collections::BTreeSet;

use super::declaration::parse;
use super::*;
use crate::base::limits::{LEASES_PER_AGENT, LEASES_PER_AGENT_MAX};
use crate::base::{AgentId, DecisionId, InstanceId, LeaseId, SystemEntropy, Timestamp};
use crate::config::{SourceFile, Tables};
use crate::store::At;

fn time(s: i64) -> Timestamp {
    Timestamp::from_s(1_800_000_000).plus_s(s)
}

fn at(seq: u64) -> At {
    At { seq, time: time(i64::try_from(seq).unwrap()) }
}

fn offer(upstream: &str) -> Effect {
    let capability = "orders.query".parse().unwrap();
    Effect::Offer(Box::new(LeaseOffer { capability, upstream: upstream.to_owned(), per_agent: 3 }))
}

/// The digest of a password.
pub(crate) fn digest() -> crate::crypto::KeyedDigest {
    crate::crypto::ValueDigestKeys::derive([]).digest(b"password")
}

/// Of a login that was asked for at `now`, and ends then.
pub(crate) fn intended(now: Timestamp) -> LeaseIntent {
    LeaseIntent {
        id: LeaseId::mint(now, &SystemEntropy),
        holder: LeaseHolder {
            agent: AgentId::mint(now, &SystemEntropy),
            agent_name: "bot".parse().unwrap(),
            instance: InstanceId::mint(now, &SystemEntropy),
        },
        capability: "orders.query".parse().unwrap(),
        login: LeaseLogin { name: "kw_1".to_owned(), upstream: 1 },
        first_use: DecisionId::mint(now, &SystemEntropy),
        ends: LeaseEnds { expires_at: now, renewable_until: now },
    }
}

fn intent(agent: AgentId, upstream: u64) -> LeaseIntent {
    let mut intent = intended(time(0));
    (intent.holder.agent, intent.login.upstream) = (agent, upstream);
    intent.ends = LeaseEnds { expires_at: time(1000), renewable_until: time(4000) };
    intent
}

fn agent() -> AgentId {
    AgentId::mint(time(0), &SystemEntropy)
}

/// One that is offered and live.
fn live() -> (Leases, LeaseIntent) {
    let (mut leases, intent) = (Leases::default(), intent(agent(), 1));
    leases.apply(at(1), &offer("{}"));
    leases.apply(at(2), &Effect::Intend(Box::new(intent.clone())));
    leases.apply(at(3), &Effect::Issue { lease: intent.id, sealed: vec![7], digest: digest() });
    (leases, intent)
}

#[test]
fn a_lease_is_due_at_each_step_from_its_intent_to_its_end() {
    let (mut leases, intent) = live();
    let due = |leases: &Leases, s| leases.due(time(s)).count();
    assert_eq!((due(&leases, 999), due(&leases, 1000)), (0, 1));
    leases.apply(at(4), &Effect::Renew { lease: intent.id, expires_at: time(2000) });
    assert_eq!((due(&leases, 1999), due(&leases, 2000)), (0, 1));
    leases.apply(at(5), &Effect::End { which: LeaseSelection::All, why: EndReason::Revoked });
    assert_eq!(due(&leases, 5), 1, "at once");
    let fail = |retry_at| Effect::Fail { lease: intent.id, code: "c".to_owned(), upstream: None, retry_at };
    leases.apply(at(6), &fail(time(70)));
    assert_eq!((due(&leases, 69), due(&leases, 70)), (0, 1));
    leases.apply(at(7), &Effect::Renew { lease: intent.id, expires_at: time(3000) });
    leases.apply(
        at(8),
        &Effect::End { which: LeaseSelection::Agent(intent.holder.agent), why: EndReason::Ineligible },
    );
    let LeaseStage::Ending(ending) = &leases.lease(intent.id).unwrap().stage else { panic!("{leases:?}") };
    assert_eq!((ending.why, ending.failures), (EndReason::Revoked, 1), "the first reason, nothing forgotten");
    assert_eq!(leases.lease(intent.id).unwrap().was_to_end_at(), time(5));
    leases.apply(at(9), &Effect::Ended(intent.id));
    assert_eq!(
        (leases.all().count(), due(&leases, 9999), leases.of_agent(intent.holder.agent).count()),
        (0, 0, 0)
    );
}

#[test]
fn a_digest_of_a_password_stays_until_the_login_has_ended() {
    let (mut leases, intent) = live();
    leases.apply(at(4), &Effect::End { which: LeaseSelection::All, why: EndReason::Revoked });
    let fail = Effect::Fail { lease: intent.id, code: "c".to_owned(), upstream: None, retry_at: time(70) };
    leases.apply(at(5), &fail);
    let LeaseStage::Ending(ending) = &leases.lease(intent.id).unwrap().stage else { panic!("{leases:?}") };
    assert_eq!(ending.digest, Some(digest()));
    leases.apply(at(6), &Effect::Ended(intent.id));
    assert!(leases.lease(intent.id).is_none());
}

#[test]
fn an_intent_that_was_ended_meanwhile_does_not_come_to_life() {
    let (mut leases, intent) = (Leases::default(), intent(agent(), 1));
    leases.apply(at(2), &Effect::Intend(Box::new(intent.clone())));
    leases.apply(at(3), &Effect::End { which: LeaseSelection::All, why: EndReason::Revoked });
    leases.apply(at(4), &Effect::Issue { lease: intent.id, sealed: vec![7], digest: digest() });
    assert_eq!(leases.lease(intent.id).unwrap().stage.as_str(), "ending");
}

#[test]
fn a_lease_ends_with_its_last_use() {
    let (mut leases, intent) = live();
    let second = DecisionId::mint(time(3), &SystemEntropy);
    leases.apply(at(4), &Effect::Use { lease: intent.id, by: second });
    let give_up = |by| Effect::GiveUp { lease: intent.id, by };
    leases.apply(at(5), &give_up(Some(intent.first_use)));
    leases.apply(at(6), &give_up(Some(intent.first_use)));
    assert_eq!(leases.lease(intent.id).unwrap().stage.as_str(), "live", "the same one twice");
    leases.apply(at(7), &give_up(Some(second)));
    assert_eq!(leases.lease(intent.id).unwrap().stage.as_str(), "ending");
    let (mut leases, intent) = live();
    leases.apply(at(4), &Effect::Use { lease: intent.id, by: second });
    leases.apply(at(5), &Effect::GiveUp { lease: intent.id, by: None });
    assert_eq!(leases.lease(intent.id).unwrap().stage.as_str(), "ending", "everybody's");
}

#[test]
fn an_upstream_is_known_for_as_long_as_a_login_is_there() {
    let (mut leases, intent) = live();
    leases.apply(at(4), &offer("{\"another\":1}"));
    assert_eq!(leases.upstreams().collect::<Vec<_>>(), [(1, "{}"), (4, "{\"another\":1}")]);
    leases.apply(at(5), &Effect::Withdraw("orders.query".parse().unwrap()));
    assert_eq!(leases.upstreams().count(), 1);
    assert_eq!(leases.upstream(1), Some("{}"));
    leases.apply(at(6), &Effect::Ended(intent.id));
    assert_eq!(leases.upstreams().count(), 0);
}

#[test]
fn a_selection_ends_what_it_names_and_nothing_else() {
    let (mut leases, one) = live();
    let other = intent(agent(), 1);
    leases.apply(at(4), &Effect::Intend(Box::new(other.clone())));
    let agents = BTreeSet::from([other.holder.agent]);
    let which = LeaseSelection::Within { agents, capabilities: BTreeSet::new() };
    leases.apply(at(5), &Effect::End { which, why: EndReason::Revoked });
    let stages = [one.id, other.id].map(|id| leases.lease(id).unwrap().stage.as_str());
    assert_eq!(stages, ["live", "ending"]);
    let which = LeaseSelection::Capability("orders.query".parse().unwrap());
    leases.apply(at(6), &Effect::End { which, why: EndReason::Revoked });
    assert_eq!(leases.lease(one.id).unwrap().stage.as_str(), "ending");
}

#[test]
fn what_is_stored_reads_back_with_everything_that_is_derived() {
    let (leases, intent) = live();
    let stored = serde_json::to_string(&leases).unwrap();
    let read: Leases = serde_json::from_str(&stored).unwrap();
    assert_eq!(read.lease(intent.id), leases.lease(intent.id));
    assert_eq!((read.due(time(1000)).count(), read.of_agent(intent.holder.agent).count()), (1, 1));
    let mut read = read;
    read.apply(at(9), &Effect::Ended(intent.id));
    assert_eq!(read.all().count(), 0);
}

#[test]
fn declarations_are_refused_with_their_place_and_at_their_limits() {
    let text = |head: &str| format!("[[lease]]\n{head}\n[lease.upstream]\ndriver = \"any\"\n");
    let read = |text: String| {
        let files = [SourceFile { name: "a.toml".to_owned(), text }];
        let work = crate::base::Cancellation::new();
        Tables::parse(&files, &["agent", "lease"], &work).and_then(|mut tables| parse(&mut tables))
    };
    let capability = "capability = \"orders.query\"\n";
    let good = read(text(capability)).unwrap();
    assert_eq!(good[&"orders.query".parse().unwrap()].per_agent, LEASES_PER_AGENT);
    let at_most = |count: u32| read(text(&format!("{capability}per_agent = {count}")));
    assert!(at_most(LEASES_PER_AGENT_MAX).is_ok() && at_most(1).is_ok());
    for (faulty, line, says) in [
        (at_most(0), 3, "per_agent"),
        (at_most(LEASES_PER_AGENT_MAX + 1), 3, "per_agent"),
        (read(text("capability = \"CNRY\"")), 2, "capability"),
        (read(text("capability = \"a.b\"\nmore = 1")), 3, "unknown field"),
        (read(text(capability).repeat(2)), 7, "twice"),
    ] {
        let faults = faulty.unwrap_err();
        assert_eq!(faults.faults[0].line, line, "{faults:?}");
        assert!(faults.faults[0].message.contains(says), "{faults:?}");
        assert!(!format!("{faults:?}").contains("CNRY"), "{faults:?}");
    }
}
