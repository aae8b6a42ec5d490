//! Comparison of texts with the values that the broker keeps: by the keyed digests that are stored with them. Nothing is
//! opened.

use std::time::Duration;

use crate::base::limits::{HEAVY_WAIT_S, INCIDENT_NAMES_MAX, VALUE_CHECK_VALUES_MAX};
use crate::base::{AgentName, Cancellation, LeaseId, Scope, SecretId, SecretName, Sensitive, Stopwatch};
use crate::broker::failure::Failure;
use crate::broker::services::Services;
use crate::broker::world::World;
use crate::crypto::KeyedDigest;
use crate::leases::LeaseStage;
use crate::registry::Owned;
use crate::rotation::RotationStage;
use crate::secrets::{Version, VersionStage};

/// Leases that are read at a time, so that no request waits.
const PART: usize = 1000;
/// Longer than every password that an upstream driver makes; none has a space.
const PASSWORD_BYTES_MAX: usize = 1024;

/// A version of a secret with the value of a text.
pub(super) struct KnownVersion {
    pub(super) secret: SecretName,
    pub(super) version: u32,
    pub(super) standing: UpstreamStanding,
}

/// Whether the upstream of a secret accepts one of its versions, as far as the records say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum UpstreamStanding {
    /// It does.
    Accepted,
    /// A rotation has ended it there, or has not yet made it known there.
    Refused,
    /// It was replaced in the broker. Nothing says that it was ended at the upstream.
    Replaced,
}

impl UpstreamStanding {
    /// What a refused or accepted version does not say.
    pub(super) const fn note(self) -> Option<&'static str> {
        match self {
            Self::Replaced => {
                Some("the broker does not give it out any more; it works upstream until it is ended there")
            }
            Self::Accepted | Self::Refused => None,
        }
    }
}

/// A comparison of texts with the values within a scope.
pub(super) struct Comparison<'a> {
    pub(super) texts: &'a [Sensitive<Vec<u8>>],
    pub(super) scope: &'a Scope,
    pub(super) work: &'a Cancellation,
    /// Since the work began on its thread.
    pub(super) begun: Stopwatch,
}

/// How much was compared.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Covered {
    /// Every value.
    All,
    /// Not the values beyond the limit, or one that could not be read.
    Some,
    /// The time was over.
    Late,
}

impl Comparison<'_> {
    /// Whether the search has to end, so that there is an answer.
    pub(super) fn is_late(&self) -> bool {
        self.begun.elapsed() >= Duration::from_secs(HEAVY_WAIT_S / 2)
    }
}

/// The text as it was given, without the line break at its end, and with one: files and programs add and remove it.
pub(super) fn candidates(value: &Sensitive<String>) -> Vec<Sensitive<Vec<u8>>> {
    let given = value.expose().as_str();
    let bare = given.strip_suffix('\n').map_or(given, |bare| bare.strip_suffix('\r').unwrap_or(bare));
    let mut texts = vec![Sensitive::new(bare.as_bytes().to_vec())];
    texts.push(Sensitive::new([bare.as_bytes(), b"\n"].concat()));
    if given != bare {
        texts.push(Sensitive::new(given.as_bytes().to_vec()));
    }
    texts
}

impl Services {
    /// The lease whose password is one of `texts`, with its agent, and whether all were compared, the newest first. The digests
    /// are compared outside of the state.
    pub(super) fn known_login(
        &self,
        comparison: &Comparison<'_>,
    ) -> Result<(Option<(LeaseId, AgentName)>, Covered), Failure> {
        let Comparison { texts, scope, work, .. } = comparison;
        let is_password = |text: &&Sensitive<Vec<u8>>| {
            text.expose().len() <= PASSWORD_BYTES_MAX && !text.expose().contains(&b' ')
        };
        let short: Vec<_> = texts.iter().filter(is_password).collect();
        let (mut compared, mut before): (usize, Option<LeaseId>) = (0, None);
        while compared < VALUE_CHECK_VALUES_MAX {
            work.step()?;
            if comparison.is_late() {
                return Ok((None, Covered::Late));
            }
            let (part, last) = self.state.store.read(|world, _| {
                let mut leases = world.leases.before(before);
                let (mut part, mut last) = (Vec::new(), None);
                for lease in leases.by_ref().take(PART) {
                    last = Some(lease.id);
                    let digest = match &lease.stage {
                        LeaseStage::Live { digest, .. } => Some(*digest),
                        LeaseStage::Ending(ending) => ending.digest,
                        LeaseStage::Intended => None,
                    };
                    let agent = &lease.holder.agent_name;
                    let owner = world.registry.owners().of(&Owned::Agent(agent.clone()));
                    let digest = digest.filter(|_| scope.covers(owner));
                    part.extend(digest.map(|digest| (lease.id, agent.clone(), digest)));
                }
                (part, leases.next().and(last))
            });
            let is_it = |digest: &KeyedDigest| {
                short.iter().any(|text| self.values.digests.recognises(digest, text.expose()))
            };
            let found = part.into_iter().find(|(.., digest)| is_it(digest));
            compared = compared.saturating_add(PART);
            if found.is_some() || last.is_none() {
                return Ok((found.map(|(lease, agent, _)| (lease, agent)), Covered::All));
            }
            before = last;
        }
        Ok((None, Covered::Some))
    }

