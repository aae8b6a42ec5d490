use std::collections::BTreeSet;

use crate::base::Timestamp;
use crate::base::limits::BACKDATE_S;
use crate::broker::identity::facts::renewable;
use crate::broker::identity::standing::InstanceStanding;
use crate::broker::services::Services;
use crate::broker::world::World;
use crate::keyring::{KeyStage, StageSince};
use crate::operators::{Operator, is_of_host};

impl Services {
    /// The names of the holders that would lose access by the next change of the authority `generation`, once for each
    /// instance and operator: live and suspended instances, and operators as long as they can renew a certificate.
    ///
    /// Before an activation, they are the holders of certificates from before the preparation: a holder learns of an
    /// authority by a renewal. Before a revocation, they are the holders of its certificates.
    pub(crate) fn behind<'w>(
        &self,
        world: &'w World,
        generation: u32,
        StageSince { stage, since }: StageSince,
        now: Timestamp,
    ) -> Vec<&'w str> {
        let authority = &world.keys.authority;
        let active = authority.generations().active().map(|(_, active)| active.since);
        let unfit = match (stage, active) {
            (KeyStage::Prepared, _) => Unfit::Before { seq: authority.prepared_seq(generation), since },
            (KeyStage::Old | KeyStage::Tainted, Some(since)) => Unfit::SignedBy { generation, since },
            (KeyStage::Old | KeyStage::Tainted, None) | (KeyStage::Active | KeyStage::Revoked, _) => {
                return Vec::new();
            }
        };
        let locked_out = world.operators.all().filter(|operator| self.has_only(operator, unfit, world, now));
        instances_with(world, unfit, now).chain(locked_out.map(|operator| operator.name.as_str())).collect()
    }

    /// Whether the operator has a certificate that it can use or renew, and all of them are unfit. Break-glass access does
    /// not count: its certificate cannot be renewed and ends within an hour, and the host makes another one at any time.
    fn has_only(&self, operator: &Operator, unfit: Unfit, world: &World, now: Timestamp) -> bool {
        if is_of_host(&operator.name) {
            return false;
        }
        let grace_s = self.settings.operator_renewal_grace_s;
        let mut usable = renewable(operator, world, grace_s, now).peekable();
        usable.peek().is_some()
            && usable.all(|one| {
                let signed = one.signed.map(|signed| (signed.seq, signed.authority));
                unfit.includes(one.not_before, signed)
            })
    }
}

fn instances_with(world: &World, unfit: Unfit, now: Timestamp) -> impl Iterator<Item = &str> {
    let of_agents = world.registry.agents().flat_map(|one| one.instances.iter().map(move |its| (one, its)));
    let unfit = of_agents.filter(move |(_, its)| {
        let signed = its.current.signed.map(|signed| (signed.seq, signed.authority));
        unfit.includes(its.current.not_before, signed)
    });
    let counting = unfit.filter(move |(agent, its)| {
        let state = InstanceStanding::of(world, agent, its, now);
        matches!(state, InstanceStanding::Live | InstanceStanding::Suspended)
    });
    counting.map(|(agent, _)| agent.name.as_str())
}

/// Longest list of holders in an answer.
const NAMED_MAX: usize = 10;

/// The first names of these holders, each once.
pub(crate) fn named<'w>(behind: &[&'w str]) -> Vec<&'w str> {
    let distinct: BTreeSet<&str> = behind.iter().copied().collect();
    distinct.into_iter().take(NAMED_MAX).collect()
}

/// The certificates with which a holder would lose access. Entries have an order; times of certificates are whole seconds,
/// and count only if the entries are unknown.
#[derive(Clone, Copy)]
enum Unfit {
    /// From before the entry `seq`, at the time `since`.
    Before { seq: Option<u64>, since: Timestamp },
    /// Of the authority `generation`; if the authority of a certificate is unknown, from before `since`.
    SignedBy { generation: u32, since: Timestamp },
}

impl Unfit {
    /// Whether they include a certificate that begins at `not_before`, with the entry that keeps it and the generation of
    /// its authority if it was signed.
    fn includes(self, not_before: Timestamp, signed: Option<(u64, Option<u32>)>) -> bool {
        let is_before = |since: Timestamp| not_before.plus_s(BACKDATE_S) < since;
        match (self, signed) {
            (Self::Before { seq: Some(seq), .. }, Some((signed, _))) => signed < seq,
            (Self::SignedBy { generation, .. }, Some((_, Some(authority)))) => authority == generation,
            (Self::Before { since, .. } | Self::SignedBy { since, .. }, _) => is_before(since),
        }
    }
}
