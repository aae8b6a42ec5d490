use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use crate::base::{
    AgentId, Audience, Cancellation, NameError, OperatorName, OwnerName, Scope, SecretId, SecretName,
    Sensitivity, SystemEntropy, Timestamp, code,
};
use crate::broker::declarations::section::{NewAgent, PlanRules, SectionContext};
use crate::broker::declarations::sections::{Sections, parse_tables};
use crate::broker::failure::Failure;
use crate::broker::world::{Effect, World};
use crate::config::SourceFile;
use crate::registry::{DeclarationsApplied, ForeignNames, Undeclared};
use crate::store::{At, Change, StoredState as _};

/// A secret that a trial assumes to exist.
#[derive(Clone, Debug, Default)]
pub(super) struct AssumedSecret {
    pub(super) owner: Option<OwnerName>,
    pub(super) sensitivity: Sensitivity,
}

/// The records of a broker with these declarations and nothing else, as `apply` would make them. Secrets that the files name
/// and `assumed` lacks are assumed to exist, with an ordinary sensitivity.
///
/// # Errors
/// [`Failure`] with the faults of the files.
pub(super) fn trial_world(
    files: &[SourceFile],
    mut assumed: BTreeMap<SecretName, AssumedSecret>,
    now: Timestamp,
) -> Result<World, Failure> {
    let (scope, work, entropy) = (Scope::Everything, Cancellation::new(), SystemEntropy);
    let mut world = World::default();
    for (name, owner) in named_secrets(files)? {
        assumed.entry(name).or_insert(AssumedSecret { owner, sensitivity: Sensitivity::default() });
    }
    for (name, AssumedSecret { owner, sensitivity }) in assumed {
        world.secrets.assume(SecretId::mint(now, &entropy), name, owner, sensitivity);
    }
    let sections = Sections::read(files, &scope, &work)?;
    let new_agent: NewAgent = Arc::new(move || AgentId::mint(now, &SystemEntropy));
    let ground = SectionContext {
        world: &world,
        now,
        scope: &scope,
        rules: PlanRules { unnamed: Undeclared::Keep, foreign_names: ForeignNames::Told },
        files,
        work: &work,
        broker: &broker_audience()?,
        new_agent: &new_agent,
    };
    let (drawn, effects) = sections.plan(&ground)?;
    let tester: OperatorName = "policy-test".parse().map_err(unwritable)?;
    let snapshot = drawn.after.snapshot().hex();
    let event = DeclarationsApplied {
        operator: &tester,
        changes: &[],
        values_left_out: 0,
        snapshot,
        rollback: None,
        approved: None,
    };
    let change = Change::<Effect>::new(&event)?;
    let change = effects.into_iter().fold(change, |change, add| add(change, 0));
    for effect in change.into_effects() {
        world.apply(At { seq: 1, time: now }, &effect);
    }
    Ok(world)
}

/// The broker as the audience of tokens for secrets. No declaration can name it.
pub(super) fn broker_audience() -> Result<Audience, Failure> {
    "https://broker.invalid".parse().map_err(unwritable)
}

fn unwritable(_: NameError) -> Failure {
    Failure::new(code::INTERNAL)
}

/// The secrets that declarations name, with the owner of an object that names each.
///
/// # Errors
/// [`Failure`] if a file cannot be read as TOML.
pub(super) fn named_secrets(files: &[SourceFile]) -> Result<Vec<(SecretName, Option<OwnerName>)>, Failure> {
    let work = Cancellation::new();
    let (mut tables, mut named) = (parse_tables(files, &work)?, BTreeSet::new());
    // What does not read is reported when the sections are read.
    let mut faults = tables.faults();
    for table in ["capability", "rotation", "lease"] {
        for (_, declared) in tables.take::<Value>(table, &mut faults) {
            let text = |pointer: &str| declared.pointer(pointer).and_then(Value::as_str);
            let owner: Option<OwnerName> = text("/owner").and_then(|owner| owner.parse().ok());
            for secret in ["/secret", "/upstream/admin_secret"].into_iter().filter_map(text) {
                if let Ok(secret) = secret.parse::<SecretName>() {
                    named.insert((secret, owner.clone()));
                }
            }
        }
    }
    Ok(named.into_iter().collect())
}
