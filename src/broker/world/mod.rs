mod recorded;

use super::administration::entry_terms::{TERMS_RULE, terms_of};
use super::denial::{Denied, MemoryRevocation, UnrecordedContainment, both};
use crate::approvals::Approvals;
use crate::authn::Records;
use crate::base::{OperatorEnrolment, Timestamp};
use crate::custody::Custody;
use crate::idempotency::Outcomes;
use crate::incidents::Incidents;
use crate::leases::{self, Leases};
use crate::ledger::{Entry, Key};
use crate::operators::{self, Operators};
use crate::pki;
use crate::registry::Registry;
use crate::revocation::{self, Revocations, Subject};
use crate::rotation::Rotations;
use crate::rules::Rules;
use crate::secrets::Catalogue;
use crate::store::{self, At, History, Projection};
use crate::token::TokenKeys;
use serde::{Deserialize, Serialize};

pub use super::effect::Effect;

/// All records in memory.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct World {
    /// Agents, roles, capabilities, codes.
    pub registry: Registry,
    /// Operators.
    pub operators: Operators,
    /// Secrets, without their values.
    pub secrets: Catalogue,
    /// The broker's own keys.
    pub keys: KeyRecords,
    /// What no longer counts.
    pub revocations: Revocations,
    /// What requests with a key did.
    pub outcomes: Outcomes,
    /// How secrets are rotated, and how far that has come.
    pub rotations: Rotations,
    /// Which logins are lent.
    pub leases: Leases,
    incidents: Incidents,
    /// Policies and environments.
    rules: Rules,
    /// Requests for approval.
    approvals: Approvals,
    /// The entry of the newest adjustment of the clock; 0 without one.
    clock_adjusted: u64,
    /// What is denied before an entry says so. Never stored: a snapshot holds what entries say.
    #[serde(skip)]
    denied: Denied,
}

/// The records of the broker's own keys.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct KeyRecords {
    /// The certificate authority's public half.
    pub authority: pki::Record,
    /// The token keys.
    pub token_keys: TokenKeys,
    /// The slots of the keyring.
    pub custody: Custody,
}

/// What `authn` judges credentials by.
pub(crate) const fn records(world: &World) -> Records<'_> {
    Records {
        registry: &world.registry,
        operators: &world.operators,
        secrets: &world.secrets,
        rules: &world.rules,
        approvals: &world.approvals,
        revocations: &world.revocations,
        authorities: &world.keys.authority,
        is_frozen: world.incidents.freezing.is_frozen(),
    }
}

impl World {
    /// Incidents.
    pub(crate) const fn incidents(&self) -> &Incidents {
        &self.incidents
    }

    /// Policies and environments.
    pub(crate) const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Requests for approval.
    pub(crate) const fn approvals(&self) -> &Approvals {
        &self.approvals
    }

    /// The entry of the newest adjustment of the clock; 0 without one.
    pub(crate) const fn clock_adjusted(&self) -> u64 {
        self.clock_adjusted
    }

    /// Notes who signed an operator's certificate that `effect` keeps: on the host, the authority that is active.
    fn note_operators_signer(&mut self, effect: &operators::Effect) {
        if let operators::Effect::RecordCertificate { operator, serial, certificate } = effect {
            self.operators.signed_by(operator, serial, self.keys.authority.signer_of(certificate));
        }
        if let operators::Effect::Certify { name, certificate, .. } = effect {
            let active = self.keys.authority.generations().active().map(|(generation, _)| generation);
            self.operators.signed_by(name, &certificate.serial, active);
        }
    }

    /// The approval keys of an operator end with a revocation of the operator, or of the enrolment that proposed them. A
    /// suspension ends none.
    fn end_approval_keys(&mut self, effect: &revocation::Effect) {
        let revocation::Effect::Kill(subject) = effect else { return };
        if let Subject::Operator(id) = subject {
            self.operators.end_approval_keys(*id, None);
        }
        let enrolment = if let Subject::OperatorEnrolment(enrolment) = subject {
            Some(*enrolment)
        } else if let Subject::Certificate(serial) = subject {
            self.operators.enrolment_of(serial)
        } else {
            None
        };
        if let Some(OperatorEnrolment { operator, enrolled_seq }) = enrolment {
            self.operators.end_approval_keys(operator, Some(enrolled_seq));
        }
    }

