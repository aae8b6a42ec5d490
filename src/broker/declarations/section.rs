use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::base::{
    AgentId, AgentName, Audience, Cancellation, Cancelled, EnvironmentName, OwnerName, RoleName, Scope,
    SecretName, Timestamp,
};
use crate::broker::failure::Failure;
use crate::broker::world::{Effect, World};
use crate::config::{FaultList, Faults, SourceFile, Tables};
use crate::crypto::Digest;
use crate::registry::{Declarations, ForeignNames, Owned, PlannedChange, Removals, Undeclared};
use crate::rules::Rules;
use crate::store::Change;
use crate::wire::{NewOwnerAnswer, UnchangedObject};

/// A part of the declaration files: the tables that it reads, and what it plans to do.
pub(in crate::broker) trait Section: Sized + Send + Sync + 'static {
    /// The tables that it reads.
    const TABLES: &'static [&'static str];

    /// Whether its plan needs the declarations of the sections before it.
    const NEEDS_EARLIER: bool = false;

    /// Reads them.
    fn read(tables: &mut Tables<'_>, scope: &Scope) -> Result<Self, FaultList>;

    /// The faults of what could not be read. A section that tells them with its plan can judge the rest, too.
    fn unread(&self) -> Option<&FaultList> {
        None
    }

    /// The secrets that have no value yet and get their first one by what is declared afterwards: other sections may name
    /// them.
    fn first_values(&self, _ground: &SectionContext<'_>) -> BTreeSet<SecretName> {
        BTreeSet::new()
    }

    /// The environments that exist after the application and that a capability of this upload can name.
    fn environments(&self, _ground: &SectionContext<'_>) -> BTreeSet<EnvironmentName> {
        BTreeSet::new()
    }

    /// Checks what was read against the records, adds to `drawn` what an application does, and returns its effects.
    fn plan(&self, ground: &SectionContext<'_>, drawn: &mut SectionPlan) -> Result<Effects, SectionFailure>;
}

/// Why a section has no plan.
pub(in crate::broker) enum SectionFailure {
    /// The files have faults. Other sections may have more.
    Invalid(FaultList),
    /// The records do not allow it now.
    Refused(Failure),
}

impl From<FaultList> for SectionFailure {
    fn from(faults: FaultList) -> Self {
        Self::Invalid(faults)
    }
}

impl From<Failure> for SectionFailure {
    fn from(failure: Failure) -> Self {
        Self::Refused(failure)
    }
}

impl From<Cancelled> for SectionFailure {
    fn from(cancelled: Cancelled) -> Self {
        Self::Refused(cancelled.into())
    }
}

/// Adds the effects of a section to the change of an application, relying on the records being as they were read as
/// of an entry.
pub(in crate::broker) type Effects = Box<dyn FnOnce(Change<Effect>, u64) -> Change<Effect> + Send>;

/// Mints the id of an agent that is new. For effects alone: nothing waits for randomness while records are read.
pub(in crate::broker) type NewAgent = Arc<dyn Fn() -> AgentId + Send + Sync>;

/// What a plan does with names.
#[derive(Clone, Copy, Debug)]
pub(in crate::broker) struct PlanRules {
    /// The treatment of objects that the files do not name.
    pub(in crate::broker) unnamed: Undeclared,
    /// Whether the operator may declare objects that it does not have.
    pub(in crate::broker) foreign_names: ForeignNames,
}

/// What an application is planned on.
pub(in crate::broker) struct SectionContext<'a> {
    pub(in crate::broker) world: &'a World,
    pub(in crate::broker) now: Timestamp,
    pub(in crate::broker) scope: &'a Scope,
    pub(in crate::broker) rules: PlanRules,
    pub(in crate::broker) files: &'a [SourceFile],
    pub(in crate::broker) work: &'a Cancellation,
    /// The broker itself as an audience.
    pub(in crate::broker) broker: &'a Audience,
    pub(in crate::broker) new_agent: &'a NewAgent,
}

impl<'a> SectionContext<'a> {
    /// The faults of the files; none so far.
    pub(in crate::broker) const fn faults(&self) -> Faults<'a> {
        Faults::of(self.files, self.work)
    }
}

/// What sections declare that other sections can name, known before any section is planned.
#[derive(Debug, Default)]
pub(in crate::broker) struct Announced {
    /// The secrets without a value that a declared rotation makes.
    pub(in crate::broker) first_values: BTreeSet<SecretName>,
    /// Environments.
    pub(in crate::broker) environments: BTreeSet<EnvironmentName>,
}

/// The declarations after an application.
#[derive(Debug, Default)]
pub(in crate::broker) struct DeclaredAfter {
    /// Capabilities and roles.
    pub(in crate::broker) declarations: Declarations,
    /// Policies and environments.
    pub(in crate::broker) rules: Rules,
    /// The owners of the objects that get another one.
    pub(in crate::broker) owners: BTreeMap<Owned, Option<OwnerName>>,
}

impl DeclaredAfter {
    /// The hash of the policy snapshot.
    pub(in crate::broker) fn snapshot(&self) -> Digest {
        self.rules.snapshot_with(self.declarations.snapshot())
    }
}

/// What an application does, apart from its effects.
#[derive(Debug, Default)]
pub(in crate::broker) struct SectionPlan {
    /// What the sections announced.
    pub(in crate::broker) announced: Announced,
    /// The changes.
    pub(in crate::broker) changes: Vec<PlannedChange>,
    /// The declarations once it has been carried out.
    pub(in crate::broker) after: DeclaredAfter,
    /// What it takes away.
    pub(in crate::broker) removals: Removals,
    /// The roles of the agents that it creates or changes.
    pub(in crate::broker) agent_roles: BTreeMap<AgentName, BTreeSet<RoleName>>,
    /// The present declarations of the objects that it removes, and of the values that it changes and does not show.
    pub(in crate::broker) replaced: Vec<Digest>,
    /// The upstreams.
    pub(in crate::broker) upstreams: PlannedUpstreams,
    /// The owners that nothing had before.
    pub(in crate::broker) new_owners: Vec<NewOwnerAnswer>,
}

/// The upstreams of declared rotations and leases.
#[derive(Debug, Default)]
pub(in crate::broker) struct PlannedUpstreams {
    /// The places of those that are declared anew.
    pub(in crate::broker) places: Vec<String>,
    /// The objects that keep theirs.
    pub(in crate::broker) unchanged: Vec<UnchangedObject>,
}
