use std::collections::BTreeSet;

use super::policies::RulesSection;
use super::records::RegistrySection;
use super::section::{Announced, Effects, Section, SectionContext, SectionFailure, SectionPlan};
use crate::base::{Cancellation, EnvironmentName, Scope, SecretName};
use crate::broker::failure::Failure;
use crate::broker::leases::Offers;
use crate::broker::rotation::RotationSection;
use crate::config::{FaultList, SourceFile, Tables};

/// The sections in the order in which they are planned: each finds the declarations of those before it.
const SECTIONS: &[Registered] = &[
    Registered::of::<RegistrySection>(),
    Registered::of::<RotationSection>(),
    Registered::of::<Offers>(),
    Registered::of::<RulesSection>(),
];

/// What files declare.
pub(in crate::broker) struct Sections(Vec<Box<dyn ReadSection>>);

impl Sections {
    /// Reads all sections of `files`.
    pub(in crate::broker) fn read(
        files: &[SourceFile],
        scope: &Scope,
        work: &Cancellation,
    ) -> Result<Self, FaultList> {
        let (mut tables, faults) = Tables::parse_all(files, &known_tables(), work);
        let (mut sections, mut faults) =
            (Vec::<Box<dyn ReadSection>>::new(), faults.into_iter().collect::<Vec<_>>());
        for section in SECTIONS {
            match (section.read)(&mut tables, scope) {
                Ok(section) => sections.push(section),
                Err(more) => faults.push(more),
            }
        }
        if faults.is_empty() {
            return Ok(Self(sections));
        }
        faults.extend(sections.iter().filter_map(|section| section.unread().cloned()));
        Err(FaultList::merged(faults, files))
    }

    /// Plans all sections.
    pub(in crate::broker) fn plan(
        &self,
        ground: &SectionContext<'_>,
    ) -> Result<(SectionPlan, Vec<Effects>), Failure> {
        let announced = Announced {
            first_values: self.0.iter().flat_map(|section| section.first_values(ground)).collect(),
            environments: self.0.iter().flat_map(|section| section.environments(ground)).collect(),
        };
        let mut drawn = SectionPlan { announced, ..SectionPlan::default() };
        let (mut effects, mut faults) = (Vec::new(), Vec::new());
        for section in &self.0 {
            if !faults.is_empty() && section.needs_earlier() {
                continue;
            }
            match section.plan(ground, &mut drawn) {
                Ok(planned) => effects.push(planned),
                Err(SectionFailure::Invalid(more)) => faults.push(more),
                Err(SectionFailure::Refused(failure)) if faults.is_empty() => return Err(failure),
                Err(SectionFailure::Refused(_)) => break,
            }
        }
        if faults.is_empty() {
            Ok((drawn, effects))
        } else {
            Err(FaultList::merged(faults, ground.files).into())
        }
    }
}

/// The tables of `files`, which may have those of every section.
pub(in crate::broker) fn parse_tables<'a>(
    files: &'a [SourceFile],
    work: &'a Cancellation,
) -> Result<Tables<'a>, FaultList> {
    Tables::parse(files, &known_tables(), work)
}

fn known_tables() -> Vec<&'static str> {
    SECTIONS.iter().flat_map(|section| section.tables).copied().collect()
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
    fn needs_earlier(&self) -> bool;

    fn unread(&self) -> Option<&FaultList>;

    fn first_values(&self, ground: &SectionContext<'_>) -> BTreeSet<SecretName>;

    fn environments(&self, ground: &SectionContext<'_>) -> BTreeSet<EnvironmentName>;

    fn plan(&self, ground: &SectionContext<'_>, drawn: &mut SectionPlan) -> Result<Effects, SectionFailure>;
}

impl<S: Section> ReadSection for S {
    fn needs_earlier(&self) -> bool {
        S::NEEDS_EARLIER
    }

    fn unread(&self) -> Option<&FaultList> {
        Section::unread(self)
    }

    fn first_values(&self, ground: &SectionContext<'_>) -> BTreeSet<SecretName> {
        Section::first_values(self, ground)
    }

    fn environments(&self, ground: &SectionContext<'_>) -> BTreeSet<EnvironmentName> {
        Section::environments(self, ground)
    }

    fn plan(&self, ground: &SectionContext<'_>, drawn: &mut SectionPlan) -> Result<Effects, SectionFailure> {
        Section::plan(self, ground, drawn)
    }
}