    /// The entry of a containment that was in force in memory has been taken in.
    fn contained_by_entry(&mut self, denied: &UnrecordedContainment) {
        self.revocations.recorded(&denied.denial());
        self.incidents.recorded(&denied.contained);
    }

    /// Times that a wrong clock put into the future move back.
    fn time_went_back(&mut self, at: At, was: Timestamp) {
        self.revocations.time_went_back(at);
        self.operators.time_went_back(at.time);
        let recorded = &mut self.denied.recorded;
        both(&mut self.registry, &mut recorded.registry, |room| room.time_went_back(at.time));
        both(&mut self.secrets, &mut recorded.secrets, |room| room.time_went_back(at.time, was));
        both(&mut self.keys.authority, &mut recorded.authority, |room| room.time_went_back(at.time));
        both(&mut self.keys.token_keys, &mut recorded.token_keys, |room| room.time_went_back(at.time));
        both(&mut self.leases, &mut recorded.leases, |room| room.time_went_back(at.time, was));
        self.rotations.time_went_back(at.time, was);
        self.keys.custody.time_went_back(at.time);
        self.outcomes.time_went_back(was);
        self.incidents.time_went_back(at.time);
        self.approvals.time_went_back(at.time);
    }
}

impl store::StoredState for World {
    type Effect = Effect;

    fn apply(&mut self, at: At, effect: &Effect) {
        let recorded = &mut self.denied.recorded;
        match effect {
            Effect::Registry(effect) => {
                let signer = |certificate: &Vec<u8>| self.keys.authority.signer_of(certificate);
                let signed = effect.certificate().map(|(whose, held, one)| (whose, held, signer(one)));
                both(&mut self.registry, &mut recorded.registry, |room| {
                    room.apply(at, effect);
                    if let Some(((agent, instance), held, signer)) = signed {
                        room.signed_by(agent, instance, held, signer);
                    }
                });
            }
            Effect::Operators(effect) => {
                self.operators.apply(at, effect);
                self.note_operators_signer(effect);
            }
            Effect::Secrets(effect) => {
                both(&mut self.secrets, &mut recorded.secrets, |room| room.apply(at, effect));
            }
            Effect::Pki(effect) => {
                both(&mut self.keys.authority, &mut recorded.authority, |room| room.apply(at, effect));
            }
            Effect::Revocation(effect) => {
                self.end_approval_keys(effect);
                self.revocations.apply(at, effect);
            }
            Effect::Token(effect) => {
                both(&mut self.keys.token_keys, &mut recorded.token_keys, |room| room.apply(at, effect));
            }
            Effect::Idempotency(effect) => self.outcomes.apply(at, effect),
            Effect::Rotation(effect) => self.rotations.apply(at, effect),
            Effect::Custody(effect) => self.keys.custody.apply(at, effect),
            Effect::Lease(effect) => {
                both(&mut self.leases, &mut recorded.leases, |room| room.apply(at, effect));
                // The value key seals its password.
                if matches!(effect, leases::Effect::Issue { .. }) {
                    both(&mut self.secrets, &mut recorded.secrets, Catalogue::count_seal);
                }
            }
            Effect::Incident(effect) => self.incidents.apply(at, effect),
            Effect::Rules(effect) => self.rules.apply(effect),
            Effect::Approval(effect) => self.approvals.apply(at, effect),
            Effect::Clock { was } => {
                self.clock_adjusted = at.seq;
                if *was > at.time {
                    self.time_went_back(at, *was);
                }
            }
        }
    }

    fn advances(effect: &Effect, keys: &mut Vec<Key>) {
        effect.advances(keys);
    }

