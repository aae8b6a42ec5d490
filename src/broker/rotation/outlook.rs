use crate::base::Timestamp;
use crate::rotation::{Rotation, RotationStage};

/// The time from which a new version is expected, never before `now`. `None` if none is planned, and while only an
/// operator can continue the rotation.
pub(in crate::broker) fn next_rotation(rotation: &Rotation, now: Timestamp) -> Option<Timestamp> {
    match &rotation.run {
        None => rotation.next.filter(|_| rotation.paused_at.is_none()).map(|next| next.max(now)),
        // The next date is known when the grace period of the previous version has ended.
        Some(run) if run.stage == RotationStage::Grace => None,
        Some(run) => run.ready_at().map(|at| at.max(now)),
    }
}

/// What a rotation does next, and when.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Outlook {
    /// The state in one word.
    pub(super) state: &'static str,
    /// The next attempt of the rotation in progress, never before now; `None` if the broker makes none by itself.
    pub(super) next_try: Option<Timestamp>,
    /// The time until which the circuit of the upstream is open.
    pub(super) circuit_open_until: Option<Timestamp>,
}

impl Outlook {
    /// The outlook of `rotation` at `now`, while the circuit of its upstream is open until `circuit`.
    pub(super) fn of(rotation: &Rotation, circuit: Option<Timestamp>, now: Timestamp) -> Self {
        let circuit_open_until = circuit.filter(|until| *until > now);
        let Some(run) = &rotation.run else {
            let state = match rotation.paused_at {
                Some(_) => "paused",
                None if rotation.is_overdue(now) => "overdue",
                None => "idle",
            };
            return Self { state, next_try: None, circuit_open_until };
        };
        // A verified value becomes current without a call.
        let blocking = circuit_open_until.filter(|_| run.stage != RotationStage::Verified);
        let due = run.ready_at().map(|at| at.max(now));
        let next_try = due.map(|at| blocking.map_or(at, |until| until.max(at)));
        let state = match due {
            None => "needs-attention",
            Some(at) if blocking.is_some_and(|until| until >= at) => "circuit-open",
            Some(at) if at > now && run.step.trouble.is_some() => "retry-scheduled",
            Some(at) if at > now => "grace",
            Some(_) => "in-progress",
        };
        Self { state, next_try, circuit_open_until }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{RotationId, SystemEntropy};
    use crate::rotation::{Declared, Effect, Rotations, Slots, Trigger};
    use crate::store::At;

    const NOW: Timestamp = Timestamp::from_s(10_000);

    /// The rotation after these effects.
    fn rotation(effects: &[Effect]) -> Rotation {
        let secret = "a/b".parse().unwrap();
        let upstream = r#"{"driver":"generate"}"#.to_owned();
        let declared =
            Box::new(Declared { secret, upstream, slots: Slots::Two, schedule: None, grace_s: 60 });
        let mut rotations = Rotations::default();
        let declare = Effect::Declare { declared, next: None };
        for (seq, effect) in std::iter::once(&declare).chain(effects).enumerate() {
            let seq = u64::try_from(seq).unwrap();
            rotations.apply(At { seq, time: Timestamp::from_s(9_000) }, effect);
        }
        rotations.all().next().unwrap().clone()
    }

    fn begun() -> Effect {
        let id = RotationId::mint(Timestamp::from_s(1), &SystemEntropy);
        Effect::Begin { secret: "a/b".parse().unwrap(), id, trigger: Trigger::Schedule }
    }

    fn failed(retry_at: Option<Timestamp>) -> Effect {
        let (secret, code) = ("a/b".parse().unwrap(), "upstream_timeout".to_owned());
        Effect::FailFor { secret, code, detail: None, retry_at, touched: false }
    }

    fn outlook(effects: &[Effect], circuit: Option<Timestamp>) -> (&'static str, Option<Timestamp>) {
        let outlook = Outlook::of(&rotation(effects), circuit, NOW);
        (outlook.state, outlook.next_try)
    }

    #[test]
    fn the_next_attempt_is_never_before_now_nor_while_the_circuit_is_open() {
        let (past, later) = (NOW.plus_s(-30), NOW.plus_s(30));
        assert_eq!(outlook(&[begun()], None), ("in-progress", Some(NOW)));
        assert_eq!(outlook(&[begun(), failed(Some(past))], None), ("in-progress", Some(NOW)));
        assert_eq!(outlook(&[begun(), failed(Some(later))], None), ("retry-scheduled", Some(later)));
        let open = Some(NOW.plus_s(58));
        assert_eq!(outlook(&[begun(), failed(Some(past))], open), ("circuit-open", open));
        assert_eq!(outlook(&[begun()], open), ("circuit-open", open));
        assert_eq!(outlook(&[begun()], Some(past)), ("in-progress", Some(NOW)), "its time is over");
        let far = NOW.plus_s(3600);
        assert_eq!(outlook(&[begun(), failed(Some(far))], open), ("retry-scheduled", Some(far)));
        assert_eq!(outlook(&[begun(), failed(None)], open), ("needs-attention", None));
    }

    #[test]
    fn a_reader_is_told_when_a_new_version_is_expected() {
        let next = |effects: &[Effect]| next_rotation(&rotation(effects), NOW);
        let secret = || "a/b".parse().unwrap();
        let (later, past) = (NOW.plus_s(3600), NOW.plus_s(-1));
        let planned = |next| Effect::Resume { secret: secret(), next: Some(next) };
        assert_eq!(next(&[]), None, "by hand alone");
        assert_eq!((next(&[planned(later)]), next(&[planned(past)])), (Some(later), Some(NOW)));
        assert_eq!(next(&[planned(later), Effect::Pause(secret())]), None);
        assert_eq!(next(&[planned(later), begun()]), Some(NOW), "in progress");
        assert_eq!(next(&[begun(), failed(Some(later))]), Some(later));
        assert_eq!(next(&[begun(), failed(None)]), None, "it waits for an operator");
    }

    #[test]
    fn a_rotation_at_rest_is_idle_paused_or_in_its_grace() {
        assert_eq!(outlook(&[], None), ("idle", None));
        assert_eq!(outlook(&[Effect::Pause("a/b".parse().unwrap())], None), ("paused", None));
        let until = NOW.plus_s(60);
        let (secret, stage) = ("a/b".parse().unwrap(), RotationStage::Grace);
        let grace = Effect::Reach { secret, stage, grace_until: Some(until) };
        assert_eq!(outlook(&[begun(), grace], None), ("grace", Some(until)));
    }
}
