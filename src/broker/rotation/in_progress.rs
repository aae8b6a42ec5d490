use crate::base::{Timestamp, code};
use crate::broker::failure::Failure;
use crate::rotation::{Rotation, RotationStage, Run};

/// The refusal of a request that the rotation in progress does not allow, with the command that ends this rotation.
pub(in crate::broker) fn in_progress(rotation: &Rotation, run: &Run, now: Timestamp) -> Failure {
    let secret = &rotation.declared.secret;
    let has_failed = run.step.trouble.is_some();
    match run.grace_until.filter(|until| run.stage == RotationStage::Grace && !has_failed && *until > now) {
        Some(until) => Failure::new(code::ROTATION_IN_GRACE_PERIOD)
            .because(format!("the previous version of `{secret}` still works at the upstream until {until}"))
            .mended_by(format!(
                "revoke the previous version now (`keyward rotation revoke-previous {secret}`), or wait; repeat the \
                 request when `keyward rotation show {secret}` shows no rotation in progress"
            )),
        None => Failure::new(code::ROTATION_IN_PROGRESS)
            .because(format!(
                "a rotation of `{secret}` is in progress at the stage `{}`, and its upstream may have changed",
                run.stage.as_str()
            ))
            .mended_by(format!(
                "wait for it (`keyward rotation show {secret}`), or end it by the value that works: \
                 `keyward rotation adopt {secret}`"
            )),
    }
}
