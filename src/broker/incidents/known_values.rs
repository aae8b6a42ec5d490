//! Comparison of texts with the values that the broker keeps: by the keyed digests that are stored with them. Nothing is
//! opened.

use std::time::Duration;

use crate::base::limits::{HEAVY_WAIT_S, INCIDENT_NAMES_MAX, VALUE_CHECK_VALUES_MAX};
use crate::base::{AgentName, Cancellation, LeaseId, SecretId, SecretName, Sensitive};
use crate::broker::failure::Failure;
use crate::broker::services::Services;
use crate::broker::world::World;
use crate::crypto::KeyedDigest;
use crate::leases::LeaseStage;
use crate::rotation::RotationStage;
use crate::secrets::{Version, VersionStage};

/// Leases that are read at a time, so that no request waits.
const PART: usize = 1000;
/// Longer than every password that an upstream driver makes.
const PASSWORD_BYTES_MAX: usize = 1024;

/// A version of a secret with the value of a text.
pub(super) struct KnownVersion {
    pub(super) secret: SecretName,
    pub(super) version: u32,
    /// Whether its upstream accepts it, as far as the records say.
    pub(super) accepted: bool,
}

/// Whether the search has to end, so that there is an answer.
pub(super) fn is_late(work: &Cancellation) -> bool {
    work.elapsed() >= Duration::from_secs(HEAVY_WAIT_S / 2)
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
        texts: &[Sensitive<Vec<u8>>],
        work: &Cancellation,
    ) -> Result<(Option<(LeaseId, AgentName)>, bool), Failure> {
        let (mut compared, mut before): (usize, Option<LeaseId>) = (0, None);
        while compared < VALUE_CHECK_VALUES_MAX && !is_late(work) {
            work.step()?;
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
                    part.extend(digest.map(|digest| (lease.id, lease.holder.agent_name.clone(), digest)));
                }
                (part, leases.next().and(last))
            });
            let short: Vec<_> =
                texts.iter().filter(|text| text.expose().len() <= PASSWORD_BYTES_MAX).collect();
            let is_it = |digest: &KeyedDigest| {
                short.iter().any(|text| self.values.digests.recognises(digest, text.expose()))
            };
            let found = part.into_iter().find(|(.., digest)| is_it(digest));
            compared = compared.saturating_add(PART);
            if found.is_some() || last.is_none() {
                return Ok((found.map(|(lease, agent, _)| (lease, agent)), true));
            }
            before = last;
        }
        Ok((None, false))
    }

    /// The versions of secrets with this value, and whether all were compared. A destroyed version is not.
    pub(super) async fn known_versions(
        &self,
        texts: &[Sensitive<Vec<u8>>],
        work: &Cancellation,
    ) -> Result<(Vec<KnownVersion>, bool), Failure> {
        let (versions, mut is_whole) = self.state.store.read(|world, _| {
            let kept = |is_wanted: fn(VersionStage) -> bool| {
                world.secrets.all().flat_map(move |secret| {
                    let kept = secret.versions().filter(move |version| is_wanted(version.stage));
                    kept.map(|version| {
                        let accepted = is_accepted(world, &secret.name, version);
                        (
                            KnownVersion { secret: secret.name.clone(), version: version.number, accepted },
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
            let is_whole = kept.len() <= VALUE_CHECK_VALUES_MAX;
            kept.truncate(VALUE_CHECK_VALUES_MAX);
            (kept, is_whole)
        });
        let mut found = Vec::new();
        for (known, id, version) in versions {
            work.step()?;
            if is_late(work) || found.len() >= INCIDENT_NAMES_MAX {
                return Ok((found, false));
            }
            match self.is_version(id, version, texts).await {
                Ok(true) => found.push(known),
                Ok(false) => {}
                // One that cannot be read hides no other one.
                Err(failure) => {
                    tracing::warn!(secret = %known.secret, version = version.number, code = %failure.code, "a version could not be compared with a leaked text");
                    is_whole = false;
                }
            }
        }
        Ok((found, is_whole))
    }

    async fn is_version(
        &self,
        id: SecretId,
        version: Version,
        texts: &[Sensitive<Vec<u8>>],
    ) -> Result<bool, Failure> {
        let stored = self.stored_version(id, version).await?;
        for text in texts {
            if self.signing.issuer.recognises(id, version.number, &stored, text.expose())? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Whether the upstream of the secret accepts the version, as far as the records say: the current one, the previous one in
/// its grace period, and a new one that the upstream may have been told.
fn is_accepted(world: &World, name: &SecretName, version: Version) -> bool {
    let run = world.rotations.of(name).and_then(|rotation| rotation.run.as_ref());
    match version.stage {
        VersionStage::Current => true,
        VersionStage::Pending => {
            run.is_some_and(|run| run.touched && run.versions.new == Some(version.number))
        }
        VersionStage::Former => run.is_some_and(|run| {
            run.stage == RotationStage::Grace && run.versions.replaced == Some(version.number)
        }),
        VersionStage::Destroyed => false,
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