    /// The versions of secrets with this value, and whether all were compared. A destroyed version is not.
    pub(super) async fn known_versions(
        &self,
        comparison: &Comparison<'_>,
    ) -> Result<(Vec<KnownVersion>, Covered), Failure> {
        let scope = comparison.scope;
        let texts: Vec<&[u8]> = comparison.texts.iter().map(|text| text.expose().as_slice()).collect();
        let (versions, mut covered) = self.state.store.read(|world, _| {
            let kept = |is_wanted: fn(VersionStage) -> bool| {
                let within = world.secrets.all().filter(move |secret| scope.covers(secret.owner.as_ref()));
                within.flat_map(move |secret| {
                    let kept = secret.versions().filter(move |version| is_wanted(version.stage));
                    kept.map(|version| {
                        let standing = standing_of(world, &secret.name, version);
                        (
                            KnownVersion { secret: secret.name.clone(), version: version.number, standing },
                            secret.id,
                            version,
                        )
                    })
                })
            };
            // Values that are in use come before those that were replaced.
            let in_use = kept(|stage| matches!(stage, VersionStage::Current | VersionStage::Pending));
            let kept = in_use.chain(kept(|stage| stage == VersionStage::Former));
            let mut kept: Vec<(KnownVersion, SecretId, Version)> =
                kept.take(VALUE_CHECK_VALUES_MAX.saturating_add(1)).collect();
            let covered = if kept.len() > VALUE_CHECK_VALUES_MAX { Covered::Some } else { Covered::All };
            kept.truncate(VALUE_CHECK_VALUES_MAX);
            (kept, covered)
        });
        let mut found = Vec::new();
        for (known, id, version) in versions {
            comparison.work.step()?;
            if comparison.is_late() {
                return Ok((found, Covered::Late));
            }
            if found.len() >= INCIDENT_NAMES_MAX {
                return Ok((found, Covered::Some));
            }
            match self.is_version(id, version, &texts).await {
                Ok(true) => found.push(known),
                Ok(false) => {}
                // One that cannot be read hides no other one.
                Err(failure) => {
                    tracing::warn!(secret = %known.secret, version = version.number, code = %failure.code, "a version could not be compared with a leaked text");
                    covered = Covered::Some;
                }
            }
        }
        Ok((found, covered))
    }

    async fn is_version(&self, id: SecretId, version: Version, texts: &[&[u8]]) -> Result<bool, Failure> {
        let stored = self.stored_version(id, version).await?;
        Ok(self.signing.issuer.recognises(id, version.number, &stored, texts)?)
    }
}

/// Accepted are the current version, the previous one in its grace period, and a new one that the upstream may have been
/// told.
fn standing_of(world: &World, name: &SecretName, version: Version) -> UpstreamStanding {
    let rotation = world.rotations.of(name);
    let run = rotation.and_then(|rotation| rotation.run.as_ref());
    let is_accepted = match version.stage {
        VersionStage::Current => true,
        VersionStage::Pending => {
            run.is_some_and(|run| run.touched && run.versions.new == Some(version.number))
        }
        VersionStage::Former => run.is_some_and(|run| {
            run.stage == RotationStage::Grace && run.versions.replaced == Some(version.number)
        }),
        VersionStage::Destroyed => false,
    };
    if is_accepted {
        UpstreamStanding::Accepted
    } else if version.stage == VersionStage::Former && rotation.is_none() {
        UpstreamStanding::Replaced
    } else {
        UpstreamStanding::Refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_compared_with_and_without_its_line_break() {
        for given in ["hunter2", "hunter2\n", "hunter2\r\n"] {
            let texts = candidates(&Sensitive::new(given.to_owned()));
            let has = |text: &[u8]| texts.iter().any(|one| one.expose() == text);
            assert!(has(b"hunter2") && has(b"hunter2\n") && has(given.as_bytes()), "{given:?}");
        }
    }
}
