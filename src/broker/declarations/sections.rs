use super::records::RegistrySection;
use super::section::{Effects, Section, SectionContext, SectionPlan};
use crate::base::{Cancellation, Scope};
use crate::broker::failure::Failure;
use crate::broker::leases::Offers;
use crate::broker::rotation::RotationSection;
use crate::config::{FaultList, SourceFile, Tables};

/// The sections in the order in which they are planned: each finds the declarations of those before it.
const SECTIONS: &[Registered] =
    &[Registered::of::<RegistrySection>(), Registered::of::<RotationSection>(), Registered::of::<Offers>()];

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
    pub(in crate::broker) fn plan(
        &self,
        ground: &SectionContext<'_>,
    ) -> Result<(SectionPlan, Vec<Effects>), Failure> {
        let mut drawn = SectionPlan::default();
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

type ReadFn = fn(&mut Tables<'_>, &Scope) -> Result<Box<dyn ReadSection>, FaultList>;

/// A section as the list of them has it.
struct Registered {
    tables: &'static [&'static str],
    read: ReadFn,
}

impl Registered {
    const fn of<S: Section>() -> Self {
        Self { tables: S::TABLES, read: |tables, scope| Ok(Box::new(S::read(tables, scope)?)) }
    }
}

/// A section that was read.
trait ReadSection: Send + Sync {
    fn plan(&self, ground: &SectionContext<'_>, drawn: &mut SectionPlan) -> Result<Effects, Failure>;
}

impl<S: Section> ReadSection for S {
    fn plan(&self, ground: &SectionContext<'_>, drawn: &mut SectionPlan) -> Result<Effects, Failure> {
        Section::plan(self, ground, drawn)
    }
}