    fn takes_away(effect: &Effect) -> bool {
        effect.takes_away()
    }

    fn history(effect: &Effect) -> Option<History> {
        effect.history()
    }

    type Denial = MemoryRevocation;

    fn deny(&mut self, denial: &MemoryRevocation) {
        match denial {
            MemoryRevocation::Subject(denial) => self.revocations.deny(denial),
            MemoryRevocation::Incident(denied) => {
                self.revocations.deny(&denied.denial());
                self.incidents.deny(denied.at, &denied.contained);
            }
            MemoryRevocation::Freeze => self.incidents.freezing.deny(),
            MemoryRevocation::Other(ended) => self.end_before_its_entry(ended),
            MemoryRevocation::Codes(codes) => self.revocations.codes.deny(codes),
            MemoryRevocation::Several(all) => all.iter().for_each(|one| self.deny(one)),
        }
    }

    fn deny_again(&mut self) {
        self.end_all_again();
    }

    fn recorded(&mut self, denial: &MemoryRevocation) {
        match denial {
            MemoryRevocation::Subject(denial) => self.revocations.recorded(denial),
            MemoryRevocation::Incident(denied) => self.contained_by_entry(denied),
            MemoryRevocation::Freeze => self.incidents.freezing.settle(),
            MemoryRevocation::Other(ended) => self.forget_ended(ended, true),
            MemoryRevocation::Codes(codes) => self.revocations.codes.recorded(codes),
            MemoryRevocation::Several(all) => all.iter().for_each(|one| self.recorded(one)),
        }
    }

    fn lift(&mut self, denial: &MemoryRevocation) {
        match denial {
            // Its entry relies on nothing, so that there always is one.
            MemoryRevocation::Subject(denial) => self.revocations.recorded(denial),
            MemoryRevocation::Incident(denied) => self.contained_by_entry(denied),
            MemoryRevocation::Freeze => self.incidents.freezing.settle(),
            MemoryRevocation::Other(ended) => self.forget_ended(ended, false),
            MemoryRevocation::Codes(codes) => self.revocations.codes.recorded(codes),
            MemoryRevocation::Several(all) => all.iter().for_each(|one| self.lift(one)),
        }
    }

    fn withheld_by(denial: &MemoryRevocation) -> Vec<Key> {
        denial.withheld()
    }

    const TERMS_RULE: u16 = TERMS_RULE;

    fn terms(entry: &Entry) -> Vec<(&'static str, String)> {
        terms_of(entry).into_iter().map(|(field, text)| (field.as_str(), text)).collect()
    }

    fn project(effect: &Effect, out: &mut Projection) {
        match effect {
            Effect::Registry(effect) => Registry::project(effect, out),
            Effect::Secrets(effect) => Catalogue::project(effect, out),
            Effect::Operators(effect) => Operators::project(effect, out),
            Effect::Pki(_)
            | Effect::Revocation(_)
            | Effect::Token(_)
            | Effect::Idempotency(_)
            | Effect::Rotation(_)
            | Effect::Custody(_)
            | Effect::Lease(_)
            | Effect::Incident(_)
            | Effect::Rules(_)
            | Effect::Approval(_)
            | Effect::Clock { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{LeaseId, SystemEntropy};
    use crate::secrets;
    use crate::store::StoredState as _;

    #[test]
    fn a_login_counts_as_a_seal_of_the_value_key() {
        let time = Timestamp::from_s(1_800_000_000);
        let mut world = World::default();
        let lease = LeaseId::mint(time, &SystemEntropy);
        let issue = leases::Effect::Issue { lease, sealed: Vec::new(), digest: leases::tests::digest() };
        world.apply(At { seq: 1, time }, &Effect::Lease(issue));
        assert_eq!(world.secrets.seals(), 1);
        world.apply(At { seq: 2, time }, &Effect::Secrets(secrets::Effect::Turn(2)));
        assert_eq!(world.secrets.seals(), 0, "another key seals");
    }
}
