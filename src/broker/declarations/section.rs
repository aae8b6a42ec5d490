use super::SECTIONS;
use crate::base::{AgentId, Audience, Cancellation, Scope, Timestamp};
use crate::broker::failure::Failure;
use crate::broker::world::{Effect, World};
use crate::config::{FaultList, Faults, SourceFile, Tables};
use crate::registry::{Declarations, Narrowing, PlannedChange, Unnamed};
use crate::store::Change;

/// A part of the declaration files: the tables that it reads, and what it plans to do.
pub(in crate::broker) trait Section: Sized + Send + Sync + 'static {
    /// The tables that it reads.
    const TABLES: &'static [&'static str];

    /// Reads them.
    fn read(tables: &mut Tables<'_>, scope: &Scope) -> Result<Self, FaultList>;

    /// Checks what was read against the records, adds to `drawn` what an application does, and returns its effects.
    fn plan(&self, ground: &Ground<'_>, drawn: &mut Drawn) -> Result<Effects, Failure>;
}

/// Adds the effects of a section to the change of an application, relying on the records being as they were read as
/// of an entry.
pub(in crate::broker) type Effects = Box<dyn FnOnce(Change<Effect>, u64) -> Change<Effect> + Send>;

/// What an application is planned on.
pub(in crate::broker) struct Ground<'a> {
    pub(in crate::broker) world: &'a World,
    pub(in crate::broker) now: Timestamp,
    pub(in crate::broker) scope: &'a Scope,
    pub(in crate::broker) unnamed: Unnamed,
    pub(in crate::broker) files: &'a [SourceFile],
    pub(in crate::broker) work: &'a Cancellation,
    /// The broker itself as an audience.
    pub(in crate::broker) broker: &'a Audience,
    /// Mints the id of an agent that is new.
    pub(in crate::broker) new_agent: &'a dyn Fn() -> AgentId,
}

impl<'a> Ground<'a> {
    /// The faults of the files; none so far.
    pub(in crate::broker) const fn faults(&self) -> Faults<'a> {
        Faults::of(self.files, self.work)
    }
}

/// What an application does, apart from its effects.
#[derive(Debug, Default)]
pub(in crate::broker) struct Drawn {
    /// Line by line.
    pub(in crate::broker) changes: Vec<PlannedChange>,
    /// The declarations once it has been carried out.
    pub(in crate::broker) declarations: Declarations,
    /// What it takes away.
    pub(in crate::broker) narrowing: Narrowing,
    /// The places of upstreams that are declared anew.
    pub(in crate::broker) places: Vec<String>,
}

/// What files declare.
pub(in crate::broker) struct Sections(Vec<Box<dyn ReadSection>>);

impl Sections {
    /// Reads all sections of `files`.
    pub(in crate::broker) fn read(
        files: &[SourceFile],
        scope: &Scope,
        work: &Cancellation,
    ) -> Result<Self, FaultList> {
        let mut tables = parse_tables(files, work)?;
        let sections = SECTIONS.iter().map(|section| (section.read)(&mut tables, scope));
        sections.collect::<Result<_, _>>().map(Self)
    }

    /// Plans all sections.
    pub(in crate::broker) fn plan(&self, ground: &Ground<'_>) -> Result<(Drawn, Vec<Effects>), Failure> {
        let mut drawn = Drawn::default();
        let effects = self.0.iter().map(|section| section.plan(ground, &mut drawn));
        let effects = effects.collect::<Result<_, _>>()?;
        Ok((drawn, effects))
    }
}

/// The tables of `files`, which may have those of every section.
pub(in crate::broker) fn parse_tables<'a>(
    files: &'a [SourceFile],
    work: &'a Cancellation,
) -> Result<Tables<'a>, FaultList> {
    let known: Vec<&str> = SECTIONS.iter().flat_map(|section| section.tables).copied().collect();
    Tables::parse(files, &known, work)
}

type Read = fn(&mut Tables<'_>, &Scope) -> Result<Box<dyn ReadSection>, FaultList>;

/// A section as the list of them has it.
pub(super) struct Registered {
    tables: &'static [&'static str],
    read: Read,
}

impl Registered {
    pub(super) const fn of<S: Section>() -> Self {
        Self { tables: S::TABLES, read: |tables, scope| Ok(Box::new(S::read(tables, scope)?)) }
    }
}

/// A section that was read.
trait ReadSection: Send + Sync {
    fn plan(&self, ground: &Ground<'_>, drawn: &mut Drawn) -> Result<Effects, Failure>;
}

impl<S: Section> ReadSection for S {
    fn plan(&self, ground: &Ground<'_>, drawn: &mut Drawn) -> Result<Effects, Failure> {
        Section::plan(self, ground, drawn)
    }
}
