use crate::broker::world::Effect;
use crate::rotation::{Rotation, Run};
use crate::secrets::{self, Secret};

/// Former versions that are destroyed when another version becomes current: more than the configured number is kept,
/// and neither the broker nor the upstream needs them.
pub(crate) struct Surplus(Vec<u32>);

impl Surplus {
    /// The surplus of `secret` beyond `keep` versions.
    pub(crate) fn of(secret: Option<&Secret>, rotation: Option<&Rotation>, keep: u32) -> Self {
        let Some(secret) = secret else { return Self(Vec::new()) };
        let run = rotation.and_then(|rotation| rotation.run.as_ref());
        let in_hand: Vec<u32> =
            run.iter().flat_map(|run| run.versions.replaced.into_iter().chain(run.versions.new)).collect();
        let is_needed = |number: u32| {
            in_hand.contains(&number) || rotation.is_some_and(|rotation| rotation.is_known_upstream(number))
        };
        // The current version becomes a former one, and so does the pending version of a rotation that ends.
        let is_given_up = |run: &&Run| run.step.trouble.is_some() || run.has_changed_nothing();
        let given_up = run.filter(is_given_up).and_then(|run| run.versions.new);
        let joining = secret.current.iter().count().saturating_add(given_up.iter().count());
        Self(secret.surplus(keep, joining, &is_needed))
    }

    /// The versions.
    pub(crate) fn numbers(&self) -> &[u32] {
        &self.0
    }

    /// The effects that destroy them.
    pub(crate) fn effects(&self, secret: Option<&Secret>) -> Vec<Effect> {
        let destroy = |secret: &Secret, version| {
            Effect::Secrets(secrets::Effect::Destroy { id: secret.id, name: secret.name.clone(), version })
        };
        secret.map_or_else(Vec::new, |secret| self.0.iter().map(|one| destroy(secret, *one)).collect())
    }
}
