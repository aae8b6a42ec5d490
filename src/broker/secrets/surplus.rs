use crate::broker::world::Effect;
use crate::rotation::{Rotation, Run};
use crate::secrets::{self, Secret};

/// Former versions that go when a secret's next value is handed out: more than enough are kept, and nothing
/// of ours or upstream's needs them any more.
pub(crate) struct Surplus(Vec<u32>);

impl Surplus {
    /// Of `secret`, when `keep` are kept.
    pub(crate) fn of(secret: Option<&Secret>, rotation: Option<&Rotation>, keep: u32) -> Self {
        let Some(secret) = secret else { return Self(Vec::new()) };
        let run = rotation.and_then(|rotation| rotation.run.as_ref());
        let in_hand: Vec<u32> =
            run.iter().flat_map(|run| run.versions.replaced.into_iter().chain(run.versions.new)).collect();
        let is_needed = |number: u32| {
            in_hand.contains(&number) || rotation.is_some_and(|rotation| rotation.is_known_upstream(number))
        };
        // The current one joins them, and what a rotation that is given up would have brought.
        let is_given_up = |run: &&Run| run.step.trouble.is_some() || run.has_changed_nothing();
        let given_up = run.filter(is_given_up).and_then(|run| run.versions.new);
        let joining = secret.current.iter().count().saturating_add(given_up.iter().count());
        Self(secret.surplus(keep, joining, &is_needed))
    }

    /// Which.
    pub(crate) fn numbers(&self) -> &[u32] {
        &self.0
    }

    /// Ends them for good.
    pub(crate) fn effects(&self, secret: Option<&Secret>) -> Vec<Effect> {
        let destroy = |secret: &Secret, version| {
            Effect::Secrets(secrets::Effect::Destroy { id: secret.id, name: secret.name.clone(), version })
        };
        secret.map_or_else(Vec::new, |secret| self.0.iter().map(|one| destroy(secret, *one)).collect())
    }
}
